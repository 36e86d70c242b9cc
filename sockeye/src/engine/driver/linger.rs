//! The end of a transport whose protocol is done.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::yield_now;
use crate::engine::buffers;
use crate::engine::link::{Limits, Link};
use crate::engine::metrics::Counter;

/// Shuts a transport down and reads on to the peer's end, for some time and some octets: a transport that is closed with octets
/// unread would take back the last that was sent.
pub(crate) struct Linger {
    step: Step,
    deadline: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    /// Reads on. So many octets may come before the peer's end.
    Read(u32),
    /// The peer sends without end: nothing is read any more, and the last that was sent has what is left of the time to be
    /// read.
    Hold,
    Done,
}

/// In 32 bits, since every idle connection has room for them.
fn most(limits: &Limits) -> u32 {
    u32::try_from(limits.linger).unwrap_or(u32::MAX)
}

impl Linger {
    /// `is_shut_down` says that our half has ended already.
    pub(crate) fn new(limits: &Limits, is_shut_down: bool) -> Self {
        let step = if is_shut_down { Step::Read(most(limits)) } else { Step::Write };
        Self { step, deadline: Box::pin(tokio::time::sleep(limits.close_timeout)) }
    }

    /// Goes on towards the transport's end; whether it is there. `read_ended` says that the peer's is known already. A peer that sends
    /// more than it may has a moment left.
    pub(crate) fn poll_shutdown<T>(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut T,
        link: &Link,
        read_ended: bool,
    ) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if self.step == Step::Write {
            self.step = match Pin::new(&mut *transport).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => Step::Read(most(&link.limits)),
                Poll::Ready(Err(_)) => Step::Done,
                Poll::Pending => return false,
            };
        }
        if read_ended {
            self.step = Step::Done;
        }
        if let Step::Read(left) = self.step {
            self.read(cx, transport, link, left);
        }
        self.step == Step::Done
    }

    /// Reads once, and lets others have their turn: what comes is of no use to anybody.
    fn read<T: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, transport: &mut T, link: &Link, left: u32) {
        let mut discarded = BytesMut::new();
        buffers::fill(&mut discarded);
        let read = poll_read_buf(Pin::new(transport), cx, &mut (&mut discarded).limit(buffers::SIZE));
        discarded.clear();
        buffers::give_back(&mut discarded);
        match read {
            Poll::Ready(Ok(octets @ 1..)) if octets < left as usize => {
                self.step = Step::Read(left - octets as u32);
                yield_now(cx);
            }
            Poll::Ready(Ok(1..)) => {
                self.step = Step::Hold;
                link.metrics().count(Counter::LingersGivenUp);
                self.hasten(link.limits.failed_timeout);
            }
            Poll::Ready(_) => self.step = Step::Done,
            Poll::Pending => {}
        }
    }

    /// No more than this is left of the time.
    pub(crate) fn hasten(&mut self, time: Duration) {
        if let Some(deadline) = Instant::now().checked_add(time).filter(|deadline| *deadline < self.deadline.deadline())
        {
            self.deadline.as_mut().reset(deadline);
        }
    }

    /// Ready when there is no more time.
    pub(crate) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(cx)
    }
}
