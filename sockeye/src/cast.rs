//! A message of a group, on its way to those of its members that one connection carries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;

use crate::carrier::Carrier;
use crate::stream::StreamCell;

/// The members of a group on one connection.
pub(crate) struct Crowd {
    carrier: Arc<Carrier>,
    members: Mutex<Slab<Listed>>,
}

pub(crate) struct Listed {
    cell: Arc<StreamCell>,
    missed: u64,
}

impl Crowd {
    pub(crate) fn new(carrier: &Arc<Carrier>) -> Self {
        Self { carrier: carrier.clone(), members: Mutex::default() }
    }

    pub(crate) fn carrier(&self) -> &Arc<Carrier> {
        &self.carrier
    }

    fn members(&self) -> MutexGuard<'_, Slab<Listed>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, cell: &Arc<StreamCell>) -> usize {
        self.members().insert(Listed { cell: cell.clone(), missed: 0 })
    }

    /// What is returned may be the last of its stream, not to be dropped under a lock.
    pub(crate) fn remove(&self, key: usize) -> Option<Listed> {
        self.members().try_remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.members().len()
    }

    /// How many messages a member has missed.
    pub(crate) fn missed(&self, key: usize) -> u64 {
        self.members().get(key).map_or(0, |member| member.missed)
    }
}

/// The message, as a frame.
pub(crate) struct Cast {
    crowd: Arc<Crowd>,
    frame: Bytes,
}

impl Cast {
    pub(crate) fn new(crowd: Arc<Crowd>, frame: Bytes) -> Self {
        Self { crowd, frame }
    }

    /// Octets that it holds, with what goes with them.
    pub(crate) fn size(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }

    /// Gives the frame to each member by `send`, which says whether there was room. Under a lock: nothing in it may end a
    /// stream.
    pub(crate) fn deliver(&self, mut send: impl FnMut(&Arc<StreamCell>, &Bytes) -> bool) {
        for (_, member) in self.crowd.members().iter_mut() {
            if !send(&member.cell, &self.frame) {
                member.missed += 1;
            }
        }
    }
}
