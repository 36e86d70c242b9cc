//! How streams, and at last the connection, end: what is waited for, what is due, and what is cut off.

use std::future::Future;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Version;
use sockeye_proto::Reason;
use sockeye_proto::h2::StreamId;
use sockeye_proto::{Machine, MachineStream as _};
use tokio::io::{AsyncRead, AsyncWrite};

use super::farewell::{Farewells, Parting};
use super::linger::Linger;
use super::streams::{Streams, find, read};
use super::transport::{Abort, Reading};
use super::{Application, Driver, IDLE};
use crate::engine::link::Phase;
use crate::engine::metrics::Counter;
use crate::engine::now;
use crate::engine::pulse::{Backlog, Hearing};
use crate::engine::stream::{Awaited, Death, ErrorCode, PeersEnd, Received};

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// What a stream waits for has changed.
    pub(super) fn part(&mut self, id: StreamId, before: Awaited, awaited: Awaited, now: Instant) {
        self.streams.partings.leave(before);
        if awaited == Awaited::Nothing {
            return;
        }
        self.wait_for(id, awaited, now);
        while let Some(id) = self.streams.partings.pop_handler(self.link.limits.outliving_handlers) {
            self.end_waiting(id, Awaited::Handler, now);
        }
    }

    fn wait_for(&mut self, id: StreamId, awaited: Awaited, now: Instant) {
        let count = self.machine.stream_count();
        let Streams { slots, partings, .. } = &mut self.streams;
        let is_waiting = |id, awaited| find(slots, id).is_some_and(|slot| slot.cell.lock().awaited() == awaited);
        partings.push(awaited, now, &self.link.limits, id, count, is_waiting);
        self.output.forget_written();
    }

    /// What a stream waited for has had its time.
    pub(super) fn end_waiting(&mut self, id: StreamId, awaited: Awaited, now: Instant) {
        let Some(slot) = self.streams.at(id.slot()) else { return };
        if slot.id != id || slot.cell.lock().awaited() != awaited {
            return;
        }
        match awaited {
            Awaited::Handler => {
                self.link.metrics().count(Counter::HandlersDropped);
                slot.drop_handler();
            }
            // Both sides have said all: nobody is at fault (RFC 9113 §8.1).
            Awaited::PeersEnd => self.reset(id, Reason::NO_ERROR, None),
            Awaited::Nothing | Awaited::Room | Awaited::OurEnd | Awaited::LastWords => {
                self.link.metrics().count(Counter::CloseTimeouts);
                self.reset(id, Reason::CANCEL, None);
            }
        }
        self.exchange(id.slot(), now);
    }

    /// Resets a stream, which is told of its death as of the reset, or otherwise. What had arrived for it is its own still.
    pub(super) fn reset(&mut self, id: StreamId, reason: Reason, death: Option<Death>) {
        let was_closed = self.machine.is_closed();
        let Some(slot) = self.streams.find(id) else { return };
        let rest = read(&mut self.machine, id);
        if let Some(mut stream) = self.machine.stream(id) {
            stream.reset(reason);
        }
        let death = death.unwrap_or(Death::Reset(ErrorCode::new(reason), self.link.info.side));
        slot.cell.end(rest, None, Received::Dead(death));
        self.note_broken_off(was_closed);
    }

    /// A connection that ended with the reset of its only stream has nothing to wait for.
    pub(super) fn note_broken_off(&mut self, was_closed: bool) {
        if !was_closed && self.machine.is_closed() {
            self.reading = Reading::Ended;
        }
    }

    /// Follows the server as it shuts down.
    pub(super) fn follow(&mut self, now: Instant) {
        let phase = self.link.phase();
        if phase == self.phase {
            return;
        }
        if self.phase == Phase::Running {
            self.machine.drain(now);
            self.application.observe(&self.machine);
        }
        if phase == Phase::Spreading {
            // Where the time is gone meanwhile, all are told at once.
            let until = self.link.told_by().unwrap_or(now);
            self.parting = Parting::Spreading(Box::new(Farewells::new(now, until, self.link.number)));
        }
        if self.phase < Phase::Draining && phase >= Phase::Draining {
            let cut_off = now.checked_add(self.link.limits.shutdown_timeout);
            self.parting = cut_off.map_or(Parting::None, Parting::CutOff);
            for slot in self.streams.iter_mut() {
                slot.cell.go_away();
            }
        }
        if phase == Phase::Ending {
            self.parting = Parting::None;
            for index in 0..self.streams.slots.len() {
                if let Some(slot) = self.streams.at(index) {
                    slot.drop_handler();
                }
                self.exchange(index, now);
                if self.streams.at(index).is_some_and(|slot| slot.cell.lock().is_cut_off()) {
                    self.link.metrics().count(Counter::CloseTimeouts);
                }
            }
            let was_closed = self.machine.is_closed();
            self.machine.close(Reason::NO_ERROR);
            if self.peers_end() == PeersEnd::OfAll {
                // The peer is told nothing that it would have to hear.
                self.note_broken_off(was_closed);
            }
        }
        self.phase = phase;
    }

    /// Sees to what is due; whether anything was.
    pub(super) fn handle_timeouts(&mut self, cx: &mut Context<'_>, hearing: Hearing) -> bool {
        let pulse = self.pulse.as_ref().and_then(|pulse| pulse.due());
        let (parting, machine) = (self.streams.partings.next(), self.machine.poll_timeout());
        let drain = self.parting.due(self.streams.slots.len());
        let dues = [parting, self.write_deadline(), self.idle_deadline(), drain, machine, pulse];
        let Some(due) = dues.into_iter().flatten().min() else {
            // A connection that is idle for hours pays for no timer.
            self.timer = None;
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        // A timer that fires too early is set again then: to set it whenever a deadline moves would cost more.
        if timer.is_elapsed() || timer.deadline().into_std() > due {
            timer.as_mut().reset(due.into());
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = now();
        if self.write_deadline().is_some_and(|due| due <= now) {
            if !self.output.has_failed() {
                self.link.metrics().count(Counter::WriteTimeouts);
            }
            self.give_up_transport(io::ErrorKind::TimedOut.into());
        }
        self.say_farewell(now);
        if self.idle_deadline().is_some_and(|due| due <= now) {
            self.active = None;
            self.machine.shrink();
            self.link.shrink();
            self.groups.shrink();
            self.streams.slots.shrink_to_fit();
            self.streams.partings.shrink();
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
            // Before anybody learns what came of it.
            self.publish_counters();
            // What of it is not heard in this slice is heard before another stream takes the slot of one that is let go of below.
            self.handle_events(now);
        }
        while let Some((id, awaited)) = self.streams.partings.pop(now) {
            if awaited == Awaited::Handler && self.reads_on(id) {
                self.wait_for(id, awaited, now);
            } else {
                self.end_waiting(id, awaited, now);
            }
        }
        if pulse.is_some_and(|due| due <= now) {
            self.ask_silent(now, hearing);
        }
        true
    }

    /// Tells the WebSockets whose moment it is that the connection drains, and goes on to the next phase at the end of this one.
    fn say_farewell(&mut self, now: Instant) {
        let Self { parting, streams, link, .. } = self;
        match parting {
            Parting::Spreading(farewells) => {
                for index in farewells.advance(now, streams.slots.len()) {
                    if let Some(slot) = streams.at(index) {
                        slot.cell.go_away();
                    }
                }
                if farewells.is_over(now) {
                    link.enter(Phase::Draining);
                }
            }
            Parting::CutOff(due) if *due <= now => link.enter(Phase::Ending),
            Parting::CutOff(_) | Parting::None => {}
        }
    }

    /// Whether a peer that seemed to be gone has taken octets since: it ended its half and reads on.
    fn reads_on(&mut self, id: StreamId) -> bool {
        self.output.has_written_since() && self.machine.stream(id).is_some_and(|stream| !stream.is_send_closed())
    }

    /// Asks the peers of some more silent sockets, and gives up those that did not answer.
    fn ask_silent(&mut self, now: Instant, hearing: Hearing) {
        let Some(mut pulse) = self.pulse.take() else { return };
        let blocked = self.output.blocked().is_some() || self.reading == Reading::Behind;
        let hearing = if blocked { Hearing::Blocked } else { hearing };
        for index in pulse.advance(now, self.streams.slots.len()) {
            let Self { streams, machine, .. } = self;
            let Some(slot) = streams.at(index) else { continue };
            let backlog = || {
                let stream = machine.stream(slot.id);
                stream.map_or(Backlog { unread: 0, window: 0 }, |stream| Backlog {
                    unread: stream.unread() + slot.cell.unread(),
                    window: stream.recv_window(),
                })
            };
            let id = slot.id;
            if pulse.look(index, &slot.cell, hearing, backlog) {
                self.link.metrics().count(Counter::PingTimeouts);
                self.reset(id, Reason::CANCEL, Some(Death::Silent));
                self.exchange(index, now);
            }
        }
        pulse.rest(self.streams.slots.len());
        self.pulse = Some(pulse);
    }

    fn write_deadline(&self) -> Option<Instant> {
        if self.output.has_failed() && !self.machine.is_closed() {
            return self.output.read_until(&self.link.limits);
        }
        self.output.blocked()?.checked_add(self.link.limits.write_timeout)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let active = self.active.filter(|_| self.keeps_spare())?;
        Some(active + IDLE)
    }

    /// Whether there is memory to be given up. A connection of HTTP/1.1 mostly has none, and then needs no timer to be idle: its
    /// machine keeps nothing between two batches.
    fn keeps_spare(&self) -> bool {
        self.link.info.version == Version::HTTP_2
            || self.groups.keeps_spare()
            || self.streams.partings.keeps_spare()
            || self.link.keeps_spare()
    }

    /// Every stream that there is has gone away: a tunnel's handler gets to see that.
    fn disconnect(&mut self) {
        self.streams.disconnect(&mut self.machine, self.failure.as_deref());
        self.leave_all_behind();
        for slot in self.streams.iter_mut() {
            if !slot.cell.lock().is_tunnel() {
                // Nobody awaits the answer any more.
                if slot.cell.start().is_woken {
                    slot.poll_handler();
                }
                slot.drop_handler();
            }
        }
    }
}

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Abort + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// The machine is done: the transport is shut down once all it said is written, and the handlers see that their
    /// streams are gone and have some time to end.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.linger.is_none() {
            self.disconnect();
        }
        if self.machine.is_left() {
            // What is left of the response goes out first.
            return if self.output.is_with_transport() { Poll::Ready(()) } else { Poll::Pending };
        }
        if self.machine.is_aborted() {
            self.abort();
        }
        let linger = match &mut self.linger {
            Some(linger) => linger,
            none => none.insert(Box::new(Linger::new(&self.link.limits, self.output.is_shut_down()))),
        };
        if self.phase == Phase::Ending || self.machine.is_all_received() {
            // What the peer has not read by now is little, or is cut off.
            linger.hasten(self.link.limits.failed_timeout);
        }
        let read_ended = self.reading == Reading::Ended;
        let is_written = self.output.is_with_transport();
        let shut_down = match &mut self.transport {
            _ if !is_written => false,
            None => true,
            Some(transport) => linger.poll_shutdown(cx, transport, &self.link, read_ended),
        };
        // A socket that is held elsewhere has in its cell all that there will be.
        let handled = self.streams.iter_mut().all(|slot| slot.handler.is_none());
        if shut_down && handled {
            return Poll::Ready(());
        }
        ready!(linger.poll_deadline(cx));
        if !is_written && self.peers_end() == PeersEnd::OfAll {
            // A WebSocket's last words are cut off with its connection.
            self.link.metrics().count(Counter::CloseTimeouts);
        }
        for slot in self.streams.iter_mut().filter(|slot| slot.handler.is_some()) {
            self.link.metrics().count(Counter::HandlersDropped);
            slot.drop_handler();
        }
        Poll::Ready(())
    }
}
