//! A peer made of raw frames, a pair of machines in virtual time, and a seeded generator.

#![allow(missing_docs, unreachable_pub)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Response};
use sockeye_proto::Protocol;
use sockeye_proto::h2::{Config, Connection, ConnectionError, Event, Reason, Role, StreamId, Violation};
use sockeye_proto::hpack::{Decoder, Limits};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY_FLAG: u8 = 0x20;

/// A request like every browser's.
pub const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];
pub const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];
pub const CONNECT_WEBSOCKET: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", "example.com"),
    (":path", "/chat"),
];

pub fn frame(kind: u8, flags: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream_id.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literals that touch no table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub fn headers(stream_id: u32, end_stream: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | u8::from(end_stream), stream_id, &block(fields))
}

pub fn data(stream_id: u32, end_stream: bool, data: &[u8]) -> Vec<u8> {
    frame(DATA, u8::from(end_stream), stream_id, data)
}

pub fn rst_stream(stream_id: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream_id, &reason.code().to_be_bytes())
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub fn window_update(stream_id: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream_id, &increment.to_be_bytes())
}

pub fn ping(payload: u8) -> Vec<u8> {
    frame(PING, 0, 0, &[payload; 8])
}

/// A frame that the machine under test sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    Data { id: u32, data: Vec<u8>, end_stream: bool },
    Headers { id: u32, fields: Vec<(String, String)>, end_stream: bool },
    RstStream { id: u32, reason: Reason },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping([u8; 8]),
    PingAck([u8; 8]),
    GoAway { last: u32, reason: Reason },
    WindowUpdate { id: u32, increment: u32 },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Parses frames; what we send is never padded and hardly ever continued.
pub fn parse(mut bytes: &[u8], decoder: &mut Decoder) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !bytes.is_empty() {
        let length = (u32_at(bytes, 0) >> 8) as usize;
        let (kind, flags, id) = (bytes[3], bytes[4], u32_at(bytes, 5));
        let payload = &bytes[9..9 + length];
        bytes = &bytes[9 + length..];
        let ack = flags & ACK != 0;
        sent.push(match kind {
            DATA => Sent::Data { id, data: payload.to_vec(), end_stream: flags & END_STREAM != 0 },
            HEADERS => {
                let mut block = payload.to_vec();
                let mut whole = flags & END_HEADERS != 0;
                while !whole {
                    let length = (u32_at(bytes, 0) >> 8) as usize;
                    assert_eq!(bytes[3], CONTINUATION);
                    whole = bytes[4] & END_HEADERS != 0;
                    block.extend_from_slice(&bytes[9..9 + length]);
                    bytes = &bytes[9 + length..];
                }
                let mut fields = Vec::new();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                decoder.decode(&block, |field| fields.push((text(field.name), text(field.value)))).unwrap();
                Sent::Headers { id, fields, end_stream: flags & END_STREAM != 0 }
            }
            RST_STREAM => Sent::RstStream { id, reason: Reason::new(u32_at(payload, 0)) },
            SETTINGS if ack => Sent::SettingsAck,
            SETTINGS => Sent::Settings(
                payload
                    .as_chunks::<6>()
                    .0
                    .iter()
                    .map(|value| (u16::from_be_bytes([value[0], value[1]]), u32_at(value, 2)))
                    .collect(),
            ),
            PING if ack => Sent::PingAck(payload.try_into().unwrap()),
            PING => Sent::Ping(payload.try_into().unwrap()),
            GOAWAY => Sent::GoAway { last: u32_at(payload, 0), reason: Reason::new(u32_at(payload, 4)) },
            WINDOW_UPDATE => Sent::WindowUpdate { id, increment: u32_at(payload, 0) },
            kind => panic!("frame type {kind} sent"),
        });
    }
    sent
}

/// One machine, and its peer in the hands of the test.
pub struct Tested {
    pub machine: Connection,
    pub now: Instant,
    input: BytesMut,
    sent: Vec<Sent>,
    decoder: Decoder,
    /// How often the machine might have been checked.
    checks: u32,
}

impl Tested {
    /// A machine that has only begun.
    pub fn new(role: Role, config: Config) -> Self {
        let now = Instant::now();
        Self {
            machine: Connection::new(role, config, now),
            now,
            input: BytesMut::new(),
            sent: Vec::new(),
            decoder: Decoder::new(4096, Limits::new(1 << 20, 1000)),
            checks: 0,
        }
    }

    /// Checks what the machine promises, which takes a look at each stream: the first few hundred times, then now and again.
    pub fn check(&mut self) {
        self.checks += 1;
        let is_cheap = self.checks <= 300 && self.machine.stream_count() <= 100;
        if is_cheap || self.checks.is_power_of_two() {
            self.machine.check();
        }
    }

    /// A server after the exchange of SETTINGS, whose frames and events were taken.
    pub fn server() -> Self {
        Self::server_with(Config::default())
    }

    pub fn server_with(config: Config) -> Self {
        let mut tested = Self::new(Role::Server, config);
        tested.receive(PREFACE).receive(&settings(&[])).receive(&frame(SETTINGS, ACK, 0, &[]));
        tested.forget()
    }

    /// A client after the exchange of SETTINGS, with the extended CONNECT offered, whose frames and events were taken.
    pub fn client() -> Self {
        Self::client_with(Config::default())
    }

    pub fn client_with(config: Config) -> Self {
        let mut tested = Self::new(Role::Client, config);
        tested.receive(&settings(&[(8, 1)])).receive(&frame(SETTINGS, ACK, 0, &[]));
        tested.forget()
    }

    fn forget(mut self) -> Self {
        self.sent();
        self.events();
        self
    }

    /// Gives octets to the machine, as often as it stops.
    pub fn receive(&mut self, bytes: &[u8]) -> &mut Self {
        self.input.extend_from_slice(bytes);
        loop {
            self.machine.handle_data(self.now, &mut self.input);
            self.check();
            let stopped = self.machine.is_stopped();
            self.transmit();
            if !stopped {
                return self;
            }
        }
    }

    pub fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        while self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.machine.handle_timeout(self.now);
            self.check();
        }
        self
    }

    fn transmit(&mut self) {
        // Of what a test did with the machine itself, too.
        self.check();
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        self.check();
        let bytes = output.strip_prefix(PREFACE).unwrap_or(&output);
        self.sent.extend(parse(bytes, &mut self.decoder));
    }

    /// The frames sent since the last call.
    pub fn sent(&mut self) -> Vec<Sent> {
        self.transmit();
        std::mem::take(&mut self.sent)
    }

    pub fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.machine.poll_event()).collect();
        self.check();
        events
    }

    /// The stream of the request that comes next among the events.
    pub fn request(&mut self) -> (StreamId, Request<()>) {
        let found = self.events().into_iter().find_map(|event| match event {
            Event::Request { id, request, .. } => Some((id, *request)),
            _ => None,
        });
        found.expect("a request")
    }

    /// Server: a request came, and this is its stream.
    pub fn accept(&mut self, stream_id: u32, end_stream: bool, fields: &[(&str, &str)]) -> StreamId {
        self.receive(&headers(stream_id, end_stream, fields));
        self.request().0
    }

    /// Server: a request came, and 200 went, with more to follow.
    pub fn accept_and_respond(&mut self, stream_id: u32, end_stream: bool, fields: &[(&str, &str)]) -> StreamId {
        let id = self.accept(stream_id, end_stream, fields);
        self.machine.stream(id).unwrap().respond(&Response::new(()), false).unwrap();
        self.sent();
        id
    }

    /// Client: opens a stream for `request` and forgets what went.
    pub fn open(&mut self, request: &Request<()>, end_stream: bool) -> StreamId {
        let id = self.machine.open(request, end_stream).unwrap();
        self.sent();
        id
    }

    #[track_caller]
    pub fn assert_connection_error(&mut self, violation: Violation) {
        let sent = self.sent();
        let Some(Sent::GoAway { reason, .. }) = sent.last() else { panic!("no GOAWAY last in {sent:?}") };
        assert_eq!(*reason, violation.reason());
        let events = self.events();
        assert!(
            matches!(events.last(), Some(Event::Closed(Some(ConnectionError::Violation(v)))) if *v == violation),
            "{violation:?} is not last in {events:?}"
        );
        assert!(self.machine.is_closed());
        assert_eq!(self.machine.counters().connection_errors, 1);
        // Not an octet more is parsed.
        self.receive(&ping(1));
        assert_eq!(self.sent(), []);
    }

    #[track_caller]
    pub fn assert_reset(&mut self, id: u32, reason: Reason) {
        let sent = self.sent();
        assert!(sent.contains(&Sent::RstStream { id, reason }), "no RST_STREAM of {id} with {reason} in {sent:?}");
        self.assert_alive();
    }

    /// The connection goes on, and has nothing to say but that.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        self.receive(&ping(42));
        assert_eq!(self.sent(), [Sent::PingAck([42; 8])]);
    }
}

pub fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

pub fn connect_websocket(uri: &str) -> Request<()> {
    Request::connect(uri).extension(Protocol::websocket()).body(()).unwrap()
}

/// Two machines and the wire between them.
pub struct Pair {
    pub client: Connection,
    pub server: Connection,
    pub now: Instant,
    pub to_client: BytesMut,
    pub to_server: BytesMut,
}

impl Pair {
    /// After the exchange of SETTINGS.
    pub fn new(client: Config, server: Config) -> Self {
        let mut pair = Self::unacquainted(client, server);
        pair.exchange();
        while pair.client.poll_event().or_else(|| pair.server.poll_event()).is_some() {}
        pair
    }

    pub fn unacquainted(client: Config, server: Config) -> Self {
        let now = Instant::now();
        Self {
            client: Connection::new(Role::Client, client, now),
            server: Connection::new(Role::Server, server, now),
            now,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
        }
    }

    /// Carries octets both ways until none are left.
    pub fn exchange(&mut self) {
        loop {
            self.client.poll_transmit(&mut self.to_server);
            self.server.poll_transmit(&mut self.to_client);
            if self.to_client.is_empty() && self.to_server.is_empty() {
                return;
            }
            self.client.handle_data(self.now, &mut self.to_client);
            self.server.handle_data(self.now, &mut self.to_server);
            self.client.check();
            self.server.check();
        }
    }
}

/// SplitMix64: small, seeded, and good enough to reach odd corners.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
