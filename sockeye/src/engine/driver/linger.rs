//! The end of a transport whose protocol is done.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Shuts a transport down and reads on to the peer's end, for some time: a transport that is closed with octets unread
/// would take back the last that was sent.
pub(super) struct Linger {
    step: Step,
    deadline: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    Read,
    Done,
}

impl Linger {
    /// `is_shut_down` says that our half has ended already.
    pub(super) fn new(time: Duration, is_shut_down: bool) -> Self {
        let step = if is_shut_down { Step::Read } else { Step::Write };
        Self { step, deadline: Box::pin(tokio::time::sleep(time)) }
    }

    /// Ready at the transport's end. `read_ended` says that the peer's is known already.
    pub(super) fn poll_shutdown<T>(&mut self, cx: &mut Context<'_>, transport: &mut T, read_ended: bool) -> Poll<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if self.step == Step::Write {
            self.step = match Pin::new(&mut *transport).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => Step::Read,
                Poll::Ready(Err(_)) => Step::Done,
                Poll::Pending => return Poll::Pending,
            };
        }
        if read_ended {
            self.step = Step::Done;
        }
        let mut discarded = [0; 4096];
        while self.step == Step::Read {
            let mut buffer = ReadBuf::new(&mut discarded);
            match Pin::new(&mut *transport).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => self.step = Step::Done,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// No more than this is left of the time.
    pub(super) fn hasten(&mut self, time: Duration) {
        if let Some(deadline) = Instant::now().checked_add(time).filter(|deadline| *deadline < self.deadline.deadline())
        {
            self.deadline.as_mut().reset(deadline);
        }
    }

    /// Ready when there is no more time.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(cx)
    }
}
