//! The streams of a connection: what the machine says of them, what their handlers do, and what goes between.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use futures_task::waker_ref;
use http::{HeaderMap, Version};
use sockeye_proto::h2::{self, Event, StreamId};
use sockeye_proto::{Machine, MachineStream, Reason};
use tokio::io::{AsyncRead, AsyncWrite};

use super::crowd::Crowd;
use super::partings::Partings;
use super::{Application, BrokenOff, Driver};
use crate::engine::link::{Address, Side};
use crate::engine::metrics::Counter;
use crate::engine::slice;
use crate::engine::stream::port::Visit;
use crate::engine::stream::{Death, ErrorCode, Look, Next, Received, Start, StreamCell, Trailers};
use crate::engine::tunnel::{self, Handler, Panicked};
use crate::error::Error;

/// The streams, and the times that are given to those at their end.
pub(super) struct Streams<P> {
    /// By [`StreamId::slot`].
    pub(super) slots: Vec<Option<Slot<P>>>,
    pub(super) partings: Partings,
    /// None while the peer reads what it is sent.
    pub(super) crowd: Option<Box<Crowd>>,
}

/// What belongs to one stream.
pub(super) struct Slot<P> {
    pub(super) id: StreamId,
    pub(super) cell: Arc<StreamCell>,
    pub(super) handler: Option<Handler>,
    _permit: P,
}

const _: () = assert!(size_of::<Option<Slot<()>>>() <= 32);

impl<P> Slot<P> {
    /// Polls the handler of a quiet cell while the connection's buffers lie on its desk. Whether they did; otherwise nothing
    /// was done.
    #[inline]
    fn poll_at_desk<M: Machine>(&mut self, machine: &mut M) -> bool {
        let Some(stream) = machine.stream(self.id) else { return false };
        let Some(_visit) = Visit::begin(&self.cell, stream) else { return false };
        poll(&mut self.handler, &self.cell);
        true
    }

    #[inline]
    pub(super) fn poll_handler(&mut self) {
        poll(&mut self.handler, &self.cell);
    }

    pub(super) fn drop_handler(&mut self) {
        tunnel::drop_caught(self.cell.link().metrics(), self.handler.take());
    }
}

/// Polls a handler, and those that follow it, until one waits; none is left where the last is done. A handler that panics,
/// be it as it is dropped, is done too, and takes nobody with it.
#[inline]
fn poll(handler: &mut Option<Handler>, cell: &Arc<StreamCell>) {
    let polled = tunnel::catch_for(
        || cell.link().metrics(),
        || {
            let waker = waker_ref(cell);
            while let Some(future) = handler
                && let Poll::Ready(next) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                *handler = next.map(|tunnel::Next(next)| next);
            }
        },
    );
    if let Err(Panicked) = polled {
        cell.panicked();
        tunnel::drop_caught(cell.link().metrics(), handler.take());
    }
}

impl<P> Default for Streams<P> {
    fn default() -> Self {
        Self { slots: Vec::new(), partings: Partings::default(), crowd: None }
    }
}

impl<P> Streams<P> {
    pub(super) fn find(&self, id: StreamId) -> Option<&Slot<P>> {
        find(&self.slots, id)
    }

    pub(super) fn at(&mut self, index: usize) -> Option<&mut Slot<P>> {
        self.slots.get_mut(index)?.as_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot<P>> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn insert(&mut self, id: StreamId, cell: Arc<StreamCell>, permit: P) {
        if self.slots.is_empty() {
            // A connection of HTTP/1.1 has no other.
            self.slots.reserve_exact(1);
        }
        if self.slots.len() <= id.slot() {
            self.slots.resize_with(id.slot() + 1, || None);
        }
        debug_assert!(self.slots[id.slot()].is_none(), "a slot is used again once its stream was released");
        self.slots[id.slot()] = Some(Slot { id, cell, handler: None, _permit: permit });
    }

    /// The connection is gone, by this error if by any. What had arrived for a stream is its own still.
    pub(super) fn disconnect<M: Machine>(&mut self, machine: &mut M, error: Option<&Error>) {
        let death = Death::of_connection(error);
        for slot in self.iter_mut() {
            slot.cell.end(read(machine, slot.id), None, Received::Dead(death));
        }
    }
}

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// Handles what the machine has to say, or as much of it as there is time for; whether that was anything.
    pub(super) fn handle_events(&mut self, now: Instant) -> bool {
        let mut progress = false;
        if self.broken_off == BrokenOff::Events {
            self.broken_off = BrokenOff::Nowhere;
        }
        while let Some(event) = self.machine.poll_event() {
            self.handle_event(event, now);
            progress = true;
            if !slice::goes_on() {
                self.broken_off = BrokenOff::Events;
                break;
            }
        }
        progress
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Request { id, request, end_stream } => self.accept(id, *request, end_stream, now),
            Event::Response { id, response, end_stream } => self.respond(id, *response, end_stream, now),
            Event::Readable(id) => self.handle_readable(id, now),
            Event::Writable(id) => self.exchange(id.slot(), now),
            Event::Finished { id, trailers } => {
                self.end(id, trailers.map(|trailers| *trailers), Received::Finished, now)
            }
            Event::Reset { id, violation: Some(violation), .. } => {
                self.end(id, None, Received::Dead(Death::Violation(violation)), now);
            }
            Event::Reset { id, reason, remote, violation: None } => {
                let side = self.link.info.side;
                if self.link.info.version != Version::HTTP_2 {
                    // HTTP/1.1 has no word for it: a client had ended its half, and its time is over.
                    self.link.metrics().count(Counter::HalfCloseTimeouts);
                }
                let by = if remote { side.peer() } else { side };
                self.end(id, None, Received::Dead(Death::Reset(ErrorCode::new(reason), by)), now);
            }
            Event::Closed(error) => self.close(error),
            Event::Settings | Event::GoAway { .. } => self.application.observe(&self.machine),
            Event::Pong(_) => {}
        }
    }

    fn close(&mut self, error: Option<h2::ConnectionError>) {
        if let Some(h2::ConnectionError::Violation(violation)) = error
            && let Some(counter) = limit(violation)
        {
            self.link.metrics().count(counter);
        }
        if let (Some(error), None) = (error, &self.failure) {
            tracing::debug!(%error, "a connection ended");
            let peer = self.link.info.side.peer();
            self.failure = Some(Box::new(connection_error(error, self.machine.goaway_debug_data(), peer)));
        }
        self.application.observe(&self.machine);
    }

    /// Resets a stream whose head, or trailers, there is no room for.
    pub(super) fn refuse_head(&mut self, id: StreamId, reason: Reason) {
        self.link.metrics().count(Counter::HeadsRefused);
        if let Some(mut stream) = self.machine.stream(id) {
            stream.reset(reason);
        }
    }

    /// Moves what has arrived into the cell, if somebody waits for it, and lets the handler have it at once, while it is in the
    /// processor's cache.
    fn handle_readable(&mut self, id: StreamId, now: Instant) {
        let is_kept = self.link.is_crowded() && !self.admit(id, now);
        let Self { streams, machine, stamp, .. } = self;
        let Some(slot) = streams.at(id.slot()) else { return };
        slot.cell.set_stamp(*stamp);
        if is_kept {
            slot.cell.hold_back();
            return;
        }
        if slot.handler.is_some() && slot.cell.is_listening() && slot.poll_at_desk(machine) {
            if !slot.cell.is_quiet() {
                self.exchange(id.slot(), now);
            }
            return;
        }
        let Some(mut stream) = machine.stream(id) else { return };
        if slot.cell.deliver(&mut stream) {
            drop(stream);
            let start = Start { is_woken: true, ..slot.cell.start() };
            self.look_after(id.slot(), start, now);
        }
    }

    pub(super) fn end(&mut self, id: StreamId, trailers: Option<HeaderMap>, mut received: Received, now: Instant) {
        let trailers = match trailers.map(|fields| Trailers::new(&self.link, fields)) {
            Some(None) => {
                self.refuse_head(id, Reason::ENHANCE_YOUR_CALM);
                let code = ErrorCode::new(Reason::ENHANCE_YOUR_CALM);
                received = Received::Dead(Death::Reset(code, self.link.info.side));
                None
            }
            trailers => trailers.flatten(),
        };
        let Self { streams, machine, .. } = self;
        if let Some(slot) = streams.find(id) {
            slot.cell.end(read(machine, id), trailers, received);
            // Who waits for the stream sees its end before an answer that nobody awaits is dropped.
            let start = slot.cell.start();
            self.look_after(id.slot(), start, now);
        }
    }

    /// Looks at a stream of the ready list.
    pub(super) fn visit(&mut self, index: usize, now: Instant) {
        if let Some(slot) = self.streams.at(index) {
            // It is off the list.
            let start = Start { is_queued: false, ..slot.cell.start() };
            self.look_after(index, start, now);
        }
    }

    /// Polls the handler of a stream if it was woken, then exchanges what there is. A cell that stands on the ready list stays
    /// there, and is looked at once more: it is never listed twice.
    pub(super) fn look_after(&mut self, index: usize, start: Start, now: Instant) {
        let Some(slot) = self.streams.at(index) else { return };
        if start.is_woken && !(slot.cell.is_quiet() && slot.poll_at_desk(&mut self.machine)) {
            slot.poll_handler();
        }
        if !start.is_queued {
            slot.cell.unqueue();
        }
        if !slot.cell.is_quiet() {
            self.exchange(index, now);
        }
    }

    /// Moves octets between a stream's cell and the machine, both ways, and sees to its end.
    pub(super) fn exchange(&mut self, index: usize, now: Instant) {
        let peers_end = self.peers_end();
        let was_closed = self.machine.is_closed();
        let Some(slot) = self.streams.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(mut stream) = self.machine.stream(slot.id) else { return };
        let mut state = slot.cell.lock_all();
        let look = Look { has_handler: slot.handler.is_some(), peers_end };
        let exchanged = state.exchange(&mut stream, &self.link, look);
        slot.cell.calm_down(&state);
        drop(state);
        slot.cell.wake(exchanged.waiting);
        if exchanged.handler.is_some() {
            debug_assert!(slot.handler.is_none(), "a stream has one handler");
            slot.handler = exchanged.handler;
            slot.cell.wake_handler();
        }
        let (id, is_behind, address) = (slot.id, slot.cell.is_behind(), slot.cell.address());
        if exchanged.next == Next::LetGo {
            stream.release();
            self.streams.partings.leave(exchanged.before);
            if let Some(mut slot) = self.streams.slots[index].take() {
                slot.drop_handler();
            }
        } else {
            drop(stream);
            if exchanged.awaited != exchanged.before {
                self.part(id, exchanged.before, exchanged.awaited, now);
            }
            if exchanged.refill {
                self.handle_readable(id, now);
            }
        }
        self.machine.recycle(exchanged.spare);
        if is_behind && exchanged.next == Next::LetGo {
            self.leave_behind(index, address);
        } else if is_behind {
            self.catch_up(index);
        }
        self.note_broken_off(was_closed);
        self.count_blames(now);
    }

    /// Tells the machine of tunnels in which the peer broke their protocol, which may be one too many; whether there were any.
    pub(super) fn count_blames(&mut self, now: Instant) -> bool {
        let blames = self.link.take_blames();
        for _ in 0..blames {
            self.machine.blame(now);
        }
        blames > 0
    }

    /// Sends what tasks have handed over; whether anything was there.
    pub(super) fn send_handed(&mut self) -> bool {
        let Self { streams, machine, link, .. } = self;
        let Some(mut handed) = link.take_handed() else { return false };
        let slots = &streams.slots;
        let find = |from: Address| {
            let slot = slots.get(from.slot()).and_then(Option::as_ref);
            slot.filter(|slot| slot.cell.address() == from)
        };
        let send = |from, mut octets: BytesMut| {
            // Of a stream that is over nothing goes out.
            let mut stream = machine.stream(find(from)?.id)?;
            let taken = stream.write(&octets, false);
            let is_all = taken == octets.len();
            if is_all {
                octets.clear();
                drop(stream);
                machine.recycle(octets);
                return None;
            }
            octets.advance(taken);
            Some(octets)
        };
        handed.send_all(send, |from, rest| {
            if let Some(slot) = find(from) {
                slot.cell.put_first(rest.freeze());
            }
        });
        link.recycle(handed);
        true
    }
}

pub(super) fn find<P>(slots: &[Option<Slot<P>>], id: StreamId) -> Option<&Slot<P>> {
    slots.get(id.slot())?.as_ref().filter(|slot| slot.id == id)
}

/// All that has arrived for a stream.
pub(super) fn read<M: Machine>(machine: &mut M, id: StreamId) -> BytesMut {
    machine.stream(id).map(|mut stream| stream.read()).unwrap_or_default()
}

/// The counter of the limit that ended a connection.
fn limit(violation: h2::Violation) -> Option<Counter> {
    use h2::Violation as V;
    Some(match violation {
        V::HeaderListFarTooLarge | V::TooManyContinuations => Counter::HeaderBlocksTooLarge,
        V::HeaderCompression => Counter::HeaderCompressionErrors,
        V::TooManyResets => Counter::ResetFloods,
        V::TooManyFailedTunnels => Counter::ViolationFloods,
        V::TooManyGlitches => Counter::GlitchFloods,
        V::TooManySettings => Counter::SettingsFloods,
        V::TooMuchOverhead => Counter::OverheadFloods,
        V::PrefaceTimeout | V::SettingsTimeout | V::HeaderTimeout => Counter::FrameTimeouts,
        V::KeepAliveTimeout => Counter::KeepAliveTimeouts,
        _ => return None,
    })
}

/// An error of the connection's with `peer`, whose GOAWAY, if there was one, said this besides its reason.
pub(crate) fn connection_error(error: h2::ConnectionError, debug_data: &[u8], peer: Side) -> Error {
    match error {
        h2::ConnectionError::Violation(violation) => Error::Violation(violation.into()),
        h2::ConnectionError::GoAway(reason) => {
            Error::GoAway { reason, by: peer, debug: String::from_utf8_lossy(debug_data).into() }
        }
        // The transport ended, or there is something that a later version knows of.
        _ => Error::Disconnected,
    }
}
