//! A transport that takes nothing any more is read on: for a moment after all that comes, and not for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye::{Client, Server, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::common::{hand_over, settle, within};

/// A transport whose writes fail once it is told.
struct Mute {
    transport: DuplexStream,
    is_mute: Arc<AtomicBool>,
}

impl Mute {
    fn check(&self) -> io::Result<()> {
        if self.is_mute.load(Ordering::Relaxed) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Mute {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Mute {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A server's socket, whose transport takes nothing any more, and its peer.
async fn muted(http2: bool) -> (WebSocket, WebSocket, Client) {
    let (service, mut sockets) = hand_over();
    let is_mute = Arc::new(AtomicBool::new(false));
    let flag = is_mute.clone();
    let connect = move |_| {
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(Server::new().serve_connection(Mute { transport: far, is_mute: flag.clone() }, service.clone()));
        async move { Ok(near) }
    };
    let builder = Client::builder().connector(connect);
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let client = builder.connect("ws://localhost").await.unwrap();
    let peer = client.open("/").await.unwrap();
    let mut socket = sockets.recv().await.unwrap();
    settle().await;
    is_mute.store(true, Ordering::Relaxed);
    // The connection finds out as it writes.
    socket.send("lost").await.ok();
    settle().await;
    (socket, peer, client)
}

/// A peer that has much to say before its end, on a machine with little time, is heard to its end.
#[tokio::test(start_paused = true)]
async fn what_still_comes_is_read_while_it_comes() {
    for http2 in [false, true] {
        let (mut socket, mut peer, client) = muted(http2).await;
        let sending = async {
            for n in 0..5 {
                peer.send(format!("{n}")).await.unwrap();
                peer.flush().await.unwrap();
                // Twice that is more than a moment.
                sleep(Duration::from_millis(700)).await;
            }
            drop((peer, client));
        };
        let receiving = async {
            for n in 0..5 {
                assert_eq!(within(socket.recv()).await.unwrap(), Some(format!("{n}").into()), "http2: {http2}");
            }
            // The peer's Close, or its end where that did not come through.
            assert!(!matches!(within(socket.recv()).await, Ok(Some(_))), "http2: {http2}");
        };
        tokio::join!(sending, receiving);
    }
}

/// One that says nothing has a second, and one that goes on has the close timeout.
#[tokio::test(start_paused = true)]
async fn nobody_is_read_for_ever() {
    for (http2, interval, least, most) in
        [(false, 10_000, 900, 1_100), (true, 10_000, 900, 1_100), (false, 300, 4_900, 5_100), (true, 300, 4_900, 5_100)]
    {
        let begun = Instant::now();
        let (mut socket, mut peer, _client) = muted(http2).await;
        let sending = async {
            loop {
                sleep(Duration::from_millis(interval)).await;
                if peer.send("more").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let receiving = async { while let Ok(Some(_)) = socket.recv().await {} };
        tokio::select! {
            () = sending => {}
            () = receiving => {}
        }
        let time = begun.elapsed().as_millis();
        assert!((least..=most).contains(&time), "http2: {http2}, every {interval} ms: after {time} ms");
    }
}
