//! What a large message takes that is received and sent in pieces, by the octets that the allocator has given out.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sockeye::{Client, MessageKind, Result, Server, WebSocket, websocket};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::heap::live;

const MIB: usize = 1 << 20;
const MESSAGE: usize = 256 * MIB;
/// Octets of heap at any time, for both ends of a message of any size: of each the window, which has grown by 1.5 MiB, twice,
/// the buffers of its task, and a piece at each step.
const MAX: usize = 8 * MIB;

/// Sends each message back while it comes, and keeps the most that was live.
async fn forward(socket: WebSocket, most: Arc<AtomicUsize>) -> Result {
    let (mut sender, mut receiver) = socket.split();
    while let Some(mut message) = receiver.recv_stream().await? {
        let mut echo = sender.send_stream(message.kind());
        while let Some(piece) = message.next().await? {
            most.fetch_max(live(), Ordering::Relaxed);
            echo.write(piece).await?;
        }
        echo.finish().await?;
    }
    Ok(())
}

/// A quarter of a gibioctet goes to the server and back, and what is live at any time is a few windows.
async fn check(http1: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let counted = most.clone();
    let server = tokio::spawn(Server::new().serve(listener, websocket(move |socket| forward(socket, counted.clone()))));
    let builder = if http1 { Client::builder().http1_only() } else { Client::builder().http2_only() };
    let socket = builder.open(&format!("ws://{addr}/")).await.unwrap();
    let before = live();
    let (mut sender, mut receiver) = socket.split();
    let (done, is_done) = oneshot::channel::<()>();
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![7; 100_000]);
        let mut message = sender.send_stream(MessageKind::Binary);
        let mut left = MESSAGE;
        while left > 0 {
            let next = piece.slice(..piece.len().min(left));
            left -= next.len();
            message.write(next).await.unwrap();
        }
        message.finish().await.unwrap();
        is_done.await.unwrap();
    });
    let mut message = receiver.recv_stream().await.unwrap().unwrap();
    let mut length = 0;
    while let Some(piece) = message.next().await.unwrap() {
        length += piece.len();
        most.fetch_max(live(), Ordering::Relaxed);
    }
    assert_eq!(length, MESSAGE);
    let most = most.load(Ordering::Relaxed).saturating_sub(before);
    assert!(most <= MAX, "{most} octets were live at a time");
    done.send(()).unwrap();
    sending.await.unwrap();
    server.abort();
}

/// One test for all, since they share the allocator that is counted.
#[tokio::test]
async fn a_message_of_any_size_takes_little_memory() {
    for http1 in [false, true] {
        check(http1).await;
    }
}
