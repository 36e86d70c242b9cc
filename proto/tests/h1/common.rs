//! One machine with its peer in the hands of the test.

#![allow(missing_docs, unreachable_pub)]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Response};
use sockeye_proto::Machine;
use sockeye_proto::h1::{Connection, Head, HeadReader, STREAM, Stream};
use sockeye_proto::h2::{Config, Event, Role};

/// What Chromium sends, but for fields that say more about itself.
pub const HANDSHAKE: &str = "GET /chat?room=7 HTTP/1.1\r\n\
    Host: example.com:8080\r\n\
    Connection: Upgrade, close\r\n\
    Pragma: no-cache\r\n\
    Upgrade: websocket\r\n\
    Origin: http://example.com:8080\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Cookie: a=1; b=2\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

pub fn handshake() -> Box<Request<()>> {
    match HeadReader::new(&Config::default()).read(HANDSHAKE.as_bytes()) {
        Head::WebSocket { request, .. } => request,
        other => panic!("{other:?}"),
    }
}

pub fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let builder = Response::builder().status(status);
    fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
}

pub fn switching() -> Response<()> {
    response(101, &[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", "x")])
}

/// One machine, and its peer in the hands of the test.
pub struct Tested {
    pub machine: Connection,
    pub now: Instant,
    pub input: BytesMut,
}

impl Tested {
    /// A server that has heard the request.
    pub fn server() -> Self {
        Self::server_with(&Config::default())
    }

    pub fn server_with(config: &Config) -> Self {
        let now = Instant::now();
        let mut tested = Self::new(Connection::server(handshake(), config, now), now);
        assert!(matches!(tested.events()[..], [Event::Request { id: STREAM, end_stream: false, .. }]));
        tested
    }

    /// A server whose client would go on with other requests.
    pub fn persistent() -> Self {
        let (now, config) = (Instant::now(), Config::default());
        let mut request = handshake();
        request.headers_mut().insert("connection", http::HeaderValue::from_static("Upgrade"));
        let mut tested = Self::new(Connection::server(request, &config, now), now);
        tested.events();
        tested
    }

    pub fn tunnel() -> Self {
        Self::tunnel_with(&Config::default())
    }

    pub fn tunnel_with(config: &Config) -> Self {
        let now = Instant::now();
        Self::new(Connection::tunnel(Role::Client, config, now), now)
    }

    fn new(machine: Connection, now: Instant) -> Self {
        Self { machine, now, input: BytesMut::new() }
    }

    pub fn receive(&mut self, octets: &[u8]) -> &mut Self {
        self.input.extend_from_slice(octets);
        self.machine.handle_data(self.now, &mut self.input);
        self
    }

    pub fn eof(&mut self) -> &mut Self {
        self.machine.handle_eof(self.now);
        self
    }

    pub fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        if self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.machine.handle_timeout(self.now);
        }
        self
    }

    #[track_caller]
    pub fn stream(&mut self) -> Stream<'_> {
        self.machine.stream(STREAM).expect("the stream is held")
    }

    /// The octets sent since the last call.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        output.to_vec()
    }

    #[track_caller]
    pub fn sent_text(&mut self) -> String {
        String::from_utf8(self.sent()).unwrap()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }

    /// The events since the last call, as text.
    pub fn heard(&mut self) -> Vec<String> {
        self.events().iter().map(name).collect()
    }
}

/// An event in short.
pub fn name(event: &Event) -> String {
    match event {
        Event::Request { .. } => "request".into(),
        Event::Readable(STREAM) => "readable".into(),
        Event::Writable(STREAM) => "writable".into(),
        Event::Finished { id: STREAM, trailers: None } => "finished".into(),
        Event::Reset { id: STREAM, reason, remote, violation: None } => format!("reset {reason} {remote}"),
        Event::Closed(error) => format!("closed {error:?}"),
        other => panic!("{other:?}"),
    }
}
