//! What the application sends: encoded at once into the one output, or not taken. No stream has a queue.

use std::mem;
use std::num::NonZeroU32;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Response, header};

use super::frame::{self, HEAD_LENGTH, QUANTUM};
use super::state::{Ending, Exchange, Side, State, Wait};
use super::{Connection, Event, Phase, Reason, Role, SendError, StreamId, fields};
use crate::Loan;
use crate::loan::Buffers;

/// Octets that the streams which wait for their turn may add to one output: three full frames. So large messages go out as
/// evenly as they come in and while the cache has them. What is written at once but goes out bit by bit, as under a congestion
/// control that paces, wakes the kernel for each bit.
const BATCH: usize = 3 * QUANTUM;
/// Queues are rid of released streams when they are twice as long as there are streams, and this longer.
const QUEUE_SLACK: usize = 64;

impl Connection {
    pub(super) fn read(&mut self, id: StreamId) -> BytesMut {
        let spare = || self.spares.pop().unwrap_or_default();
        let unread = self.streams.slot_mut(id.slot).unread.take(&self.buffers.batch, spare);
        self.give_back(id, unread.len());
        unread
    }

    /// Puts the buffers into a loan.
    #[inline]
    pub(super) fn lend(&mut self, id: StreamId, loan: &mut Loan) {
        let Buffers { batch, output } = &*loan.buffers;
        debug_assert!(batch.is_empty() && output.is_empty() && loan.kept.is_empty(), "what was lent before is settled");
        loan.room = self.room(id);
        loan.start = self.buffers.output.len();
        let unread = &mut self.streams.slot_mut(id.slot).unread;
        if unread.is_in_batch() {
            loan.unread = unread.in_batch();
        } else {
            loan.unread = 0..unread.len();
            loan.kept = unread.take_kept();
        }
        mem::swap(&mut loan.buffers, &mut self.buffers);
    }

    /// Takes the buffers back, and sees to what was read and sent.
    #[inline]
    pub(super) fn settle(&mut self, id: StreamId, loan: &mut Loan) {
        mem::swap(&mut loan.buffers, &mut self.buffers);
        let payload = loan.start + HEAD_LENGTH;
        let sent = self.buffers.output.len().saturating_sub(payload);
        if sent > 0 {
            frame::set_data_head(&mut self.buffers.output[loan.start..payload], id, sent);
            self.account_sent(id, sent, true);
        } else {
            self.buffers.output.truncate(loan.start);
        }
        let unread = &mut self.streams.slot_mut(id.slot).unread;
        let mut read = loan.unread.start;
        if unread.is_in_batch() {
            read -= unread.in_batch().start;
            unread.place(loan.unread.start as u32, loan.unread.end as u32);
        } else if !loan.kept.is_empty() {
            let mut kept = mem::take(&mut loan.kept);
            kept.advance(read);
            if kept.is_empty() {
                self.recycle(kept);
            } else {
                unread.put_back(kept);
            }
        }
        if read > 0 {
            self.give_back(id, read);
        }
    }

    /// Octets that a stream may send now, in one DATA frame.
    #[inline]
    fn room(&self, id: StreamId) -> usize {
        let entry = self.streams.slot(id.slot);
        let is_open = self.phase != Phase::Closed && entry.state.send() == Side::Body;
        if !is_open || self.buffers.output.len() >= self.config.max_send_buffer {
            return 0;
        }
        // RFC 9113 §6.9.1: both windows have to allow it.
        let window = entry.send_window.available(self.peer_settings.initial_window_size);
        (window.clamp(0, self.send_window.into()) as usize).min(QUANTUM)
    }

    pub(super) fn write(&mut self, id: StreamId, data: &[u8], end_stream: bool) -> usize {
        let side = self.streams.slot(id.slot).state.send();
        debug_assert!(side != Side::Head || self.phase == Phase::Closed, "the header comes first");
        if self.phase == Phase::Closed || side != Side::Body {
            return 0;
        }
        let taken = data.len().min(self.room(id));
        let is_all = taken == data.len();
        let ends = end_stream && is_all;
        if taken > 0 || ends {
            frame::put_data(&mut self.buffers.output, id, &data[..taken], ends);
            self.account_sent(id, taken, is_all);
        }
        if ends {
            self.streams.set_send(id.slot, Side::Ended);
        }
        if !is_all {
            self.wait(id);
        }
        taken
    }

    /// Books a DATA frame that was put.
    #[inline]
    fn account_sent(&mut self, id: StreamId, octets: usize, is_all: bool) {
        let entry = self.streams.slot_mut(id.slot);
        entry.send_window.consume(octets as u32);
        self.send_window -= octets as u32;
        if let Some(progress) = &mut entry.progress {
            // A stream that has sent all it had is not blocked.
            *progress = progress.saturating_add(if is_all { u32::MAX } else { octets as u32 });
        }
        self.overhead.add_useful(HEAD_LENGTH + octets);
        // A peer may give credit for each frame when the stream is closed already.
        self.glitches.put_back(1);
    }

    /// The stream has more to send: it is told when it may, and watched meanwhile.
    fn wait(&mut self, id: StreamId) {
        let initial = self.peer_settings.initial_window_size;
        let entry = self.streams.slot_mut(id.slot);
        if entry.wait == Wait::None {
            if entry.send_window.available(initial) > 0 {
                entry.wait = Wait::Turn;
                self.turns.push_back(id);
            } else {
                entry.wait = Wait::Window;
                self.max_waiting_difference = self.max_waiting_difference.max(Some(entry.send_window.difference()));
            }
        }
        if entry.progress.is_none() {
            entry.progress = Some(NonZeroU32::MIN);
            self.timers.progress.push(id);
        }
        let enough = 2 * self.streams.len() + QUEUE_SLACK;
        if self.turns.len() > enough {
            self.turns.retain(|&id| self.streams.get(id).is_some_and(|entry| entry.wait == Wait::Turn));
        }
        if self.timers.progress.len() > enough {
            self.timers.progress.retain(|id| self.streams.get(id).is_some_and(|entry| entry.progress.is_some()));
        }
    }

    /// The next stream that waits, as long as something could be written and the turns of this batch are not used up.
    pub(super) fn next_turn(&mut self) -> Option<Event> {
        let length = self.buffers.output.len();
        // What others put there before is no reason to wait: it may be as much each time.
        let batch = self.turns_from.map_or(0, |from| length.saturating_sub(from));
        let has_room = length < self.config.max_send_buffer && batch < BATCH && self.send_window > 0;
        if self.phase == Phase::Closed || !has_room {
            return None;
        }
        while let Some(id) = self.turns.pop_front() {
            if let Some(entry) = self.streams.get_mut(id)
                && entry.wait == Wait::Turn
            {
                entry.wait = Wait::None;
                self.turns_from.get_or_insert(length);
                return Some(Event::Writable(id));
            }
        }
        None
    }

    pub(super) fn respond(&mut self, id: StreamId, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        let status = response.status();
        self.check_header_order(id, Side::Head)?;
        // RFC 9113 §8.1, §8.6
        let is_possible = !status.is_informational() || (!end_stream && status != 101);
        if self.role == Role::Client || !is_possible {
            return Err(SendError::OutOfOrder);
        }
        let is_final = !status.is_informational();
        let exchange = self.streams.slot(id.slot).exchange;
        let end_stream = end_stream || (is_final && !fields::may_have_content(exchange, status));
        // RFC 9110 §6.6.1
        let has_date = !is_final || response.headers().contains_key(header::DATE);
        let date = self.config.date.filter(|_| !has_date).map(|now| now());
        let fields = fields::response_fields(&status, response.headers(), exchange, date.as_ref());
        frame::put_headers(&mut self.buffers.output, id.value(), end_stream, |output| {
            self.encoder.encode(fields, output)
        });
        if is_final {
            let entry = self.streams.slot_mut(id.slot);
            entry.exchange = entry.exchange.after_response(status);
            self.streams.set_send(id.slot, if end_stream { Side::Ended } else { Side::Body });
        }
        Ok(())
    }

    pub(super) fn send_trailers(&mut self, id: StreamId, trailers: &HeaderMap) -> Result<(), SendError> {
        self.check_header_order(id, Side::Body)?;
        // RFC 9113 §8.5
        if self.streams.slot(id.slot).exchange == Exchange::Tunnel {
            return Err(SendError::OutOfOrder);
        }
        let fields = fields::trailer_fields(trailers);
        frame::put_headers(&mut self.buffers.output, id.value(), true, |output| self.encoder.encode(fields, output));
        self.streams.slot_mut(id.slot).wait = Wait::None;
        self.streams.set_send(id.slot, Side::Ended);
        Ok(())
    }

    fn check_header_order(&self, id: StreamId, wanted: Side) -> Result<(), SendError> {
        match self.streams.slot(id.slot).state.send() {
            _ if self.phase == Phase::Closed => Err(SendError::Closed),
            side if side == wanted => Ok(()),
            Side::Ended => Err(SendError::Closed),
            _ => Err(SendError::OutOfOrder),
        }
    }

    pub(super) fn release(&mut self, id: StreamId) {
        let entry = self.streams.slot(id.slot);
        let is_answered = self.role == Role::Server && entry.state.send() == Side::Ended;
        let reason = if is_answered && entry.exchange != Exchange::Tunnel { Reason::NO_ERROR } else { Reason::CANCEL };
        self.reset(id, reason);
        let ending = match self.streams.slot(id.slot).state {
            State::Closed(ending) => ending,
            // The connection is closed: nothing more is received.
            State::Active { .. } => Ending::ResetByUs,
        };
        let entry = self.streams.remove(id, ending);
        self.pool.put_back(&entry.recv_window);
        self.end_if_drained();
    }
}
