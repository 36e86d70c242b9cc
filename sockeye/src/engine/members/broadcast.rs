//! A message on its way to the members of a group on one connection.

use std::sync::Arc;

use bytes::Bytes;

use super::frame::Frame;
use super::listed::{Listed, Pace, Paces};
use super::log::Entry;
use super::{Evicted, List, Members, Sent};
use crate::engine::link::Address;

/// A message to members on one connection.
pub(crate) struct Broadcast {
    pub(crate) members: Arc<Members>,
    /// Among all messages of the group.
    pub(crate) number: u64,
    pub(crate) to: To,
    pub(crate) frame: Frame,
}

/// What [delivering](Broadcast::deliver) has come to.
#[derive(Default)]
pub(crate) struct Delivered {
    /// Whether the message waits for somebody, and so takes room still.
    pub(crate) is_held: bool,
    /// Members, by key, that have fallen behind with it.
    pub(crate) behind: Vec<(usize, Address)>,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    All,
    /// The member with this key.
    Only(usize),
    /// All but the member with this key.
    AllBut(usize),
}

impl Broadcast {
    /// Octets that it holds, with what goes with them.
    pub(crate) fn size(&self) -> usize {
        self.frame.len() + size_of::<Entry>()
    }

    /// Gives the frame to each member that has all before it, by `send`; for the others it waits. `charge` is what it
    /// takes of the room of its connection. Nothing in `send` may end a stream.
    pub(crate) fn deliver(&self, charge: usize, mut send: impl FnMut(Address, &Bytes) -> Sent) -> Delivered {
        let Self { members, number, to, frame } = self;
        if frame.is_large() {
            // Without the lock, which whoever joins waits for, and with it all that send to the group.
            members.deflates(*number, *to).into_iter().for_each(|deflate| _ = frame.of(Some(deflate)));
        }
        let List { members, for_all, paces, log } = &mut *members.list();
        let mut delivered = Delivered::default();
        let is_for_all = *to == To::All && *number >= *for_all;
        if is_for_all && (paces.behind + paces.late) as usize == members.len() {
            let Paces { behind: awaited, late } = *paces;
            delivered.is_held = awaited + late > 0;
            if delivered.is_held {
                log.push(Entry { number: *number, frame: frame.clone(), to: *to, charge, awaited, late });
            }
            return delivered;
        }
        let (mut awaited, mut late) = (0, 0);
        let mut give = |key: usize, member: &mut Listed| match member.pace() {
            Pace::Current if send(member.address(), frame.of(member.deflate)) != Sent::Full => {}
            Pace::Current => {
                member.set_pace(Pace::Behind(*number), paces);
                delivered.behind.push((key, member.address()));
                awaited += 1;
            }
            Pace::Behind(_) => awaited += 1,
            Pace::Late(_) => late += 1,
        };
        match *to {
            // Who has joined since it was sent stays without it; nearly always nobody has.
            To::All if is_for_all => members.iter_mut().for_each(|(key, member)| give(key, member)),
            To::Only(key) => {
                if let Some(member) = members.get_mut(key).filter(|member| *number >= member.first) {
                    give(key, member);
                }
            }
            To::All | To::AllBut(_) => {
                let all = members.iter_mut().filter(|(key, member)| member.is_for(*key, *number, *to));
                all.for_each(|(key, member)| give(key, member));
            }
        }
        delivered.is_held = awaited + late > 0;
        if delivered.is_held {
            log.push(Entry { number: *number, frame: frame.clone(), to: *to, charge, awaited, late });
        }
        delivered
    }

    /// All members miss it, as there is no room for it.
    pub(crate) fn miss(&self) -> Evicted {
        let mut evicted = Evicted::default();
        for (key, member) in self.members.list().members.iter_mut() {
            if member.is_for(key, self.number, self.to) {
                member.miss(1, &mut evicted);
            }
        }
        evicted
    }
}

impl To {
    pub(super) fn has(self, key: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => key == only,
            Self::AllBut(other) => key != other,
        }
    }
}
