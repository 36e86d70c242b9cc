//! What one thread of the load sees of the run, and what it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use hdrhistogram::Histogram;
use tokio::sync::watch;

use super::failure::{Failure, Failures};

/// Nanoseconds of the longest latency that is told apart: an hour.
const MAX_LATENCY: u64 = 3_600_000_000_000;
/// Times of sending that one look at the clock serves: what it is wrong by is the time that so many messages take.
const USES_OF_CLOCK: u32 = 16;

/// How far the run is. All threads follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connections are made and sockets opened.
    Opening,
    /// Each socket sends one message, once for each number.
    Exchange(u8),
    /// Nothing is sent.
    Hold,
    /// Messages are sent, in an open loop from `start` on, in nanoseconds.
    Running { start: u64, is_measured: bool },
    /// Answers are awaited.
    Draining,
    /// Sockets are closed.
    Closing,
}

/// A phase, and how many there were before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) phase: Phase,
}

/// Latencies in nanoseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY, 3).expect("the bounds are far apart")
}

/// What was counted while it was measured.
pub(super) struct Measured {
    /// From when a message was due to when its echo had arrived.
    pub(super) latency: Histogram<u64>,
    /// In an open loop: from when a message was due to when it was handed over.
    pub(super) lateness: Histogram<u64>,
    pub(super) messages: u64,
    /// Of their payload, one way.
    pub(super) octets: u64,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self { latency: histogram(), lateness: histogram(), messages: 0, octets: 0 }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in [(&mut self.latency, &other.latency), (&mut self.lateness, &other.lateness)] {
            own.add(other).expect("both have the same bounds");
        }
        self.messages += other.messages;
        self.octets += other.octets;
    }
}

/// Totals for whoever watches from another thread.
#[derive(Debug, Default)]
pub(super) struct Published {
    connected: AtomicU64,
    opened: AtomicU64,
    lost: AtomicU64,
    unopened: AtomicU64,
    answered: AtomicU64,
    in_flight: AtomicU64,
    last_opened: AtomicU64,
    step: AtomicU64,
}

/// Totals since the start: of one thread, or the sum of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Connections on which HTTP is spoken.
    pub(super) connected: u64,
    /// Sockets that were opened.
    pub(super) opened: u64,
    /// Of these, sockets that failed later.
    pub(super) lost: u64,
    /// Sockets that could not be opened.
    pub(super) unopened: u64,
    /// Messages that came back as they were sent.
    pub(super) answered: u64,
    /// Messages that are due, or sent, and not answered.
    pub(super) in_flight: u64,
    /// When the last socket was opened, in nanoseconds.
    pub(super) last_opened: u64,
    /// The number of the phase that was seen last; in the sum, by all threads.
    pub(super) step: u64,
}

impl Totals {
    /// Sockets that are open.
    pub(super) fn live(&self) -> u64 {
        self.opened - self.lost
    }
}

impl Published {
    fn publish(&self, totals: &Totals) {
        self.connected.store(totals.connected, Ordering::Relaxed);
        self.opened.store(totals.opened, Ordering::Relaxed);
        self.lost.store(totals.lost, Ordering::Relaxed);
        self.unopened.store(totals.unopened, Ordering::Relaxed);
        self.answered.store(totals.answered, Ordering::Relaxed);
        self.in_flight.store(totals.in_flight, Ordering::Relaxed);
        self.last_opened.store(totals.last_opened, Ordering::Relaxed);
        // With what was counted before it.
        self.step.store(totals.step, Ordering::Release);
    }

    pub(super) fn totals(&self) -> Totals {
        let step = self.step.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Relaxed);
        Totals {
            connected: self.connected.load(Ordering::Relaxed),
            // Never fewer than were lost of them.
            opened: self.opened.load(Ordering::Relaxed).max(lost),
            lost,
            unopened: self.unopened.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            last_opened: self.last_opened.load(Ordering::Relaxed),
            step,
        }
    }
}

/// The books of one thread.
pub(super) struct Ledger {
    epoch: Instant,
    phases: watch::Receiver<Step>,
    phase: Phase,
    /// When octets were read last, in nanoseconds since the epoch.
    received: u64,
    /// The clock, as it was when it was looked at.
    clock: u64,
    uses: u32,
    pub(super) measured: Measured,
    pub(super) failures: Failures,
    totals: Totals,
    published: Arc<Published>,
    /// For frames on their way to a stream.
    pub(super) scratch: BytesMut,
}

impl Ledger {
    pub(super) fn new(epoch: Instant, phases: watch::Receiver<Step>, published: Arc<Published>) -> Self {
        let phase = phases.borrow().phase;
        Self {
            epoch,
            phase,
            phases,
            received: 0,
            clock: 0,
            uses: 0,
            measured: Measured::new(),
            failures: Failures::default(),
            totals: Totals::default(),
            published,
            scratch: BytesMut::new(),
        }
    }

    /// Looks at the clock and at the phase: before a batch, and where one was read, after that.
    pub(super) fn begin_batch(&mut self) {
        self.clock = self.epoch.elapsed().as_nanos() as u64;
        self.received = self.clock;
        self.uses = 0;
        if self.phases.has_changed().unwrap_or(false) {
            let step = *self.phases.borrow_and_update();
            self.phase = step.phase;
            self.totals.step = step.number;
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When this batch began.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The present, for what is sent.
    #[inline]
    pub(super) fn now(&mut self) -> u64 {
        self.uses += 1;
        if self.uses == USES_OF_CLOCK {
            self.uses = 0;
            self.clock = self.epoch.elapsed().as_nanos() as u64;
        }
        self.clock
    }

    pub(super) fn count_connected(&mut self) {
        self.totals.connected += 1;
    }

    pub(super) fn count_opened(&mut self) {
        self.totals.opened += 1;
        self.totals.last_opened = self.clock;
    }

    /// A message is due.
    #[inline]
    pub(super) fn count_due(&mut self) {
        self.totals.in_flight += 1;
    }

    /// A message goes out that was due then.
    #[inline]
    pub(super) fn count_late(&mut self, due: u64) {
        if matches!(self.phase, Phase::Running { is_measured: true, .. }) {
            let now = self.now();
            self.measured.lateness.saturating_record(now.saturating_sub(due));
        }
    }

    /// An echo of so many octets came, and was right.
    #[inline]
    pub(super) fn count_answered(&mut self, due: u64, octets: usize) {
        self.totals.answered += 1;
        self.totals.in_flight -= 1;
        if let Phase::Running { is_measured: true, .. } = self.phase {
            self.measured.messages += 1;
            self.measured.octets += octets as u64;
            self.measured.latency.saturating_record(self.received.saturating_sub(due));
        }
    }

    /// An open socket failed, with so many messages in flight.
    pub(super) fn count_lost(&mut self, failure: Failure, in_flight: usize) {
        self.totals.lost += 1;
        self.forget(in_flight);
        self.failures.add(failure, 1);
    }

    /// Messages that nobody waits for any more.
    pub(super) fn forget(&mut self, in_flight: usize) {
        self.totals.in_flight -= in_flight as u64;
    }

    /// So many sockets could not be opened.
    pub(super) fn count_unopened(&mut self, failure: Failure, sockets: usize) {
        self.totals.unopened += sockets as u64;
        self.failures.add(failure, sockets as u64);
    }

    /// Lets other threads see the totals.
    pub(super) fn publish(&self) {
        self.published.publish(&self.totals);
    }
}
