//! Frames by hand, and a machine that is fed with them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Instant;

use bytes::BytesMut;
use bytestring::ByteString;
use sockeye_proto::ws::{CloseCode, CloseFrame, Config, Event, Role, Violation, WebSocket};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

pub(crate) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub(crate) fn server() -> WebSocket {
    server_with(Config::default())
}

pub(crate) fn server_with(config: Config) -> WebSocket {
    WebSocket::new(Role::Server, config)
}

pub(crate) fn client() -> WebSocket {
    WebSocket::new(Role::Client { mask_key: || KEY }, Config::default())
}

/// A header as a client sends it, up to and with the key.
pub(crate) fn header(first: u8, length: usize) -> Vec<u8> {
    let mut octets = vec![first];
    match length {
        0..=125 => octets.push(0x80 | length as u8),
        126..=0xFFFF => {
            octets.push(0x80 | 126);
            octets.extend((length as u16).to_be_bytes());
        }
        _ => {
            octets.push(0x80 | 127);
            octets.extend((length as u64).to_be_bytes());
        }
    }
    octets.extend(KEY);
    octets
}

/// A client's frame.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut octets = header(first, payload.len());
    octets.extend(payload.iter().zip(KEY.iter().cycle()).map(|(octet, key)| octet ^ key));
    octets
}

/// A server's frame of at most 125 octets.
pub(crate) fn bare(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    assert!(payload.len() < 126);
    [&[first, payload.len() as u8], payload].concat()
}

/// The body of a Close frame.
pub(crate) fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A Close as the event tells it.
pub(crate) fn closed(code: CloseCode, reason: &str) -> Event {
    Event::Close(CloseFrame { code, reason: ByteString::from(reason) })
}

/// All events that `octets` cause, handed over at once.
pub(crate) fn feed(socket: &mut WebSocket, octets: &[u8]) -> Vec<Event> {
    feed_at(socket, Instant::now(), octets)
}

pub(crate) fn feed_at(socket: &mut WebSocket, now: Instant, octets: &[u8]) -> Vec<Event> {
    let mut input = BytesMut::from(octets);
    let mut events = Vec::new();
    loop {
        let before = input.len();
        socket.handle_data(|| now, &mut input);
        match socket.poll_event() {
            Some(event) => events.push(event),
            None => assert!(input.is_empty() || socket.is_transmit_pending(), "with nothing to do all input is taken"),
        }
        if input.is_empty() {
            return events;
        }
        assert!(input.len() < before, "progress");
    }
}

/// [`feed`], but where the octets stand.
pub(crate) fn feed_in_place(socket: &mut WebSocket, octets: &[u8]) -> Vec<Event> {
    let mut octets = octets.to_vec();
    let mut rest = &mut octets[..];
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (taken, message) = socket.handle_in_place(Instant::now, rest);
        assert!(taken > 0, "progress");
        events.extend(message.map(Event::Message).or_else(|| socket.poll_event()));
        rest = &mut rest[taken..];
    }
    events
}

/// A new server's events.
pub(crate) fn events(octets: &[u8]) -> Vec<Event> {
    feed(&mut server(), octets)
}

/// All that the machine sends.
pub(crate) fn sent(socket: &mut WebSocket) -> Vec<u8> {
    let mut output = BytesMut::new();
    socket.poll_transmit(&mut output);
    assert!(!socket.is_transmit_pending());
    output.to_vec()
}

/// A new server fails at the last of `octets` and not before; it sends the Close with the violation's code, and reads
/// nothing more.
#[track_caller]
pub(crate) fn fails_at_last_octet(octets: &[u8], violation: Violation) {
    let mut socket = server();
    let (last, before) = octets.split_last().expect("not empty");
    let early: Vec<_> =
        feed(&mut socket, before).into_iter().filter(|event| matches!(event, Event::Failed(_))).collect();
    assert_eq!(early, [], "too early");
    let late = feed(&mut socket, &[*last]);
    assert_eq!(late, [Event::Failed(violation)]);
    let code: u16 = violation.code().into();
    assert_eq!(sent(&mut socket)[2..4], code.to_be_bytes());
    assert_eq!(feed(&mut socket, &frame(FIN | TEXT, "after")), []);
}

/// Numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
