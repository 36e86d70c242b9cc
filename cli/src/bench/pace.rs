//! The open loop: when messages are due, however long the answers take.

use std::fmt;
use std::str::FromStr;

/// Messages per second, of all sockets together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(f64);

impl Rate {
    pub(super) fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix(['k', 'M']) {
            Some(number) if text.ends_with('k') => (number, 1e3),
            Some(number) => (number, 1e6),
            None => (text, 1.0),
        };
        let rate = number.parse().map(|number: f64| number * unit);
        let rate = rate.ok().filter(|rate| (1e-3..=1e9).contains(rate));
        rate.map(Self).ok_or_else(|| format!("{text:?} is no rate; write messages per second, such as 500, 20k or 1M"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Every `step`th message of all, from the one numbered `first` on: the share of one connection.
///
/// So all messages together are evenly spread over time, and so are those of each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Nanoseconds from one message of all to the next.
    interval: f64,
    /// Nanoseconds, when the first message of all is due.
    start: u64,
    first: u64,
    step: u64,
    /// Messages of this share that were taken.
    taken: u64,
}

impl Schedule {
    pub(super) fn new(rate: Rate, start: u64, first: usize, step: usize) -> Self {
        Self { interval: 1e9 / rate.per_second(), start, first: first as u64, step: step as u64, taken: 0 }
    }

    /// When the next message is due, in nanoseconds.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        let number = self.first + self.taken * self.step;
        self.start + (number as f64 * self.interval) as u64
    }

    /// Takes the next message if it is due: its number within this share, and when it was due.
    #[inline]
    pub(super) fn take(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.next();
        if due > now {
            return None;
        }
        let number = self.taken;
        self.taken += 1;
        Some((number, due))
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, Schedule};

    #[test]
    fn a_rate_has_a_unit_or_none() {
        let rates = ["0.5", "500", "20k", "1.5M"].map(|text| text.parse::<Rate>().unwrap().per_second());
        assert_eq!(rates, [0.5, 500.0, 20_000.0, 1_500_000.0]);
        for text in ["", "0", "-1", "k", "nan", "inf", "2G", "1e10"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    /// What is due is due at its own time, however late one asks: coordinated omission has no place to hide.
    #[test]
    fn messages_are_due_at_even_times() {
        let mut schedule = Schedule::new("1k".parse().unwrap(), 5_000_000, 0, 1);
        assert_eq!(schedule.take(4_999_999), None);
        assert_eq!(schedule.take(5_000_000), Some((0, 5_000_000)));
        assert_eq!(schedule.take(5_999_999), None);
        assert_eq!(schedule.next(), 6_000_000);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(9_500_000)).collect();
        assert_eq!(late, [(1, 6_000_000), (2, 7_000_000), (3, 8_000_000), (4, 9_000_000)]);
    }

    #[test]
    fn shares_make_up_the_whole() {
        let rate: Rate = "3k".parse().unwrap();
        let mut times = Vec::new();
        for connection in 0..3 {
            let mut share = Schedule::new(rate, 0, connection, 3);
            times.extend(std::iter::from_fn(|| share.take(999_999_999)).map(|(_, due)| due));
        }
        times.sort_unstable();
        let mut whole = Schedule::new(rate, 0, 0, 1);
        let expected: Vec<_> = std::iter::from_fn(|| whole.take(999_999_999)).map(|(_, due)| due).collect();
        assert_eq!((times.len(), &times), (3000, &expected));
    }

    /// Hours at a high rate: no time drifts by as much as a microsecond.
    #[test]
    fn times_stay_exact() {
        let mut schedule = Schedule::new("1M".parse().unwrap(), 0, 0, 1);
        schedule.taken = 36_000_000_000;
        assert_eq!(schedule.next(), 36_000_000_000_000);
    }
}
