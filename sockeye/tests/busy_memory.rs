//! What busy connections cost, by the octets that the allocator has given out: connections that wait for their next turn own no
//! buffers.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use sockeye::{Result, Server, WebSocket, websocket};
use sockeye_proto::{Protocol, h2, ws};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::heap::live;

const CONNECTIONS: usize = 100;
const SOCKETS: usize = 20;
/// Octets of a message, of which some end inside what is read at once.
const MESSAGE: usize = 3000;
/// Octets of heap for one such connection, of which 16 KiB are its sockets'. With its buffers it would be 170 KiB.
const MAX: usize = 64 << 10;

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// What a client says: how it opens its sockets, and a round of messages on all of them, with the octets that come back.
#[derive(Clone)]
struct Script {
    opening: Bytes,
    round: Bytes,
    echoed: usize,
}

impl Script {
    fn new(config: &h2::Config) -> Self {
        let now = Instant::now();
        // Room for all that is echoed.
        let wide = config.clone().with(|config| config.initial_window_size = (1 << 31) - 1);
        let mut client = h2::Connection::new(h2::Role::Client, wide, now);
        // The server's SETTINGS, so that the client may open.
        let mut settings = BytesMut::new();
        h2::Connection::new(h2::Role::Server, config.clone(), now).poll_transmit(&mut settings);
        client.handle_data(now, &mut settings);
        let request = http::Request::connect("http://localhost/")
            .extension(Protocol::websocket())
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        let ids: Vec<_> = (0..SOCKETS).map(|_| client.open(&request, false).unwrap()).collect();
        let mut opening = BytesMut::new();
        client.poll_transmit(&mut opening);

        let mut socket = ws::WebSocket::new(ws::Role::Client { mask_key: || *b"mask" }, ws::Config::default());
        socket.send(&vec![7; MESSAGE].into()).unwrap();
        let mut message = BytesMut::new();
        socket.poll_transmit(&mut message);
        let mut round = BytesMut::new();
        for id in &ids {
            // RFC 9113 §4.1, §6.1: DATA.
            round.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes()[1..]);
            round.extend_from_slice(&[0, 0]);
            round.extend_from_slice(&id.value().to_be_bytes());
            round.extend_from_slice(&message);
        }
        // What comes back has no mask: four octets less for each message.
        let echoed = round.len() - 4 * SOCKETS;
        Self { opening: opening.freeze(), round: round.freeze(), echoed }
    }
}

/// A client that always has something to say, once what it said has come back.
struct Busy {
    script: Script,
    unread: Bytes,
    rounds: Arc<AtomicUsize>,
    /// Octets written, and how many there are when the round is over.
    written: usize,
    awaited: usize,
}

impl Busy {
    fn new(script: Script, rounds: Arc<AtomicUsize>) -> Self {
        Self { unread: script.opening.clone(), script, rounds, written: 0, awaited: 1 }
    }
}

impl AsyncRead for Busy {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            if self.written < self.awaited {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
            self.awaited = self.written + self.script.echoed;
            self.unread = self.script.round.clone();
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Busy {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.written += octets.len();
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn busy_connections_own_no_buffers_between_their_turns() {
    let script = Script::new(&h2::Config::default());
    let server = Server::new().ping(Duration::from_secs(25), Duration::from_secs(20));
    let rounds = Arc::new(AtomicUsize::new(0));
    let before = live();
    for _ in 0..CONNECTIONS {
        tokio::spawn(server.serve_connection(Busy::new(script.clone(), rounds.clone()), websocket(echo)));
    }
    let mut most = 0;
    // Each has had several turns by then.
    while rounds.load(Ordering::Relaxed) < 20 * CONNECTIONS {
        tokio::task::yield_now().await;
        most = most.max(live().saturating_sub(before) / CONNECTIONS);
    }
    assert!(most <= MAX, "a busy connection holds {most} octets");
}
