//! A message of a group, on its way to those of its members that one connection carries.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use slab::Slab;

use crate::engine::link::{Address, Broadcast};
use crate::engine::sync::{Mutex, MutexGuard};

/// The members of a group on one connection.
#[derive(Default)]
pub(crate) struct Members(Mutex<List>);

#[derive(Default)]
struct List {
    members: Slab<Listed>,
    /// The number of the first message that is for all of them: what the last to join gets first.
    for_all: u64,
}

struct Listed {
    address: Address,
    /// The number of the first message that is for it.
    first: u64,
    missed: u64,
}

impl Members {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member for the messages from number `first` on, which is no lower than that of any other.
    pub(crate) fn insert(&self, address: Address, first: u64) -> usize {
        let mut list = self.list();
        debug_assert!(first >= list.for_all, "who joins later gets no earlier message");
        list.for_all = first;
        list.members.insert(Listed { address, first, missed: 0 })
    }

    pub(crate) fn remove(&self, key: usize) {
        self.list().members.try_remove(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.list().members.len()
    }

    /// How many messages a member has missed.
    pub(crate) fn missed(&self, key: usize) -> u64 {
        self.list().members.get(key).map_or(0, |member| member.missed)
    }
}

/// The message, as a frame.
pub(crate) struct ToMembers {
    pub(crate) members: Arc<Members>,
    /// Among all messages of the group.
    pub(crate) number: u64,
    pub(crate) frame: Bytes,
}

impl Broadcast for ToMembers {
    fn size(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }

    fn deliver(&self, send: &mut dyn FnMut(Address, &Bytes) -> bool) {
        let List { members, for_all } = &mut *self.members.list();
        // Who has joined since it was sent stays without it; nearly always nobody has.
        let is_for_all = self.number >= *for_all;
        for (_, member) in members.iter_mut() {
            if (is_for_all || self.number >= member.first) && !send(member.address, &self.frame) {
                member.missed += 1;
            }
        }
    }
}
