//! How many members a topic has, on all nodes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::envelope::Envelope;

/// A topic's members on all nodes that answered in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// Members on this node.
    pub here: usize,
    /// Members on others: the number of each node that has some, and how many.
    pub elsewhere: Vec<(u64, usize)>,
}

impl Presence {
    /// Members on all nodes together.
    pub fn total(&self) -> usize {
        self.elsewhere.iter().map(|&(_, members)| members).fold(self.here, usize::saturating_add)
    }
}

/// Requests that wait for answers, by their numbers.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashMap<u64, HashMap<u64, usize>>>);

/// Nodes whose answers are taken for one request: more than a service has.
const MAX_NODES: usize = 65_536;

impl Requests {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, HashMap<u64, usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, number: u64) -> Request<'_> {
        self.waiting().insert(number, HashMap::new());
        Request { all: self, number }
    }

    pub(crate) fn answer(&self, envelope: &Envelope) {
        let mut waiting = self.waiting();
        let Some(answers) = waiting.get_mut(&envelope.number).filter(|answers| answers.len() < MAX_NODES) else {
            return;
        };
        answers.insert(envelope.source.node, usize::try_from(envelope.age).unwrap_or(usize::MAX));
    }
}

/// One request, until it is dropped.
pub(crate) struct Request<'a> {
    all: &'a Requests,
    number: u64,
}

impl Request<'_> {
    pub(crate) fn answers(&self) -> Vec<(u64, usize)> {
        let mut waiting = self.all.waiting();
        let mut answers: Vec<_> =
            waiting.get_mut(&self.number).map(std::mem::take).unwrap_or_default().into_iter().collect();
        answers.sort_unstable();
        answers
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.all.waiting().remove(&self.number);
    }
}
