use std::{error, fmt, io};

use bytes::Bytes;
use http::{Response, StatusCode};

/// What a function of Sockeye returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, by the trait.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// What ended a connection or a socket otherwise than cleanly, or what a caller may not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    Io(io::Error),
    /// The connection that carried the stream went away before the stream had ended.
    Disconnected,
    /// The stream was reset, with this error code (RFC 9113 §7).
    Reset(u32),
    /// The peer ended the stream without a Close frame: what RFC 6455 §7.1.5 calls code 1006.
    Abnormal,
    /// The peer broke a rule of a protocol. For a WebSocket, `code` is that of the Close it was sent (RFC 6455 §7.4.1);
    /// for a connection it is that of the GOAWAY (RFC 9113 §7).
    Violation {
        /// The code that the peer was told.
        code: u32,
        /// The rule, with the section of its RFC.
        rule: BoxError,
    },
    /// The socket, or this half of the stream, was closed here before.
    Closed,
    /// The caller asked for something that a protocol does not allow.
    Invalid(BoxError),
    /// A step took too long; its name.
    Timeout(&'static str),
    /// A step on the way to a connection failed.
    Connect {
        /// Its name.
        step: &'static str,
        /// What happened.
        source: BoxError,
    },
    /// The server does not offer something without which the call cannot go on.
    NotOffered(&'static str),
    /// The server refused a handshake: its response, with the first 64 KiB of the content as far as they came in time.
    Refused(Box<Response<Bytes>>),
    /// The request is no WebSocket handshake, or one that was refused.
    Handshake(BoxError),
    /// An error of the application's own, from a handler or a service.
    Application(BoxError),
}

/// Whose doing an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller's: the call is to be changed.
    Caller,
    /// The peer's: it broke a rule, or said no.
    Peer,
    /// That of what lies between, as far as this side can see.
    Network,
    /// The application's own, in a handler or a service.
    Application,
}

/// What a stream is reset with that may pass the next time (RFC 9113 §7): NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL and
/// ENHANCE_YOUR_CALM.
const PASSING_RESETS: [u32; 5] = [0x0, 0x2, 0x7, 0x8, 0xb];

impl Error {
    /// Whose doing this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Closed | Self::Invalid(_) => Fault::Caller,
            Self::Reset(_)
            | Self::Abnormal
            | Self::Violation { .. }
            | Self::NotOffered(_)
            | Self::Refused(_)
            | Self::Handshake(_) => Fault::Peer,
            Self::Connect { source, .. } if is_of_tls(source) => Fault::Peer,
            Self::Io(_) | Self::Disconnected | Self::Timeout(_) | Self::Connect { .. } => Fault::Network,
            Self::Application(_) => Fault::Application,
        }
    }

    /// Whether the same call may well succeed when it is made again some time later. After
    /// [`Refused`](Self::Refused) the response's `retry-after` may say when.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io(_) | Self::Disconnected | Self::Abnormal | Self::Timeout(_) => true,
            Self::Connect { source, .. } => match source.downcast_ref() {
                // What a proxy answered.
                Some(error @ Self::Refused(_)) => error.is_retryable(),
                _ => !is_of_tls(source),
            },
            Self::Reset(code) => PASSING_RESETS.contains(code),
            Self::Refused(response) => matches!(
                response.status(),
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_EARLY
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            Self::Violation { .. }
            | Self::Closed
            | Self::Invalid(_)
            | Self::NotOffered(_)
            | Self::Handshake(_)
            | Self::Application(_) => false,
        }
    }

    /// What is wrong, for an error that is told of later.
    pub(crate) fn reason(&self) -> String {
        error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// Wraps an error of the application's own.
    pub fn application(error: impl Into<BoxError>) -> Self {
        Self::Application(error.into())
    }

    pub(crate) fn handshake(error: impl Into<BoxError>) -> Self {
        Self::Handshake(error.into())
    }

    pub(crate) fn invalid(error: impl Into<BoxError>) -> Self {
        Self::Invalid(error.into())
    }
}

/// Whether this is a fault in the TLS handshake, such as a certificate that is not trusted, and none of the transport.
fn is_of_tls(error: &BoxError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the transport failed"),
            Self::Disconnected => f.write_str("the connection went away"),
            Self::Reset(code) => write!(f, "the stream was reset with error code {code:#x} (RFC 9113 §7)"),
            Self::Abnormal => f.write_str("the peer went away without a Close frame (1006, RFC 6455 §7.1.5)"),
            Self::Violation { code, rule } => write!(f, "the peer broke a rule or a limit and was told {code}: {rule}"),
            Self::Closed => f.write_str("this side has closed already"),
            Self::Invalid(_) => f.write_str("the call is not allowed"),
            Self::Timeout(step) => write!(f, "{step} took too long"),
            Self::Connect { step, .. } => write!(f, "no connection: {step} failed"),
            Self::NotOffered(what) => write!(f, "the server does not offer {what}"),
            Self::Refused(response) => write!(f, "the server refused with {}", response.status()),
            Self::Handshake(_) => f.write_str("the WebSocket handshake failed"),
            Self::Application(_) => f.write_str("the application failed"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            // Its words are part of this error's.
            Self::Violation { rule, .. } => rule.source(),
            Self::Connect { source: error, .. }
            | Self::Invalid(error)
            | Self::Handshake(error)
            | Self::Application(error) => Some(&**error),
            Self::Disconnected
            | Self::Reset(_)
            | Self::Abnormal
            | Self::Closed
            | Self::Timeout(_)
            | Self::NotOffered(_)
            | Self::Refused(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
