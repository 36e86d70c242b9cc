//! A client and a server machine, back to back.

#![cfg(feature = "web-socket")]

mod ws_common;

use std::time::Instant;

use bytes::BytesMut;
use sockeye_proto::ws::{CloseCode, Event, Message, PingError, State, WebSocket};
use ws_common::*;

/// Carries what `from` sends over to `to`, in pieces of at most `piece` octets, and gives `to`'s events.
fn carry(from: &mut WebSocket, to: &mut WebSocket, piece: usize) -> Vec<Event> {
    let mut wire = BytesMut::new();
    from.poll_transmit(&mut wire);
    let mut events = Vec::new();
    let mut input = BytesMut::new();
    while !wire.is_empty() {
        input.unsplit(wire.split_to(piece.min(wire.len())));
        while !input.is_empty() {
            to.handle_data(Instant::now, &mut input);
            events.extend(to.poll_event());
        }
    }
    events
}

/// Messages of both types and all length encodings come back as they went, in order.
#[test]
fn echo() {
    let mut messages: Vec<Message> = vec!["".into(), b"".into(), "überall".into(), "😀".repeat(40_000).into()];
    for size in [1, 125, 126, 4096, 65_535, 65_536, 1 << 20] {
        messages.push(vec![0xA5; size].into());
        messages.push("x".repeat(size).into());
    }
    for piece in [7, 1000, 16_384, usize::MAX] {
        let (mut client, mut server) = (client(), server());
        for message in &messages {
            client.send(message).unwrap();
        }
        let expected: Vec<Event> = messages.iter().cloned().map(Event::Message).collect();
        assert!(carry(&mut client, &mut server, piece) == expected, "to the server by {piece}");
        for message in &messages {
            server.send(message).unwrap();
        }
        assert!(carry(&mut server, &mut client, piece) == expected, "to the client by {piece}");
    }
}

/// A ping is answered without the application.
#[test]
fn ping_pong() {
    let (mut client, mut server) = (client(), server());
    client.ping(b"are you there").unwrap();
    assert_eq!(carry(&mut client, &mut server, 3), []);
    assert_eq!(carry(&mut server, &mut client, 3), [Event::Pong(b"are you there".to_vec().into())]);
}

/// RFC 6455 §5.5.3: a Pong may come unasked, and "a response to an unsolicited Pong frame is not expected".
#[test]
fn unsolicited_pong() {
    let (mut client, mut server) = (client(), server());
    client.pong(b"still here").unwrap();
    assert_eq!(carry(&mut client, &mut server, 3), [Event::Pong(b"still here".to_vec().into())]);
    assert!(!server.is_transmit_pending());
    assert_eq!(client.pong(&[0; 126]), Err(PingError::PayloadTooLong));
    client.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(client.pong(b""), Err(PingError::Closed));
}

/// Either end closes; what both had queued before is delivered.
#[test]
fn one_end_closes() {
    for server_closes in [false, true] {
        let (mut first, mut second) = if server_closes { (server(), client()) } else { (client(), server()) };
        first.send(&"last of the first".into()).unwrap();
        first.close(CloseCode::GOING_AWAY, "so long").unwrap();
        second.send(&"last of the second".into()).unwrap();
        let expected = [Event::Message("last of the first".into()), closed(CloseCode::GOING_AWAY, "so long")];
        assert_eq!(carry(&mut first, &mut second, 5), expected);
        assert_eq!((first.state(), second.state()), (State::Closing, State::Closed));
        // After its Close an end takes no data (the second's last message came too late).
        assert_eq!(carry(&mut second, &mut first, 5), [closed(CloseCode::GOING_AWAY, "so long")]);
        assert_eq!((first.state(), first.is_transmit_pending()), (State::Closed, false));
    }
}

/// Both ends close at once: each sees the other's Close, and no further Close is sent.
#[test]
fn both_close() {
    let (mut client, mut server) = (client(), server());
    client.close(CloseCode::NORMAL, "client").unwrap();
    server.close(CloseCode::GOING_AWAY, "server").unwrap();
    assert_eq!(carry(&mut client, &mut server, 5), [closed(CloseCode::NORMAL, "client")]);
    assert_eq!(carry(&mut server, &mut client, 5), [closed(CloseCode::GOING_AWAY, "server")]);
    for socket in [&mut client, &mut server] {
        assert_eq!((socket.state(), socket.is_transmit_pending()), (State::Closed, false));
    }
}

/// A violation reaches the peer as a Close with its code.
#[test]
fn violation_is_told() {
    let (mut client, mut server) = (client(), server());
    feed(&mut server, &frame(FIN | TEXT, b"\xFF"));
    assert_eq!(carry(&mut server, &mut client, 5), [closed(CloseCode::INVALID_PAYLOAD, "text is not UTF-8")]);
}
