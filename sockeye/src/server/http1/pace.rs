//! How a connection of hyper's goes on, and until when it has to.

use std::time::{Duration, Instant};

use crate::engine::link::{Limits, MIN_PROGRESS};
use crate::engine::now;

/// What a connection waits for, and since when.
pub(super) struct Pace {
    step: Step,
    /// The client takes too little of what there is to write.
    stuck: Option<Stuck>,
}

#[derive(Clone, Copy)]
enum Step {
    /// Nothing has come of a request since then.
    Idle(Instant),
    /// The head of a request has begun then.
    Head(Instant),
    /// A request is answered.
    Exchange,
}

struct Stuck {
    since: Instant,
    taken: usize,
}

/// Why a connection has had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request has come.
    Request,
    /// The head of a request is not whole.
    Head,
    /// The client does not take what there is to write.
    Write,
}

impl Default for Pace {
    fn default() -> Self {
        Self { step: Step::Idle(now()), stuck: None }
    }
}

impl Pace {
    /// Something has come.
    pub(super) fn note_read(&mut self, now: Instant) {
        if let Step::Idle(_) = self.step {
            self.step = Step::Head(now);
        }
    }

    /// The head of a request is whole.
    pub(super) fn begin_exchange(&mut self) {
        self.step = Step::Exchange;
    }

    /// All of its response was handed over.
    pub(super) fn end_exchange(&mut self, now: Instant) {
        self.step = Step::Idle(now);
    }

    /// The transport takes nothing just now.
    pub(super) fn stick(&mut self, now: Instant) {
        self.stuck.get_or_insert(Stuck { since: now, taken: 0 });
    }

    /// The transport has taken some octets. One that takes an octet a minute is as good as one that takes none.
    pub(super) fn note_taken(&mut self, octets: usize) {
        self.stuck.take_if(|stuck| {
            stuck.taken += octets;
            stuck.taken >= MIN_PROGRESS
        });
    }

    /// The transport has taken all.
    pub(super) fn note_flushed(&mut self) {
        self.stuck = None;
    }

    /// Whether there is something to write that the client has yet to take.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// When the connection has had its time, if nothing happens, and why.
    pub(super) fn due(&self, limits: &Limits, head_timeout: Duration) -> Option<(Instant, Overdue)> {
        let write = self.stuck.as_ref().map(|stuck| (stuck.since, limits.write_timeout, Overdue::Write));
        let step = match self.step {
            // What is to be written comes first.
            Step::Idle(_) if self.stuck.is_some() => None,
            Step::Idle(since) => Some((since, limits.idle_timeout, Overdue::Request)),
            Step::Head(since) => Some((since, head_timeout, Overdue::Head)),
            Step::Exchange => None,
        };
        let dues = [write, step].into_iter().flatten();
        dues.filter_map(|(since, time, why)| Some((since.checked_add(time)?, why))).min_by_key(|(due, _)| *due)
    }
}
