use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::Target;

/// Why an upstream gave no answer. Its text is for people: it names the upstream and what to look at.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A setting that cannot be.
    Invalid,
    /// No octet of a request has been sent.
    Unreached,
    /// A step took too long: whether anything was sent by then.
    TimedOut { sent: bool },
    /// The request may have been seen.
    Failed,
    /// A connection ended that was good until then: whether the request may have been seen.
    Ended { seen: bool },
    /// There was an answer, and none to what was asked for.
    Unfit,
    /// The client chose one name too many.
    Misdirected,
    /// The client did not send its content whole: what it is told, if it is there.
    Content { status: StatusCode, is_gone: bool },
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, text: text.into() }
    }

    pub(crate) fn unreached(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unreached, text: text.into() }
    }

    pub(crate) fn timed_out(text: impl Into<String>, sent: bool) -> Self {
        Self { kind: Kind::TimedOut { sent }, text: text.into() }
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, text: text.into() }
    }

    pub(crate) fn ended(text: impl Into<String>, seen: bool) -> Self {
        Self { kind: Kind::Ended { seen }, text: text.into() }
    }

    pub(crate) fn unfit(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unfit, text: text.into() }
    }

    pub(crate) fn misdirected(text: impl Into<String>) -> Self {
        Self { kind: Kind::Misdirected, text: text.into() }
    }

    pub(crate) fn foreign_coding(target: &Target) -> Self {
        Self::failed(format!("{target} answered in a transfer coding that nobody asked for (RFC 9112 §6.1, §7.4)"))
    }

    /// The content of the client's request broke off.
    pub(crate) fn content(why: &sockeye::Error) -> Self {
        use sockeye::Error as E;
        let (status, is_gone) = match why {
            E::Timeout(_) => (StatusCode::REQUEST_TIMEOUT, false),
            E::Violation(violation) => (violation.status().unwrap_or(StatusCode::BAD_REQUEST), false),
            _ => (StatusCode::BAD_REQUEST, true),
        };
        Self { kind: Kind::Content { status, is_gone }, text: format!("the content of the request broke off: {why}") }
    }

    /// The content of the client's request did not go on for so long.
    pub(crate) fn content_stalled(time: Duration) -> Self {
        let text = format!("the content of the request did not go on for {} s", time.as_secs_f32());
        Self { kind: Kind::Content { status: StatusCode::REQUEST_TIMEOUT, is_gone: false }, text }
    }

    /// Whether nothing is wrong with the upstream: a client may ask for a WebSocket where it has a page, or by a name too many, or
    /// break its own content off.
    pub fn is_of_client(&self) -> bool {
        matches!(self.kind, Kind::Unfit | Kind::Misdirected | Kind::Content { .. })
    }

    /// Whether the client is not there any more.
    pub(crate) fn has_no_client(&self) -> bool {
        matches!(self.kind, Kind::Content { is_gone: true, .. })
    }

    /// Whether the upstream has seen nothing of the request, so that it may be made elsewhere.
    pub fn is_unreached(&self) -> bool {
        matches!(self.kind, Kind::Unreached | Kind::TimedOut { sent: false } | Kind::Ended { seen: false })
    }

    /// Whether it was the end of a connection, as every server ends some: that says nothing of the upstream itself, which another
    /// connection may reach.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self.kind, Kind::Ended { .. })
    }

    /// Whether a step took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::TimedOut { .. })
    }

    /// What to answer to the client: 504 where the upstream took too long, 421 for a name too many, 400 or 408 for content that broke
    /// off, else 502 (RFC 9110 §15.6, §15.5).
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Kind::Content { status, .. } => status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
