//! RFC 6455 §7: closing the connection.

#![cfg(feature = "web-socket")]

mod ws_common;

use sockeye_proto::ws::{CloseCode, CloseError, Event, PingError, SendError, State, Violation};
use ws_common::*;

/// §5.5.1: upon a Close "the endpoint MUST send a Close frame in response", with the code it received.
#[test]
fn peer_closes() {
    let mut socket = server();
    let wire = [frame(FIN | TEXT, "last"), frame(FIN | CLOSE, close_body(1000, "bye"))].concat();
    assert_eq!(feed(&mut socket, &wire), [Event::Message("last".into()), closed(CloseCode::NORMAL, "bye")]);
    assert_eq!(socket.state(), State::Closed);
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, close_body(1000, "bye")));
}

/// §5.5.1: what was queued before goes out before the answer, and nothing after it.
#[test]
fn answer_is_last() {
    let mut socket = server();
    socket.send(&"queued".into()).unwrap();
    feed(&mut socket, &[frame(FIN | PING, "p"), frame(FIN | CLOSE, close_body(1001, ""))].concat());
    assert_eq!(socket.send(&"late".into()), Err(SendError::Closed));
    assert_eq!(socket.ping(b""), Err(PingError::Closed));
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Err(CloseError::Closed));
    let expected = [bare(FIN | PONG, "p"), bare(FIN | TEXT, "queued"), bare(FIN | CLOSE, close_body(1001, ""))];
    assert_eq!(sent(&mut socket), expected.concat());
}

/// §7.1.5: a Close without a code is "considered to be 1005"; the answer is as empty.
#[test]
fn empty_close() {
    let mut socket = server();
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, "")), [closed(CloseCode::NO_STATUS, "")]);
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, ""));
}

/// §1.4: after a Close "a peer discards any further data received".
#[test]
fn nothing_is_read_after_the_close() {
    let wire = [frame(FIN | CLOSE, ""), frame(FIN | TEXT, "late"), vec![0xFF; 100]].concat();
    assert_eq!(events(&wire), [closed(CloseCode::NO_STATUS, "")]);
}

/// §7.1.2: we close, and the handshake is done once the peer's Close comes.
#[test]
fn we_close() {
    let mut socket = server();
    socket.close(CloseCode::GOING_AWAY, "restart").unwrap();
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, close_body(1001, "restart")));
    assert_eq!(socket.state(), State::Closing);
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, close_body(1001, ""))), [closed(CloseCode::GOING_AWAY, "")]);
    assert_eq!(socket.state(), State::Closed);
    assert_eq!(sent(&mut socket), []);
}

/// §5.5.1: an endpoint "MUST NOT send any more data frames after sending a Close frame".
#[test]
fn nothing_is_sent_after_our_close() {
    let mut socket = server();
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(socket.send(&"late".into()), Err(SendError::Closed));
    assert_eq!(socket.ping(b"late"), Err(PingError::Closed));
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Err(CloseError::Closed));
    feed(&mut socket, &frame(FIN | PING, "late"));
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, close_body(1000, "")));
}

/// §7: between our Close and the peer's, data is discarded, also what was half there, and not held.
#[test]
fn data_after_our_close_is_discarded() {
    let mut socket = server();
    let begun = frame(TEXT, "begun");
    feed(&mut socket, &begun[..begun.len() - 2]);
    assert_eq!(socket.buffered(), 3);
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(socket.buffered(), 0);
    let wire = [
        &begun[begun.len() - 2..],
        &frame(FIN | CONTINUATION, b"\xFF not text any more"),
        &frame(FIN | TEXT, "whole"),
        &frame(FIN | PONG, "pong"),
        &frame(BINARY, "in"),
        &frame(FIN | CONTINUATION, "pieces"),
    ];
    assert_eq!(feed(&mut socket, &wire.concat()), []);
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, "")), [closed(CloseCode::NO_STATUS, "")]);

    let mut socket = server();
    let last = frame(FIN | TEXT, "last frame");
    feed(&mut socket, &last[..10]);
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(feed(&mut socket, &last[10..]), []);
}

/// §7.1.7: rules hold between the two Closes; the Close is not sent twice.
#[test]
fn violation_after_our_close() {
    let mut socket = server();
    socket.close(CloseCode::NORMAL, "").unwrap();
    sent(&mut socket);
    assert_eq!(feed(&mut socket, &[0xFF]), [Event::Failed(Violation::ReservedBits)]);
    assert_eq!((socket.state(), sent(&mut socket)), (State::Closed, vec![]));
}

/// §7.1.7: failing sends the Close, drops what is unfinished, and ends the stream.
#[test]
fn violation_closes() {
    let mut socket = server();
    socket.send(&"queued".into()).unwrap();
    let wire = [frame(TEXT, "begun"), vec![0xFF]].concat();
    assert_eq!(feed(&mut socket, &wire), [Event::Failed(Violation::ReservedBits)]);
    assert_eq!((socket.state(), socket.buffered()), (State::Closed, 0));
    let reason = Violation::ReservedBits.reason();
    assert_eq!(sent(&mut socket), [bare(FIN | TEXT, "queued"), bare(FIN | CLOSE, close_body(1002, reason))].concat());
    assert_eq!(socket.send(&"late".into()), Err(SendError::Closed));
}

/// §7.1.5: the transport's end without a Close is 1006, once, whatever was under way, and after what had arrived.
#[test]
fn end_without_a_close() {
    let mut socket = server();
    let mut input = bytes::BytesMut::from(&frame(FIN | TEXT, "arrived")[..]);
    socket.handle_data(std::time::Instant::now, &mut input);
    socket.handle_eof();
    assert_eq!(socket.state(), State::Closed);
    assert_eq!(socket.send(&"late".into()), Err(SendError::Closed));
    let events: Vec<_> = std::iter::from_fn(|| socket.poll_event()).collect();
    assert_eq!(events, [Event::Message("arrived".into()), Event::Eof]);

    for octets in [&b""[..], &frame(TEXT, "begun"), &frame(FIN | TEXT, "cut")[..7], &[FIN | TEXT]] {
        let mut socket = server();
        feed(&mut socket, octets);
        socket.handle_eof();
        socket.handle_eof();
        assert_eq!([socket.poll_event(), socket.poll_event()], [Some(Event::Eof), None]);
        assert_eq!((socket.buffered(), sent(&mut socket)), (0, vec![]));
    }
}

/// §7.1.5: our own Close does not make the end a clean one; the peer's does.
#[test]
fn end_after_a_close() {
    let mut socket = server();
    socket.close(CloseCode::NORMAL, "").unwrap();
    socket.handle_eof();
    assert_eq!(socket.poll_event(), Some(Event::Eof));

    for octets in [&frame(FIN | CLOSE, "")[..], &[0xFF]] {
        let mut socket = server();
        assert_eq!(feed(&mut socket, octets).len(), 1);
        socket.handle_eof();
        assert_eq!(socket.poll_event(), None);
    }
}

/// §5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer".
#[test]
fn close_body_of_one_octet() {
    fails_at_last_octet(&frame(FIN | CLOSE, [3]), Violation::CloseBody);
}

/// §7.4: codes that a Close may carry, and those that no endpoint may send, in both directions.
#[test]
fn close_codes() {
    let allowed = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        let mut socket = server();
        let event = feed(&mut socket, &frame(FIN | CLOSE, close_body(code, ""))).remove(0);
        let sent_code = u16::from_be_bytes(sent(&mut socket)[2..4].try_into().unwrap());
        if allowed(code) {
            assert_eq!((event, sent_code), (closed(code.into(), ""), code));
            assert_eq!(server().close(code.into(), ""), Ok(()), "{code}");
        } else {
            assert_eq!((event, sent_code), (Event::Failed(Violation::CloseCode), 1002), "{code}");
            assert_eq!(server().close(code.into(), "reason"), Err(CloseError::InvalidCode), "{code}");
        }
    }
}

/// §7.4.1: 1005 stands for the absence of a code, so closing with it sends none.
#[test]
fn close_without_a_code() {
    let mut socket = client();
    socket.close(CloseCode::NO_STATUS, "").unwrap();
    assert_eq!(sent(&mut socket), frame(FIN | CLOSE, ""));
    for code in [CloseCode::ABNORMAL, CloseCode::TLS_HANDSHAKE] {
        assert_eq!(client().close(code, ""), Err(CloseError::InvalidCode));
    }
}

/// §5.5.1: the reason is what a control frame holds beside the code: 123 octets.
#[test]
fn close_reason_length() {
    let reason = "r".repeat(123);
    let event = feed(&mut server(), &frame(FIN | CLOSE, close_body(4000, &reason)));
    assert_eq!(event, [closed(4000.into(), &reason)]);
    assert_eq!(server().close(4000.into(), &reason), Ok(()));
    assert_eq!(server().close(4000.into(), &"r".repeat(124)), Err(CloseError::ReasonTooLong));
}

/// §5.5.1: "the body MAY contain UTF-8-encoded data"; what is none fails with 1007 (§8.1).
#[test]
fn close_reason_not_utf8() {
    let body = [&close_body(1000, "")[..], b"\xCE\xBA\xE1"].concat();
    fails_at_last_octet(&frame(FIN | CLOSE, body), Violation::CloseReason);
}

/// The answer to a Close has its code and its reason; none where there was none (§5.5.1: the code is typically echoed).
#[test]
fn the_answer_echoes_code_and_reason() {
    let longest = "é".repeat(61) + "!";
    for (code, reason) in [(1000, "bye"), (1001, ""), (4321, "käse"), (3000, longest.as_str())] {
        let body = close_body(code, reason);
        let mut socket = server();
        assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, &body)), [closed(code.into(), reason)]);
        assert_eq!(sent(&mut socket), bare(FIN | CLOSE, &body));
        let mut socket = client();
        assert_eq!(feed(&mut socket, &bare(FIN | CLOSE, &body)), [closed(code.into(), reason)]);
        assert_eq!(sent(&mut socket), frame(FIN | CLOSE, &body));
    }
    let mut socket = server();
    assert_eq!(feed(&mut socket, &frame(FIN | CLOSE, "")), [closed(CloseCode::NO_STATUS, "")]);
    assert_eq!(sent(&mut socket), bare(FIN | CLOSE, ""));
    let mut socket = client();
    assert_eq!(feed(&mut socket, &bare(FIN | CLOSE, "")), [closed(CloseCode::NO_STATUS, "")]);
    assert_eq!(sent(&mut socket), frame(FIN | CLOSE, ""));
}
