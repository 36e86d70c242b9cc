//! What one thread of the load counts while it is measured.

use hdrhistogram::Histogram;

/// Nanoseconds of the longest latency that is told apart: an hour.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// Latencies in nanoseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY, 3).expect("the bounds are far apart")
}

/// The sum of all that was measured.
pub(super) struct Measured {
    /// From when a message was due to when its echo had arrived.
    pub(super) latency: Latency,
    /// In an open loop: from when a message was due to when it was handed over.
    pub(super) lateness: Latency,
    pub(super) messages: u64,
    /// Of their payload, one way.
    pub(super) octets: u64,
    /// What went on beside the load.
    pub(super) beside_messages: u64,
    pub(super) beside_octets: u64,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self {
            latency: Latency::new(),
            lateness: Latency::new(),
            messages: 0,
            octets: 0,
            beside_messages: 0,
            beside_octets: 0,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (own, other) in [(&mut self.latency, other.latency), (&mut self.lateness, other.lateness)] {
            own.settle().add(other.into_histogram()).expect("both have the same bounds");
        }
        self.messages += other.messages;
        self.octets += other.octets;
        self.beside_messages += other.beside_messages;
        self.beside_octets += other.beside_octets;
    }
}

/// A histogram. The messages of a batch have a handful of latencies between them, since one look at the clock serves many:
/// equal ones that follow one another are recorded together.
pub(super) struct Latency {
    histogram: Histogram<u64>,
    /// What was seen last, in nanoseconds, and how often it is not recorded yet.
    last: u64,
    times: u64,
}

impl Latency {
    fn new() -> Self {
        Self { histogram: histogram(), last: 0, times: 0 }
    }

    #[inline]
    pub(super) fn record(&mut self, nanoseconds: u64) {
        if nanoseconds != self.last {
            self.settle();
            self.last = nanoseconds;
        }
        self.times += 1;
    }

    fn settle(&mut self) -> &mut Histogram<u64> {
        if self.times > 0 {
            self.histogram.saturating_record_n(self.last, self.times);
            self.times = 0;
        }
        &mut self.histogram
    }

    /// All that was recorded.
    pub(super) fn into_histogram(mut self) -> Histogram<u64> {
        self.settle();
        self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, histogram};

    #[test]
    fn latencies_recorded_together_are_those_recorded_one_by_one() {
        let (mut first, mut second, mut plain) = (Measured::new(), Measured::new(), histogram());
        for (place, nanoseconds) in [0, 0, 7, 7, 7, 900, 7, 0, 0].into_iter().enumerate() {
            let measured = if place < 4 { &mut first } else { &mut second };
            measured.latency.record(nanoseconds);
            plain.saturating_record(nanoseconds);
        }
        let mut sum = Measured::new();
        sum.merge(first);
        sum.merge(second);
        assert_eq!(sum.latency.into_histogram(), plain);
        assert!(sum.lateness.into_histogram().is_empty());
    }
}
