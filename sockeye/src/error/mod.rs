//! What goes wrong, whose doing it is, and whether to try again.

mod step;
mod violation;

use std::{error, fmt, io};

use bytes::Bytes;
use http::{Response, StatusCode};
use sockeye_proto::Reason;

use crate::engine::link::Side;

pub use self::step::{Missing, Step};
pub use self::violation::Violation;

/// What a function of Sockeye returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, by the trait.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// What ended a connection or a socket otherwise than cleanly, or what a caller may not do.
///
/// Its text tells all that led to it, so that `{error}` is enough for a log; its [`source`](error::Error::source) is none
/// then, or reports would say the same words twice. The causes themselves stand in the variants.
///
/// ```
/// use std::io;
///
/// use sockeye::Error;
///
/// let error = Error::from(io::Error::other("the cable was cut"));
/// assert_eq!(error.to_string(), "the transport failed: the cable was cut");
/// assert!(error.is_retryable());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The transport failed.
    Io(io::Error),
    /// The connection that carried the stream went away before the stream had ended.
    Disconnected,
    /// The stream was reset (RFC 9113 §5.4.2).
    Reset {
        /// The error code that RST_STREAM carried (RFC 9113 §7).
        reason: Reason,
        /// Who sent it.
        by: Side,
    },
    /// The peer ended the connection for an error, by GOAWAY (RFC 9113 §6.8).
    GoAway {
        /// The error code (RFC 9113 §7).
        reason: Reason,
        /// Who sent it.
        by: Side,
        /// What it said besides, which may be empty: the first 256 octets.
        debug: Box<str>,
    },
    /// The peer went away without a Close frame, by the end of its half or by giving the stream up (CANCEL, NO_ERROR): what RFC 6455
    /// §7.1.5 calls code 1006. It breaks no one's rule: a page that was left ends so, and so does a phone out of reach.
    Abnormal,
    /// The peer broke a rule of a protocol, or passed a limit of ours.
    Violation(Violation),
    /// The socket, or this half of the stream, was closed here before.
    Closed,
    /// The peer closed the socket before a message that came in pieces was whole (RFC 6455 §5.5.1).
    Incomplete,
    /// The caller asked for something that a protocol does not allow.
    Invalid(BoxError),
    /// A step took too long.
    Timeout(Step),
    /// A step on the way to a connection failed.
    Connect {
        /// The step.
        step: Step,
        /// What happened.
        source: BoxError,
    },
    /// The server does not offer something without which the call cannot go on.
    NotOffered(Missing),
    /// The server refused a handshake: its response, with the first 64 KiB of the content as far as they came in time.
    Refused(Box<Response<Bytes>>),
    /// A client opened a socket neither over HTTP/2, where the server's answer let it hope that HTTP/1.1 would do, nor then
    /// over HTTP/1.1, where it failed otherwise.
    Neither {
        /// What came of HTTP/2.
        http2: Box<Error>,
        /// What came of HTTP/1.1.
        http1: Box<Error>,
    },
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

/// What ends a stream or a connection that may pass the next time (RFC 9113 §7). CONNECT_ERROR is what proxies say when what
/// is behind them restarts.
const PASSING: [Reason; 6] = [
    Reason::NO_ERROR,
    Reason::INTERNAL_ERROR,
    Reason::REFUSED_STREAM,
    Reason::CANCEL,
    Reason::CONNECT_ERROR,
    Reason::ENHANCE_YOUR_CALM,
];

impl Error {
    /// Whose doing this is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Closed | Self::Invalid(_) => Fault::Caller,
            Self::Neither { http2, http1 } => match (http2.fault(), http1.fault()) {
                (Fault::Network, Fault::Network) => Fault::Network,
                _ => Fault::Peer,
            },
            // A peer that is silent may be out of reach.
            Self::Violation(violation) if violation.is_silence() => Fault::Network,
            Self::Reset { .. }
            | Self::GoAway { .. }
            | Self::Violation(_)
            | Self::NotOffered(_)
            | Self::Refused(_)
            | Self::Handshake(_)
            | Self::Incomplete => Fault::Peer,
            Self::Connect { source, .. } => match source.downcast_ref::<Self>() {
                // What a proxy answered.
                Some(error) => error.fault(),
                None if is_wrong(source) => Fault::Peer,
                None => Fault::Network,
            },
            Self::Io(error) if is_of_tls(error) => Fault::Peer,
            Self::Io(_) | Self::Disconnected | Self::Abnormal | Self::Timeout(_) => Fault::Network,
            Self::Application(_) => Fault::Application,
        }
    }

    /// Whether the same call may well succeed when it is made again some time later. After
    /// [`Refused`](Self::Refused) the response's `retry-after` may say when.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io(error) => !is_of_tls(error),
            Self::Disconnected | Self::Abnormal | Self::Timeout(_) => true,
            Self::Connect { source, .. } => match source.downcast_ref() {
                // What a proxy answered.
                Some(error @ Self::Refused(_)) => error.is_retryable(),
                _ => !is_wrong(source),
            },
            Self::Neither { http2, http1 } => http2.is_retryable() || http1.is_retryable(),
            Self::Reset { reason, .. } | Self::GoAway { reason, .. } => PASSING.contains(reason),
            Self::Refused(response) => matches!(
                response.status(),
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_EARLY
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            Self::Violation(violation) => violation.is_passing(),
            Self::Closed
            | Self::Incomplete
            | Self::Invalid(_)
            | Self::NotOffered(_)
            | Self::Handshake(_)
            | Self::Application(_) => false,
        }
    }

    /// Whether this tells of a stream that is over, whoever ended it: what the peer had sent before may be there to be read.
    #[cfg(feature = "web-socket")]
    pub(crate) fn is_of_the_end(&self) -> bool {
        match self {
            Self::Disconnected | Self::Reset { .. } | Self::GoAway { .. } | Self::Abnormal | Self::Timeout(_) => true,
            Self::Violation(violation) => matches!(violation, Violation::Http2(_)),
            _ => false,
        }
    }

    /// What ended an exchange of hyper's, by our names.
    pub(crate) fn of_hyper(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            // RFC 6585 §5
            return Self::http1(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error);
        }
        if error.is_parse() {
            return Self::http1(StatusCode::BAD_REQUEST, error);
        }
        if error.is_user() {
            return Self::Application(error.into());
        }
        if error.is_timeout() {
            return Self::Timeout(Step::RequestHead);
        }
        if is_of_tls(&error) {
            return Self::Io(io::Error::other(error));
        }
        let transport = error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match transport.map(io::Error::kind) {
            // What hyper's decoders say of content that is wrong, and of content that ends early.
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                Self::http1(StatusCode::BAD_REQUEST, error)
            }
            Some(io::ErrorKind::UnexpectedEof) => Self::Disconnected,
            Some(kind) => Self::Io(io::Error::new(kind, error)),
            // What is left tells of a connection that went away: closed, cancelled, or incomplete.
            None => Self::Disconnected,
        }
    }

    fn http1(status: StatusCode, rule: hyper::Error) -> Self {
        Self::Violation(Violation::Http1 { status, rule: rule.into() })
    }

    /// What is wrong, for an error that is told of later.
    #[cfg(all(feature = "http2", feature = "web-socket"))]
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Invalid(error) => error.to_string(),
            error => error.to_string(),
        }
    }

    /// What is behind this, of another type.
    fn cause(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Violation(Violation::Http1 { rule, .. }) => rule.source(),
            Self::Connect { source: error, .. }
            | Self::Invalid(error)
            | Self::Handshake(error)
            | Self::Application(error) => Some(&**error),
            Self::Disconnected
            | Self::Reset { .. }
            | Self::GoAway { .. }
            | Self::Abnormal
            | Self::Violation(_)
            | Self::Closed
            | Self::Incomplete
            | Self::Timeout(_)
            | Self::NotOffered(_)
            | Self::Refused(_)
            | Self::Neither { .. } => None,
        }
    }

    /// Wraps an error of the application's own.
    pub fn application(error: impl Into<BoxError>) -> Self {
        Self::Application(error.into())
    }

    #[cfg(all(feature = "http2", feature = "web-socket"))]
    pub(crate) fn connect(step: Step, source: impl Into<BoxError>) -> Self {
        Self::Connect { step, source: source.into() }
    }

    #[cfg(feature = "web-socket")]
    pub(crate) fn handshake(error: impl Into<BoxError>) -> Self {
        Self::Handshake(error.into())
    }

    #[cfg(any(feature = "web-socket", feature = "http2"))]
    pub(crate) fn invalid(error: impl Into<BoxError>) -> Self {
        Self::Invalid(error.into())
    }
}

/// Whether this is a fault in the TLS handshake, such as a certificate that is not trusted, and none of the transport.
fn is_wrong(error: &BoxError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// Whether TLS is behind what a transport says, and no network: over TLS 1.3 a server that wants another certificate of its client's
/// says so by an alert behind the handshake (RFC 8446 §4.4.2.4).
pub(crate) fn is_of_tls(error: &(dyn error::Error + 'static)) -> bool {
    #[cfg(feature = "tls")]
    if error.is::<rustls::Error>() {
        return true;
    }
    // The source of an `io::Error` is that of what it wraps.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => is_of_tls(wrapped),
        None => error.source().is_some_and(is_of_tls),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the transport failed"),
            Self::Disconnected => f.write_str("the connection went away"),
            Self::Reset { reason, by } => write!(f, "the stream was reset by {by}: {reason} (RFC 9113 §7)"),
            Self::GoAway { reason, by, debug } => {
                write!(f, "{by} ended the connection by GOAWAY: {reason} (RFC 9113 §7)")?;
                if debug.is_empty() { Ok(()) } else { write!(f, ", saying {debug:?}") }
            }
            Self::Abnormal => f.write_str("the peer went away without a Close frame (1006, RFC 6455 §7.1.5)"),
            Self::Violation(violation) => fmt::Display::fmt(violation, f),
            Self::Closed => f.write_str("this side has closed already"),
            Self::Incomplete => f.write_str("the peer closed the socket within a message (RFC 6455 §5.5.1)"),
            Self::Invalid(_) => f.write_str("the call is not allowed"),
            Self::Timeout(step) => write!(f, "{step} took too long"),
            Self::Connect { step, .. } => write!(f, "no connection: {step} failed"),
            Self::NotOffered(what) => write!(f, "the server does not offer {what}"),
            Self::Refused(response) => write!(f, "the server refused with {}", response.status()),
            Self::Neither { http2, http1 } => {
                write!(f, "no WebSocket over HTTP/2 ({http2}), nor over HTTP/1.1 ({http1})")
            }
            Self::Handshake(_) => f.write_str("the WebSocket handshake failed"),
            Self::Application(_) => f.write_str("the application failed"),
        }?;
        let mut cause = self.cause();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

// Without a source: what led to it is part of its text.
impl error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
