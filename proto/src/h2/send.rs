//! What the application sends: encoded at once into the one output, or not taken. No stream has a queue.

use bytes::BytesMut;
use http::{HeaderMap, Response};

use super::frame::{self, HEAD_LENGTH, QUANTUM};
use super::state::{Ending, Exchange, Side, State, Wait};
use super::{Connection, Event, Phase, Reason, Role, SendError, StreamId, head};

/// Queues are rid of released streams when they are twice as long as there are streams, and this longer.
const QUEUE_SLACK: usize = 64;

impl Connection {
    pub(super) fn read(&mut self, id: StreamId) -> BytesMut {
        let unread = std::mem::take(&mut self.streams.slot_mut(id.slot).unread);
        self.give_back(id, unread.len());
        unread
    }

    pub(super) fn write(&mut self, id: StreamId, data: &[u8], end_stream: bool) -> usize {
        let initial = self.peer_settings.initial_window_size;
        let has_room = self.output.len() < self.config.max_send_buffer;
        let entry = self.streams.slot_mut(id.slot);
        if self.phase == Phase::Closed {
            return 0;
        }
        debug_assert!(entry.state.send() != Side::Head, "the header comes first");
        if entry.state.send() != Side::Body {
            return 0;
        }
        // RFC 9113 §6.9.1: both windows have to allow it.
        let window = entry.send_window.available(initial).clamp(0, self.send_window.into()) as usize;
        let taken = if has_room { data.len().min(window).min(QUANTUM) } else { 0 };
        let ends = end_stream && taken == data.len();
        if taken > 0 || ends {
            entry.send_window.consume(taken as u32);
            self.send_window -= taken as u32;
            if let Some(octets) = &mut entry.progress {
                // A stream that has sent all it had is not blocked.
                let progress = if taken == data.len() { u32::MAX } else { taken as u32 };
                *octets = octets.saturating_add(progress);
            }
            if ends {
                entry.state.set_send(Side::Ended);
            }
            frame::put_data(&mut self.output, id, &data[..taken], ends);
            self.overhead.add_useful(HEAD_LENGTH + taken);
            // A peer may give credit for each frame when the stream is closed already.
            self.glitches.put_back(1);
        }
        if taken < data.len() {
            self.wait(id);
        }
        taken
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
            entry.progress = Some(0);
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

    /// The next stream that waits, as long as something could be written.
    pub(super) fn next_turn(&mut self) -> Option<Event> {
        let has_room = self.output.len() < self.config.max_send_buffer && self.send_window > 0;
        if self.phase == Phase::Closed || !has_room {
            return None;
        }
        while let Some(id) = self.turns.pop_front() {
            if let Some(entry) = self.streams.get_mut(id)
                && entry.wait == Wait::Turn
            {
                entry.wait = Wait::None;
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
        let fields = head::response_fields(&status, response.headers());
        frame::put_headers(&mut self.output, id.value(), end_stream, |output| self.encoder.encode(fields, output));
        if !status.is_informational() {
            let entry = self.streams.slot_mut(id.slot);
            entry.exchange = entry.exchange.after_response(status);
            entry.state.set_send(if end_stream { Side::Ended } else { Side::Body });
        }
        Ok(())
    }

    pub(super) fn send_trailers(&mut self, id: StreamId, trailers: &HeaderMap) -> Result<(), SendError> {
        self.check_header_order(id, Side::Body)?;
        // RFC 9113 §8.5
        if self.streams.slot(id.slot).exchange == Exchange::Tunnel {
            return Err(SendError::OutOfOrder);
        }
        let fields = head::header_fields(trailers);
        frame::put_headers(&mut self.output, id.value(), true, |output| self.encoder.encode(fields, output));
        let entry = self.streams.slot_mut(id.slot);
        entry.wait = Wait::None;
        entry.state.set_send(Side::Ended);
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
