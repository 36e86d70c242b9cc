//! What a group has sent and not all of its members on one connection have got.

use std::collections::VecDeque;

use super::{Frame, To};

/// The messages, oldest first. The first is waited for by somebody: what nobody waits for goes once it has come to the front. With
/// nothing in it, as nearly always, it has no memory.
#[derive(Default)]
pub(super) struct Log(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    charged: usize,
}

/// One message.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) frame: Frame,
    pub(super) to: To,
    /// What it takes of the room of its connection, in octets.
    pub(super) charge: usize,
    /// Members that have not got it, and are waited for.
    pub(super) awaited: u32,
    /// Members that have not got it, and are not waited for.
    pub(super) late: u32,
}

impl Entry {
    /// Whether it is for the member with this key, which has joined before the message of the number `first`.
    pub(super) fn is_for(&self, key: usize, first: u64) -> bool {
        self.number >= first && self.to.has(key)
    }

    /// A member has got it, or has left.
    pub(super) fn let_go(&mut self, is_late: bool) {
        let count = if is_late { &mut self.late } else { &mut self.awaited };
        debug_assert!(*count > 0, "a member was counted");
        *count -= 1;
    }
}

impl Log {
    pub(super) fn push(&mut self, entry: Entry) {
        let Waiting { entries, charged } = &mut **self.0.get_or_insert_default();
        debug_assert!(entries.back().is_none_or(|last| last.number < entry.number), "messages come in their order");
        *charged += entry.charge;
        entries.push_back(entry);
    }

    /// Octets that are charged for all that is here.
    pub(super) fn charged(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.charged)
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.0.as_ref()?.entries.front()
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let Waiting { entries, charged } = &mut **self.0.as_mut()?;
        let entry = entries.pop_front()?;
        *charged -= entry.charge;
        if entries.is_empty() {
            self.0 = None;
        }
        Some(entry)
    }

    /// Lets go of what nobody waits for; the octets that were charged for it.
    pub(super) fn trim(&mut self) -> usize {
        let mut freed = 0;
        while self.front().is_some_and(|front| front.awaited + front.late == 0) {
            freed += self.pop().map_or(0, |entry| entry.charge);
        }
        freed
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where the first message stands that has this number, or a higher one.
    pub(super) fn position(&self, number: u64) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.entries.partition_point(|entry| entry.number < number))
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.0.as_mut()?.entries.get_mut(at)
    }

    /// All from this number on.
    pub(super) fn from(&mut self, number: u64) -> impl Iterator<Item = &mut Entry> {
        let at = self.position(number);
        self.0.iter_mut().flat_map(move |waiting| waiting.entries.range_mut(at..))
    }
}
