//! How it went over each version of HTTP: what a page would notice is a fault, and what it would not is a note.

use http::StatusCode;
use sockeye_proto::h2::Reason;

use super::attempt::{Attempt, Close, Ending, Problem, Sockets, Step};

/// How it went over HTTP/2.
pub(super) enum OverHttp2 {
    Works,
    /// It opens; what is wrong then.
    Faulty(String),
    /// The server offers the extended CONNECT, and answers it otherwise; what it does.
    Refused(String),
    /// It chose HTTP/2 by ALPN, and did not speak it; what it did.
    Garbled(String),
    NotOffered,
    /// What there is in place of it.
    NotSpoken(String),
    Unreachable(Problem),
}

/// How it went over HTTP/1.1.
pub(super) enum OverHttp1 {
    Works,
    /// It opens; what is wrong then.
    Faulty(String),
    /// It does not open; why.
    Fails(String),
}

impl OverHttp2 {
    pub(super) fn new(attempt: &Attempt) -> Self {
        if let Some(handshake) = &attempt.handshake {
            return match fault(attempt, Carrier::Http2) {
                _ if !handshake.accepted => Self::Refused(refusal(attempt)),
                Some(fault) => Self::Faulty(fault),
                None => Self::Works,
            };
        }
        match (&attempt.settings, attempt.problems.last()) {
            (Some(settings), _) if !settings.enable_connect_protocol => Self::NotOffered,
            (Some(_), _) => Self::Refused(refusal(attempt)),
            (None, Some(problem)) if problem.step < Step::Settings => Self::Unreachable(problem.clone()),
            (None, Some(problem)) if chose_http2(attempt) => Self::Garbled(problem.text.clone()),
            (None, _) => Self::NotSpoken(reason(attempt)),
        }
    }
}

impl OverHttp1 {
    pub(super) fn new(attempt: &Attempt) -> Self {
        let accepted = attempt.handshake.as_ref().is_some_and(|handshake| handshake.accepted);
        match fault(attempt, Carrier::Http1) {
            _ if !accepted => Self::Fails(reason(attempt)),
            Some(fault) => Self::Faulty(fault),
            None => Self::Works,
        }
    }
}

/// Whether a WebSocket opens over HTTP/2 as far as was seen, and nothing is wrong with it.
pub(super) fn is_sound(attempt: &Attempt) -> bool {
    matches!(OverHttp2::new(attempt), OverHttp2::Works)
}

/// What a server may do that is no fault, and is worth knowing.
pub(super) fn notes(http2: &Attempt, http1: &Attempt) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let closes = [&http2.close, &http2.close_with_end_stream].into_iter().flatten().filter(|close| has_ended(close));
    let reset =
        closes.filter_map(|close| close.end.as_ref()).find(|end| matches!(end, Ending::Reset(_)) && !end.is_clean());
    if let Some(Ending::Reset(reason)) = reset {
        notes.push(format!(
            "The server ends WebSockets over HTTP/2 by RST_STREAM ({reason}) in place of END_STREAM: the code arrives, but \
             Chromium calls the end unclean (wasClean is false)."
        ));
    }
    match http2.close.as_ref().filter(|close| has_ended(close) && !close.ended_first).and_then(|close| close.end.as_ref()) {
        Some(Ending::Broken(how)) => notes.push(format!(
            "Over HTTP/2 a client that ends its half in a frame of its own, behind its Close, loses the connection with all \
             that is on it ({how}). Chromium and Firefox do not do that."
        )),
        Some(_) => notes.push(
            "Over HTTP/2 the server ends its half of the stream only after the client's, though it should be first (RFC 6455 \
             §7.1.1). Firefox does not end its half after a Close."
                .to_owned(),
        ),
        None => {}
    }
    let most = http2.settings.as_ref().and_then(|settings| settings.max_concurrent_streams);
    if let (Some(sockets), Some(most)) = (&http2.sockets, most)
        && sockets.asked == most
    {
        notes.push(format!(
            "The server's SETTINGS allow {most} streams on a connection: at that many WebSockets a page's next one waits, and \
             so do its own requests."
        ));
    }
    for (attempt, version) in [(http2, "HTTP/2"), (http1, "HTTP/1.1")] {
        if let Some(close) = attempt.close.as_ref().filter(|close| close.by_server && !is_error(close)) {
            let when = moment(attempt);
            notes.extend(
                close.code.map(|code| format!("Over {version} the server closed {when} ({}).", code_name(code))),
            );
        }
    }
    notes
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Http2,
    Http1,
}

fn chose_http2(attempt: &Attempt) -> bool {
    attempt.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() == Some("h2"))
}

/// What the server does with the extended CONNECT in place of opening a WebSocket: a predicate.
fn refusal(attempt: &Attempt) -> String {
    let status = attempt.handshake.as_ref().and_then(|handshake| StatusCode::from_u16(handshake.status).ok());
    match status.filter(|status| *status != StatusCode::OK) {
        Some(status) => format!("answers {status} to it"),
        None => format!("opens no WebSocket by it ({})", reason(attempt)),
    }
}

/// Why no WebSocket was opened.
fn reason(attempt: &Attempt) -> String {
    attempt.problems.last().map_or_else(|| "nothing says why".to_owned(), |problem| problem.text.clone())
}

/// What is wrong with a WebSocket that was opened: what a browser's page would notice.
fn fault(attempt: &Attempt, carrier: Carrier) -> Option<String> {
    let problem = attempt.problems.iter().find(|problem| problem.step > Step::Handshake);
    let close = attempt.close.as_ref();
    if let Some(field) = page_field(attempt) {
        return Some(format!(
            "the server took the CONNECT for a request of a page: its answer has {field}, and its content is no WebSocket's"
        ));
    }
    if let Some(status) = odd_status(attempt) {
        return Some(format!("the server answers {status} to the CONNECT, and browsers take no status but 200"));
    }
    problem
        .map(|problem| problem.text.clone())
        .or_else(|| close.and_then(|close| wrong_code(attempt, close).or_else(|| wrong_end(close, carrier))))
        .or_else(|| attempt.sockets.as_ref().and_then(|sockets| too_few(sockets, attempt)))
        .or_else(|| attempt.close_with_end_stream.as_ref().and_then(wrong_for_chromium))
}

/// The status of an answer that RFC 8441 §5 takes, as any 2xx, and no browser does.
pub(super) fn odd_status(attempt: &Attempt) -> Option<StatusCode> {
    let handshake = attempt.handshake.as_ref().filter(|it| it.accepted && !matches!(it.status, 101 | 200))?;
    StatusCode::from_u16(handshake.status).ok()
}

/// A field that an answer to the CONNECT has which is a page, and one to a WebSocket's handshake has not (RFC 9110 §8.3, §8.6).
pub(super) fn page_field(attempt: &Attempt) -> Option<String> {
    let has_problem = attempt.problems.iter().any(|problem| problem.step > Step::Handshake);
    if !has_problem && attempt.close.as_ref().is_none_or(|close| close.code.is_some()) {
        return None;
    }
    let headers = &attempt.handshake.as_ref().filter(|it| it.accepted && it.status != 101)?.headers;
    let (name, value) = headers.iter().find(|(name, _)| name == "content-type" || name == "content-length")?;
    Some(format!("{name}: {value}"))
}

/// Whether both sides have said Close, and the server ended it in any way.
fn has_ended(close: &Close) -> bool {
    close.code.is_some() && close.end.is_some()
}

/// Whether the server's Close says that something is wrong. 1000, 1001 and no code do not (RFC 6455 §7.4.1), and what
/// an application answers to a Close with a code of its own (§7.4.2) is its own affair.
fn is_error(close: &Close) -> bool {
    match close.code {
        None | Some(1000 | 1001 | 1005) => false,
        Some(3000..) => close.by_server,
        Some(_) => true,
    }
}

fn wrong_code(attempt: &Attempt, close: &Close) -> Option<String> {
    let code = close.code.filter(|_| is_error(close))?;
    let reason = if close.reason.is_empty() { String::new() } else { format!(" \"{}\"", close.reason) };
    Some(format!("the server closes them with {}{reason} {}", code_name(code), moment(attempt)))
}

/// When the server closed.
fn moment(attempt: &Attempt) -> &'static str {
    match &attempt.close {
        Some(close) if !close.by_server => "in answer to the Close",
        _ if attempt.ping_ms.is_none() => "before it answers a Ping",
        _ => "after the message",
    }
}

/// A Close code and what it means (RFC 6455 §7.4.1, and the registry of §11.7).
fn code_name(code: u16) -> String {
    let meaning = match code {
        1000 => "normal",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => return "no code".to_owned(),
        1007 => "invalid data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "missing extension",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        _ => return code.to_string(),
    };
    format!("{code} ({meaning})")
}

fn wrong_end(close: &Close, carrier: Carrier) -> Option<String> {
    let what = if carrier == Carrier::Http2 { "stream" } else { "TCP connection" };
    match &close.end {
        Some(end) if close.code.is_none() => {
            Some(format!("the server sent no Close frame before {end}, so that pages see code 1006"))
        }
        None if close.code.is_none() => Some("the server sent no Close frame".to_owned()),
        None => Some(format!("the server leaves the {what} open after the Close frames")),
        // RFC 9113 §7
        Some(Ending::Reset(Reason::HTTP_1_1_REQUIRED)) => Some(
            "the server ends them by RST_STREAM (HTTP_1_1_REQUIRED), for which Chromium ends the connection with all its \
             WebSockets and uses HTTP/1.1 from then on"
                .to_owned(),
        ),
        Some(Ending::Broken(how)) if carrier == Carrier::Http2 && close.ended_first => {
            Some(format!("at the end of one {how}, with all other WebSockets on the connection"))
        }
        Some(_) => None,
    }
}

/// What a page misses that opens many.
fn too_few(sockets: &Sockets, attempt: &Attempt) -> Option<String> {
    let Sockets { asked, opened, refused, unanswered } = *sockets;
    if opened == asked {
        return None;
    }
    let most = attempt.settings.as_ref().and_then(|settings| settings.max_concurrent_streams);
    let allowed = most.map_or_else(|| "set no limit to streams".to_owned(), |most| format!("allow {most} streams"));
    let mut missing = Vec::new();
    if refused > 0 {
        missing.push(format!("{refused} were refused"));
    }
    if unanswered > 0 {
        missing.push(format!("{unanswered} got no answer"));
    }
    let missing = missing.join(" and ");
    Some(format!(
        "of {asked} at once on a connection {opened} opened and {missing}, though the server's SETTINGS {allowed}"
    ))
}

/// What is lost where the client's half ends in the DATA frame of its Close.
fn wrong_for_chromium(close: &Close) -> Option<String> {
    let lost = match (&close.end, close.code) {
        (Some(end), None) => format!("answers with {end} and no Close"),
        (None, None) => "does not answer with a Close".to_owned(),
        (Some(Ending::Broken(how)), Some(_)) => return Some(format!("when Chromium closes one, {how}")),
        (None, Some(_)) => {
            // Seen with Hypercorn 0.18: Firefox's event comes at once, with the same code, and both call the end clean.
            let text = "the server leaves the stream open after both Close frames, though the client has ended its half (as \
                        Chromium does with its Close): the code arrives, but the close event of Chromium's pages comes two \
                        seconds late";
            return Some(text.to_owned());
        }
        (Some(_), Some(_)) => return None,
    };
    Some(format!(
        "the server takes Chromium's end of one for an abort: Chromium puts END_STREAM into the DATA frame of its Close, and \
         the server {lost}, so that close() ends with code 1006 there"
    ))
}
