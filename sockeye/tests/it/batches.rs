//! What is to be said at one time goes out in one write.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use sockeye::{Server, WebSocket, websocket};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

use crate::common::{settle, within};

/// A transport that counts its writes.
struct Counting {
    transport: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// RFC 9113 §3.4, §6.5.3: each write more is a packet more, and a client that is woken once more.
#[tokio::test(start_paused = true)]
async fn a_servers_settings_go_with_the_acknowledgement_of_the_clients() {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let writes = Arc::new(AtomicUsize::new(0));
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    near.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
    let transport = Counting { transport: far, writes: writes.clone() };
    tokio::spawn(Server::new().serve_connection(transport, websocket(WebSocket::echo)));
    settle().await;
    let mut octets = vec![0; 1 << 10];
    let read = within(near.read(&mut octets)).await.unwrap();
    let acknowledgement = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    assert_eq!(octets[3], 4, "SETTINGS come first");
    assert!(octets[..read].ends_with(&acknowledgement), "{:?}", &octets[..read]);
    assert_eq!(writes.load(Ordering::Relaxed), 1);
}
