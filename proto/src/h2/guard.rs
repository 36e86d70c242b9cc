//! What a peer does too often, and what it makes us do: buckets, octets that carry nothing, and the counters of both.

use std::time::Instant;

use super::config::{Config, Counters};
use super::frame::HEAD_LENGTH;
use super::{Rate, Violation};
use crate::rate::Bucket;

/// Glitches that one accepted header block makes up for.
const GLITCHES_PER_MESSAGE: u64 = 2;

/// The limits on what is cheap for a peer and dear for us.
pub(super) struct Guard {
    resets: Limit,
    failed_tunnels: Limit,
    settings: Limit,
    glitches: Limit,
    /// Glitches that useful frames have made up for since the last one.
    made_up_for: u64,
    overhead: Overhead,
    counters: Counters,
}

/// A bucket, and how it fills.
struct Limit {
    bucket: Bucket,
    rate: Rate,
}

impl Limit {
    fn new(rate: Rate) -> Self {
        Self { bucket: Bucket::default(), rate }
    }

    /// Takes one token; the violation where there is none.
    fn take(&mut self, now: Instant, otherwise: Violation) -> Result<(), Violation> {
        if self.bucket.take(now, self.rate) { Ok(()) } else { Err(otherwise) }
    }
}

impl Guard {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            resets: Limit::new(config.resets),
            failed_tunnels: Limit::new(config.failed_tunnels),
            settings: Limit::new(config.settings),
            glitches: Limit::new(config.glitches),
            made_up_for: 0,
            overhead: Overhead::new(config.overhead, now),
            counters: Counters::default(),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The counters that bound nothing.
    pub(super) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// A frame that does nothing came.
    pub(super) fn glitch(&mut self, now: Instant) -> Result<(), Violation> {
        self.counters.glitches += 1;
        let made_up_for = std::mem::take(&mut self.made_up_for).min(u32::MAX.into()) as u32;
        self.glitches.bucket.put_back(made_up_for, self.glitches.rate);
        self.glitches.take(now, Violation::TooManyGlitches)
    }

    /// The peer has reset a stream before its answer had begun.
    pub(super) fn early_reset(&mut self, now: Instant) -> Result<(), Violation> {
        self.resets.take(now, Violation::TooManyResets)
    }

    /// A stream was reset for the peer's fault.
    pub(super) fn fault(&mut self, now: Instant) -> Result<(), Violation> {
        self.counters.resets_for_faults += 1;
        self.resets.take(now, Violation::TooManyResets)
    }

    /// The peer has broken the protocol of a tunnel.
    pub(super) fn failed_tunnel(&mut self, now: Instant) -> Result<(), Violation> {
        self.failed_tunnels.take(now, Violation::TooManyFailedTunnels)
    }

    /// SETTINGS came after the first.
    pub(super) fn settings_change(&mut self, now: Instant) -> Result<(), Violation> {
        self.counters.settings_changes += 1;
        self.settings.take(now, Violation::TooManySettings)
    }

    /// A batch of these octets came.
    #[inline]
    pub(super) fn receive(&mut self, octets: usize, now: Instant) -> Result<(), Violation> {
        self.overhead.received += octets as u64;
        if self.overhead.is_too_much(now) { Err(Violation::TooMuchOverhead) } else { Ok(()) }
    }

    /// A DATA frame with this much content came.
    #[inline]
    pub(super) fn receive_data(&mut self, octets: usize) {
        self.overhead.add_useful(octets);
    }

    /// A header block of these octets was accepted.
    pub(super) fn receive_block(&mut self, octets: usize) {
        self.overhead.add_useful(octets);
        self.made_up_for += GLITCHES_PER_MESSAGE;
    }

    /// A DATA frame with this much content was sent. A subscriber that only gives credit for what it reads is of use, and it
    /// may give credit for each frame when the stream is closed already.
    #[inline]
    pub(super) fn send_data(&mut self, octets: usize) {
        self.overhead.add_useful(octets);
        self.made_up_for += 1;
    }
}

/// Octets received against octets that were of use: a peer that only keeps us busy is told to calm down.
struct Overhead {
    rate: Rate,
    start: Instant,
    received: u64,
    useful: u64,
}

impl Overhead {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, start: now, received: 0, useful: 0 }
    }

    /// The content of a frame was of use, and so was its head.
    #[inline]
    fn add_useful(&mut self, octets: usize) {
        self.useful += (HEAD_LENGTH + octets) as u64;
    }

    #[inline]
    fn is_too_much(&self, now: Instant) -> bool {
        let wasted = (self.received / 8).saturating_sub(self.useful);
        wasted > self.rate.burst.into() && wasted > self.allowance(now)
    }

    fn allowance(&self, now: Instant) -> u64 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u64::from(self.rate.burst).saturating_add(seconds.saturating_mul(self.rate.per_second.into()))
    }
}
