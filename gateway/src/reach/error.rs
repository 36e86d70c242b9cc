use std::iter::successors;
use std::time::Duration;
use std::{fmt, io};

use http::StatusCode;
use rustls::AlertDescription;

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
    /// A connection did nothing for the request, as it takes no more of them.
    Refused,
    /// It chose no HTTP/1.1 by ALPN, and so has seen nothing of a request.
    NotHttp1,
    /// A step took too long: whether anything was sent by then.
    TimedOut { sent: bool },
    /// The request may have been seen.
    Failed,
    /// A connection ended that was good until then. The request may have been seen.
    Ended,
    /// There was an answer, and none to what was asked for.
    Unfit,
    /// This system has no room for another connection, whoever it would be to.
    Exhausted,
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

    pub(crate) fn ended(text: impl Into<String>) -> Self {
        Self { kind: Kind::Ended, text: text.into() }
    }

    pub(crate) fn unfit(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unfit, text: text.into() }
    }

    /// There is no connection.
    pub(super) fn of_connect(target: &Target, why: &io::Error) -> Self {
        let (kind, advice) = match why.kind() {
            _ if is_exhausted(why) => {
                (Kind::Exhausted, "the gateway may open no more: `ulimit -n` and LimitNOFILE= of systemd say how many")
            }
            io::ErrorKind::ConnectionRefused => (Kind::Unreached, "is the server running there?"),
            io::ErrorKind::NotFound => (Kind::Unreached, "is the server running, and is this its socket?"),
            io::ErrorKind::PermissionDenied => (Kind::Unreached, "may this user open it?"),
            io::ErrorKind::AddrNotAvailable => {
                (Kind::Unreached, "is its address right, and has this system a port left to reach it from?")
            }
            _ => (Kind::Unreached, "is its address right?"),
        };
        Self { kind, text: format!("no connection to {target}: {why}; {advice}") }
    }

    /// There is no TLS with the upstream.
    pub(super) fn of_tls(target: &Target, why: &dyn fmt::Display) -> Self {
        Self::unreached(format!(
            "no TLS with {target}: {why}; an upstream's certificate is verified: name its root, or its server name, if it is a private one"
        ))
    }

    /// What came of TLS where ALPN offered HTTP/1.1 alone.
    pub(super) fn of_tls_for_http1(target: &Target, why: &io::Error) -> Self {
        let alert = why.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) = alert {
            let text = format!("{target} does not speak HTTP/1.1: leave the choice to it, by auto");
            return Self { kind: Kind::NotHttp1, text };
        }
        Self::of_tls(target, why)
    }

    /// What came of a stream of HTTP/2.
    pub(crate) fn of_http2(target: &Target, failed: sockeye::Error) -> Self {
        use sockeye::Error as E;
        use sockeye::error::{Missing, Step};
        match failed {
            E::Connect { step: Step::Connector, source } => match of_dialer(&*source) {
                Some(error) => error.clone(),
                None => Self::unreached(format!("no connection to {target}: {source}")),
            },
            E::Connect { step: Step::Tls, source } => Self::of_tls(target, &source),
            E::NotOffered(Missing::Http2 | Missing::Http2Preface) => {
                Self::unreached(format!("{target} does not speak HTTP/2: leave the choice to it, by auto"))
            }
            E::NotOffered(Missing::Tls) => {
                Self::unreached(format!("{target} does not speak TLS on this port: is it an http:// that is meant?"))
            }
            E::NotOffered(Missing::Cleartext) => {
                Self::unreached(format!("{target} speaks TLS on this port: is it an https:// that is meant?"))
            }
            E::NotOffered(missing) => Self::unreached(format!("{target} does not offer {missing}")),
            E::Timeout(step) => Self::timed_out(format!("{target} {}", slowness(step)), step == Step::Answer),
            error @ E::Connect { .. } => Self::unreached(format!("no connection to {target}: {error}")),
            error @ E::Reset { reason: sockeye::Reason::ENHANCE_YOUR_CALM, by: sockeye::Side::Client } => Self::failed(
                format!("{target} sent a head of more than 16 KiB or 100 fields, or did not take the content: {error}"),
            ),
            // RFC 9113 §8.7: nothing was done for it; most often the connection is about to end (§6.8).
            error @ E::Reset { reason: sockeye::Reason::REFUSED_STREAM, .. } => {
                Self { kind: Kind::Refused, text: format!("{target} refused the stream: {error}") }
            }
            error => Self::failed(format!("{target} gave no answer: {error}")),
        }
    }

    pub(crate) fn foreign_coding(target: &Target) -> Self {
        Self::failed(format!("{target} answered in a transfer coding that nobody asked for (RFC 9112 §6.1, §7.4)"))
    }

    /// The content of the client's request broke off.
    pub(crate) fn content(why: &(dyn std::error::Error + 'static)) -> Self {
        use sockeye::Error as E;
        // What stands before the gateway may have wrapped it.
        let of_server = successors(Some(why), |error| error.source()).find_map(<dyn std::error::Error>::downcast_ref);
        let (status, is_gone) = match of_server {
            Some(E::Timeout(_)) => (StatusCode::REQUEST_TIMEOUT, false),
            Some(E::Violation(violation)) => (violation.status().unwrap_or(StatusCode::BAD_REQUEST), false),
            _ => (StatusCode::BAD_REQUEST, true),
        };
        Self { kind: Kind::Content { status, is_gone }, text: format!("the content of the request broke off: {why}") }
    }

    /// The content of the client's request did not go on for so long.
    pub(crate) fn content_stalled(time: Duration) -> Self {
        let text = format!(
            "the content of the request did not go on for {} s (--answer-timeout gives more)",
            time.as_secs_f32()
        );
        Self { kind: Kind::Content { status: StatusCode::REQUEST_TIMEOUT, is_gone: false }, text }
    }

    /// Whether nothing is wrong with the upstream: a client may ask for a WebSocket where it has a page, or break its own content
    /// off.
    pub fn is_of_client(&self) -> bool {
        matches!(self.kind, Kind::Unfit | Kind::Content { .. })
    }

    /// Whether it is the gateway that has no room, which says nothing of any upstream.
    pub(crate) fn is_of_gateway(&self) -> bool {
        matches!(self.kind, Kind::Exhausted)
    }

    /// Whether the client is not there any more.
    pub(crate) fn has_no_client(&self) -> bool {
        matches!(self.kind, Kind::Content { is_gone: true, .. })
    }

    /// Whether the upstream has seen nothing of the request, so that it may be made elsewhere.
    pub fn is_unreached(&self) -> bool {
        matches!(self.kind, Kind::Unreached | Kind::Refused | Kind::NotHttp1 | Kind::TimedOut { sent: false })
    }

    /// Whether it speaks HTTP/2, and nothing else.
    pub(crate) fn is_not_http1(&self) -> bool {
        matches!(self.kind, Kind::NotHttp1)
    }

    /// Whether it was the end of a connection, as every server ends some: that says nothing of the upstream itself, which another
    /// connection may reach.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self.kind, Kind::Ended | Kind::Refused)
    }

    /// Whether a step took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::TimedOut { .. })
    }

    /// What to answer to the client: 504 where the upstream took too long, 503 where the gateway has no room for a connection, 400 or
    /// 408 for content that broke off, else 502 (RFC 9110 §15.6, §15.5).
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            Kind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Content { status, .. } => status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Whether this process, or its system, has no more files or no memory (EMFILE, ENFILE, ENOMEM).
fn is_exhausted(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::OutOfMemory || cfg!(unix) && matches!(why.raw_os_error(), Some(23 | 24))
}

/// What took too long, and what to look at.
fn slowness(step: sockeye::error::Step) -> String {
    use sockeye::error::Step as S;
    let why = match step {
        S::Connector => "took no connection in time: is its host up and reachable?",
        S::Tls => "did not finish TLS in time: does it speak TLS on this port?",
        S::Settings => "said no SETTINGS in time: does it speak HTTP/2 on this port?",
        S::FreeStream => "had no free stream in time: it takes no more at once, or no more connections",
        step => return format!("took too long: {step}"),
    };
    format!("{why} (--connect-timeout gives more)")
}

/// What the dialer said, out of what the client makes of it.
fn of_dialer<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    error.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_lacks_is_no_fault_of_an_upstream() {
        let target: Target = "http://a:1".parse().unwrap();
        let of = |kind: io::ErrorKind| Error::of_connect(&target, &kind.into());
        let exhausted = of(io::ErrorKind::OutOfMemory);
        assert!(exhausted.is_of_gateway() && !exhausted.is_unreached() && exhausted.to_string().contains("ulimit"));
        assert_eq!(exhausted.status(), StatusCode::SERVICE_UNAVAILABLE);
        let refused = of(io::ErrorKind::ConnectionRefused);
        assert!(!refused.is_of_gateway() && refused.is_unreached());
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
        if cfg!(unix) {
            assert!(Error::of_connect(&target, &io::Error::from_raw_os_error(24)).is_of_gateway(), "EMFILE");
        }
    }
}
