//! DATA of the streams, from its frame to its reader, and the credit that its peer gets back (RFC 9113 §6.9).

use std::mem;

use bytes::{Buf, BytesMut};

use super::state::{Side, State};
use super::{Ending, Streams};
use crate::Loan;
use crate::h2::timers::Clock;
use crate::h2::{StreamId, Violation};

/// Emptied buffers kept for reuse, and octets of each one.
const MAX_SPARES: usize = 1024;
const MAX_SPARE: usize = 256;

/// Why a stream takes no DATA.
pub(in crate::h2) enum NotTaken {
    /// The peer is at fault, and the stream is to be reset.
    Fault(Violation),
    /// The stream was over before.
    Late(Ending),
}

impl Streams {
    /// Books a DATA frame with a payload of `length` octets, its padding included, of which `content` are data.
    #[inline]
    pub(in crate::h2) fn receive(
        &mut self,
        slot: u32,
        length: usize,
        content: usize,
        end_stream: bool,
    ) -> Result<(), NotTaken> {
        let tolerance =
            if length as i64 > i64::from(self.slots[slot as usize].recv_credit()) { self.tolerate(slot) } else { 0 };
        let entry = self.slot_mut(slot);
        match entry.state {
            State::Active { recv: Side::Body, .. } => {}
            State::Active { recv: Side::Head, .. } => return Err(NotTaken::Fault(Violation::DataBeforeHead)),
            State::Active { recv: Side::Ended, .. } => return Err(NotTaken::Fault(Violation::StreamHalfClosed)),
            State::Closed(ending) => return Err(NotTaken::Late(ending)),
        }
        // RFC 9113 §6.9.1: the padding counts as well.
        if !entry.recv_window.receive(length, tolerance) {
            return Err(NotTaken::Fault(Violation::StreamWindowExceeded));
        }
        // RFC 9113 §8.1.1
        if !entry.expected.take(content, end_stream) {
            return Err(NotTaken::Fault(Violation::ContentLengthMismatch));
        }
        Ok(())
    }

    /// Octets by which a stream may go beyond its window. Simple peers take every window for as large as it would be if there were few
    /// streams, and there is room for that on some: what handlers take off many at once would have no bound.
    #[cold]
    fn tolerate(&mut self, slot: u32) -> u32 {
        let id = self.slots[slot as usize].id;
        if !self.beyond.contains(&id) {
            if self.beyond.len() >= self.max_beyond {
                return 0;
            }
            self.beyond.push(id);
        }
        self.tolerance
    }

    /// Notes down the data that stands in `input` from `start` on, which becomes the batch. Whether it is the first since
    /// the stream was read.
    #[inline]
    pub(in crate::h2) fn place_data(&mut self, slot: u32, input: &mut [u8], start: usize, length: usize) -> bool {
        debug_assert!(length > 0, "no data is no event");
        let entry = &mut self.slots[slot as usize];
        if entry.unread.is_empty() {
            entry.unread.place(start as u32, (start + length) as u32);
            self.in_batch.push(slot);
            return true;
        }
        if entry.unread.is_in_batch() && self.in_batch.last() == Some(&slot) {
            // Nothing that is to be read stands between: it joins what came before.
            let end = entry.unread.in_batch().end;
            input.copy_within(start..start + length, end);
            entry.unread.place(entry.unread.in_batch().start as u32, (end + length) as u32);
        } else {
            entry.unread.append(input, &input[start..start + length]);
        }
        false
    }

    /// Whether DATA of the batch was noted down.
    #[inline]
    pub(in crate::h2) fn has_batch(&self) -> bool {
        !self.in_batch.is_empty()
    }

    /// Copies what of the batch was not read: the batch is about to go.
    pub(in crate::h2) fn keep_batch(&mut self, batch: &[u8]) {
        for slot in self.in_batch.drain(..) {
            if let Some(entry) = self.slots.get_mut(slot as usize) {
                entry.unread.keep(batch);
            }
        }
    }

    /// All DATA of a stream that was not read, by move, or copied from the batch.
    pub(in crate::h2) fn take_unread(&mut self, id: StreamId, batch: &[u8]) -> BytesMut {
        let spare = || self.spares.pop().unwrap_or_default();
        let entry = &mut self.slots[id.slot()];
        let unread = entry.unread.take(batch, spare);
        entry.recv_window.take(unread.len());
        unread
    }

    /// Books that so many octets of those that were taken have been read.
    #[inline]
    pub(in crate::h2) fn return_taken(&mut self, id: StreamId, octets: usize) {
        if let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.id == id.value()) {
            entry.recv_window.return_taken(octets);
        }
    }

    /// Puts what was not read into a loan, or says where in the batch it stands.
    #[inline]
    pub(in crate::h2) fn lend_unread(&mut self, id: StreamId, loan: &mut Loan) {
        let unread = &mut self.slot_mut(id.slot).unread;
        if unread.is_in_batch() {
            loan.unread = unread.in_batch();
        } else {
            loan.unread = 0..unread.len();
            loan.kept = unread.take_kept();
        }
    }

    /// Takes back what was lent and not read. Returns the octets that were read.
    #[inline]
    pub(in crate::h2) fn settle_unread(&mut self, id: StreamId, loan: &mut Loan) -> usize {
        let unread = &mut self.slots[id.slot()].unread;
        let mut read = loan.unread.start;
        if unread.is_in_batch() {
            debug_assert!(unread.in_batch().end == loan.unread.end, "what is settled was lent");
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
        read
    }

    /// Keeps an emptied buffer for what comes next, if it is small.
    pub(in crate::h2) fn recycle(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        // Its capacity does not count what was read out of its front: that it is small does not say that it holds little.
        let is_large = buffer.try_reclaim(MAX_SPARE + 1);
        if !is_large && buffer.try_reclaim(1) && self.spares.len() < MAX_SPARES {
            self.spares.push(buffer);
        }
    }

    /// Books octets that were read. Returns the WINDOW_UPDATE to send, unless the peer has ended its side.
    #[inline]
    pub(in crate::h2) fn give_back(&mut self, id: StreamId, octets: usize, clock: &Clock) -> Option<u32> {
        let entry = self.slots.get_mut(id.slot()).filter(|entry| entry.id == id.value())?;
        if entry.state.recv() == Side::Ended {
            return None;
        }
        entry.recv_window.give_back(octets, &mut self.pool, || clock.milliseconds())
    }

    /// Octets that were received and not read.
    pub(in crate::h2) fn unread(&self) -> u64 {
        self.iter().map(|entry| entry.unread.len() as u64).sum()
    }

    /// The peer has acknowledged our SETTINGS. RFC 9113 §6.9.2: a smaller window holds from now on, for the streams that
    /// are open as well.
    pub(in crate::h2) fn handle_settings_acknowledged(&mut self) {
        let decrease = self.initial_credit - self.initial_window;
        self.initial_credit = self.initial_window;
        if decrease > 0 {
            for (_, entry) in &mut self.slots {
                entry.recv_window.decrease(decrease);
            }
        }
    }
}
