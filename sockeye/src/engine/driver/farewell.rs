//! When the WebSockets of a connection that drains are told: not all in one moment, or all their clients would be back in one.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How far a connection has gone away.
#[derive(Default)]
pub(super) enum Parting {
    /// Nothing is due.
    #[default]
    None,
    /// One WebSocket after another is told. Boxed, since it lasts for seconds of a connection's life.
    Spreading(Box<Farewells>),
    /// All are told; what is left then is cut off.
    CutOff(Instant),
}

impl Parting {
    /// When something of it is due next, with so many slots.
    pub(super) fn due(&self, slots: usize) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Spreading(farewells) => Some(farewells.due(slots)),
            Self::CutOff(due) => Some(*due),
        }
    }
}

/// The golden ratio's fraction, of 2³²: its multiples are spread as evenly as can be, however many there are.
const GOLDEN: u32 = 0x9E37_79B9;

/// The slots of a connection, one after another, at even distances.
pub(super) struct Farewells {
    began: Instant,
    time: Duration,
    /// Where in the distance between two this connection's turns stand, of 2³²: connections of one socket each take turns, too.
    offset: u32,
    /// The next slot to be told.
    next: usize,
}

impl Farewells {
    /// `number` is the connection's among all of its server.
    pub(super) fn new(now: Instant, until: Instant, number: u64) -> Self {
        let offset = (number as u32).wrapping_mul(GOLDEN);
        Self { began: now, time: until.saturating_duration_since(now), offset, next: 0 }
    }

    /// When the next slot is due; the end of the time where all have been.
    fn due(&self, slots: usize) -> Instant {
        if self.next >= slots {
            return self.began + self.time;
        }
        let turns = self.next as f64 + f64::from(self.offset) / f64::from(u32::MAX);
        self.began + self.time.mul_f64((turns / slots as f64).min(1.0))
    }

    /// The slots that are due by now, of so many.
    pub(super) fn advance(&mut self, now: Instant, slots: usize) -> Range<usize> {
        let first = self.next;
        while self.next < slots && self.due(slots) <= now {
            self.next += 1;
        }
        first..self.next
    }

    /// Whether the time is over, and all are due.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    /// The moments at which the slots of a connection are due.
    fn moments(number: u64, slots: usize) -> Vec<Duration> {
        let now = Instant::now();
        let mut farewells = Farewells::new(now, now + TIME, number);
        let mut moments = Vec::new();
        while moments.len() < slots {
            let due = farewells.due(slots);
            moments.extend(farewells.advance(due, slots).map(|_| due - now));
        }
        assert_eq!(farewells.due(slots), now + TIME);
        moments
    }

    /// In each tenth of the time a tenth of all, give or take a few.
    fn check_even(moments: &[Duration]) {
        for tenth in 0..10 {
            let count = moments.iter().filter(|moment| moment.as_millis() / 1000 == tenth).count();
            let even = moments.len() / 10;
            assert!(count.abs_diff(even) <= 3 + even / 20, "{count} of {even} in tenth {tenth}");
        }
    }

    #[test]
    fn the_sockets_of_one_connection_are_told_evenly() {
        check_even(&moments(1, 1000));
        check_even(&moments(77, 50));
    }

    #[test]
    fn connections_of_one_socket_are_told_evenly() {
        let all: Vec<_> = (1..=1000).flat_map(|number| moments(number, 1)).collect();
        check_even(&all);
    }

    /// What comes late, as a stream that was opened before its client knew, has its turn among the others.
    #[test]
    fn slots_that_come_later_have_their_turn() {
        let now = Instant::now();
        let mut farewells = Farewells::new(now, now + TIME, 1);
        assert_eq!(farewells.advance(now + TIME / 2, 0), 0..0);
        assert_eq!(farewells.advance(now + TIME / 2, 10).len(), 5);
        assert!(!farewells.is_over(now + TIME / 2));
        assert_eq!(farewells.advance(now + TIME, 20).len(), 15);
        assert!(farewells.is_over(now + TIME));
    }

    /// A time that is over tells all.
    #[test]
    fn no_time_is_over_at_once() {
        let now = Instant::now();
        assert!(Farewells::new(now, now, 1).is_over(now));
        assert_eq!(Farewells::new(now, now, 1).advance(now, 100), 0..100);
    }
}
