//! Between the transport and the machine.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use sockeye_proto::{Machine, Reason};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::{Application, Driver, pinned};
use crate::engine::link::{End, Limits, MIN_PROGRESS};
use crate::engine::{buffers, now};

/// What a connection's task can break off.
pub(crate) trait Abort {
    /// Has the transport's end be a reset, where it knows more than one end.
    fn abort(&self) {}
}

/// How far the peer's half of the transport is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Open,
    /// The machine stopped before it had taken all: to read on would gather whatever a peer sends.
    Behind,
    /// The transport has nothing more.
    Ended,
}

/// What the machine said and the transport has not taken.
#[derive(Default)]
pub(super) struct Output {
    pub(super) octets: BytesMut,
    state: Writing,
    /// The transport has taken too little since then: just now, or for ever where it has failed.
    stuck: Option<Instant>,
    /// Octets that it has taken since then. Of one that has failed, the milliseconds from then until something was read of it
    /// last: a number for each would make every idle connection larger.
    progress: u32,
    /// Something was written since [`forget_written`](Self::forget_written).
    written: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writing {
    /// All that the transport took has left it.
    #[default]
    Flushed,
    /// A transport such as TLS may keep some of what was written.
    Unflushed,
    /// Our half has ended, and the transport is not through with its end.
    ShuttingDown,
    /// Our half is shut down.
    ShutDown,
    /// The transport takes nothing any more. What the peer had sent before it went away is read still.
    Failed,
}

impl Output {
    /// Whether the transport has taken all that there was, and keeps none of it.
    pub(super) fn is_with_transport(&self) -> bool {
        self.octets.is_empty() && !matches!(self.state, Writing::Unflushed | Writing::ShuttingDown)
    }

    pub(super) fn is_shut_down(&self) -> bool {
        matches!(self.state, Writing::ShutDown | Writing::Failed)
    }

    /// Whether the transport takes nothing any more.
    pub(super) fn has_failed(&self) -> bool {
        self.state == Writing::Failed
    }

    /// Until when a transport that takes nothing any more is read: for a moment after something came of it, and for no longer
    /// in all than a peer may take to close. A moment alone would lose what a busy program has no time to read.
    pub(super) fn read_until(&self, limits: &Limits) -> Option<Instant> {
        let failed = self.stuck.filter(|_| self.has_failed())?;
        let moment = Duration::from_millis(self.progress.into()).saturating_add(limits.failed_timeout);
        failed.checked_add(moment.min(limits.close_timeout))
    }

    /// Something was read.
    fn hear(&mut self, now: Instant) {
        if let Some(failed) = self.stuck.filter(|_| self.has_failed()) {
            let millis = now.saturating_duration_since(failed).as_millis();
            self.progress = u32::try_from(millis).unwrap_or(u32::MAX);
        }
    }

    /// Since when the transport takes nothing, or too little, though it may take more again.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.stuck.filter(|_| !self.has_failed())
    }

    /// Whether the transport has taken anything since this was last asked to be forgotten.
    pub(super) fn has_written_since(&self) -> bool {
        self.written
    }

    pub(super) fn forget_written(&mut self) {
        self.written = false;
    }

    /// The transport takes nothing just now.
    fn stick(&mut self, now: Instant) {
        if self.stuck.is_none() {
            self.stuck = Some(now);
            self.progress = 0;
        }
    }

    /// Nothing of it will go out.
    fn fail(&mut self, now: Instant) {
        *self = Self { state: Writing::Failed, stuck: Some(now), ..Self::default() };
    }
}

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// Reads once, and hands over what is there; whether anything happened.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let progress = self.read_once(cx, now);
        if progress {
            self.output.hear(now);
        }
        if self.output.has_failed() && self.reading == Reading::Ended && !self.machine.is_closed() {
            // There is nothing more to be read off a transport that failed.
            self.give_up_transport(io::ErrorKind::BrokenPipe.into());
        }
        progress
    }

    fn read_once(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.machine.is_stopped() || self.machine.is_closed() {
            return false;
        }
        let before = self.input.len();
        match self.reading {
            Reading::Behind => {
                self.hand_over(now);
                return true;
            }
            Reading::Ended => return self.hand_over(now),
            Reading::Open => {}
        }
        if self.input.capacity() == 0 {
            self.input = self.machine.take_batch();
        }
        buffers::fill(&mut self.input);
        let room = room_to_read(before);
        let mut progress = true;
        match poll_read_buf(pinned(&mut self.transport), cx, &mut (&mut self.input).limit(room)) {
            Poll::Ready(Ok(0)) => self.end_of_transport(now),
            Poll::Ready(Ok(_)) => self.application.hear(),
            Poll::Ready(Err(error)) => {
                self.failure = Some(Box::new(error.into()));
                self.fail(now);
            }
            Poll::Pending => progress = false,
        }
        progress | self.hand_over(now)
    }

    /// Hands the machine what was read, which it may leave when it stops; whether it took anything.
    fn hand_over(&mut self, now: Instant) -> bool {
        let before = self.input.len();
        if before > 0 {
            self.machine.handle_data(now, &mut self.input);
        }
        if self.reading != Reading::Ended {
            self.reading = if self.machine.is_stopped() { Reading::Behind } else { Reading::Open };
        }
        self.input.len() < before
    }

    /// The peer has ended its half.
    fn end_of_transport(&mut self, now: Instant) {
        self.hand_over(now);
        self.reading = Reading::Ended;
        self.machine.handle_eof(now);
    }

    /// Reading has failed.
    fn fail(&mut self, now: Instant) {
        self.hand_over(now);
        self.reading = Reading::Ended;
        self.machine.handle_failure(now);
    }

    /// Writes as much of the batch as the transport takes; whether anything happened.
    pub(super) fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.output.has_failed() {
            // The machine's words go nowhere.
            self.machine.poll_transmit(&mut BytesMut::new());
            return false;
        }
        let mut progress = false;
        if self.output.blocked().is_none() {
            // What the machine had to say before this poll goes out together with what has come since: at first its SETTINGS with
            // the acknowledgement of the peer's.
            self.machine.poll_transmit(&mut self.output.octets);
        }
        loop {
            if self.output.octets.is_empty() {
                self.machine.poll_transmit(&mut self.output.octets);
                if self.output.octets.is_empty() {
                    return progress | self.flush(cx, now);
                }
            }
            debug_assert!(!self.output.is_shut_down(), "nothing is said behind our end");
            match pinned(&mut self.transport).poll_write(cx, &self.output.octets) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.output.octets.advance(n);
                    self.output.state = Writing::Unflushed;
                    self.output.written = true;
                    self.note_taken(n, now);
                }
                Poll::Ready(result) => {
                    self.fail_to_write(now, result.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                    return true;
                }
                Poll::Pending => {
                    self.output.stick(now);
                    return progress;
                }
            }
            progress = true;
        }
    }

    /// All is written: the transport is flushed, our half shut down if it has ended, and those who flush are told. Whether
    /// anything happened.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        if self.output.state == Writing::Unflushed {
            match pinned(&mut self.transport).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.output.state = Writing::Flushed;
                    self.unblock(now);
                }
                Poll::Ready(Err(error)) => {
                    self.fail_to_write(now, error);
                    return true;
                }
                Poll::Pending => {
                    self.output.stick(now);
                    return false;
                }
            }
        }
        if self.machine.is_send_closed() && !self.machine.is_closed() && !self.output.is_shut_down() {
            self.output.state = Writing::ShuttingDown;
            if pinned(&mut self.transport).poll_shutdown(cx).is_pending() {
                self.output.stick(now);
                return false;
            }
            self.unblock(now);
            self.output.state = Writing::ShutDown;
            progress = true;
        }
        progress | self.link.settle_flushes()
    }

    /// The transport has taken some octets. One that takes an octet a minute is as good as one that takes none.
    fn note_taken(&mut self, octets: usize, now: Instant) {
        if self.output.stuck.is_none() {
            return;
        }
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.output.progress = self.output.progress.saturating_add(octets);
        if self.output.progress as usize >= MIN_PROGRESS {
            self.unblock(now);
        }
    }

    /// The transport takes enough again, or has taken all.
    fn unblock(&mut self, now: Instant) {
        if self.output.stuck.take().is_some()
            && let Some(pulse) = &mut self.pulse
        {
            pulse.unblock(now);
        }
    }

    /// The transport takes nothing any more. What the peer had sent before it went away is on its way still: it is read to its
    /// end, for [some time](Output::read_until).
    fn fail_to_write(&mut self, now: Instant, error: io::Error) {
        self.failure.get_or_insert_with(|| Box::new(error.into()));
        self.output.fail(now);
        drop(self.link.end(End::Lost));
    }

    /// Neither half of the transport is used any more.
    pub(super) fn give_up_transport(&mut self, error: io::Error) {
        let now = now();
        if !self.output.has_failed() {
            self.fail_to_write(now, error);
        }
        self.reading = Reading::Ended;
        self.machine.handle_failure(now);
        self.machine.poll_transmit(&mut BytesMut::new());
        self.machine.close(Reason::NO_ERROR);
        self.machine.poll_transmit(&mut BytesMut::new());
    }
}

impl<T: Abort, M: Machine, A: Application<M>> Driver<T, M, A> {
    /// The transport goes at once, whatever time its handlers take to see that.
    pub(super) fn abort(&mut self) {
        if let Some(transport) = self.transport.take() {
            transport.abort();
            self.output.fail(now());
            drop(self.link.end(End::Lost));
        }
    }
}

/// Octets to read behind those that wait for the rest of their frame. Of a frame that is larger than what is read at once
/// each read takes as much again.
fn room_to_read(waiting: usize) -> usize {
    if waiting <= buffers::SIZE / 2 { buffers::SIZE - waiting } else { buffers::SIZE }
}
