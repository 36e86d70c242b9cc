//! One line that a person understands, out of all that was found.

use std::process::ExitCode;

use serde::Serialize;

use super::attempt::{Attempt, Ending, Problem, Step};

/// What a probe comes to.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    /// A sentence or two.
    pub(crate) text: String,
}

#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Over HTTP/2 and over HTTP/1.1.
    Works,
    /// Over HTTP/2, and not over HTTP/1.1.
    WorksOverHttp2Only,
    /// Over HTTP/1.1; HTTP/2 comes without the extended CONNECT.
    NotOfferedOverHttp2,
    /// Over HTTP/1.1; there is no HTTP/2.
    Http2NotSpoken,
    /// The extended CONNECT is there, but this WebSocket does not open by it as it does over HTTP/1.1.
    RefusedOverHttp2,
    /// It opens over HTTP/2, but something is wrong with it there.
    FaultyOverHttp2,
    /// Over neither.
    DoesNotWork,
    /// There is no connection to the server.
    Unreachable,
}

impl Verdict {
    pub(crate) fn new(http2: &Attempt, http1: &Attempt, is_secure: bool) -> Self {
        let (over_http2, over_http1) = (OverHttp2::new(http2), OverHttp1::new(http1));
        let verdict = |kind, text: String| Self { kind, text };
        let there = match &over_http1 {
            OverHttp1::Works => "over HTTP/1.1 they work".to_owned(),
            OverHttp1::Fails(why) => format!("over HTTP/1.1 they fail: {why}"),
        };
        match (over_http2, over_http1) {
            (OverHttp2::Unreachable(problem), OverHttp1::Fails(_)) => {
                verdict(Kind::Unreachable, format!("There is no connection to the server. {problem}."))
            }
            (OverHttp2::Works, OverHttp1::Works) => {
                verdict(Kind::Works, "WebSockets work over HTTP/2 and HTTP/1.1.".to_owned())
            }
            (OverHttp2::Works, OverHttp1::Fails(why)) => verdict(
                Kind::WorksOverHttp2Only,
                format!(
                    "WebSockets work over HTTP/2, but not over HTTP/1.1, which browsers use while they have no HTTP/2 \
                     connection to the server: {why}."
                ),
            ),
            (OverHttp2::Faulty(what), _) => {
                verdict(Kind::FaultyOverHttp2, format!("WebSockets open over HTTP/2, but {what}; {there}."))
            }
            (OverHttp2::NotOffered, OverHttp1::Works) => verdict(
                Kind::NotOfferedOverHttp2,
                "HTTP/2 is spoken, but the server does not offer extended CONNECT (RFC 8441): WebSockets work over \
                 HTTP/1.1 alone, which browsers use then."
                    .to_owned(),
            ),
            (OverHttp2::NotSpoken, OverHttp1::Works) => verdict(
                Kind::Http2NotSpoken,
                if is_secure {
                    "The server does not speak HTTP/2: WebSockets work over HTTP/1.1 alone.".to_owned()
                } else {
                    "The server does not speak HTTP/2 in cleartext: WebSockets work over HTTP/1.1 alone. Browsers speak \
                     HTTP/2 only over TLS."
                        .to_owned()
                },
            ),
            (OverHttp2::Refused(why), OverHttp1::Works) => verdict(
                Kind::RefusedOverHttp2,
                format!("HTTP/2 offers extended CONNECT, but WebSockets do not open by it: {why}; {there}."),
            ),
            (OverHttp2::Unreachable(problem), OverHttp1::Works) => {
                verdict(Kind::RefusedOverHttp2, format!("HTTP/2 cannot be reached ({problem}); {there}."))
            }
            (OverHttp2::Refused(why), OverHttp1::Fails(why_not)) if why == why_not => {
                verdict(Kind::DoesNotWork, format!("No WebSocket opens here, neither over HTTP/2 nor HTTP/1.1: {why}."))
            }
            (OverHttp2::Refused(why), _) => {
                verdict(Kind::DoesNotWork, format!("No WebSocket opens over HTTP/2: {why}; {there}."))
            }
            (OverHttp2::NotOffered, _) => verdict(
                Kind::DoesNotWork,
                format!("HTTP/2 is spoken, but the server does not offer extended CONNECT (RFC 8441); {there}."),
            ),
            (OverHttp2::NotSpoken, _) => {
                verdict(Kind::DoesNotWork, format!("The server does not speak HTTP/2; {there}."))
            }
        }
    }

    /// What `sockeye probe --help` says.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Works | Kind::WorksOverHttp2Only => 0,
            Kind::Unreachable => 1,
            Kind::NotOfferedOverHttp2 | Kind::Http2NotSpoken => 3,
            Kind::RefusedOverHttp2 | Kind::FaultyOverHttp2 => 4,
            Kind::DoesNotWork => 5,
        })
    }
}

/// How it went over HTTP/2.
enum OverHttp2 {
    Works,
    /// It opens; what is wrong then.
    Faulty(String),
    /// It does not open, though the server offers the extended CONNECT; why.
    Refused(String),
    NotOffered,
    NotSpoken,
    Unreachable(Problem),
}

impl OverHttp2 {
    fn new(attempt: &Attempt) -> Self {
        let problem = attempt.problems.last();
        if let Some(handshake) = &attempt.handshake {
            return match faults(attempt) {
                _ if !handshake.accepted => Self::Refused(refusal(attempt)),
                Some(fault) => Self::Faulty(fault),
                None => Self::Works,
            };
        }
        match (&attempt.settings, problem) {
            (Some(settings), _) if !settings.enable_connect_protocol => Self::NotOffered,
            (Some(_), _) => Self::Refused(refusal(attempt)),
            (None, Some(problem)) if problem.step < Step::Settings => Self::Unreachable(problem.clone()),
            // It chose HTTP/2 by ALPN, and then did not speak it.
            (None, Some(problem)) if chose_http2(attempt) => Self::Refused(problem.text.clone()),
            (None, _) => Self::NotSpoken,
        }
    }
}

fn chose_http2(attempt: &Attempt) -> bool {
    attempt.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() == Some("h2"))
}

/// How it went over HTTP/1.1.
enum OverHttp1 {
    Works,
    /// Why not.
    Fails(String),
}

impl OverHttp1 {
    fn new(attempt: &Attempt) -> Self {
        let accepted = attempt.handshake.as_ref().is_some_and(|handshake| handshake.accepted);
        let problem = attempt.problems.iter().find(|problem| problem.step > Step::Handshake);
        match problem {
            _ if !accepted => Self::Fails(refusal(attempt)),
            Some(problem) => Self::Fails(problem.text.clone()),
            None => Self::Works,
        }
    }
}

/// Why no WebSocket was opened.
fn refusal(attempt: &Attempt) -> String {
    attempt.problems.last().map_or_else(|| "nothing says why".to_owned(), |problem| problem.text.clone())
}

/// What is wrong with a WebSocket over HTTP/2 that was opened.
fn faults(attempt: &Attempt) -> Option<String> {
    let problem = attempt.problems.iter().find(|problem| problem.step >= Step::Handshake);
    if let Some(problem) = problem {
        return Some(problem.text.clone());
    }
    let close = attempt.close.as_ref().filter(|close| !close.clean)?;
    Some(match &close.end {
        Some(Ending::Reset(reason)) => format!(
            "the server ends them by RST_STREAM ({reason}) instead of END_STREAM, after which browsers go back to \
             HTTP/1.1 for good"
        ),
        Some(end) if close.code.is_none() => format!("the server sent no Close frame before {end}"),
        Some(end) => format!("at their end {end}"),
        None => "the server leaves the stream open after the Close frames".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sockeye_proto::h2::{self, Reason};

    use super::super::attempt::{Attempt, Close, Ending, Handshake, Problem, Settings, Step, Tls};
    use super::{Kind, Verdict};

    fn handshake(status: u16, accepted: bool) -> Handshake {
        let (headers, extensions) = (Vec::new(), Vec::new());
        Handshake { status, accepted, subprotocol: None, extensions, headers, body: None, ms: Duration::ZERO.into() }
    }

    fn close(end: Option<Ending>) -> Close {
        let clean = matches!(end, Some(Ending::EndStream | Ending::Fin));
        Close { code: Some(1000), reason: String::new(), by_server: false, end, clean, ms: Duration::ZERO.into() }
    }

    /// A connection over TLS with this protocol chosen.
    fn connected(alpn: &str) -> Attempt {
        let tls = Tls {
            version: "TLSv1.3".to_owned(),
            cipher_suite: String::new(),
            alpn: Some(alpn.to_owned()),
            verified: true,
            handshake_ms: Duration::ZERO.into(),
        };
        Attempt { tls: Some(tls), ..Attempt::default() }
    }

    fn spoken(enable_connect_protocol: bool) -> Attempt {
        let settings = h2::Settings { enable_connect_protocol, ..h2::Settings::default() };
        Attempt { settings: Some(Settings::new(&settings, Duration::ZERO)), ..connected("h2") }
    }

    fn ended(end: Option<Ending>) -> Attempt {
        Attempt { handshake: Some(handshake(200, true)), close: Some(close(end)), ..spoken(true) }
    }

    fn works() -> Attempt {
        ended(Some(Ending::EndStream))
    }

    fn works_over_http1() -> Attempt {
        Attempt {
            handshake: Some(handshake(101, true)),
            close: Some(close(Some(Ending::Fin))),
            ..connected("http/1.1")
        }
    }

    fn refused(attempt: Attempt, status: u16) -> Attempt {
        let problems = vec![Problem::new(Step::Handshake, format!("the server answered {status}"))];
        Attempt { handshake: Some(handshake(status, false)), problems, ..attempt }
    }

    fn with(attempt: Attempt, step: Step, text: &str) -> Attempt {
        Attempt { problems: vec![Problem::new(step, text)], ..attempt }
    }

    #[test]
    fn the_verdict_says_what_was_found() {
        let no_tcp = || with(Attempt::default(), Step::Tcp, "connection refused");
        let rows = [
            (works(), works_over_http1(), Kind::Works, "work over HTTP/2 and HTTP/1.1"),
            (works(), refused(connected("http/1.1"), 426), Kind::WorksOverHttp2Only, "426"),
            (spoken(false), works_over_http1(), Kind::NotOfferedOverHttp2, "does not offer extended CONNECT"),
            (spoken(false), refused(connected("http/1.1"), 404), Kind::DoesNotWork, "404"),
            (
                with(connected("http/1.1"), Step::Settings, "chose http/1.1"),
                works_over_http1(),
                Kind::Http2NotSpoken,
                "does not speak HTTP/2",
            ),
            (
                with(connected("h2"), Step::Settings, "took longer than 5s"),
                works_over_http1(),
                Kind::RefusedOverHttp2,
                "took longer",
            ),
            (refused(spoken(true), 403), works_over_http1(), Kind::RefusedOverHttp2, "403"),
            (refused(spoken(true), 404), refused(connected("http/1.1"), 404), Kind::DoesNotWork, "neither"),
            (
                ended(Some(Ending::Reset(Reason::CANCEL))),
                works_over_http1(),
                Kind::FaultyOverHttp2,
                "RST_STREAM (CANCEL) instead of END_STREAM",
            ),
            (ended(None), works_over_http1(), Kind::FaultyOverHttp2, "leaves the stream open"),
            (with(works(), Step::Ping, "no Pong within 5s"), works_over_http1(), Kind::FaultyOverHttp2, "no Pong"),
            (no_tcp(), no_tcp(), Kind::Unreachable, "TCP: connection refused"),
        ];
        for (http2, http1, kind, text) in rows {
            let verdict = Verdict::new(&http2, &http1, true);
            assert_eq!(verdict.kind, kind, "{}", verdict.text);
            assert!(verdict.text.contains(text), "{}", verdict.text);
        }
    }

    #[test]
    fn an_address_that_failed_beside_one_that_works_is_no_fault() {
        let works = with(works(), Step::Tcp, "[::1]:4433: connection refused");
        assert_eq!(Verdict::new(&works, &works_over_http1(), true).kind, Kind::Works);
    }
}
