//! What answers the request: interim responses, the 101, and others, with their content.

use std::time::Duration;

use http::HeaderMap;
use sockeye_proto::h2::{Config, SendError};
use sockeye_proto::{Machine, MachineStream};

use crate::common::*;

const DATE: [u8; 29] = *b"Sun, 06 Nov 1994 08:49:37 GMT";

fn dated() -> Tested {
    Tested::server_with(&Config::default().with(|config| config.date = Some(|| DATE)))
}

/// What a server answers, and what of its content goes out with it.
#[track_caller]
fn answer(status: u16, fields: &[(&str, &str)], content: Option<&str>) -> String {
    let mut tested = Tested::server();
    tested.stream().respond(&response(status, fields), content.is_none()).unwrap();
    if let Some(content) = content {
        tested.stream().write(content.as_bytes(), true);
    }
    assert!(tested.stream().is_closed() && tested.machine.is_send_closed());
    tested.sent_text()
}

/// RFC 9110 §7.8, RFC 6455 §4.2.2
#[test]
fn a_101_makes_a_tunnel() {
    let mut tested = dated();
    tested.stream().respond(&switching(), false).unwrap();
    assert_eq!(
        tested.sent_text(),
        "HTTP/1.1 101 Switching Protocols\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
    );
    tested.stream().write(b"as they are", false);
    assert_eq!(tested.sent(), b"as they are");
    assert!(!tested.machine.is_send_closed() && !tested.stream().is_closed());
    assert_eq!(tested.heard(), [""; 0]);
}

/// RFC 9110 §15.2.2: a 101 says to what it switches, and has no content that could be framed (§8.6).
#[test]
fn a_101_says_no_more_than_it_may() {
    let fields = [
        ("connection", "upgrade, x-hop, close"),
        ("x-hop", "1"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
    ];
    let mut tested = Tested::server();
    tested.stream().respond(&response(101, &fields), false).unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(tested.sent_text(), expected);
}

/// RFC 9110 §10.1.1, §15.2: any number of them, before the response, and without what is the response's.
#[test]
fn interim_responses_go_before() {
    let mut tested = dated();
    assert_eq!(tested.stream().respond(&response(100, &[]), true), Err(SendError::OutOfOrder));
    tested.stream().respond(&response(100, &[]), false).unwrap();
    let hints = [("link", "</a>"), ("content-length", "3"), ("connection", "close"), ("upgrade", "x")];
    tested.stream().respond(&response(103, &hints), false).unwrap();
    assert_eq!(tested.sent_text(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert!(!tested.machine.is_send_closed());
    assert_eq!(tested.stream().write(b"too early", false), 0);
    assert_eq!(tested.stream().send_trailers(&HeaderMap::new()), Err(SendError::OutOfOrder));
    tested.stream().respond(&switching(), false).unwrap();
    assert!(tested.sent_text().starts_with("HTTP/1.1 101 "));
    assert_eq!(tested.stream().respond(&response(100, &[]), false), Err(SendError::OutOfOrder));
    assert_eq!(tested.stream().respond(&switching(), false), Err(SendError::OutOfOrder));
}

/// RFC 9112 §6.2: content of a length that is known.
#[test]
fn content_has_its_length() {
    let fields = [("content-length", "5"), ("content-type", "text/plain")];
    let sent = answer(403, &fields, Some("sorry"));
    let expected =
        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nsorry";
    assert_eq!(sent, expected);
    // The same number twice is one (RFC 9110 §8.6).
    let twice = [("content-length", "5"), ("content-length", "5")];
    assert!(answer(403, &twice, Some("sorry")).contains("\r\ncontent-length: 5\r\n\r\nsorry"));
    // More than announced would be taken for another response.
    assert!(answer(403, &fields, Some("sorry, no")).ends_with("\r\n\r\nsorry"));
}

/// RFC 9112 §7.1: content of a length that is not known, which an empty chunk would end.
#[test]
fn content_without_a_length_goes_in_chunks() {
    for fields in [&[][..], &[("content-length", "+5")], &[("content-length", "5"), ("content-length", "6")]] {
        let mut tested = Tested::server();
        tested.stream().respond(&response(200, fields), false).unwrap();
        let head = tested.sent_text();
        assert_eq!(head, "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(tested.stream().write(b"", false), 0);
        assert_eq!(tested.sent_text(), "");
        assert_eq!(tested.stream().write(b"sixteen octets ..", false), 17);
        assert_eq!(tested.sent_text(), "11\r\nsixteen octets ..\r\n");
        assert!(!tested.stream().is_send_closed());
        tested.stream().write(b"end", true);
        assert_eq!(tested.sent_text(), "3\r\nend\r\n0\r\n\r\n");
        assert!(tested.stream().is_closed());
    }
}

/// RFC 9112 §7.1.2, and RFC 9110 §6.5.1 for what trailers may not say.
#[test]
fn trailers_end_chunks() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("content-length", "7".parse().unwrap());
    trailers.insert("transfer-encoding", "gzip".parse().unwrap());
    for (fields, end) in [(&[][..], "0\r\nx-sum: 1\r\n\r\n"), (&[("content-length", "1")], "")] {
        let mut tested = Tested::server();
        tested.stream().respond(&response(200, fields), false).unwrap();
        tested.sent();
        tested.stream().send_trailers(&trailers).unwrap();
        assert_eq!(tested.sent_text(), end);
        assert!(tested.stream().is_closed());
        assert_eq!(tested.stream().send_trailers(&trailers), Err(SendError::Closed));
    }
}

/// RFC 9112 §6.3: whoever reads has to know that nothing follows.
#[test]
fn responses_without_content() {
    let head = |text: &str| format!("HTTP/1.1 {text}\r\n\r\n");
    assert_eq!(answer(403, &[], None), head("403 Forbidden\r\nconnection: close\r\ncontent-length: 0"));
    // It would promise what does not come.
    let five = [("content-length", "5")];
    assert_eq!(answer(403, &five, None), head("403 Forbidden\r\nconnection: close\r\ncontent-length: 0"));
    let content = Some("unsent");
    for fields in [&[][..], &five] {
        assert_eq!(answer(204, fields, content), head("204 No Content\r\nconnection: close"));
        assert_eq!(answer(205, fields, content), head("205 Reset Content\r\nconnection: close\r\ncontent-length: 0"));
    }
    assert_eq!(answer(304, &[], content), head("304 Not Modified\r\nconnection: close"));
    assert_eq!(answer(304, &five, content), head("304 Not Modified\r\nconnection: close\r\ncontent-length: 5"));
}

/// What frames a message or speaks of the connection is ours to say (RFC 9110 §7.6.1); an Upgrade is named by Connection
/// (§7.8), as a 426 must have one (§15.5.22).
#[test]
fn fields_of_the_connection_are_ours() {
    let fields = [
        ("transfer-encoding", "gzip, chunked"),
        ("connection", "keep-alive, x-hop"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("x-hop", "1"),
        ("x-end", " 2\t"),
    ];
    let expected = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\nx-end: 2\r\n\r\n";
    assert_eq!(answer(400, &fields, None), expected);
    let upgrade = [("upgrade", "websocket"), ("connection", "upgrade")];
    let expected = "HTTP/1.1 426 Upgrade Required\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\
        content-length: 0\r\n\r\n";
    assert_eq!(answer(426, &upgrade, None), expected);
}

/// RFC 9112 §4: a status without a name still has the space before it.
#[test]
fn a_status_needs_no_name() {
    assert!(answer(299, &[], None).starts_with("HTTP/1.1 299 \r\nconnection: close\r\n"));
}

/// RFC 9110 §6.6.1: a Date of the application's own goes before ours.
#[test]
fn responses_are_dated_once() {
    for (fields, date) in [(&[][..], "Sun, 06 Nov 1994 08:49:37 GMT"), (&[("date", "now")], "now")] {
        let mut tested = dated();
        tested.stream().respond(&response(404, fields), true).unwrap();
        let sent = tested.sent_text();
        assert_eq!(sent.matches("date: ").count(), 1);
        assert!(sent.contains(&format!("\r\ndate: {date}\r\n")));
    }
}

/// A response that is no tunnel ends the exchange and the connection. What the client sends then is dropped, and what is
/// left to transmit is not.
#[test]
fn a_refusal_ends_the_connection() {
    let mut tested = Tested::server();
    tested.receive(b"too early");
    assert_eq!(tested.heard(), [""; 0], "nobody knows yet whose octets they are");
    tested.stream().respond(&response(403, &[]), false).unwrap();
    assert_eq!(tested.heard(), ["finished"]);
    assert_eq!((tested.stream().unread(), tested.stream().read().len()), (0, 0));
    tested.receive(&[0; 60_000]);
    assert!(tested.input.is_empty() && !tested.machine.is_stopped());
    tested.eof();
    assert!(!tested.machine.is_send_closed() && !tested.machine.is_closed());
    tested.stream().write(b"no", true);
    assert!(tested.machine.is_send_closed() && tested.stream().is_closed() && !tested.machine.is_closed());
    assert_eq!(tested.heard(), [""; 0]);
    tested.stream().release();
    assert!(tested.machine.is_closed() && tested.machine.stream_count() == 0);
    assert_eq!(tested.heard(), ["closed None"]);
    assert!(tested.sent_text().ends_with("2\r\nno\r\n0\r\n\r\n"));
}

/// A refused client that goes on sending is read no further than a window, until the connection is over.
#[test]
fn a_refused_client_is_not_read_for_ever() {
    let mut tested = Tested::server();
    tested.stream().respond(&response(403, &[]), false).unwrap();
    tested.receive(&[0; 65_534]);
    assert!(!tested.machine.is_stopped());
    tested.receive(&[0; 1]);
    assert!(tested.machine.is_stopped());
    tested.stream().write(b"no", true);
    tested.stream().release();
    assert!(tested.machine.is_closed() && !tested.machine.is_stopped());
    assert!(tested.sent_text().ends_with("2\r\nno\r\n0\r\n\r\n"), "it hears why all the same");
}

/// Content that breaks off is not whole, which the client sees by the end of the connection (RFC 9112 §8).
#[test]
fn content_that_breaks_off_has_no_end() {
    let mut tested = Tested::server();
    tested.stream().respond(&response(200, &[]), false).unwrap();
    tested.stream().write(b"some", false);
    tested.stream().release();
    assert_eq!(tested.heard(), ["finished", "closed None"]);
    assert_eq!(tested.sent_text(), "");
}

/// RFC 9112 §9.6: a client that ended its half behind its request may read on, and has so much time for its response.
#[test]
fn a_half_closed_client_has_its_time() {
    let mut tested = Tested::server();
    tested.eof().after(Duration::from_millis(999)).eof();
    assert_eq!(tested.heard(), [""; 0]);
    tested.after(Duration::from_millis(1));
    assert_eq!(tested.heard(), ["reset CANCEL true"]);
    assert!(tested.stream().is_closed() && tested.machine.poll_timeout().is_none());
    assert_eq!(tested.stream().respond(&switching(), false), Err(SendError::Closed));
    assert_eq!(tested.sent_text(), "");
    tested.stream().release();
    assert_eq!(tested.heard(), ["closed None"]);
}

/// One that is answered meanwhile has ended its half of the tunnel, or hears why there is none.
#[test]
fn a_half_closed_client_may_read_on() {
    for (answer, is_tunnel) in [(switching(), true), (response(403, &[]), false)] {
        let mut tested = Tested::server();
        tested.receive(b"early").eof();
        tested.stream().respond(&response(100, &[]), false).unwrap();
        assert!(tested.machine.poll_timeout().is_some(), "the client may be gone all the same");
        tested.stream().respond(&answer, false).unwrap();
        assert!(tested.machine.poll_timeout().is_none());
        assert_eq!(tested.heard(), if is_tunnel { &["readable", "finished"][..] } else { &["finished"] });
        assert_eq!(&tested.stream().read()[..], if is_tunnel { &b"early"[..] } else { b"" });
        tested.after(Duration::from_secs(1)).stream().write(b"late", true);
        assert!(tested.stream().is_closed() && !tested.machine.is_closed());
        assert!(tested.sent_text().contains("late"));
    }
}

/// RFC 9112 §9.3: a connection persists behind a refusal, and is left to whoever serves its other requests, with what had come.
#[test]
fn a_connection_is_left_behind_a_refusal() {
    for (status, content) in [(403, ""), (200, "hello")] {
        let mut tested = Tested::persistent();
        tested.receive(b"GET / HT");
        tested.stream().respond(&response(status, &[]), content.is_empty()).unwrap();
        assert_eq!(tested.heard(), ["finished"]);
        tested.stream().write(content.as_bytes(), true);
        assert!(tested.stream().is_closed() && !tested.machine.is_send_closed() && tested.machine.is_stopped());
        tested.receive(b"TP/1.1");
        assert_eq!(tested.input, "TP/1.1", "what comes now stays with the caller");
        tested.stream().release();
        assert!(tested.machine.is_closed() && tested.machine.is_left());
        assert!(!tested.sent_text().contains("connection:"));
        assert_eq!(tested.machine.take_rest(), "GET / HT");
    }
}

/// No connection is left that ends, whoever ends it.
#[test]
fn a_connection_that_ends_is_left_to_nobody() {
    let ends: [fn(&mut Tested); 4] = [
        |tested| _ = tested.eof(),
        |tested| tested.machine.drain(tested.now),
        |tested| tested.machine.close(sockeye_proto::Reason::NO_ERROR),
        |tested| tested.machine.handle_failure(tested.now),
    ];
    for end in ends {
        let mut tested = Tested::persistent();
        end(&mut tested);
        if tested.stream().respond(&response(403, &[]), true).is_ok() {
            assert!(tested.sent_text().contains("connection: close"));
        }
        tested.stream().release();
        assert!(tested.machine.is_closed() && !tested.machine.is_left());
    }
}

/// RFC 9112 §8: of content that is shorter than its head announced, the client would take the next response for the rest.
#[test]
fn no_connection_is_left_within_content() {
    let ends: [fn(&mut Tested); 2] = [
        |tested| _ = tested.stream().write(b"four", true),
        |tested| tested.stream().send_trailers(&HeaderMap::new()).unwrap(),
    ];
    for end in ends {
        let mut tested = Tested::persistent();
        tested.receive(b"GET / HTTP/1.1\r\n");
        tested.stream().respond(&response(200, &[("content-length", "5")]), false).unwrap();
        end(&mut tested);
        tested.stream().release();
        assert!(tested.machine.is_closed() && !tested.machine.is_left());
    }
}

/// RFC 9112 §9.6: a client that ends its half reads the response to its end; what it had sent of another request goes.
#[test]
fn no_request_is_kept_of_a_client_that_ended_its_half() {
    let mut tested = Tested::persistent();
    tested.receive(b"GET / HTTP/1.1\r\n");
    tested.stream().respond(&response(200, &[]), false).unwrap();
    tested.eof();
    tested.stream().write(b"to its end", true);
    assert!(tested.sent_text().ends_with("to its end\r\n0\r\n\r\n"));
    assert_eq!(tested.stream().unread(), 0);
    tested.stream().release();
    assert!(tested.machine.is_closed() && !tested.machine.is_left());
}
