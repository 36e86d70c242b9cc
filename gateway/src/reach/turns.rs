//! A connection to an upstream that hyper reads in turns.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

use super::Stream;

/// How long hyper may go on to read before others have the thread, as [`Limits::time_slice`](sockeye::Limits::time_slice) has it for
/// a connection of ours.
const TURN: Duration = Duration::from_micros(200);

/// Gives the thread to others now and then: as long as there is something to read hyper reads on, where it leads to nothing that would
/// make it wait, as interim responses without end and the zeros before the size of a chunk do. Two such upstreams would have both
/// threads of a gateway, and with them everybody's latency.
#[derive(Debug)]
pub(crate) struct Turns<T = Stream> {
    transport: T,
    /// Since when something was there at each read.
    since: Option<Instant>,
    pause: Option<Pause>,
}

/// Ready once others had their turn.
struct Pause(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl std::fmt::Debug for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pause")
    }
}

impl<T> Turns<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, since: None, pause: None }
    }

    pub(crate) fn into_inner(self) -> T {
        self.transport
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Turns<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.pause.is_none() && self.since.is_some_and(|since| since.elapsed() > TURN) {
            self.pause = Some(Pause(Box::pin(yield_now())));
        }
        if let Some(Pause(pause)) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            (self.pause, self.since) = (None, None);
        }
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        match read.is_pending() {
            true => self.since = None,
            false => _ = self.since.get_or_insert_with(Instant::now),
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Turns<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl Connection for Turns {
    fn connected(&self) -> Connected {
        self.transport.connected()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Has always something to read, each time for longer than a turn.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            std::thread::sleep(TURN * 2);
            buffer.put_slice(b"0");
            Poll::Ready(Ok(()))
        }
    }

    /// Others of the thread have their turn, and nothing of what is read is lost.
    #[tokio::test]
    async fn who_reads_without_end_gives_way() {
        let others = tokio::spawn(async {
            let mut turns = 0;
            loop {
                turns += 1;
                tokio::task::yield_now().await;
                if turns == 5 {
                    return;
                }
            }
        });
        let mut endless = Turns::new(Endless);
        let mut octets = Vec::new();
        while !others.is_finished() {
            assert!(octets.len() < 100, "nobody else has had five turns");
            octets.push(endless.read_u8().await.unwrap());
        }
        assert!(octets.iter().all(|octet| *octet == b'0'));
    }
}
