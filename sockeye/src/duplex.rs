//! The carrier of one WebSocket over one connection of HTTP/1.1: the task that owns the upgraded transport.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use futures_task::waker;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use crate::buffers;
use crate::carrier::{Carrier, End, MAX_TURNS, Phase};
use crate::metrics::Counter;
use crate::pulse::{Hearing, LonePulse};
use crate::read_ahead::ReadAhead;
use crate::stream::{Death, Outbox, Parting, Received, Sent, StreamCell, Waiting};
use crate::switch::Switch;
use crate::tunnel::{self, Handler};

/// Octets that are read at once of a transport that has failed: as much as systems keep for one.
const MAX_REST: usize = 8 << 20;

/// Runs a socket once a foreign server has sent the response.
pub(crate) async fn after_upgrade(upgrade: OnUpgrade, carrier: Arc<Carrier>, switch: Switch) {
    match upgrade.await {
        Ok(upgraded) => {
            if let Some(start) = switch.take() {
                let (cell, handler) = start(carrier);
                let transport = ReadAhead::new(TokioIo::new(upgraded), BytesMut::new());
                Duplex::new(transport, cell, Some(handler)).await;
            }
        }
        Err(error) => tracing::debug!(%error, "an HTTP/1.1 upgrade failed"),
    }
}

/// Moves octets between the transport and the cell, and polls the handler, until the socket is closed and abandoned.
pub(crate) struct Duplex<T> {
    transport: ReadAhead<T>,
    cell: Arc<StreamCell>,
    handler: Option<Handler>,
    /// Of the handler.
    waker: Waker,
    /// Taken from the outbox and not yet written.
    output: Outbox,
    /// A transport such as TLS may keep some of what was written.
    unflushed: bool,
    read_ended: bool,
    shut_down: bool,
    /// When the peer has had its time to end its half, or the handler its time after the peer's end.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The transport takes nothing until then, at most.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// Asks the peer for a sign of life while it is silent, if it is to.
    pulse: Option<LonePulse>,
    phase: Phase,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex<T> {
    pub(crate) fn new(transport: ReadAhead<T>, cell: Arc<StreamCell>, handler: Option<Handler>) -> Self {
        let waker = waker(cell.clone());
        waker.wake_by_ref();
        let pulse = cell.carrier().limits.pings.map(LonePulse::new);
        Self {
            transport,
            cell,
            handler,
            waker,
            output: Outbox::default(),
            unflushed: false,
            read_ended: false,
            shut_down: false,
            deadline: None,
            write_deadline: None,
            pulse,
            phase: Phase::Running,
        }
    }

    /// Reads once into an empty inbox, or looks for the peer's end behind what the inbox holds; whether anything happened.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let abandoned = {
            let mut shared = self.cell.lock();
            let wanted = shared.is_abandoned() || shared.inbox.is_empty();
            if wanted {
                shared.inbox = BytesMut::new();
            }
            shared.more = !wanted;
            if self.read_ended {
                return false;
            }
            if !wanted {
                drop(shared);
                return self.look_for_the_end(cx);
            }
            shared.is_abandoned()
        };
        let mut buffer = BytesMut::new();
        buffers::fill(&mut buffer);
        let result = poll_read_buf(Pin::new(&mut self.transport), cx, &mut buffer);
        if matches!(result, Poll::Ready(Ok(1..))) {
            self.hear();
        }
        match result {
            Poll::Ready(Ok(1..)) if abandoned => buffer.clear(),
            Poll::Ready(Ok(1..)) => {
                if self.cell.deliver(|| BytesMut::from(&buffer[..])) {
                    self.waker.wake_by_ref();
                }
                buffer.clear();
            }
            Poll::Ready(Ok(0)) => {
                self.read_ended = true;
                self.cell.end(BytesMut::new(), None, Received::Finished);
            }
            Poll::Ready(Err(_)) => self.die(Death::Disconnected),
            Poll::Pending => {}
        }
        buffers::give_back(&mut buffer);
        result.is_ready()
    }

    /// A handler may never look at what it got: its peer's end is seen all the same.
    fn look_for_the_end(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.transport.held();
        let end = self.transport.poll_end(cx);
        if self.transport.held() > before {
            self.hear();
        }
        match end {
            Poll::Ready(Ok(())) => {
                self.read_ended = true;
                self.cell.end(self.transport.take(), None, Received::Finished);
                true
            }
            Poll::Ready(Err(_)) => {
                self.die(Death::Disconnected);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Something came of the peer.
    fn hear(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.hear();
        }
    }

    /// Reads what the peer had sent before it went away: it stands in the transport, though that takes nothing any more.
    fn receive_rest(&mut self, cx: &mut Context<'_>) {
        let mut rest = BytesMut::new();
        while !self.read_ended && rest.len() < MAX_REST {
            let read = poll_read_buf(Pin::new(&mut self.transport), cx, &mut rest);
            self.read_ended = !matches!(read, Poll::Ready(Ok(1..)));
        }
        if !rest.is_empty() && self.cell.deliver_behind(&rest) {
            self.waker.wake_by_ref();
        }
    }

    fn die(&mut self, death: Death) {
        drop(self.cell.carrier().end(End::Lost));
        self.read_ended = true;
        self.shut_down = true;
        self.output = Outbox::default();
        self.cell.end(self.transport.take(), None, Received::Dead(death));
    }

    /// Asks a silent peer for a sign of life, or gives it up; whether it did.
    fn ask_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(pulse) = self.pulse.as_mut().filter(|_| !(self.shut_down || self.read_ended)) else { return false };
        let hearing = match () {
            () if !self.output.is_empty() || self.unflushed => Hearing::Blocked,
            () if self.transport.held() >= buffers::SIZE => Hearing::Behind,
            () => Hearing::Sharp,
        };
        let Poll::Ready(gone) = pulse.poll(cx, &self.cell, hearing) else { return false };
        if gone {
            self.cell.carrier().metrics().count(Counter::PingTimeouts);
            // The handler may hold the transport for longer.
            let _ = Pin::new(&mut self.transport).poll_shutdown(cx);
            self.die(Death::Silent);
        }
        true
    }

    /// Polls the handler if it asked for it.
    fn run(&mut self) -> bool {
        if !self.cell.start() {
            return false;
        }
        if self.handler.is_some() {
            tunnel::poll_caught(&mut self.handler, &self.cell, &self.waker);
            if self.handler.is_none() {
                // Its time was not that of the Close that follows.
                self.deadline = None;
            }
        }
        true
    }

    /// Writes what there is; whether anything happened.
    fn transmit(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            let finishing = {
                let mut shared = self.cell.lock();
                if let Sent::Resetting(_) = shared.sent {
                    drop(shared);
                    self.die(Death::Disconnected);
                    return true;
                }
                if self.output.is_empty() {
                    self.output = mem::take(&mut shared.outbox);
                    let taken = !self.output.is_empty();
                    let waiting = if taken { shared.take_waiting(self.cell.carrier()) } else { Waiting::default() };
                    let finishing = shared.sent == Sent::Finishing;
                    drop(shared);
                    self.cell.wake(waiting);
                    finishing
                } else {
                    false
                }
            };
            if self.output.is_empty() {
                if mem::take(&mut self.unflushed) {
                    match Pin::new(&mut self.transport).poll_flush(cx) {
                        Poll::Ready(Ok(())) => self.unblock(),
                        Poll::Ready(Err(_)) => {
                            self.receive_rest(cx);
                            self.die(Death::Disconnected);
                        }
                        Poll::Pending => {
                            self.unflushed = true;
                            return progress | self.wait_for_transport(cx);
                        }
                    }
                }
                if !self.unflushed {
                    progress |= self.cell.carrier().settle_flushes();
                }
                if !finishing || self.shut_down || Pin::new(&mut self.transport).poll_shutdown(cx).is_pending() {
                    return progress;
                }
                self.shut_down = true;
                self.finish();
                return true;
            }
            match poll_write_buf(Pin::new(&mut self.transport), cx, &mut self.output) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.receive_rest(cx);
                    self.die(Death::Disconnected);
                }
                Poll::Ready(Ok(_)) => {
                    self.unflushed = true;
                    self.unblock();
                    if self.read_ended && self.handler.is_some() {
                        // A peer that ended only its half reads on.
                        self.deadline = None;
                    }
                }
                Poll::Pending => return progress | self.wait_for_transport(cx),
            }
            if self.output.is_empty() {
                self.output = Outbox::default();
            }
            progress = true;
        }
    }

    /// The transport takes something again.
    fn unblock(&mut self) {
        if let (Some(_), Some(pulse)) = (self.write_deadline.take(), &mut self.pulse) {
            pulse.unblock();
        }
    }

    /// Our half has ended. Whoever flushes waits for that, too.
    fn finish(&mut self) {
        let mut shared = self.cell.lock();
        // A transport that fails meanwhile has ended it otherwise.
        if shared.sent == Sent::Finishing {
            shared.sent = Sent::Finished;
        }
        let waiting = shared.take_waiting(self.cell.carrier());
        drop(shared);
        self.cell.wake(waiting);
    }

    /// Gives a transport some time to take something; whether that is up.
    fn wait_for_transport(&mut self, cx: &mut Context<'_>) -> bool {
        let carrier = self.cell.carrier();
        let time = carrier.limits.write_timeout;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        let over = deadline.as_mut().poll(cx).is_ready();
        if over {
            carrier.metrics().count(Counter::WriteTimeouts);
            self.write_deadline = None;
            self.die(Death::Disconnected);
        }
        over
    }

    /// Whether the socket is over: ended on both sides, cut off, or out of time, which begins when the socket is abandoned and
    /// when the peer has ended.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (abandoned, follows, failed) = {
            let shared = self.cell.lock();
            (shared.is_abandoned(), shared.sent == Sent::Following, shared.parting == Parting::Failed)
        };
        // A socket that is held elsewhere has in its cell all that there will be.
        if self.is_ended() && (abandoned || self.handler.is_none()) || self.phase == Phase::Ending && !abandoned {
            return Poll::Ready(());
        }
        let outlived = self.read_ended && self.handler.is_some();
        if !abandoned && !follows && !outlived {
            return Poll::Pending;
        }
        let limits = &self.cell.carrier().limits;
        let time = if failed { limits.failed_timeout } else { limits.close_timeout };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(deadline.as_mut().poll(cx));
        if outlived {
            // The socket is abandoned then, unless another task holds it, and closes where its peer still reads.
            self.deadline = None;
            self.drop_handler();
            return if self.is_ended() { Poll::Ready(()) } else { Poll::Pending };
        }
        self.cell.carrier().metrics().count(Counter::CloseTimeouts);
        Poll::Ready(())
    }

    /// Follows the server as it shuts down.
    fn follow(&mut self) {
        let before = mem::replace(&mut self.phase, self.cell.carrier().phase());
        if before < Phase::Draining && self.phase >= Phase::Draining {
            self.cell.go_away();
        }
        if self.phase == Phase::Ending {
            self.drop_handler();
        }
    }
}

impl<T> Duplex<T> {
    fn is_ended(&self) -> bool {
        self.shut_down && self.read_ended
    }

    /// Drops the handler, which is foreign code: one that panics then takes nothing else with it.
    fn drop_handler(&mut self) {
        tunnel::drop_caught(self.cell.carrier(), self.handler.take());
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Duplex<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..MAX_TURNS {
            self.follow();
            for cast in self.cell.carrier().take_casts() {
                cast.deliver(|cell, frame| cell.cast(frame));
            }
            let mut progress = self.run();
            // Before any look into the cell: what another task changes from here on comes back by the ready list.
            self.cell.unqueue();
            progress |= self.receive(cx);
            progress |= self.transmit(cx);
            if self.poll_over(cx).is_ready() {
                return Poll::Ready(());
            }
            let has_written = self.output.is_empty() && !self.unflushed;
            if !progress && !self.ask_silent(cx) && self.cell.carrier().sleep(cx, self.phase, has_written) {
                return Poll::Pending;
            }
            // What stands on the list is this stream: it was looked at, or is now.
            self.cell.carrier().take_ready(&mut Vec::new());
            if !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Duplex<T> {
    fn drop(&mut self) {
        if !self.is_ended() {
            self.cell.end(BytesMut::new(), None, Received::Dead(Death::Disconnected));
        }
        let has_written = self.output.is_empty() && !self.unflushed;
        self.cell.carrier().leave(if has_written { End::Flushed } else { End::Lost });
        self.drop_handler();
    }
}
