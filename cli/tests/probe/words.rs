//! How it is said, and what arguments do.

use std::net::TcpListener;

use super::common::peer::{ACCEPTS_NOTHING, Does, Http1, PROTOCOL_ERROR, Peer};
use super::{UNREACHABLE, WORKS, WORKS_NOT, WRONG_ARGUMENTS, found, printed, run, verdict};

#[test]
fn what_cannot_be_sent_says_nothing_about_the_server() {
    let url = Peer::default().listen();
    let rows = [
        "-H upgrade:x",
        "-H connection:x",
        "-H sec-websocket-version:8",
        "-H sec-websocket-accept:x",
        "-H transfer-encoding:chunked",
        "-s a,a",
        "-s b@d",
        "-H nothing",
        "--timeout 0",
    ];
    for row in rows {
        let output = run(&[&[&*url], &*row.split(' ').collect::<Vec<_>>()].concat());
        assert_eq!((output.status.code().unwrap(), &*output.stdout), (WRONG_ARGUMENTS, &b""[..]), "{row}: {output:?}");
        assert!(output.stderr.starts_with(b"error: "), "{row}: {output:?}");
    }
    for url in ["example.com", "ftp://example.com/"] {
        assert_eq!(run(&[url]).status.code(), Some(WRONG_ARGUMENTS), "{url}");
    }
}

/// A proxy may want a key over HTTP/2 too; over HTTP/1.1 the probe has its own.
#[test]
fn a_key_may_be_sent_over_http2() {
    let (status, report) = found(Peer::default(), &["-H", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]);
    assert_eq!((status, &report["verdict"]["kind"]), (WORKS, &"works".into()), "{report:#}");
}

#[test]
fn where_nobody_listens_the_step_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&[&format!("ws://{address}/")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(UNREACHABLE), "{text}");
    assert!(text.contains("TCP: ") && text.contains("connection refused") && text.contains("Next: "), "{text}");
    assert_eq!(text.matches("connection refused").count(), 1, "{text}");
}

#[test]
fn a_protocol_that_is_no_http1_is_named() {
    let goaway = [&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &PROTOCOL_ERROR.to_be_bytes()].concat();
    let settings = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    for (octets, part) in [
        (goaway, "the server answered in HTTP/2"),
        (settings, "the server answered in HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "the server answered in no HTTP: SSH-2.0-OpenSSH_9.2"),
        (b"\x15\x03\x01\0\x02\x02\x16".to_vec(), "wss://"),
    ] {
        verdict(Peer { http1: Http1::Says(octets), ..Peer::default() }, "works_over_http2_only", WORKS, &[part]);
    }
}

#[test]
fn a_server_that_wants_tls_is_known_in_cleartext() {
    let alert = Http1::Says(b"\x15\x03\x01\0\x02\x02\x46".to_vec());
    verdict(
        Peer { settings: None, http1: alert, ..Peer::default() },
        "does_not_work",
        WORKS_NOT,
        &["try wss://", "Probe the wss://"],
    );
}

#[test]
fn an_accept_that_is_missing_is_no_wrong_one() {
    let peer = Peer { http1: Http1::Says(ACCEPTS_NOTHING.to_vec()), ..Peer::default() };
    verdict(peer, "works_over_http2_only", WORKS, &["the server's Sec-WebSocket-Accept is missing"]);
}

#[test]
fn nothing_is_said_twice() {
    let refusing = Peer { on_connect: Does::Answers(404, vec![], ""), ..Peer::default() };
    let (_, text) = printed(refusing, &[]);
    assert_eq!(text.matches("404 Not Found").count(), 1, "{text}");
    let silent = Peer { on_ping: Does::Nothing, ..Peer::default() };
    let (_, text) = printed(silent, &[]);
    assert_eq!(text.matches("no Pong within").count(), 1, "{text}");
}

#[test]
fn nothing_from_the_network_is_printed_raw() {
    let refusing = Peer { on_connect: Does::Answers(404, vec![], "not \x1b[31mhere"), ..Peer::default() };
    let (_, text) = printed(refusing, &[]);
    assert!(text.contains(r"not \x1b[31mhere") && !text.contains('\x1b'), "{text}");
    let closing = Peer { on_message: Does::Closes(1011, "\x1b[2J"), ..Peer::default() };
    let (_, text) = printed(closing, &[]);
    assert!(text.contains(r"\x1b[2J") && !text.contains('\x1b'), "{text}");
}

#[test]
fn an_empty_message_is_none() {
    let (status, report) = found(Peer { on_message: Does::Closes(1011, ""), ..Peer::default() }, &["--message", ""]);
    assert_eq!((status, report["http2"]["echo_ms"].is_null()), (WORKS, true), "{report:#}");
}

#[test]
fn a_server_need_not_echo() {
    let (status, report) = found(Peer { on_message: Does::Nothing, ..Peer::default() }, &[]);
    assert_eq!((status, report["http2"]["echo_ms"].is_null()), (WORKS, true), "{report:#}");
}

#[test]
fn tokens_in_the_url_are_not_shown() {
    let url = Peer::default().listen().replace("ws://", "ws://u:p@") + "?room=1&token=abc";
    let output = run(&[&url, "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(WORKS), "{text}");
    assert!(text.contains("?room=1&token=(hidden)") && !text.contains("abc") && !text.contains("u:p"), "{text}");
}
