//! Servers that say exactly what they are told, and the wires that lead to them: nothing here knows a clock or a network, so
//! time may be paused.

use std::io;

use bytes::{Buf, BytesMut};
use http::{Request, Version};
use sockeye::socket::{Extensions as WebSocketExtensions, Offer};
use sockeye::{Client, ClientBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::common::within;

/// The far ends of the connections that a client makes, in their order.
pub(crate) struct Wires(mpsc::UnboundedReceiver<DuplexStream>);

/// A builder that connects to the test.
pub(crate) fn wires() -> (ClientBuilder, Wires) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let connect = move |_| {
        let (near, far) = tokio::io::duplex(64 << 10);
        let result = sender.send(far).map(|()| near).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        async move { result }
    };
    (Client::builder().connector(connect), Wires(receiver))
}

/// The same for HTTP/2, where the URL is in cleartext.
pub(crate) fn http2() -> (ClientBuilder, Wires) {
    let (builder, wires) = wires();
    (builder.http2_only(), wires)
}

/// What there is in cleartext.
pub(crate) const URL: &str = "ws://localhost";

/// A client with these settings and its first connection.
pub(crate) async fn connect(builder: &ClientBuilder, wires: &mut Wires) -> (Client, Peer) {
    let (client, peer) = within(async { tokio::join!(builder.connect(URL), wires.peer()) }).await;
    (client.unwrap(), peer)
}

impl Wires {
    pub(crate) async fn next(&mut self) -> DuplexStream {
        within(self.0.recv()).await.expect("no more connections can come")
    }

    /// The same, however long that takes.
    #[cfg(feature = "tls")]
    pub(crate) async fn wait(&mut self) -> DuplexStream {
        match self.0.recv().await {
            Some(wire) => wire,
            None => std::future::pending().await,
        }
    }

    /// The next connection, as one of HTTP/2 that offers the extended CONNECT.
    pub(crate) async fn peer(&mut self) -> Peer {
        Peer::accept(self.next().await).await
    }

    /// Connections made and not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.0.len()
    }
}

/// RFC 9113 §6
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Settings by their identifiers (RFC 9113 §6.5.2, RFC 8441 §3).
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// What every server of WebSockets says.
pub(crate) const OFFER: (u16, u32) = (ENABLE_CONNECT_PROTOCOL, 1);

/// `:status` as header blocks of the static table (RFC 7541, Appendix A).
pub(crate) const STATUS_200: &[u8] = b"\x88";
pub(crate) const STATUS_204: &[u8] = b"\x89";
pub(crate) const STATUS_206: &[u8] = b"\x8A";
pub(crate) const STATUS_404: &[u8] = b"\x8D";
/// By the name of the static table and a literal value.
pub(crate) const STATUS_103: &[u8] = b"\x08\x03103";

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream_id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A server's end of HTTP/2, frame by frame.
pub(crate) struct Peer<T = DuplexStream> {
    io: T,
    input: BytesMut,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Peer<T> {
    pub(crate) async fn accept(io: T) -> Self {
        Self::accept_with(io, &[OFFER]).await
    }

    pub(crate) async fn accept_with(io: T, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::start(io).await;
        peer.settings(settings).await;
        peer
    }

    /// Reads the client's preface, and says nothing.
    pub(crate) async fn start(mut io: T) -> Self {
        let mut preface = [0; 24];
        within(io.read_exact(&mut preface)).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Self { io, input: BytesMut::new() }
    }

    pub(crate) async fn settings(&mut self, settings: &[(u16, u32)]) {
        let value = |&(identifier, value): &(u16, u32)| [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = settings.iter().flat_map(value).collect();
        self.send(kind::SETTINGS, 0, 0, &payload).await;
        // Of the client's own: it comes with the preface.
        self.send(kind::SETTINGS, ACK, 0, b"").await;
    }

    /// A client that has gone away hears nothing.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream_id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat();
        self.send_octets(&frame).await;
    }

    pub(crate) async fn send_octets(&mut self, octets: &[u8]) {
        within(self.io.write_all(octets)).await.ok();
    }

    /// The next frame but acknowledgements and credit; `None` at the end.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        loop {
            let frame = self.receive_any().await?;
            if frame.kind != kind::WINDOW_UPDATE && frame.kind != kind::SETTINGS {
                return Some(frame);
            }
        }
    }

    async fn receive_any(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = self.input.first_chunk::<9>() {
                let [_, a, b, kind, flags, id @ ..] = *head;
                let length = usize::from(a) << 8 | usize::from(b);
                if self.input.len() >= 9 + length {
                    self.input.advance(9);
                    let payload = self.input.split_to(length).to_vec();
                    return Some(Frame { kind, flags, stream_id: u32::from_be_bytes(id), payload });
                }
            }
            if within(self.io.read_buf(&mut self.input)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame of a kind; others are passed over.
    pub(crate) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.receive().await.unwrap_or_else(|| panic!("the end came before a frame of type {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The stream of the next request.
    pub(crate) async fn request(&mut self) -> u32 {
        self.next(kind::HEADERS).await.stream_id
    }

    pub(crate) async fn respond(&mut self, stream_id: u32, header_block: &[u8]) {
        self.send(kind::HEADERS, END_HEADERS, stream_id, header_block).await;
    }

    /// Accepts the next WebSocket.
    pub(crate) async fn open(&mut self) -> u32 {
        let stream_id = self.request().await;
        self.respond(stream_id, STATUS_200).await;
        stream_id
    }

    /// A text message of less than 126 octets, as servers send it.
    pub(crate) async fn text(&mut self, stream_id: u32, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        self.send(kind::DATA, 0, stream_id, &[&[0x81, length], text.as_bytes()].concat()).await;
    }

    pub(crate) async fn reset(&mut self, stream_id: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream_id, &code.to_be_bytes()).await;
    }

    pub(crate) async fn goaway(&mut self, last: u32, code: u32) {
        self.send(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    /// Waits until the client has acted on all that was sent before.
    pub(crate) async fn round_trip(&mut self) {
        self.send(kind::PING, 0, 0, b"so far??").await;
        let answer = self.next(kind::PING).await;
        assert_eq!((answer.flags, &answer.payload[..]), (ACK, &b"so far??"[..]));
    }

    /// The same, and says nothing else meanwhile.
    pub(crate) async fn round_trip_alone(&mut self) {
        self.send(kind::PING, 0, 0, b"so far??").await;
        let answer = self.receive().await.expect("the answer to a PING");
        assert_eq!((answer.kind, answer.flags), (kind::PING, ACK), "{answer:?}");
    }

    /// Ends the connection, and waits until the client has.
    pub(crate) async fn end(&mut self) {
        self.io.shutdown().await.ok();
        while self.receive().await.is_some() {}
    }

    /// Whatever else the client says, to its end, which is then ours.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive().await {
            frames.push(frame);
        }
        self.io.shutdown().await.ok();
        frames
    }
}

/// A request of HTTP/1.1, without content.
pub(crate) async fn http1_request(io: &mut (impl AsyncRead + Unpin)) -> Request<()> {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        let octet = within(io.read_u8()).await.expect("the request broke off");
        octets.push(octet);
    }
    let text = String::from_utf8(octets).unwrap();
    let mut lines = text.split_terminator("\r\n").filter(|line| !line.is_empty());
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let builder = Request::builder().method(method).uri(target).version(Version::HTTP_11);
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    fields.fold(builder, |builder, (name, value)| builder.header(name, value)).body(()).unwrap()
}

/// The head that accepts a handshake of HTTP/1.1.
pub(crate) fn http1_acceptance(request: &Request<()>) -> String {
    let offer = Offer::from_request(request).unwrap().expect("a handshake");
    let (response, _) = offer.accept(None, &WebSocketExtensions::default(), false);
    let fields = response.headers().iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n", fields.collect::<String>())
}
