//! A machine that gives its messages in pieces.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Instant;

use bytes::{Buf, BytesMut};
use sockeye_proto::ws::{Event, Message, MessageKind, Piece, WebSocket};

/// What comes of a socket: events, and the steps of messages in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Event(Event),
    Piece(Piece),
}

pub(crate) fn begin(kind: MessageKind) -> Heard {
    Heard::Piece(Piece::Begin(kind))
}

pub(crate) fn payload(message: impl Into<Message>) -> Heard {
    Heard::Piece(Piece::Payload(message.into()))
}

pub(crate) const END: Heard = Heard::Piece(Piece::End);

/// Feeds `octets`, and asks for each message in pieces where `in_pieces` says so.
pub(crate) fn hear_if(socket: &mut WebSocket, octets: &[u8], mut in_pieces: impl FnMut() -> bool) -> Vec<Heard> {
    let now = Instant::now();
    let mut input = BytesMut::from(octets);
    let mut heard = Vec::new();
    let mut is_open = false;
    loop {
        if !is_open {
            if in_pieces() { socket.receive_in_pieces() } else { socket.receive_whole() }
        }
        let before = (input.len(), heard.len());
        if input.len() % 2 == 0 {
            socket.handle_data(|| now, &mut input);
        } else {
            let (taken, message) = socket.handle_in_place(|| now, &mut input);
            input.advance(taken);
            heard.extend(message.map(|message| Heard::Event(Event::Message(message))));
        }
        while let Some(piece) = socket.poll_piece() {
            is_open = piece != Piece::End;
            heard.push(Heard::Piece(piece));
        }
        heard.extend(socket.poll_event().map(Heard::Event));
        if input.is_empty() {
            return heard;
        }
        assert!(before != (input.len(), heard.len()) || socket.is_transmit_pending(), "progress");
    }
}

/// Feeds `octets` to a socket that was asked for each message in pieces.
pub(crate) fn hear(socket: &mut WebSocket, octets: &[u8]) -> Vec<Heard> {
    hear_if(socket, octets, || true)
}

/// Feeds `octets` to a socket that was asked for whatever it was asked for.
pub(crate) fn go_on(socket: &mut WebSocket, octets: &[u8]) -> Vec<Heard> {
    let mut input = BytesMut::from(octets);
    let mut heard = Vec::new();
    while !input.is_empty() {
        socket.handle_data(Instant::now, &mut input);
        heard.extend(std::iter::from_fn(|| socket.poll_piece()).map(Heard::Piece));
        heard.extend(socket.poll_event().map(Heard::Event));
    }
    heard
}

/// The events, with messages in pieces put together; what is there of one that is not whole is left out.
pub(crate) fn put_together(heard: impl IntoIterator<Item = Heard>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut open: Option<(MessageKind, Vec<u8>)> = None;
    for heard in heard {
        match heard {
            Heard::Event(event) => {
                assert!(open.is_none() || !matches!(event, Event::Message(_)), "a message within another");
                events.push(event);
            }
            Heard::Piece(Piece::Begin(kind)) => assert_eq!(open.replace((kind, Vec::new())), None),
            Heard::Piece(Piece::Payload(piece)) => {
                let (kind, octets) = open.as_mut().expect("begun");
                assert_eq!(piece.kind(), *kind);
                assert!(!piece.is_empty(), "an empty piece");
                octets.extend(piece.as_bytes());
            }
            Heard::Piece(Piece::End) => events.push(Event::Message(match open.take().expect("begun") {
                (MessageKind::Text, octets) => String::from_utf8(octets).expect("text").into(),
                (MessageKind::Binary, octets) => octets.into(),
            })),
        }
    }
    events
}
