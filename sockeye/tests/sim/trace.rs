//! What happened: a hash that two runs of a seed have in common, and the lines of a replay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::random::mix;

/// What one run has to tell. Clones are the same.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<State>>);

struct State {
    hash: u64,
    notes: u64,
    telling: Telling,
    lines: Vec<String>,
    failure: Option<String>,
}

/// What becomes of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    Printed,
    Kept,
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) hash: u64,
    pub(crate) notes: u64,
    /// What was kept.
    pub(crate) lines: Vec<String>,
    pub(crate) failure: Option<String>,
}

impl Trace {
    pub(crate) fn new(telling: Telling) -> Self {
        Self(Arc::new(Mutex::new(State { hash: 0, notes: 0, telling, lines: Vec::new(), failure: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened at a time, in milliseconds, with two numbers that say more of it.
    pub(crate) fn note(&self, now: u64, what: &str, a: u64, b: u64) {
        let mut state = self.state();
        let words = what.bytes().fold(0, |hash: u64, octet| hash.wrapping_mul(31).wrapping_add(octet.into()));
        for number in [now, words, a, b] {
            state.hash = mix(state.hash ^ number).wrapping_add(number);
        }
        state.notes += 1;
        state.tell(|| format!("{now:>7} ms  {what} {a} {b}"));
    }

    /// The first failure is the run's.
    pub(crate) fn fail(&self, now: u64, why: String) {
        let mut state = self.state();
        state.tell(|| format!("{now:>7} ms  FAILURE {why}"));
        state.failure.get_or_insert(format!("after {now} ms: {why}"));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// Says more to those who read along.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.state().telling == Telling::Printed {
            println!("            {}", what());
        }
    }

    pub(crate) fn told(&self) -> Told {
        let state = self.state();
        let State { hash, notes, lines, failure, .. } = &*state;
        Told { hash: *hash, notes: *notes, lines: lines.clone(), failure: failure.clone() }
    }
}

impl State {
    fn tell(&mut self, line: impl FnOnce() -> String) {
        match self.telling {
            Telling::Nothing => {}
            Telling::Printed => println!("{}", line()),
            Telling::Kept => self.lines.push(line()),
        }
    }
}
