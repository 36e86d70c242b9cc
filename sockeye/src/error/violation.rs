//! The rules that peers break, of all protocols.

use std::fmt;

use http::StatusCode;
use sockeye_proto::{Reason, h2, ws};

use super::BoxError;

/// A rule of a protocol that the peer broke, or a limit of ours that it passed.
///
#[cfg_attr(feature = "web-socket", doc = "```")]
#[cfg_attr(not(feature = "web-socket"), doc = "```ignore")]
/// use sockeye::error::{Error, Violation};
/// use sockeye::{CloseCode, socket};
///
/// fn is_too_big(error: &Error) -> bool {
///     matches!(error, Error::Violation(Violation::WebSocket { violation: socket::Violation::MessageTooBig, .. }))
/// }
/// # let violation = socket::Violation::MessageTooBig;
/// # let violation = Violation::from(violation);
/// # assert_eq!(violation.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
/// # assert!(is_too_big(&Error::Violation(violation)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Violation {
    /// Of HTTP/2: the peer was told by GOAWAY.
    Http2(h2::Violation),
    /// Of RFC 6455 or an extension, over either version of HTTP: the peer was told by a Close.
    WebSocket {
        /// The rule.
        violation: ws::Violation,
        /// The limit that it was, where it can be set.
        limit: Option<ws::LimitPassed>,
    },
    /// Of HTTP/1.1 (RFC 9112 §2.2).
    Http1 {
        /// What the peer was told: 400, 431 for a head that is too large (RFC 6585 §5), or 505 for a version (RFC 9110 §15.6.6).
        status: StatusCode,
        /// The rule.
        rule: BoxError,
    },
}

impl Violation {
    /// The code of the Close that the peer was sent (RFC 6455 §7.4.1), for a WebSocket.
    pub fn close_code(&self) -> Option<ws::CloseCode> {
        match self {
            Self::WebSocket { violation, .. } => Some(violation.code()),
            Self::Http2(_) | Self::Http1 { .. } => None,
        }
    }

    /// The code of the GOAWAY that the peer was sent (RFC 9113 §7), for a connection of HTTP/2.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Http2(violation) => Some(violation.reason()),
            Self::WebSocket { .. } | Self::Http1 { .. } => None,
        }
    }

    /// The status of the response that the peer was sent, for a connection of HTTP/1.1.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Http1 { status, .. } => Some(*status),
            Self::Http2(_) | Self::WebSocket { .. } => None,
        }
    }

    /// Whether the peer was silent, which may be the network's doing: it broke no rule but to be there.
    pub(super) fn is_silence(&self) -> bool {
        use h2::Violation as V;
        matches!(self, Self::Http2(V::PrefaceTimeout | V::SettingsTimeout | V::HeaderTimeout | V::KeepAliveTimeout))
    }

    /// Whether it may well be over some time later: the peer was silent, or did not read.
    pub(super) fn is_passing(&self) -> bool {
        self.is_silence() || matches!(self, Self::Http2(h2::Violation::NoProgress))
    }
}

impl From<h2::Violation> for Violation {
    fn from(violation: h2::Violation) -> Self {
        Self::Http2(violation)
    }
}

impl From<ws::Violation> for Violation {
    fn from(violation: ws::Violation) -> Self {
        Self::WebSocket { violation, limit: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It begins with its reason.
            Self::Http2(violation) => write!(f, "the peer broke a rule or a limit and was told {violation}"),
            Self::WebSocket { violation, limit } => {
                write!(f, "the peer broke a rule or a limit and was told {}: ", u16::from(violation.code()))?;
                match limit {
                    Some(limit) => fmt::Display::fmt(limit, f),
                    None => fmt::Display::fmt(violation, f),
                }
            }
            Self::Http1 { status, rule } => {
                write!(f, "the peer broke a rule or a limit and was told {}: {rule}", status.as_u16())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the peer was told stands there once, whatever it speaks.
    #[test]
    fn a_violation_says_what_the_peer_was_told() {
        let rows = [
            (h2::Violation::TooManyGlitches.into(), "ENHANCE_YOUR_CALM: too many frames without effect (§10.5)"),
            (ws::Violation::MessageTooBig.into(), "1009: message too big (RFC 6455 §10.4)"),
            (Violation::Http1 { status: StatusCode::BAD_REQUEST, rule: "no host".into() }, "400: no host"),
        ];
        for (violation, told) in rows {
            assert_eq!(violation.to_string(), format!("the peer broke a rule or a limit and was told {told}"));
        }
    }
}
