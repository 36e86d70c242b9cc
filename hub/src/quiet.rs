//! Topics that were sent to, and what is to be said once they are quiet.
//!
//! Who gets a message sees by its number what is missing before it. What nothing follows would be missed unseen, so a node tells its
//! position once it has sent nothing for a second, and some times more, further and further apart, for an outage may outlast the
//! first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::state::TopicState;

/// From the last message to each telling, one after the other: 1, 5, 25 and 125 seconds after it.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(20), Duration::from_secs(100)];

/// Topics that wait in each of the queues; past that the first of them are told before their time, and no more after it.
const MAX_TOPICS: usize = 65_536;

/// A queue for each wait: in each the first is the first that is due.
#[derive(Default)]
pub(crate) struct Quiet([Mutex<VecDeque<Due>>; WAITS.len()]);

struct Due {
    at: Instant,
    topic: Arc<TopicState>,
    /// Messages that were sent before.
    sent: u64,
}

/// What a topic has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Nothing: all is told.
    #[default]
    Done,
    /// The telling of this place in [`WAITS`].
    Awaited(u8),
}

impl Telling {
    pub(crate) const FIRST: Self = Self::Awaited(0);
}

impl Quiet {
    /// A topic's position is to be told, the first time.
    pub(crate) fn begin(&self, topic: &Arc<TopicState>, sent: u64) {
        self.push(0, topic.clone(), sent);
    }

    fn push(&self, stage: usize, topic: Arc<TopicState>, sent: u64) {
        let due = Due { at: Instant::now() + WAITS[stage], topic, sent };
        self.0[stage].lock().unwrap_or_else(PoisonError::into_inner).push_back(due);
    }

    /// Tells what is due.
    pub(crate) fn tell(&self) {
        let now = Instant::now();
        for stage in 0..WAITS.len() {
            let queue = || self.0[stage].lock().unwrap_or_else(PoisonError::into_inner);
            let mut excess = queue().len().saturating_sub(MAX_TOPICS);
            loop {
                let due = {
                    let mut queue = queue();
                    let is_due = excess > 0 || queue.front().is_some_and(|due| due.at <= now);
                    let due = if is_due { queue.pop_front() } else { None };
                    if queue.is_empty() {
                        *queue = VecDeque::new();
                    }
                    due
                };
                let Some(Due { topic, sent, .. }) = due else { break };
                let stages = if excess > 0 { stage + 1 } else { WAITS.len() };
                excess = excess.saturating_sub(1);
                if let Some((stage, sent)) = topic.tell(stage, sent, stages) {
                    self.push(stage, topic, sent);
                }
            }
        }
    }
}
