//! What the table promises, added up.

use super::{Side, Streams, Wait};

impl Streams {
    /// `is_open` says that the connection is not closed: then what was received and read is credited.
    pub(in crate::h2) fn check(&self, is_open: bool) {
        self.numbers.check();
        self.closed.check();
        self.check_table();
        self.check_windows(is_open);
        self.check_batch();
    }

    fn check_table(&self) {
        let active = self.iter().filter(|entry| !entry.state.is_closed()).count();
        assert_eq!(self.active, active, "streams that are open or half-closed");
        assert_eq!(self.held.len(), self.slots.len(), "streams by number, and by slot");
        for id in self.ids() {
            assert_eq!(self.held.get(&id.value()), Some(&id.slot), "a stream is found by its number");
            assert!(!self.numbers.is_idle(id.value()), "a stream is held that was never opened");
            let entry = self.slot(id.slot);
            assert!(entry.wait() == Wait::None || entry.state.send() == Side::Body, "a side waits that cannot send");
            assert!(self.closed.get(id.value()).is_none(), "a stream is held that was released");
        }
        // A stream is let in where there is room for it among both kinds.
        let max = self.admission.max_active.saturating_add(self.admission.max_closed);
        assert!(self.slots.len() <= max, "more streams are held than the peer may have");
    }

    fn check_windows(&self, is_open: bool) {
        let mut growth = 0;
        for entry in self.iter() {
            assert!(entry.send_window.difference() <= self.max_difference, "a window is larger than any");
            growth += self.pool.growth(&entry.recv_window);
            // What the peer may send, what it sent and nobody read, what was read and is not credited, and what was taken and is
            // not read: the window. Of a side that is over nothing is credited any more.
            if is_open && entry.state.recv() != Side::Ended {
                let credit = i64::from(entry.recv_window.credit());
                let uncredited = entry.unread.len() as i64 + i64::from(entry.recv_window.returned());
                let window = i64::from(entry.recv_window.size()) + i64::from(self.initial_credit - self.initial_window);
                match entry.recv_window.taken().map(i64::from) {
                    Some(taken) => {
                        assert_eq!(credit + uncredited + taken, window, "octets of a window are lost or made")
                    }
                    None => assert!(credit + uncredited <= window, "octets of a window are made"),
                }
            }
        }
        self.pool.check(growth);
    }

    fn check_batch(&self) {
        let mut places: Vec<_> = self.slots.iter().filter(|(_, entry)| entry.unread.is_in_batch()).collect();
        let is_noted = |slot: usize| self.in_batch.contains(&(slot as u32));
        assert!(places.iter().all(|(slot, _)| is_noted(*slot)), "data stands in the batch and is not noted down");
        places.sort_by_key(|(_, entry)| entry.unread.in_batch().start);
        let is_apart =
            |pair: &[(usize, &super::Entry)]| pair[0].1.unread.in_batch().end <= pair[1].1.unread.in_batch().start;
        assert!(places.windows(2).all(is_apart), "two streams have the same octets");
        assert!(self.slots.iter().all(|(_, entry)| entry.unread.is_consistent()), "a buffer is kept for nothing");
        assert!(self.spares.iter().all(|spare| spare.is_empty()), "a spare buffer holds octets");
    }
}
