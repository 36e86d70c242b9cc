//! What groups send to streams of a connection, and who is behind with it.
//!
//! The connection gives a message to all members that have room for it, in one go. It remembers the others by their slots, and
//! gets back to each when its stream was looked at and may have room again. Where more waits than may, it makes room, first at
//! the cost of members that nobody waits for any more.

use std::collections::HashMap;
use std::sync::Arc;

use sockeye_proto::Machine;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Application, Driver};
use crate::engine::link::{Address, Excess, Link};
use crate::engine::members::{Evicted, Members, Patience, Rest, Sent};
use crate::engine::metrics::Counter;
use crate::engine::stream::port::{send_frame, send_late_frame};

/// Boxed, since most connections have nothing of it for most of the time.
#[derive(Default)]
pub(super) struct Groups(Option<Box<Backlog>>);

#[derive(Default)]
struct Backlog {
    /// Who may have messages that some member has not got.
    holding: Vec<Arc<Members>>,
    /// By slot: in which groups its stream is behind, and as whom.
    behind: HashMap<usize, Vec<(Arc<Members>, usize)>>,
}

/// Groups that may hold messages, past which those that hold none are forgotten.
const MANY: usize = 16;

impl Groups {
    /// A message waits for members.
    fn hold(&mut self, members: &Arc<Members>) {
        let Backlog { holding, .. } = &mut **self.0.get_or_insert_default();
        if holding.last().is_some_and(|last| Arc::ptr_eq(last, members))
            || holding.iter().any(|other| Arc::ptr_eq(other, members))
        {
            return;
        }
        if holding.len() >= MANY && holding.len() == holding.capacity() {
            holding.retain(|members| members.charged() > 0);
        }
        holding.push(members.clone());
    }

    fn fall_behind(&mut self, slot: usize, members: &Arc<Members>, key: usize) {
        let backlog = self.0.get_or_insert_default();
        backlog.behind.entry(slot).or_default().push((members.clone(), key));
    }

    fn take_behind(&mut self, slot: usize) -> Vec<(Arc<Members>, usize)> {
        self.0.as_mut().and_then(|backlog| backlog.behind.remove(&slot)).unwrap_or_default()
    }

    /// Lets what nobody waits for go, or as patience allows, until there is room.
    fn make_room(&self, mut needed: usize, patience: Patience, link: &Link) -> (Vec<Address>, Excess) {
        let (mut to_close, mut freed) = (Vec::new(), 0);
        let mut holding: Vec<_> = self.0.iter().flat_map(|backlog| &backlog.holding).collect();
        if patience == Patience::Over {
            // Whose members are most behind.
            holding.sort_by_cached_key(|members| std::cmp::Reverse(members.charged()));
        }
        for members in holding {
            if needed == 0 {
                break;
            }
            let mut evicted = members.make_room(needed, patience);
            evicted.wake();
            needed = needed.saturating_sub(evicted.freed);
            freed += evicted.freed;
            let Evicted { missed, to_close: slow, .. } = evicted;
            link.metrics().add(Counter::GroupMessagesMissed, missed);
            to_close.extend(slow);
        }
        (to_close, link.release_groups(freed))
    }

    /// The connection is gone: nothing waits any more. Octets that were charged for what did.
    pub(super) fn clear(&mut self) -> usize {
        let backlog = self.0.take();
        backlog.iter().flat_map(|backlog| &backlog.holding).map(|members| members.clear()).sum()
    }

    /// Whether there may be room that is not used.
    pub(super) fn keeps_spare(&self) -> bool {
        self.0.is_some()
    }

    /// Gives up room that is not used.
    pub(super) fn shrink(&mut self) {
        if let Some(backlog) = &mut self.0 {
            backlog.holding.retain(|members| members.charged() > 0);
        }
        self.0.take_if(|backlog| backlog.holding.is_empty() && backlog.behind.is_empty());
    }
}

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// Sends what groups have for streams here; whether anything was there.
    pub(super) fn send_frames(&mut self) -> bool {
        let Some(all) = self.link.take_broadcasts() else { return false };
        let Self { streams, machine, groups, .. } = self;
        let mut freed = 0;
        for told in &all {
            let members = &told.broadcast.members;
            let delivered = told.broadcast.deliver(told.charge, |member, frame| {
                let slot = streams.slots.get(member.slot()).and_then(Option::as_ref);
                match slot.filter(|slot| slot.cell.address() == member) {
                    Some(slot) => send_frame(&slot.cell, machine.stream(slot.id), frame),
                    // Its stream is over, and it misses nothing.
                    None => Sent::Never,
                }
            });
            if !delivered.is_held {
                freed += told.charge;
                continue;
            }
            groups.hold(members);
            for (key, member) in delivered.behind {
                groups.fall_behind(member.slot(), members, key);
            }
        }
        self.release(freed);
        true
    }

    /// Gives a stream that was just looked at what it is behind with, as far as there is room.
    pub(super) fn catch_up(&mut self, slot: usize) {
        let behind = self.groups.take_behind(slot);
        let Self { streams, machine, groups, .. } = self;
        let Some(stream) = streams.at(slot) else { return };
        let (cell, id) = (stream.cell.clone(), stream.id);
        let (mut freed, mut is_behind, mut had_its_turn) = (0, false, false);
        for (members, key) in behind {
            let send = |frame: &_| send_late_frame(&cell, machine.stream(id), frame);
            let caught_up = members.catch_up(key, cell.address(), send);
            freed += caught_up.freed;
            if caught_up.rest != Rest::None {
                is_behind = true;
                had_its_turn |= caught_up.rest == Rest::HadItsTurn;
                groups.fall_behind(slot, &members, key);
            }
        }
        if !is_behind {
            cell.catch_up();
        } else if had_its_turn {
            cell.queue();
        }
        self.release(freed);
    }

    /// A stream is let go of: nothing waits for it any more.
    pub(super) fn leave_behind(&mut self, slot: usize, address: Address) {
        let behind = self.groups.take_behind(slot);
        let freed = behind.iter().map(|(members, key)| members.catch_up(*key, address, |_| Sent::Never).freed).sum();
        self.release(freed);
    }

    /// All streams are over: nothing waits for any.
    pub(super) fn leave_all_behind(&mut self) {
        let freed = self.groups.clear();
        self.link.release_groups(freed);
    }

    /// What was charged is free again; where too much waits still, room is made.
    fn release(&mut self, freed: usize) {
        let mut excess = self.link.release_groups(freed);
        let mut to_close = Vec::new();
        // Who is late by the second round may be all that others wait for.
        for patience in [Patience::Kept, Patience::Over, Patience::Kept] {
            let needed = if patience == Patience::Kept { excess.all } else { excess.forced };
            if needed > 0 {
                let (slow, left) = self.groups.make_room(needed, patience, &self.link);
                to_close.extend(slow);
                excess = left;
            }
        }
        for member in to_close {
            if let Some(slot) = self.streams.at(member.slot()).filter(|slot| slot.cell.address() == member) {
                slot.cell.close_slow();
            }
        }
    }
}
