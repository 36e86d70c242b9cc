//! The buckets that bound what a peer does too often.

use std::time::Instant;

use super::config::Config;
use crate::Rate;

/// A token bucket: filled by [`Rate::per_second`], at most [`Rate::burst`] deep.
pub(super) struct Bucket {
    rate: Rate,
    /// Thousandths of tokens taken.
    taken: u64,
    /// Up to when the bucket has been refilled.
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, taken: 0, filled: now }
    }

    /// Takes one token; false where there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if milliseconds > 0 {
            // One token a second is one thousandth each millisecond.
            self.taken = self.taken.saturating_sub(milliseconds.saturating_mul(self.rate.per_second.into()));
            self.filled = now;
        }
        self.taken += 1000;
        self.taken <= u64::from(self.rate.burst) * 1000
    }

    /// Puts tokens back.
    pub(super) fn put_back(&mut self, tokens: u64) {
        self.taken = self.taken.saturating_sub(tokens * 1000);
    }
}

/// Octets received against octets that were of use: a peer that only keeps us busy is told to calm down.
pub(super) struct Overhead {
    rate: Rate,
    start: Instant,
    received: u64,
    useful: u64,
}

impl Overhead {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self { rate: config.overhead, start: now, received: 0, useful: 0 }
    }

    #[inline]
    pub(super) fn add_received(&mut self, octets: usize) {
        self.received += octets as u64;
    }

    /// Octets of a non-empty DATA frame, in or out, or of an accepted header block. What we send counts too: a
    /// subscriber that only gives credit for what it reads is of use.
    #[inline]
    pub(super) fn add_useful(&mut self, octets: usize) {
        self.useful += octets as u64;
    }

    #[inline]
    pub(super) fn is_too_much(&self, now: Instant) -> bool {
        let wasted = (self.received / 8).saturating_sub(self.useful);
        wasted > self.rate.burst.into() && wasted > self.allowance(now)
    }

    fn allowance(&self, now: Instant) -> u64 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u64::from(self.rate.burst).saturating_add(seconds.saturating_mul(self.rate.per_second.into()))
    }
}
