//! The server's side: it echoes what a client in memory sends.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use instructions::{Load, data_frames, runtime};
use sockeye::{Limits, Result, Server, WebSocket, websocket};
use sockeye_proto::Protocol;
use sockeye_proto::h2;
use sockeye_proto::ws;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hands out prepared octets, and counts what is written.
struct Memory {
    opening: Bytes,
    round: Bytes,
    unread: Bytes,
    rounds: usize,
    /// When the first round began.
    began: Arc<OnceLock<Instant>>,
    awaited: usize,
    /// Octets written when it was last asked for more, before the first round.
    opened: usize,
    written: Arc<AtomicUsize>,
    expected: usize,
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let written = self.written.load(Ordering::Relaxed);
            if !self.opening.is_empty() {
                self.unread = std::mem::take(&mut self.opening);
            } else if self.awaited == 0 && self.opened != written {
                // The answers to the opening are still on their way, and are no echo.
                self.opened = written;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else if written < self.awaited {
                return Poll::Pending;
            } else if self.rounds > 0 {
                self.began.get_or_init(Instant::now);
                self.rounds -= 1;
                // Not from what was awaited before: WINDOW_UPDATEs are written, too, and a round begins once the last has ended.
                self.awaited = written + self.expected;
                self.unread = self.round.clone();
            } else {
                return Poll::Ready(Ok(()));
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.written.fetch_add(octets.len(), Ordering::Relaxed);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

fn main() {
    let load = Load::parse();
    let Load { sockets, octets, rounds, apart } = load;
    let now = Instant::now();
    // As many as `sockeye serve` lets a connection have.
    let config = h2::Config::default().with(|config| config.max_concurrent_streams = 1024);
    // Room for all that is echoed.
    let wide = config.clone().with(|config| {
config.initial_window_size = (1 << 31) - 1;
config.max_unread = (1 << 31) - 1;
});
    let mut client = h2::Connection::new(h2::Role::Client, wide, now);
    // The server's SETTINGS, so that the client may open.
    let mut settings = BytesMut::new();
    h2::Connection::new(h2::Role::Server, config, now).poll_transmit(&mut settings);
    client.handle_data(now, &mut settings);
    let mut opening = BytesMut::new();
    let request = http::Request::connect("https://example.com/echo")
        .extension(Protocol::websocket())
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    let ids: Vec<_> = (0..sockets).map(|_| client.open(&request, false).expect("a stream")).collect();
    client.poll_transmit(&mut opening);
    // Masked messages, a DATA frame each.
    let mut socket = ws::WebSocket::new(ws::Role::Client { mask_key: || [1, 2, 3, 4] }, ws::Config::default());
    socket.send(&vec![b'x'; octets].into()).expect("open");
    let mut frame = BytesMut::new();
    socket.poll_transmit(&mut frame);
    let round = data_frames(&ids, &frame);
    // What comes back has no mask: four octets less for each message.
    let expected = round.len() - 4 * sockets;
    // Nothing here gives credit back (RFC 9113 §6.9.1): past the window the echo would wait for ever.
    assert!(expected.saturating_mul(rounds) < 1 << 31, "2 GiB at most: take fewer rounds");
    let written = Arc::new(AtomicUsize::new(0));
    let began = Arc::new(OnceLock::new());
    let transport = Memory {
        opening: opening.freeze(),
        round: round.freeze(),
        unread: Bytes::new(),
        rounds,
        began: began.clone(),
        awaited: 0,
        opened: 0,
        written: written.clone(),
        expected,
    };

    let runtime = runtime();
    // What is counted must not depend on the clock, by which valgrind is slow.
    let limits = Limits::new().max_concurrent_streams(1024).time_slice(Duration::from_secs(3600));
    let server = Server::new().limits(limits);
    if apart {
        let handler = |socket| async { tokio::spawn(echo(socket)).await.expect("no panic") };
        runtime.block_on(server.serve_connection(transport, websocket(handler))).ok();
    } else {
        runtime.block_on(server.serve_connection(transport, websocket(echo))).ok();
    }
    let elapsed = began.get().expect("a round").elapsed();
    let echoed = written.load(Ordering::Relaxed);
    assert!(echoed >= expected * rounds, "{echoed} octets of {} came back", expected * rounds);
    load.report(elapsed.as_nanos());
}
