use std::{error, fmt, io};

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
    /// The request is no WebSocket handshake, or one that was refused.
    Handshake(BoxError),
    /// An error of the application's own, from a handler or a service.
    Application(BoxError),
}

impl Error {
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the transport failed"),
            Self::Disconnected => f.write_str("the connection went away"),
            Self::Reset(code) => write!(f, "the stream was reset with error code {code:#x} (RFC 9113 §7)"),
            Self::Abnormal => f.write_str("the peer went away without a Close frame (1006, RFC 6455 §7.1.5)"),
            Self::Violation { code, rule } => write!(f, "the peer broke the protocol and was told {code}: {rule}"),
            Self::Closed => f.write_str("this side has closed already"),
            Self::Invalid(_) => f.write_str("the call is not allowed"),
            Self::Timeout(step) => write!(f, "{step} took too long"),
            Self::Handshake(_) => f.write_str("the WebSocket handshake failed"),
            Self::Application(_) => f.write_str("the application failed"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Violation { rule: error, .. }
            | Self::Invalid(error)
            | Self::Handshake(error)
            | Self::Application(error) => Some(&**error),
            Self::Disconnected | Self::Reset(_) | Self::Abnormal | Self::Closed | Self::Timeout(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
