//! What becomes of each thing that a server may do.

use super::common::peer::{
    CANCEL, CONNECT_ERROR, Does, HTTP_1_1_REQUIRED, Http1, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR, OFFER,
    Peer, REFUSED_STREAM,
};
use super::{FAULTY, HTTP_1_ALONE, WORKS, WORKS_NOT, found, verdict};

fn peer() -> Peer {
    Peer::default()
}

fn not_found() -> Http1 {
    Http1::Says(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec())
}

#[test]
fn a_server_that_does_right_works() {
    verdict(peer(), "works", WORKS, &["WebSockets work over HTTP/2 and HTTP/1.1."]);
    let (_, report) = found(peer(), &[]);
    assert_eq!(report["verdict"]["notes"].as_array().unwrap().len(), 0, "{report:#}");
    assert_eq!(report["http2"]["sockets"]["opened"], 20, "{report:#}");
    assert_eq!(report["http2"]["close_with_end_stream"]["clean"], true, "{report:#}");
}

#[test]
fn one_version_alone_is_said() {
    let without_http1 = Peer { http1: not_found(), ..peer() };
    verdict(without_http1, "works_over_http2_only", WORKS, &["404", "HTTP/1.1"]);
    verdict(Peer { settings: None, ..peer() }, "http2_not_spoken", HTTP_1_ALONE, &["does not speak HTTP/2"]);
    let not_offered = Peer { settings: Some(vec![]), ..peer() };
    verdict(
        not_offered.clone(),
        "not_offered_over_http2",
        HTTP_1_ALONE,
        &["does not offer extended CONNECT (RFC 8441)"],
    );
    verdict(Peer { http1: not_found(), ..not_offered }, "does_not_work", WORKS_NOT, &["404", "Check the path"]);
}

/// No browser goes over HTTP/1.1 for any of these.
#[test]
fn an_offer_that_is_not_kept_costs_browsers_their_websockets() {
    for status in [302, 400, 403, 404, 405, 426, 500, 501, 503] {
        let refusing = Peer { on_connect: Does::Answers(status, vec![], "no"), ..peer() };
        let parts = [
            "offers extended CONNECT (RFC 8441), but answers ",
            &status.to_string(),
            "while HTTP/1.1 works: ",
            "browsers that have this site open will lose their WebSockets",
        ];
        verdict(refusing, "refused_over_http2", FAULTY, &parts);
    }
    for (does, part) in [
        (Does::Resets(REFUSED_STREAM), "REFUSED_STREAM"),
        (Does::Resets(HTTP_1_1_REQUIRED), "HTTP_1_1_REQUIRED"),
        (Does::GoesAway(INTERNAL_ERROR), "INTERNAL_ERROR"),
        (Does::Disconnects, "ended the whole connection"),
        (Does::Nothing, "no answer within 1.5s"),
    ] {
        verdict(Peer { on_connect: does, ..peer() }, "refused_over_http2", FAULTY, &[part, "lose their WebSockets"]);
    }
}

/// RFC 8441 §5 takes any 2xx.
#[test]
fn a_status_that_browsers_do_not_take_is_a_fault() {
    for status in [201, 204] {
        let other = Peer { on_connect: Does::Accepts(status), ..peer() };
        verdict(
            other,
            "faulty_over_http2",
            FAULTY,
            &[&status.to_string(), "no status but 200", "take an extended CONNECT"],
        );
    }
}

#[test]
fn a_refusal_by_either_version_says_what_to_do() {
    let refusing = |status, http1| Peer { on_connect: Does::Answers(status, vec![], ""), http1, ..peer() };
    verdict(refusing(404, not_found()), "does_not_work", WORKS_NOT, &["404", "Check the path"]);
    let body = Does::Answers(400, vec![], "Missing or invalid Sec-WebSocket-Key header");
    verdict(Peer { on_connect: body, ..peer() }, "refused_over_http2", FAULTY, &["Sec-WebSocket-Key", "proxy"]);
    verdict(refusing(405, Http1::Right), "refused_over_http2", FAULTY, &["method CONNECT"]);
}

/// What ends both halves after both Closes is an end for every browser, whatever its code.
#[test]
fn a_reset_after_the_closes_is_a_note() {
    for (code, name) in [(CONNECT_ERROR, "CONNECT_ERROR"), (CANCEL, "CANCEL"), (INTERNAL_ERROR, "INTERNAL_ERROR")] {
        let resets = Does::ClosesAndResets(code);
        let peer = Peer { on_close: resets.clone(), on_close_with_end: resets, ..peer() };
        verdict(peer, "works", WORKS, &[name, "in place of END_STREAM", "wasClean is false"]);
    }
    let resets = Does::ClosesAndResets(NO_ERROR);
    let (status, report) = found(Peer { on_close: resets.clone(), on_close_with_end: resets, ..peer() }, &[]);
    assert_eq!(
        (status, &report["verdict"]["notes"], &report["http2"]["close"]["clean"]),
        (0, &serde_json::json!([]), &true.into())
    );
    let resets = Does::ClosesAndResets(HTTP_1_1_REQUIRED);
    verdict(Peer { on_close: resets, ..peer() }, "faulty_over_http2", FAULTY, &["HTTP_1_1_REQUIRED"]);
}

#[test]
fn an_end_that_no_browser_meets_is_a_note() {
    let second = Peer { on_close: Does::EndsSecond, ..peer() };
    verdict(second, "works", WORKS, &["only after the client's"]);
    let connection = Peer { on_close: Does::EndsConnectionSecond, ..peer() };
    verdict(connection, "works", WORKS, &["loses the connection", "Chromium and Firefox do not do that"]);
}

#[test]
fn a_missing_close_is_a_fault_over_either_version() {
    let ends = Peer { on_close: Does::Ends, ..peer() };
    verdict(
        ends,
        "faulty_over_http2",
        FAULTY,
        &["no Close frame before END_STREAM", "1006", "over HTTP/1.1 they work"],
    );
    let both = Peer { on_close: Does::Ends, http1: Http1::Same, ..peer() };
    verdict(both, "faulty_over_http2", FAULTY, &["no Close frame"]);
    let http1 = Peer { http1: Http1::OnClose(Does::Ends), ..peer() };
    verdict(http1.clone(), "faulty_over_http1", FAULTY, &["WebSockets work over HTTP/2", "no Close frame before FIN"]);
    verdict(
        Peer { settings: Some(vec![]), ..http1.clone() },
        "faulty_over_http1",
        FAULTY,
        &["no Close frame", "not offer"],
    );
    verdict(
        Peer { settings: None, ..http1 },
        "faulty_over_http1",
        FAULTY,
        &["no Close frame", "does not speak HTTP/2"],
    );
}

#[test]
fn what_is_left_open_is_a_fault_over_either_version() {
    let open = Peer { on_close: Does::ClosesOnly, ..peer() };
    verdict(open, "faulty_over_http2", FAULTY, &["leaves the stream open"]);
    let http1 = Peer { http1: Http1::OnClose(Does::ClosesOnly), ..peer() };
    verdict(http1, "faulty_over_http1", FAULTY, &["leaves the TCP connection open"]);
}

#[test]
fn a_close_with_an_error_is_a_fault_with_its_name() {
    for (code, name) in
        [(1011, "1011 (internal error)"), (1008, "1008 (policy violation)"), (1013, "1013 (try again later)")]
    {
        let both = Peer { on_message: Does::Closes(code, "oh"), http1: Http1::Same, ..peer() };
        let parts = ["over both the server closes them with ", name, "oh", "after the message"];
        verdict(both, "faulty_over_http2", FAULTY, &parts);
        let alone = Peer { on_message: Does::Closes(code, ""), settings: None, http1: Http1::Same, ..peer() };
        verdict(alone, "faulty_over_http1", FAULTY, &["closes them with ", name, " after the message"]);
    }
    let answer = Peer { on_close: Does::Closes(1011, ""), ..peer() };
    verdict(answer, "faulty_over_http2", FAULTY, &["with 1011 (internal error) in answer to the Close"]);
    let at_once = Peer { on_open: Does::Closes(4401, "log in"), ..peer() };
    verdict(
        at_once,
        "faulty_over_http2",
        FAULTY,
        &["with 4401 ", "log in", "before it answers a Ping", "credentials (-H)"],
    );
}

#[test]
fn a_clean_close_of_the_servers_own_is_a_note() {
    for code in [1000, 1001] {
        let closes = Peer { on_message: Does::Closes(code, "done"), http1: Http1::Same, ..peer() };
        verdict(
            closes,
            "works",
            WORKS,
            &["Over HTTP/2 the server closed after the message", "Over HTTP/1.1 the server"],
        );
    }
}

#[test]
fn an_end_names_its_reason() {
    let rows = [
        (Peer { on_ping: Does::Nothing, ..peer() }, "no Pong within 1.5s"),
        (Peer { on_open: Does::GoesAway(1), ..peer() }, "by GOAWAY: PROTOCOL_ERROR"),
        (
            Peer { on_ping: Does::Resets(INTERNAL_ERROR), ..peer() },
            "reset the stream (INTERNAL_ERROR), without a Close frame, before the Pong",
        ),
        (Peer { on_message: Does::Ends, ..peer() }, "ended the stream, without a Close frame, after the message"),
        (Peer { on_open: Does::Says(b"\x81\x81\0\0\0\0a".to_vec()), ..peer() }, "RFC 6455"),
    ];
    for (peer, part) in rows {
        verdict(peer, "faulty_over_http2", FAULTY, &[part]);
    }
}

/// SETTINGS allow more than the server serves: a page finds out by waiting.
#[test]
fn sockets_that_a_page_misses_are_counted() {
    let silent =
        Peer { beyond: Some((6, Does::Nothing)), settings: Some(vec![OFFER, (MAX_CONCURRENT_STREAMS, 100)]), ..peer() };
    let parts = ["of 20 at once on a connection 6 opened and 14 got no answer", "allow 100 streams"];
    verdict(silent, "faulty_over_http2", FAULTY, &parts);
    let refusing = Peer { beyond: Some((5, Does::Resets(REFUSED_STREAM))), ..peer() };
    verdict(refusing, "faulty_over_http2", FAULTY, &["5 opened and 15 were refused", "set no limit"]);
    let few = Peer { settings: Some(vec![OFFER, (MAX_CONCURRENT_STREAMS, 8)]), ..peer() };
    verdict(few, "works", WORKS, &["allow 8 streams on a connection"]);
}

#[test]
fn as_many_sockets_are_opened_as_are_asked_for() {
    let silent = || Peer { beyond: Some((6, Does::Nothing)), ..peer() };
    let (status, report) = found(silent(), &["--sockets", "6"]);
    assert_eq!((status, &report["http2"]["sockets"]["opened"]), (WORKS, &6.into()), "{report:#}");
    let (status, report) = found(silent(), &["--sockets", "0"]);
    assert_eq!((status, report["http2"]["sockets"].is_null()), (WORKS, true), "{report:#}");
}

#[test]
fn a_close_as_chromium_sends_it_is_tried() {
    for (does, part) in [
        (Does::Resets(INTERNAL_ERROR), "answers with RST_STREAM(INTERNAL_ERROR) and no Close"),
        (Does::Nothing, "does not answer with a Close"),
        (Does::Disconnects, "and no Close"),
    ] {
        let parts = [part, "END_STREAM into the DATA frame of its Close", "1006"];
        verdict(Peer { on_close_with_end: does, ..peer() }, "faulty_over_http2", FAULTY, &parts);
    }
    // Its code arrives.
    let open = Peer { on_close_with_end: Does::ClosesOnly, ..peer() };
    let (_, report) = found(open.clone(), &[]);
    assert!(!report["verdict"]["text"].as_str().unwrap().contains("1006"), "{report:#}");
    verdict(open, "faulty_over_http2", FAULTY, &["leaves the stream open after both Close frames", "two seconds late"]);
}

/// Such as a framework that hands an extended CONNECT to its pages.
#[test]
fn a_page_in_place_of_a_websocket_is_known_by_its_fields() {
    let html = vec![("content-type", "text/html; charset=utf-8")];
    for content in ["<!doctype html><title>Not a WebSocket</title>", ""] {
        let page = Peer { on_connect: Does::Answers(200, html.clone(), content), ..peer() };
        let parts = ["took the CONNECT for a request of a page", "content-type: text/html"];
        verdict(page, "faulty_over_http2", FAULTY, &parts);
    }
    let page = Peer { on_connect: Does::Answers(200, html, "<title>Hello</title>"), ..peer() };
    let (_, report) = found(page, &[]);
    assert_eq!(report["http2"]["handshake"]["body"], "<title>Hello</title>", "{report:#}");
}
