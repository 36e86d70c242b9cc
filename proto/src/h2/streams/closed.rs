//! The streams closed lately: what is to be said to late frames depends on how they ended (RFC 9113 §5.1 "closed").

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::is_wasteful;
use super::state::Ending;
use crate::h2::Config;

/// Streams that are not held any more, as many as can be closed at once and some more.
pub(super) struct Closed {
    endings: HashMap<u32, Ending, FixedState>,
    /// Their numbers, oldest first.
    order: VecDeque<u32>,
    max: usize,
}

impl Closed {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            endings: HashMap::with_hasher(FixedState::with_seed(config.seed)),
            order: VecDeque::new(),
            // As many as can be closed at once, so that what crosses our resets is always known.
            max: (config.max_concurrent_streams as usize).clamp(100, 1 << 14),
        }
    }

    pub(super) fn get(&self, stream_id: u32) -> Option<Ending> {
        self.endings.get(&stream_id).copied()
    }

    /// Remembers one more, for which the oldest may have to go.
    pub(super) fn insert(&mut self, stream_id: u32, ending: Ending) {
        if self.endings.insert(stream_id, ending).is_some() {
            return;
        }
        self.order.push_back(stream_id);
        if self.order.len() > self.max {
            self.order.pop_front().map(|oldest| self.endings.remove(&oldest));
        }
        debug_assert_eq!(self.endings.len(), self.order.len(), "each closed stream stands in the order once");
    }

    /// Gives up room that is not used.
    pub(super) fn shrink(&mut self) {
        if is_wasteful(self.endings.capacity(), self.endings.len()) {
            self.endings.shrink_to(2 * self.endings.len());
        }
        if is_wasteful(self.order.capacity(), self.order.len()) {
            self.order.shrink_to_fit();
        }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.endings.len(), self.order.len(), "each closed stream stands in the order once");
        assert!(self.order.len() <= self.max, "more closed streams than the bound");
    }
}
