//! The client's end of a WebSocket, over either version of HTTP.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use http::{Request, Response, StatusCode, Version};
use sockeye_proto::h2::{Reason, StreamId};
use sockeye_proto::ws::handshake::{self, ClientHandshake};
use sockeye_proto::ws::{CloseCode, Config, Event, Extensions, Message, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Client, within};

/// What carries the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Http1,
    Http2,
}

impl Carrier {
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Http1 => Version::HTTP_11,
            Self::Http2 => Version::HTTP_2,
        }
    }
}

/// How the server's half ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// END_STREAM, or the end of the TCP stream.
    End,
    /// RST_STREAM with this code, or of the TCP connection.
    Reset(u32),
}

/// Reads, answers pings and Closes, and gives credit only while it is asked for events.
pub(crate) struct Socket {
    pub(crate) machine: WebSocket,
    pub(crate) response: Response<()>,
    wire: Wire,
    input: BytesMut,
}

pub(crate) enum Wire {
    Http1(TcpStream),
    Http2(Client, StreamId),
}

const KEY: [u8; 16] = *b"0123456789abcdef";

impl Socket {
    /// Opens a socket on a connection of its own.
    pub(crate) async fn open(carrier: Carrier, addr: SocketAddr) -> Self {
        Self::open_with(carrier, addr, &handshake("/")).await
    }

    pub(crate) async fn open_with(carrier: Carrier, addr: SocketAddr, handshake: &ClientHandshake) -> Self {
        Self::try_open(carrier, addr, handshake).await.unwrap_or_else(|status| panic!("{carrier:?}: answered {status}"))
    }

    /// Opens a socket, or says with what status it was refused.
    pub(crate) async fn try_open(
        carrier: Carrier,
        addr: SocketAddr,
        handshake: &ClientHandshake,
    ) -> Result<Self, StatusCode> {
        match carrier {
            Carrier::Http1 => Self::upgrade(TcpStream::connect(addr).await.unwrap(), handshake).await,
            Carrier::Http2 => Self::on(&Client::connect(addr).await, handshake).await,
        }
    }

    /// Opens a socket by an extended CONNECT.
    pub(crate) async fn on(client: &Client, handshake: &ClientHandshake) -> Result<Self, StatusCode> {
        let carrier = handshake::Carrier::Http2;
        let id = client.open(&handshake.request(carrier).unwrap(), false).unwrap();
        let response = client.response(id).await.unwrap();
        if !response.status().is_success() {
            return Err(response.status());
        }
        let accepted = handshake.check(carrier, &response).unwrap();
        Ok(Self::new(Wire::Http2(client.clone(), id), response, accepted.extensions, BytesMut::new()))
    }

    /// Opens a socket by an HTTP/1.1 upgrade.
    pub(crate) async fn upgrade(mut transport: TcpStream, handshake: &ClientHandshake) -> Result<Self, StatusCode> {
        let carrier = handshake::Carrier::Http1 { key: KEY };
        transport.write_all(&http1_octets(&handshake.request(carrier).unwrap())).await.unwrap();
        let mut input = BytesMut::new();
        let end = loop {
            if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(within(transport.read_buf(&mut input)).await.unwrap() > 0, "the response broke off");
        };
        let response = http1_response(&input.split_to(end));
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(response.status());
        }
        let accepted = handshake.check(carrier, &response).unwrap();
        Ok(Self::new(Wire::Http1(transport), response, accepted.extensions, input))
    }

    fn new(wire: Wire, response: Response<()>, extensions: Extensions, input: BytesMut) -> Self {
        let config = Config::default().with(|config| config.max_message_size = 64 << 20);
        let machine = WebSocket::new(Role::Client { mask_key: || *b"mask" }, config).with_extensions(extensions);
        Self { machine, response, wire, input }
    }

    pub(crate) fn client(&self) -> &Client {
        match &self.wire {
            Wire::Http2(client, _) => client,
            Wire::Http1(_) => panic!("not over HTTP/2"),
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        match self.wire {
            Wire::Http2(_, id) => id,
            Wire::Http1(_) => panic!("not over HTTP/2"),
        }
    }

    /// Sends octets as they are.
    pub(crate) async fn send_octets(&mut self, octets: &[u8]) {
        match &mut self.wire {
            Wire::Http1(transport) => within(transport.write_all(octets)).await.unwrap(),
            Wire::Http2(client, id) => assert!(within(client.send(*id, octets, false)).await, "the stream is closed"),
        }
    }

    /// Ends our half.
    pub(crate) async fn end(&mut self) {
        match &mut self.wire {
            Wire::Http1(transport) => transport.shutdown().await.unwrap(),
            Wire::Http2(client, id) => drop(client.send(*id, b"", true).await),
        }
    }

    /// Ends the connection without a word: RST of TCP, or GOAWAY and the end.
    pub(crate) fn disconnect(self) {
        match self.wire {
            Wire::Http1(transport) => transport.set_zero_linger().unwrap(),
            Wire::Http2(client, _) => client.act(|machine| machine.close(Reason::NO_ERROR)),
        }
    }

    async fn transmit(&mut self) {
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        if !output.is_empty() {
            match &mut self.wire {
                Wire::Http1(transport) => transport.write_all(&output).await.unwrap_or(()),
                Wire::Http2(client, id) => drop(within(client.send(*id, &output, false)).await),
            }
        }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.machine.send(&message.into()).unwrap();
        self.transmit().await;
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) {
        self.machine.ping(payload).unwrap();
        self.transmit().await;
    }

    pub(crate) async fn close(&mut self, code: CloseCode, reason: &str) {
        self.machine.close(code, reason).unwrap();
        self.transmit().await;
    }

    /// The next octets; an error at the end.
    async fn receive(&mut self) -> Result<(), Ending> {
        match &mut self.wire {
            Wire::Http1(transport) => match transport.read_buf(&mut self.input).await {
                Ok(0) => Err(Ending::End),
                Ok(_) => Ok(()),
                Err(_) => Err(Ending::Reset(0)),
            },
            Wire::Http2(client, id) => match client.receive(*id).await {
                Ok(Some(octets)) => {
                    self.input.unsplit(octets);
                    Ok(())
                }
                Ok(None) => Err(Ending::End),
                Err(reason) => Err(Ending::Reset(reason.code())),
            },
        }
    }

    /// What the machine makes of what the server sends. Pings and a Close are answered.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.machine.poll_event() {
                self.transmit().await;
                return event;
            }
            if self.input.is_empty() {
                self.transmit().await;
                if within(self.receive()).await.is_err() {
                    self.machine.handle_eof();
                    continue;
                }
            }
            self.machine.handle_data(Instant::now, &mut self.input);
        }
    }

    /// The next frame as it came, of less than 64 KiB and not masked, and the message that the machine makes of it.
    pub(crate) async fn frame(&mut self) -> (Vec<u8>, Message) {
        let length = loop {
            match self.input[..] {
                [_, length @ ..126, ..] => break 2 + usize::from(length),
                [_, 126, high, low, ..] => break 4 + usize::from(u16::from_be_bytes([high, low])),
                _ => within(self.receive()).await.expect("a frame"),
            }
        };
        while self.input.len() < length {
            within(self.receive()).await.expect("the rest of a frame");
        }
        let frame = self.input[..length].to_vec();
        (frame, self.message().await)
    }

    pub(crate) async fn message(&mut self) -> Message {
        match self.event().await {
            Event::Message(message) => message,
            event => panic!("{event:?} in place of a message"),
        }
    }

    /// The code of the server's Close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match self.event().await {
            Event::Close(frame) => frame.code.into(),
            event => panic!("{event:?} in place of a Close"),
        }
    }

    /// How the server ends its half; whatever it sends before counts for nothing.
    pub(crate) async fn ending(&mut self) -> Ending {
        loop {
            if let Err(ending) = within(self.receive()).await {
                return ending;
            }
            self.input.clear();
        }
    }

    /// Sends a message and gets it back.
    pub(crate) async fn check_echo(&mut self, message: impl Into<Message>) {
        let message = message.into();
        self.send(message.clone()).await;
        assert!(self.message().await == message, "the echo of {} octets is another message", message.len());
    }
}

pub(crate) fn handshake(path: &str) -> ClientHandshake {
    ClientHandshake::new(format!("ws://localhost{path}").parse().unwrap())
}

fn http1_octets(request: &Request<()>) -> Vec<u8> {
    let mut octets = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    octets.extend(b"\r\n");
    octets
}

fn http1_response(octets: &[u8]) -> Response<()> {
    let text = std::str::from_utf8(octets).unwrap();
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    let builder = fields.fold(Response::builder().status(status), |builder, (name, value)| builder.header(name, value));
    builder.body(()).unwrap()
}
