//! A message of a group, on its way to those of its members that one connection carries.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use slab::Slab;

use crate::engine::link::{Address, Broadcast};
use crate::engine::sync::{Mutex, MutexGuard};

/// The members of a group on one connection.
#[derive(Default)]
pub(crate) struct Members(Mutex<Slab<Listed>>);

struct Listed {
    address: Address,
    missed: u64,
}

impl Members {
    fn list(&self) -> MutexGuard<'_, Slab<Listed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, address: Address) -> usize {
        self.list().insert(Listed { address, missed: 0 })
    }

    pub(crate) fn remove(&self, key: usize) {
        self.list().try_remove(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.list().len()
    }

    /// How many messages a member has missed.
    pub(crate) fn missed(&self, key: usize) -> u64 {
        self.list().get(key).map_or(0, |member| member.missed)
    }
}

/// The message, as a frame.
pub(crate) struct ToMembers {
    members: Arc<Members>,
    frame: Bytes,
}

impl ToMembers {
    pub(crate) fn new(members: Arc<Members>, frame: Bytes) -> Self {
        Self { members, frame }
    }
}

impl Broadcast for ToMembers {
    fn size(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }

    fn deliver(&self, send: &mut dyn FnMut(Address, &Bytes) -> bool) {
        for (_, member) in self.members.list().iter_mut() {
            if !send(member.address, &self.frame) {
                member.missed += 1;
            }
        }
    }
}
