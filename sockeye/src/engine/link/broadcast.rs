//! What groups have for a connection: how much may wait, and how long who sends it does.
//!
//! A message takes room from when it is sent until all members on the connection have it. One that finds room is as good as
//! sent. One that finds none waits all the same, as long as whoever sends it does: that is a bound too, since a sender has one
//! such message. When it waits no more, the connection makes room at the cost of those that are behind.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{End, Link, Sleeper, TOLD};
use crate::engine::members::Broadcast;
use crate::engine::sync::{Mutex, MutexGuard};

/// Which stream of a connection something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Tells its cell from every other that there was or will be.
    pub(crate) key: u64,
    pub(crate) slot: u32,
}

impl Address {
    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A message that a connection was told of, and what it was charged for.
pub(crate) struct Told {
    pub(crate) broadcast: Broadcast,
    pub(crate) charge: usize,
    /// Tells it from the others of its connection.
    mark: u64,
}

/// What groups have for a connection.
#[derive(Default)]
pub(super) struct Groups {
    /// What the connection has not looked at.
    told: Vec<Told>,
    /// A sender waits no more: the connection is to make room.
    is_hurried: bool,
    /// Octets that wait, here and with the members.
    charged: usize,
    /// Those of them whose senders wait.
    awaited: usize,
    /// All octets that ever waited, and those that wait no more.
    pushed: u64,
    released: u64,
    /// Senders, in the order in which they are to go on.
    waits: VecDeque<Waiting>,
}

struct Waiting {
    /// What had been pushed with its message.
    mark: u64,
    charge: usize,
    wait: Arc<Wait>,
}

/// How much waits beyond what may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excess {
    /// In octets.
    pub(crate) all: usize,
    /// The part that nobody is waiting for to be sent.
    pub(crate) forced: usize,
}

impl Groups {
    pub(super) fn has_news(&self) -> bool {
        !self.told.is_empty() || self.is_hurried
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_news() && self.charged == 0 && self.waits.is_empty()
    }

    fn excess(&self, max: usize) -> Excess {
        let all = self.charged.saturating_sub(max);
        Excess { all, forced: (self.charged - self.awaited).saturating_sub(max) }
    }

    /// Takes what senders wait for off the account; those that may go on.
    fn release(&mut self, octets: usize, max: usize) -> Vec<Arc<Wait>> {
        // After the end of the connection nothing is charged.
        let octets = octets.min(self.charged);
        self.charged -= octets;
        self.released += octets as u64;
        let mut free = Vec::new();
        while self.waits.front().is_some_and(|first| first.mark <= self.released + max as u64) {
            let Some(first) = self.waits.pop_front() else { break };
            self.awaited -= first.charge;
            free.push(first.wait);
        }
        free
    }

    /// All that there is, at the end of the connection.
    pub(super) fn end(&mut self) -> Ended {
        let Self { told, waits, .. } = std::mem::take(self);
        Ended { told, waits }
    }
}

/// What groups had for a connection that has ended. To be dropped without a lock: then nobody waits for it any more.
#[derive(Default)]
#[must_use = "whoever waits is to be woken"]
pub(crate) struct Ended {
    told: Vec<Told>,
    waits: VecDeque<Waiting>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.told.clear();
        self.waits.drain(..).for_each(|waiting| waiting.wait.settle());
    }
}

/// What a sender waits for: room on some connections.
#[derive(Default)]
pub(crate) struct Wait(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    /// How many have none yet.
    full: usize,
    sender: Option<Waker>,
}

impl Wait {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.connections().full += 1;
    }

    /// A connection has room, or waits for it no more. Not to be called under a lock.
    fn settle(&self) {
        let sender = {
            let mut connections = self.connections();
            connections.full -= 1;
            if connections.full == 0 { connections.sender.take() } else { None }
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut connections = self.connections();
        if connections.full == 0 {
            return Poll::Ready(());
        }
        match &mut connections.sender {
            Some(before) => before.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// What groups send, and their senders wait for.
impl Link {
    /// One octet at least, so that one message at a time finds room.
    fn max_group_octets(&self) -> usize {
        self.limits.group_send.max(1)
    }

    /// Tells the connection of a group's message; where that finds no room, its sender is to `wait`. Who is returned is to be
    /// woken once no lock is held; `None` where the connection has ended.
    pub(crate) fn broadcast(&self, broadcast: Broadcast, wait: &mut Option<Arc<Wait>>) -> Option<(Sleeper, bool)> {
        let max = self.max_group_octets();
        let mut ready = self.ready();
        if ready.end != End::None {
            return None;
        }
        let groups = &mut ready.rare().groups;
        // A message of any size is sent where no other waits.
        let charge = broadcast.size().min(max);
        let has_room = groups.charged + charge <= max;
        groups.charged += charge;
        groups.pushed += charge as u64;
        let mark = groups.pushed;
        groups.told.push(Told { broadcast, charge, mark });
        if !has_room {
            let wait = wait.get_or_insert_default();
            wait.begin();
            groups.awaited += charge;
            groups.waits.push_back(Waiting { mark, charge, wait: wait.clone() });
        }
        self.set_news(self.news() | TOLD);
        Some((Sleeper(ready.call(self.is_awake())), !has_room))
    }

    /// A sender waits no more: the connection makes room for its message. Where as much again as may wait is to find room so,
    /// before the connection has had its turn, nobody gets it: it is returned.
    pub(crate) fn give_up_waiting(&self, wait: &Arc<Wait>) -> Option<Told> {
        let max = self.max_group_octets();
        let (sleeper, refused) = {
            let mut ready = self.ready();
            let groups = &mut ready.rare.as_mut()?.groups;
            let index = groups.waits.iter().position(|waiting| Arc::ptr_eq(&waiting.wait, wait))?;
            let Waiting { mark, charge, .. } = groups.waits.remove(index)?;
            groups.awaited -= charge;
            let is_flood = groups.charged - groups.awaited > max.saturating_mul(2);
            let index = groups.told.iter().rposition(|told| told.mark == mark).filter(|_| is_flood);
            let refused = index.map(|index| groups.told.remove(index));
            if refused.is_some() {
                groups.charged -= charge;
                groups.released += charge as u64;
            }
            groups.is_hurried = true;
            self.set_news(self.news() | TOLD);
            (Sleeper(ready.call(self.is_awake())), refused)
        };
        sleeper.wake();
        wait.settle();
        refused
    }

    /// What was charged is free again. Senders that waited for it go on; how much is still too much.
    pub(crate) fn release_groups(&self, octets: usize) -> Excess {
        let max = self.max_group_octets();
        let (free, excess) = {
            let mut ready = self.ready();
            let Some(rare) = &mut ready.rare else { return Excess::default() };
            (rare.groups.release(octets, max), rare.groups.excess(max))
        };
        free.iter().for_each(|wait| wait.settle());
        excess
    }

    /// A member has left that octets were charged for, or that others were not let go of before.
    pub(crate) fn leave_group(&self, octets: usize) {
        if self.release_groups(octets).all == 0 {
            return;
        }
        let sleeper = {
            let mut ready = self.ready();
            ready.rare().groups.is_hurried = true;
            self.set_news(self.news() | TOLD);
            Sleeper(ready.call(self.is_awake()))
        };
        sleeper.wake();
    }

    /// For the connection: what groups have for it, if they have told it of anything.
    pub(crate) fn take_broadcasts(&self) -> Option<Vec<Told>> {
        if self.news() & TOLD == 0 {
            return None;
        }
        let mut ready = self.ready();
        if ready.slots.is_empty() {
            self.set_news(self.news() & !TOLD);
        }
        let groups = &mut ready.rare.as_mut()?.groups;
        let is_told = groups.has_news();
        groups.is_hurried = false;
        is_told.then(|| std::mem::take(&mut groups.told))
    }
}
