//! The transport of the server's side.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hands out prepared octets, and counts what is written.
pub struct Memory {
    opening: Bytes,
    round: Bytes,
    unread: Bytes,
    rounds: usize,
    tally: Tally,
    awaited: usize,
    /// Octets written when it was last asked for more, before the first round.
    opened: usize,
    expected: usize,
    between: Between,
}

/// What the connection does between two rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// It goes on at once.
    Nothing,
    /// It goes to sleep, and is woken.
    Sleep,
    /// It has slept.
    Slept,
}

/// What is seen of a transport from outside.
#[derive(Clone, Default)]
pub struct Tally {
    /// When the first round began.
    began: Arc<OnceLock<Instant>>,
    written: Arc<AtomicUsize>,
}

impl Tally {
    /// Nanoseconds since the first round began.
    ///
    /// # Panics
    ///
    /// Panics where none has begun, or fewer octets than these were written.
    pub fn nanoseconds(&self, expected: usize) -> u128 {
        let elapsed = self.began.get().expect("a round").elapsed();
        let written = self.written.load(Ordering::Relaxed);
        assert!(written >= expected, "{written} octets of {expected} came back");
        elapsed.as_nanos()
    }
}

impl Memory {
    /// A client that opens with `opening` and then sends `round` so many times, each time that `expected` octets came back.
    pub fn new(opening: Bytes, round: Bytes, rounds: usize, expected: usize, between: Between) -> Self {
        let (unread, tally) = (Bytes::new(), Tally::default());
        Self { opening, round, unread, rounds, tally, awaited: 0, opened: 0, expected, between }
    }

    /// Octets that a round brings back.
    pub fn expected(&self) -> usize {
        self.expected
    }

    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let written = self.tally.written.load(Ordering::Relaxed);
            if !self.opening.is_empty() {
                self.unread = mem::take(&mut self.opening);
            } else if self.awaited == 0 && self.opened != written {
                // The answers to the opening are still on their way, and are no echo.
                self.opened = written;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else if written < self.awaited {
                return Poll::Pending;
            } else if self.rounds > 0 {
                if self.between == Between::Sleep {
                    self.between = Between::Slept;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.between == Between::Slept {
                    self.between = Between::Sleep;
                }
                self.tally.began.get_or_init(Instant::now);
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
        self.tally.written.fetch_add(octets.len(), Ordering::Relaxed);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
