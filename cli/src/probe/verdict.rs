//! The verdict that a person understands, out of all that was found: what, why, and what to do next.

use std::process::ExitCode;

use serde::Serialize;

use super::advice::next_step;
use super::attempt::Attempt;
use super::outcome::{OverHttp1, OverHttp2, notes};

/// What a probe comes to.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    /// A sentence or two.
    pub(crate) text: String,
    /// What to do about it; null where all is well.
    pub(crate) next_step: Option<String>,
    /// What is no fault and worth knowing, a sentence or two each.
    pub(crate) notes: Vec<String>,
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
    /// It opens over HTTP/1.1, but something is wrong with it there; over HTTP/2 it works, or there is no HTTP/2 for it.
    FaultyOverHttp1,
    /// Over neither.
    DoesNotWork,
    /// There is no connection to the server.
    Unreachable,
}

impl Verdict {
    pub(crate) fn new(http2: &Attempt, http1: &Attempt, is_secure: bool) -> Self {
        let (over_http2, over_http1) = (OverHttp2::new(http2), OverHttp1::new(http1));
        let (kind, text) = judge(&over_http2, &over_http1, is_secure);
        let next_step = next_step((&over_http2, http2), (&over_http1, http1));
        Self { kind, text, next_step, notes: notes(http2, http1) }
    }

    /// What `sockeye probe --help` says.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Works | Kind::WorksOverHttp2Only => 0,
            Kind::Unreachable => 1,
            Kind::NotOfferedOverHttp2 | Kind::Http2NotSpoken => 3,
            Kind::RefusedOverHttp2 | Kind::FaultyOverHttp2 | Kind::FaultyOverHttp1 => 4,
            Kind::DoesNotWork => 5,
        })
    }
}

fn judge(http2: &OverHttp2, http1: &OverHttp1, is_secure: bool) -> (Kind, String) {
    match (http2, http1) {
        (OverHttp2::Works, _) => works(http1),
        (OverHttp2::Faulty(what), OverHttp1::Faulty(there)) if what == there => {
            (Kind::FaultyOverHttp2, format!("WebSockets open over HTTP/2 and HTTP/1.1, but over both {what}."))
        }
        (OverHttp2::Faulty(what), _) => {
            (Kind::FaultyOverHttp2, format!("WebSockets open over HTTP/2, but {what}; {}.", there(http1)))
        }
        (OverHttp2::Refused(what), OverHttp1::Fails(why)) => (
            Kind::DoesNotWork,
            format!(
                "No WebSocket opens here, over HTTP/2 or HTTP/1.1: the server offers extended CONNECT (RFC 8441), but \
                 {what}; over HTTP/1.1 {}.",
                if what.contains(why) { "it is the same" } else { why }
            ),
        ),
        (OverHttp2::Refused(what), _) => (
            Kind::RefusedOverHttp2,
            format!(
                "The server offers extended CONNECT (RFC 8441), but {what}, while {}: {}.",
                if matches!(http1, OverHttp1::Works) { "HTTP/1.1 works".to_owned() } else { there(http1) },
                loss(what, is_secure)
            ),
        ),
        (OverHttp2::Garbled(what), OverHttp1::Fails(_)) => {
            (Kind::DoesNotWork, format!("By ALPN the server chose HTTP/2, but {what}; {}.", there(http1)))
        }
        (OverHttp2::Garbled(what), _) => {
            (Kind::RefusedOverHttp2, format!("By ALPN the server chose HTTP/2, but {what}; {}.", there(http1)))
        }
        (OverHttp2::Unreachable(problem), OverHttp1::Fails(_)) => {
            (Kind::Unreachable, format!("There is no connection to the server. {problem}."))
        }
        (OverHttp2::Unreachable(problem), _) => {
            (Kind::RefusedOverHttp2, format!("HTTP/2 cannot be reached ({problem}); {}.", there(http1)))
        }
        (OverHttp2::NotOffered | OverHttp2::NotSpoken(_), _) => without_http2(http2, http1, is_secure),
    }
}

/// They work over HTTP/2.
fn works(http1: &OverHttp1) -> (Kind, String) {
    let browsers = "which browsers use while they have no HTTP/2 connection to the server";
    match http1 {
        OverHttp1::Works => (Kind::Works, "WebSockets work over HTTP/2 and HTTP/1.1.".to_owned()),
        OverHttp1::Faulty(what) => (
            Kind::FaultyOverHttp1,
            format!("WebSockets work over HTTP/2; over HTTP/1.1, {browsers}, they open, but {what}."),
        ),
        OverHttp1::Fails(why) => (
            Kind::WorksOverHttp2Only,
            format!("WebSockets work over HTTP/2, but not over HTTP/1.1, {browsers}: {why}."),
        ),
    }
}

/// HTTP/2 has none.
fn without_http2(http2: &OverHttp2, http1: &OverHttp1, is_secure: bool) -> (Kind, String) {
    let (kind, lack) = match http2 {
        OverHttp2::NotOffered => (
            Kind::NotOfferedOverHttp2,
            "HTTP/2 is spoken, but the server does not offer extended CONNECT (RFC 8441)".to_owned(),
        ),
        _ if is_secure => (Kind::Http2NotSpoken, "The server does not speak HTTP/2".to_owned()),
        _ => (
            Kind::Http2NotSpoken,
            "The server does not speak HTTP/2 in cleartext (browsers speak it only over TLS)".to_owned(),
        ),
    };
    match http1 {
        OverHttp1::Works => (kind, format!("{lack}: WebSockets work over HTTP/1.1 alone, which browsers use then.")),
        OverHttp1::Faulty(what) => (
            Kind::FaultyOverHttp1,
            format!("{lack}; over HTTP/1.1, which browsers use then, WebSockets open, but {what}."),
        ),
        OverHttp1::Fails(why) => match http2 {
            OverHttp2::NotSpoken(what) if what != why => {
                (Kind::DoesNotWork, format!("{lack}: {what}; over HTTP/1.1 WebSockets fail: {why}."))
            }
            _ => (Kind::DoesNotWork, format!("{lack}; over HTTP/1.1 WebSockets fail: {why}.")),
        },
    }
}

/// How it is over HTTP/1.1.
fn there(http1: &OverHttp1) -> String {
    match http1 {
        OverHttp1::Works => "over HTTP/1.1 they work".to_owned(),
        OverHttp1::Faulty(what) => format!("over HTTP/1.1 they open, but {what}"),
        OverHttp1::Fails(why) => format!("over HTTP/1.1 they fail: {why}"),
    }
}

/// What an offer that is not kept does to pages. No browser goes over HTTP/1.1 for a status, or for a reset other than
/// HTTP_1_1_REQUIRED (RFC 9113 §7).
fn loss(what: &str, is_secure: bool) -> String {
    let behind = if is_secure { "" } else { "behind TLS, " };
    let loss = "browsers that have this site open will lose their WebSockets";
    if what.contains("HTTP_1_1_REQUIRED") {
        return format!("{behind}{loss}, and Chromium alone goes over HTTP/1.1 from then on");
    }
    format!("{behind}{loss}")
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
        let clean = end.as_ref().is_some_and(Ending::is_clean);
        let (reason, ended_first) = (String::new(), true);
        Close { code: Some(1000), reason, by_server: false, end, ended_first, clean, ms: Duration::ZERO.into() }
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
        let mut settings = h2::Settings::default();
        settings.enable_connect_protocol = enable_connect_protocol;
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
            (
                refused(spoken(true), 404),
                refused(connected("http/1.1"), 404),
                Kind::DoesNotWork,
                "No WebSocket opens here",
            ),
            (
                ended(Some(Ending::Reset(Reason::CANCEL))),
                works_over_http1(),
                Kind::Works,
                "work over HTTP/2 and HTTP/1.1",
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

    /// What one version of HTTP shows to be right is not to be looked at for the other.
    #[test]
    fn the_next_step_goes_by_both_versions() {
        let page = |mut attempt: Attempt| {
            if let Some(handshake) = &mut attempt.handshake {
                handshake.headers.push(("content-type".to_owned(), "text/html".to_owned()));
            }
            with(attempt, Step::Ping, "reserved bit set")
        };
        let unasked = |attempt| with(attempt, Step::Handshake, "the server chose a subprotocol that was not offered");
        let http1 = || connected("http/1.1");
        let closed = |code, by_server| Attempt {
            close: Some(Close { code, by_server, ..close(Some(Ending::EndStream)) }),
            ..works()
        };
        let rows = [
            (works(), refused(http1(), 404), "take HTTP/1.1 upgrades"),
            (works(), refused(http1(), 403), "over HTTP/1.1 (-H, -o) than over HTTP/2"),
            (works(), refused(http1(), 301), "Location"),
            (refused(spoken(true), 404), refused(http1(), 404), "Check the path"),
            (refused(spoken(true), 404), works_over_http1(), "take an extended CONNECT"),
            (unasked(refused(spoken(true), 200)), works_over_http1(), "-s"),
            (works(), unasked(refused(http1(), 101)), "-s"),
            (page(works()), works_over_http1(), "take an extended CONNECT"),
            (page(works()), refused(http1(), 200), "Check the path"),
            (refused(spoken(true), 429), works_over_http1(), "Try again"),
            (refused(spoken(true), 302), works_over_http1(), "Location"),
            (refused(spoken(true), 500), works_over_http1(), "log"),
            (closed(Some(1011), true), works_over_http1(), "log"),
            (closed(None, true), works_over_http1(), "log"),
            // Nothing had ended these: the server does not speak as it is to.
            (closed(None, false), works_over_http1(), "Report it"),
            (with(closed(None, true), Step::Message, "the server broke a rule"), works_over_http1(), "Report it"),
        ];
        for (http2, http1, part) in rows {
            let next = Verdict::new(&http2, &http1, true).next_step.unwrap();
            assert!(next.to_lowercase().contains(&part.to_lowercase()), "{part}: {next}");
        }
    }

    #[test]
    fn an_address_that_failed_beside_one_that_works_is_no_fault() {
        let works = with(works(), Step::Tcp, "[::1]:4433: connection refused");
        assert_eq!(Verdict::new(&works, &works_over_http1(), true).kind, Kind::Works);
    }
}
