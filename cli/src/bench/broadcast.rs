//! Messages that one socket sends and every socket gets.

use std::collections::VecDeque;

/// The number of the socket that sends them.
pub(super) const SENDER: u32 = 0;

/// Those that have not arrived at every socket yet. Sockets get them in order, so they arrive everywhere in order too.
#[derive(Debug, Default)]
pub(super) struct Broadcast {
    /// Oldest first. The first ones are sent.
    flights: VecDeque<Flight>,
    /// Messages that have arrived everywhere, which is the number of the oldest flight.
    arrived: u64,
    sent: u64,
    /// The sender is gone.
    is_over: bool,
}

#[derive(Debug)]
struct Flight {
    /// In nanoseconds.
    due: u64,
    /// Sockets at which it has not arrived.
    missing: u64,
}

impl Broadcast {
    /// Another message is due since then, at so many sockets; whether there is anyone to send it.
    pub(super) fn ask(&mut self, due: u64, sockets: u64) -> bool {
        if !self.is_over {
            self.flights.push_back(Flight { due, missing: sockets });
        }
        !self.is_over
    }

    /// When message `number` was due, if it was and has not arrived everywhere.
    #[inline]
    pub(super) fn due(&self, number: u64) -> Option<u64> {
        self.flights.get(number.checked_sub(self.arrived)? as usize).map(|flight| flight.due)
    }

    /// Messages that are sent.
    #[inline]
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The next message to send: its number, and when it was due. None where so many are on their way.
    #[inline]
    pub(super) fn next(&self, depth: u64) -> Option<(u64, u64)> {
        let due = if self.sent - self.arrived < depth { self.due(self.sent) } else { None };
        due.map(|due| (self.sent, due))
    }

    /// The next message goes out.
    pub(super) fn count_sent(&mut self) {
        self.sent += 1;
    }

    /// Message `number` has arrived at one more socket; how many messages have so arrived everywhere.
    #[inline]
    pub(super) fn count_arrived(&mut self, number: u64) -> usize {
        let index = (number - self.arrived) as usize;
        self.flights[index].missing -= 1;
        // Only the oldest can be the first that has arrived everywhere.
        if index == 0 { self.complete() } else { 0 }
    }

    /// A socket that has got those below `number` gets no more: how many it will miss, and how many messages have arrived
    /// everywhere without it.
    pub(super) fn count_lost(&mut self, number: u64) -> (u64, usize) {
        let index = (number - self.arrived) as usize;
        let mut missed = 0;
        for flight in self.flights.range_mut(index..) {
            flight.missing -= 1;
            missed += 1;
        }
        (missed, self.complete())
    }

    /// Nobody sends any more: how many arrivals are not to be waited for.
    pub(super) fn end(&mut self) -> u64 {
        self.is_over = true;
        let unsent = self.flights.drain((self.sent - self.arrived) as usize..);
        unsent.map(|flight| flight.missing).sum()
    }

    fn complete(&mut self) -> usize {
        let before = self.arrived;
        while self.arrived < self.sent && self.flights.front().is_some_and(|flight| flight.missing == 0) {
            self.flights.pop_front();
            self.arrived += 1;
        }
        (self.arrived - before) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Broadcast;

    fn three_due() -> Broadcast {
        let mut broadcast = Broadcast::default();
        assert!((0..3).all(|number| broadcast.ask(100 + number, 2)));
        broadcast
    }

    #[test]
    fn a_message_has_arrived_when_every_socket_has_it() {
        let mut broadcast = three_due();
        assert_eq!(broadcast.next(2), Some((0, 100)));
        broadcast.count_sent();
        broadcast.count_sent();
        assert_eq!(broadcast.next(2), None, "two are on their way");
        // One socket gets both before the other gets any.
        assert_eq!([0, 1, 0, 1].map(|number| broadcast.count_arrived(number)), [0, 0, 1, 1]);
        assert_eq!((broadcast.due(1), broadcast.due(2), broadcast.due(3)), (None, Some(102), None));
        assert_eq!(broadcast.next(2), Some((2, 102)));
    }

    #[test]
    fn a_lost_socket_is_not_waited_for() {
        let mut broadcast = three_due();
        broadcast.count_sent();
        assert_eq!(broadcast.count_arrived(0), 0);
        assert_eq!(broadcast.count_lost(0), (3, 1));
        broadcast.count_sent();
        assert_eq!(broadcast.count_arrived(1), 1);
    }

    #[test]
    fn what_a_lost_sender_has_not_sent_is_not_waited_for() {
        let mut broadcast = three_due();
        broadcast.count_sent();
        assert_eq!(broadcast.end(), 4);
        assert_eq!((broadcast.due(0), broadcast.due(1), broadcast.next(9)), (Some(100), None, None));
        assert!(!broadcast.ask(200, 2));
    }
}
