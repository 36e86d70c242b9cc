//! The verbs of a stream, on the parts that they touch: what is read gives credit back, what is sent is booked.

use bytes::BytesMut;
use http::{HeaderMap, Response, header};

use super::{Connection, StreamId};
use crate::Loan;
use crate::h2::output::{QUEUE_SLACK, may_have_content};
use crate::h2::streams::{Ending, Exchange, Side};
use crate::h2::{Reason, SendError};

/// DATA.
impl Connection {
    /// Hands over what was not read. The connection's window has it back: others are stopped by none of it.
    pub(super) fn take(&mut self, id: StreamId) -> BytesMut {
        let unread = self.streams.take_unread(id, self.output.batch());
        self.give_back(unread.len());
        unread
    }

    /// Gives the connection's window back what is not held here any more.
    #[inline]
    fn give_back(&mut self, octets: usize) {
        if !self.life.is_closed() {
            self.output.give_back(octets);
        }
    }

    /// Gives credit back to a stream whose peer may still send, for octets that were [taken](Self::take).
    #[inline]
    pub(super) fn credit(&mut self, id: StreamId, octets: usize) {
        self.streams.return_taken(id, octets);
        self.give_credit(id, octets);
    }

    /// Gives credit back to a stream whose peer may still send.
    #[inline]
    fn give_credit(&mut self, id: StreamId, octets: usize) {
        if self.life.is_closed() {
            return;
        }
        if let Some(increment) = self.streams.give_back(id, octets, &self.clock) {
            self.output.put_window_update(id.value(), increment);
        }
    }

    /// Puts the buffers into a loan.
    #[inline]
    pub(super) fn lend(&mut self, id: StreamId, loan: &mut Loan) {
        let room = self.room(id);
        self.output.lend(loan, room);
        self.streams.lend_unread(id, loan);
    }

    /// Takes the buffers back, and sees to what was read and sent.
    #[inline]
    pub(super) fn settle(&mut self, id: StreamId, loan: &mut Loan) {
        let sent = self.output.settle(id, loan);
        if sent > 0 {
            self.account_sent(id, sent, true);
        }
        let read = self.streams.settle_unread(id, loan);
        if read > 0 {
            self.give_back(read);
            self.give_credit(id, read);
        }
    }

    /// Octets that a stream may send now, in one DATA frame.
    #[inline]
    pub(super) fn room(&self, id: StreamId) -> usize {
        if self.life.is_closed() {
            return 0;
        }
        self.output.room(self.streams.slot(id.slot), self.peer.initial_window())
    }

    pub(super) fn write(&mut self, id: StreamId, data: &[u8], end_stream: bool) -> usize {
        let side = self.streams.slot(id.slot).state().send();
        debug_assert!(side != Side::Head || self.life.is_closed(), "the header comes first");
        if self.life.is_closed() || side != Side::Body {
            return 0;
        }
        let taken = data.len().min(self.room(id));
        let is_all = taken == data.len();
        let ends = end_stream && is_all;
        if taken > 0 || ends {
            self.output.put_data(id, &data[..taken], ends);
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
        self.streams.slot_mut(id.slot).account_sent(octets, is_all);
        self.guard.send_data(octets);
    }

    /// The stream has more to send: it is told when it may, and watched meanwhile.
    fn wait(&mut self, id: StreamId) {
        self.turns.wait(id, &mut self.streams, self.peer.initial_window());
        let entry = self.streams.slot_mut(id.slot);
        let watches = self.timers.watches();
        if !entry.is_watched() {
            entry.watch();
            watches.push(id);
        }
        if watches.len() > 2 * self.streams.len() + QUEUE_SLACK {
            watches.retain(|id| self.streams.get(id).is_some_and(|entry| entry.is_watched()));
        }
    }
}

/// Headers, and the end.
impl Connection {
    pub(super) fn respond(&mut self, id: StreamId, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        let status = response.status();
        // A client's streams have sent their header: they take no response.
        self.check_header_order(id, Side::Head)?;
        let is_final = !status.is_informational();
        // RFC 9113 §8.1, §8.6
        if !is_final && (end_stream || status == http::StatusCode::SWITCHING_PROTOCOLS) {
            return Err(SendError::OutOfOrder);
        }
        let exchange = self.streams.slot(id.slot).exchange();
        let end_stream = end_stream || (is_final && !may_have_content(exchange, status));
        // RFC 9110 §6.6.1
        let has_date = !is_final || response.headers().contains_key(header::DATE);
        let date = self.config.date.filter(|_| !has_date).map(|now| now());
        self.output.put_response(id, response, exchange, end_stream, date.as_ref());
        if is_final {
            self.streams.slot_mut(id.slot).set_response(status);
            self.streams.set_send(id.slot, if end_stream { Side::Ended } else { Side::Body });
        }
        Ok(())
    }

    pub(super) fn send_trailers(&mut self, id: StreamId, trailers: &HeaderMap) -> Result<(), SendError> {
        self.check_header_order(id, Side::Body)?;
        // RFC 9113 §8.5
        if self.streams.slot(id.slot).exchange() == Exchange::Tunnel {
            return Err(SendError::OutOfOrder);
        }
        self.output.put_trailers(id, trailers);
        self.streams.set_send(id.slot, Side::Ended);
        Ok(())
    }

    fn check_header_order(&self, id: StreamId, wanted: Side) -> Result<(), SendError> {
        match self.streams.slot(id.slot).state().send() {
            _ if self.life.is_closed() => Err(SendError::Closed),
            side if side == wanted => Ok(()),
            Side::Ended => Err(SendError::Closed),
            _ => Err(SendError::OutOfOrder),
        }
    }

    /// Resets a stream that goes on, without an event.
    pub(super) fn reset(&mut self, id: StreamId, reason: Reason) {
        if !self.life.is_closed() && !self.streams.slot(id.slot).state().is_closed() {
            self.streams.close(id.slot, Ending::ResetByUs);
            self.output.put_rst_stream(id.value(), reason);
        }
    }

    pub(super) fn release(&mut self, id: StreamId) {
        let entry = self.streams.slot(id.slot);
        let is_answered = !self.streams.numbers().is_ours(id.value()) && entry.state().send() == Side::Ended;
        let reason =
            if is_answered && entry.exchange() != Exchange::Tunnel { Reason::NO_ERROR } else { Reason::CANCEL };
        let unread = entry.unread();
        self.reset(id, reason);
        if !self.life.is_closed() {
            self.output.give_back(unread);
        }
        // One that is not closed then is of a connection that is: nothing more is received.
        self.streams.remove(id, Ending::ResetByUs);
        if self.streams.is_empty() {
            self.timers.handle_last_release(&self.config, self.clock.now());
        }
        self.end_if_drained();
    }
}
