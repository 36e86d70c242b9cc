//! What one thread of the load sees of the run, and what it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::broadcast::Broadcast;
use super::failure::{Failure, Failures};
use super::measured::Measured;

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
    /// Where every socket gets every message.
    pub(super) broadcast: Broadcast,
    totals: Totals,
    published: Arc<Published>,
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
            broadcast: Broadcast::default(),
            totals: Totals::default(),
            published,
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

    /// Sockets that are open.
    pub(super) fn live(&self) -> u64 {
        self.totals.live()
    }

    /// So many answers are awaited from now on.
    #[inline]
    pub(super) fn count_due(&mut self, answers: u64) {
        self.totals.in_flight += answers;
    }

    /// Whether any answer is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.totals.in_flight > 0
    }

    /// A message goes out that was due then.
    #[inline]
    pub(super) fn count_late(&mut self, due: u64) {
        if self.is_measured() {
            let now = self.now();
            self.measured.lateness.record(now.saturating_sub(due));
        }
    }

    /// An echo of so many octets came, and was right.
    #[inline]
    pub(super) fn count_answered(&mut self, due: u64, octets: usize) {
        self.totals.answered += 1;
        self.totals.in_flight -= 1;
        if self.is_measured() {
            self.measured.messages += 1;
            self.measured.octets += octets as u64;
            self.measured.latency.record(self.received.saturating_sub(due));
        }
    }

    /// An echo of so many octets came beside the load, and was right.
    pub(super) fn count_beside(&mut self, octets: usize) {
        self.totals.in_flight -= 1;
        if self.is_measured() {
            self.measured.beside_messages += 1;
            self.measured.beside_octets += octets as u64;
        }
    }

    #[inline]
    fn is_measured(&self) -> bool {
        matches!(self.phase, Phase::Running { is_measured: true, .. })
    }

    /// An open socket failed. What it still waited for is to be forgotten.
    pub(super) fn count_lost(&mut self, failure: Failure) {
        self.totals.lost += 1;
        self.failures.add(failure, 1);
    }

    /// Answers that nobody waits for any more.
    pub(super) fn forget(&mut self, answers: u64) {
        self.totals.in_flight -= answers;
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
