//! What idle sockets cost, by the octets that the allocator has given out.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::time::Duration;

use sockeye::socket::Handler;
use sockeye::{Limits, Result, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::heap::live;

const SOCKETS: u32 = 1000;
/// Octets of heap for one idle socket, its stream and its handler.
const MAX: usize = 800;

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Answers nothing but pings, so that no answer takes the buffer of its message along.
async fn listen(mut socket: WebSocket) -> Result {
    while socket.recv().await?.is_some() {}
    Ok(())
}

/// What prints its arguments, as `#[tracing::instrument]` does, makes no socket larger.
async fn print(socket: WebSocket) -> Result {
    assert!(format!("{socket:?}").contains("http://localhost/"), "{socket:?}");
    listen(socket).await
}

/// A client of HTTP/2 that keeps nothing but the transport: what is counted is the server's.
struct Client {
    transport: TcpStream,
}

/// RFC 9113 §6.1, §6.2
const DATA: u8 = 0;
const HEADERS: u8 = 1;

impl Client {
    async fn connect(listener: std::net::SocketAddr) -> Self {
        let mut transport = TcpStream::connect(listener).await.unwrap();
        transport.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        transport.write_all(&[&[0, 0, 4, 8, 0, 0, 0, 0, 0][..], &[0x7F, 0xFE, 0, 0]].concat()).await.unwrap();
        Self { transport }
    }

    async fn send(&mut self, kind: u8, stream_id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        // END_HEADERS
        let flags = if kind == HEADERS { 4 } else { 0 };
        let frame = [&length[1..], &[kind, flags], &stream_id.to_be_bytes(), payload].concat();
        self.transport.write_all(&frame).await.unwrap();
    }

    /// The payload of the next frame of a kind; others are passed over.
    async fn receive(&mut self, wanted: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 9];
            self.transport.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.transport.read_exact(&mut payload).await.unwrap();
            if head[3] == wanted && !payload.is_empty() {
                return payload;
            }
        }
    }

    /// An extended CONNECT without any entry for a table.
    async fn open(&mut self, stream_id: u32) {
        let block =
            b"\x02\x07CONNECT\0\x09:protocol\x09websocket\x86\x84\x01\x09localhost\0\x15sec-websocket-version\x0213";
        self.send(HEADERS, stream_id, block).await;
        self.receive(HEADERS).await;
    }

    /// A binary message of 10,000 octets and a Ping, masked by zeros, and as many octets back as come of them.
    async fn exchange(&mut self, stream_id: u32, answer: usize) {
        let message = [&b"\x82\xFE\x27\x10\0\0\0\0"[..], &[7; 10_000], b"\x89\x80\0\0\0\0"].concat();
        self.send(DATA, stream_id, &message).await;
        let mut received = 0;
        while received < answer {
            received += self.receive(DATA).await.len();
        }
    }
}

/// Octets of heap for an idle connection of HTTP/2 with one such socket, and for the client's side of the transport.
const MAX_CONNECTION: usize = 4 << 10;

/// Every socket has had a message of 10,000 octets: a buffer that stays shows.
async fn check_idle<H: Handler + Clone>(handler: H, answer: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = Limits::new().max_concurrent_streams(SOCKETS + 1);
    // Silent sockets that are looked after cost no more than others.
    let server = Server::new().limits(config).ping(Duration::from_secs(25), Duration::from_secs(20));
    tokio::spawn(server.serve(listener, websocket(handler)));
    let mut client = Client::connect(addr).await;
    client.open(1).await;
    client.exchange(1, answer).await;
    let before = live();
    for stream in 1..=SOCKETS {
        client.open(2 * stream + 1).await;
        client.exchange(2 * stream + 1, answer).await;
    }
    let mut each = usize::MAX;
    // The server goes to sleep a moment after its last octet.
    for _ in 0..1000 {
        each = live().saturating_sub(before) / SOCKETS as usize;
        if each <= MAX {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(each <= MAX, "an idle socket holds {each} octets");

    // They are all still there.
    for stream in 1..=SOCKETS {
        client.exchange(2 * stream + 1, answer).await;
    }
}

/// Octets of heap for an idle connection of HTTP/1.1 that is a WebSocket, and for the client's side of the transport.
const MAX_HTTP1: usize = 2000;
/// What it takes to ask for a sign of life besides: a clock and a timer.
const MAX_PULSE: usize = 240;

/// A client of HTTP/1.1 that keeps nothing but the transport of a WebSocket that was used.
async fn open_http1(listener: std::net::SocketAddr) -> TcpStream {
    let mut transport = TcpStream::connect(listener).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    transport.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(transport.read_u8().await.unwrap());
    }
    // A text of one octet, masked by zeros, and its echo.
    transport.write_all(b"\x81\x81\0\0\0\0a").await.unwrap();
    let mut echo = [0; 3];
    transport.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x01a");
    transport
}

/// What each of many idle connections holds is at most `max`.
async fn check_idle_connections<T>(server: Server, max: usize, open: impl AsyncFn(std::net::SocketAddr) -> T) {
    const CONNECTIONS: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, websocket(echo)));
    let mut clients = Vec::with_capacity(CONNECTIONS + 1);
    let mut before = 0;
    for index in 0..=CONNECTIONS {
        clients.push(open(addr).await);
        if index == 0 {
            before = live();
        }
    }
    let mut each = usize::MAX;
    // What a connection keeps for its next octets it gives up after a second.
    for _ in 0..3000 {
        each = live().saturating_sub(before) / CONNECTIONS;
        if each <= max {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(each <= max, "an idle connection holds {each} octets");
}

async fn open_http2(listener: std::net::SocketAddr) -> Client {
    let mut client = Client::connect(listener).await;
    client.open(1).await;
    client
}

/// One test for all, since they share the allocator that is counted.
#[tokio::test]
async fn an_idle_socket_owns_no_buffers() {
    const PONG: usize = 2;
    check_idle(echo, 4 + 10_000 + PONG).await;
    check_idle(listen, PONG).await;
    check_idle(print, PONG).await;
    let asking = Server::new().ping(Duration::from_secs(25), Duration::from_secs(20));
    check_idle_connections(asking.clone(), MAX_CONNECTION, open_http2).await;
    check_idle_connections(asking, MAX_HTTP1 + MAX_PULSE, open_http1).await;
    check_idle_connections(Server::new(), MAX_HTTP1, open_http1).await;
}
