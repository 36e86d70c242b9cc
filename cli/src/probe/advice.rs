//! What to do next about what a probe has found.

use super::attempt::{Attempt, Problem, Step};
use super::outcome::{OverHttp1, OverHttp2, odd_status, page_field};

const TAKE_CONNECT: &str = "Let the server's route take an extended CONNECT (:protocol websocket), or have the server not offer \
                            it: without SETTINGS_ENABLE_CONNECT_PROTOCOL browsers open WebSockets over HTTP/1.1.";

const CHOOSE: &str = "Have the server choose among what the handshake offers alone (RFC 6455 §4.2.2); a subprotocol that it \
                      wants is offered by -s.";

/// The next step for whoever runs the server, or the probe; none where all is well.
pub(super) fn next_step(http2: (&OverHttp2, &Attempt), http1: (&OverHttp1, &Attempt)) -> Option<String> {
    let advice = match (http2, http1) {
        ((OverHttp2::Works, _), (OverHttp1::Works, _)) => return None,
        ((OverHttp2::Unreachable(problem), _), (OverHttp1::Fails(_), _)) => unreachable(problem)?,
        ((OverHttp2::NotOffered | OverHttp2::NotSpoken(_), _), (OverHttp1::Works, _)) => {
            "Nothing needs to be mended: browsers work, with a TCP connection for each WebSocket. To have WebSockets share \
             the page's connection, switch RFC 8441 on in the server, where it has that (see its documentation of HTTP/2), \
             or put one in front that has it."
        }
        ((OverHttp2::Refused(_), attempt), _) | (_, (OverHttp1::Fails(_), attempt)) if chose_freely(attempt) => CHOOSE,
        ((OverHttp2::Refused(_), http2), (OverHttp1::Works | OverHttp1::Faulty(_), _)) => refused_over_http2(http2),
        ((OverHttp2::Garbled(_), _), _) => {
            "Have the server, or what ends TLS in front of it, speak HTTP/2 where it chooses h2 by ALPN, or not choose it."
        }
        ((OverHttp2::Works, _), (OverHttp1::Fails(_), http1)) => match status(http1) {
            Some(401 | 403) => {
                "Check whether the server asks for other credentials or another Origin over HTTP/1.1 (-H, -o) than over \
                 HTTP/2."
            }
            Some(status @ (300..=399 | 429 | 500 | 502..)) => refused_by_status(status),
            // The path is right, as HTTP/2 shows.
            _ => "Let the same server take HTTP/1.1 upgrades too, or let pages open HTTP/2 connections to it first.",
        },
        ((OverHttp2::NotSpoken(what), _), (OverHttp1::Fails(why), _))
            if [what, why].iter().any(|it| it.contains("wss://")) =>
        {
            "Probe the wss:// URL: there is TLS on this port."
        }
        ((OverHttp2::Faulty(_), http2), (OverHttp1::Fails(_), http1))
            if page_field(http2).is_some() && matches!(status(http1), Some(200..=299 | 404)) =>
        {
            refused_by_status(200)
        }
        ((OverHttp2::Faulty(_), attempt), _) | (_, (OverHttp1::Faulty(_), attempt)) => faulty(attempt),
        (_, (OverHttp1::Fails(_), http1)) => match status(http1).or_else(|| status(http2.1)) {
            Some(status) => refused_by_status(status),
            None => "Look into the server's log for what it made of the handshake.",
        },
        ((OverHttp2::Unreachable(_), _), (OverHttp1::Works, _)) => {
            "Offer both h2 and http/1.1 by ALPN: browsers do, and the server fails for it."
        }
    };
    Some(advice.to_owned())
}

fn status(attempt: &Attempt) -> Option<u16> {
    attempt.handshake.as_ref().filter(|handshake| !handshake.accepted).map(|handshake| handshake.status)
}

/// Whether a server answered with something that nobody had offered.
fn chose_freely(attempt: &Attempt) -> bool {
    attempt.problems.iter().any(|problem| problem.step == Step::Handshake && problem.text.contains("not offered"))
}

fn unreachable(problem: &Problem) -> Option<&'static str> {
    Some(match problem.step {
        Step::Dns => "Check the host's name in the URL.",
        Step::Tcp => {
            "Check that the server runs and listens on this address and port, and that no firewall is between."
        }
        Step::Tls if problem.text.contains("-k takes") => {
            "Give the server a certificate for this name by an authority that this system trusts, or probe with -k."
        }
        Step::Tls if problem.text.contains("(its alert)") => {
            "Show the server a certificate that it takes (--cert, --key), if it asks for one; else look into its log."
        }
        Step::Tls if problem.text.contains("ws://") => "Probe the ws:// URL: there is cleartext on this port.",
        Step::Tls => "Check that the server speaks TLS on this port.",
        _ => return None,
    })
}

/// The server said that it takes extended CONNECT, and then does not.
fn refused_over_http2(attempt: &Attempt) -> &'static str {
    let body = attempt.handshake.as_ref().and_then(|handshake| handshake.body.as_deref()).unwrap_or_default();
    match status(attempt) {
        Some(400) if body.to_ascii_lowercase().contains("sec-websocket-key") => {
            "A proxy hands the CONNECT to a server of HTTP/1.1 without a Sec-WebSocket-Key (Envoy does): let the proxy speak \
             HTTP/2 to a server that takes extended CONNECT, or have it not offer that (Envoy: no allow_connect)."
        }
        Some(405) => {
            "Let the route take the method CONNECT beside GET (in axum: `any` in place of `get`), or have the server not \
             offer extended CONNECT."
        }
        Some(401 | 403) => {
            "Check whether the server asks for other credentials or another Origin over HTTP/2 (-H, -o) than over HTTP/1.1."
        }
        Some(status @ (300..=399 | 429 | 500)) => refused_by_status(status),
        Some(502..=504) => {
            "Check what the proxy speaks to the server behind it: an extended CONNECT needs HTTP/2 there, or a proxy that \
             makes an upgrade of it."
        }
        _ => TAKE_CONNECT,
    }
}

/// No WebSocket opens, and the server said so by a status.
fn refused_by_status(status: u16) -> &'static str {
    match status {
        401 | 407 => "Give credentials: -H 'Authorization: …', -H 'Cookie: …', or in the URL.",
        403 => {
            "Give the Origin of a page that may open this WebSocket (-o https://…), or credentials (-H 'Cookie: …')."
        }
        404 | 410 => "Check the path in the URL.",
        300..=399 => "Probe the URL that the Location of the answer names: browsers follow none for a WebSocket.",
        200..=299 => "This URL answers as a page, not as a WebSocket: check the path in the URL.",
        429 | 503 => "Try again later.",
        502 | 504 => "Check the server behind the proxy, and which version of HTTP the proxy speaks to it.",
        _ => "Look into the server's log for what it made of the handshake.",
    }
}

/// It opens, and then something is wrong.
fn faulty(attempt: &Attempt) -> &'static str {
    if page_field(attempt).is_some() || odd_status(attempt).is_some() {
        return TAKE_CONNECT;
    }
    let Some(close) = &attempt.close else { return "Look into the server's log for what ended the connection." };
    let chromium = attempt.close_with_end_stream.as_ref();
    let log = "Look into the server's log for the error that ended it.";
    match close.code {
        Some(1011..=1014) => log,
        // What broke no rule, and nobody had asked to end.
        None if close.by_server && !attempt.problems.iter().any(|problem| problem.text.contains("broke a rule")) => log,
        Some(1008 | 3000..) if close.by_server => {
            "Give the server what its code and its reason ask for, such as credentials (-H), an Origin (-o), a subprotocol (-s) \
             or another --message."
        }
        Some(1002..=1010) if close.by_server => {
            "If the server wants other messages than the probe's, give one by --message, or none by --message ''."
        }
        _ if attempt.sockets.is_some_and(|sockets| sockets.opened < sockets.asked) => {
            "Have the server's SETTINGS_MAX_CONCURRENT_STREAMS say how many WebSockets it really takes, or switch extended \
             CONNECT off for pages with more than a few."
        }
        _ if chromium.is_some_and(|close| close.code.is_none()) => {
            "Have the server answer a Close whose frame has END_STREAM (an update may do), or switch extended CONNECT off."
        }
        _ => "Report it to whoever makes the server, with this output (--json has all of it).",
    }
}
