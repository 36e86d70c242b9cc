//! One member of a group: how far it is with what was sent, and what it has missed.

use std::num::NonZeroU64;
use std::task::Waker;

use sockeye_proto::ws::SharedDeflate;

use super::Evicted;
use super::broadcast::To;
use super::log::Log;
use crate::engine::link::Address;

/// How many members are behind: where all are, a message waits for them without a look at each.
#[derive(Clone, Copy, Default)]
pub(super) struct Paces {
    pub(super) behind: u32,
    pub(super) late: u32,
}

pub(super) struct Listed {
    /// Its address, in parts: so it takes no more than it has to.
    pub(super) key: NonZeroU64,
    pub(super) slot: u32,
    /// How its socket compresses what others may get as well.
    pub(super) deflate: Option<SharedDeflate>,
    /// The number of the first message that is for it.
    pub(super) first: u64,
    /// Boxed, since most members never lag.
    pub(super) lag: Option<Box<Lag>>,
}

/// What there is to know of a member that has been behind, or waits to hear of it.
#[derive(Default)]
pub(super) struct Lag {
    pub(super) pace: Pace,
    pub(super) missed: u64,
    /// How many of those its handler was told of.
    pub(super) told: u64,
    pub(super) waiter: Option<Waker>,
}

/// How far a member is with what the group has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// It has all.
    #[default]
    Current,
    /// It waits for room: this is the number of the first message that it has not got. Senders wait for it.
    Behind(u64),
    /// The same of one that was waited for in vain: nobody waits for it until it has caught up.
    Late(u64),
}

/// There are millions.
const _: () = assert!(size_of::<Listed>() <= 32);

impl Listed {
    pub(super) fn new(address: Address, first: u64, deflate: Option<SharedDeflate>) -> Self {
        let Address { key, slot } = address;
        // A cell's key is never 0.
        let key = NonZeroU64::new(key).unwrap_or(NonZeroU64::MAX);
        Self { key, slot, deflate, first, lag: None }
    }

    pub(super) fn address(&self) -> Address {
        Address { key: self.key.get(), slot: self.slot }
    }

    pub(super) fn pace(&self) -> Pace {
        self.lag.as_ref().map_or(Pace::Current, |lag| lag.pace)
    }

    pub(super) fn set_pace(&mut self, pace: Pace, paces: &mut Paces) {
        let before = std::mem::replace(&mut self.lag().pace, pace);
        paces.count(before, u32::wrapping_sub);
        paces.count(pace, u32::wrapping_add);
    }

    pub(super) fn lag(&mut self) -> &mut Lag {
        self.lag.get_or_insert_default()
    }

    /// Whether a message is for this member, which has this key.
    pub(super) fn is_for(&self, key: usize, number: u64, to: To) -> bool {
        number >= self.first && to.has(key)
    }

    pub(super) fn miss(&mut self, messages: u64, evicted: &mut Evicted) {
        let lag = self.lag();
        lag.missed += messages;
        evicted.missed += messages;
        evicted.wakers.extend(lag.waiter.take());
    }

    /// It has not got the message of this number, the oldest there is, and is waited for no more. Whether it was.
    pub(super) fn turn_late(&mut self, key: usize, number: u64, paces: &mut Paces, log: &mut Log) -> bool {
        let Pace::Behind(next) = self.pace() else { return false };
        if next > number {
            return false;
        }
        self.set_pace(Pace::Late(next), paces);
        for entry in log.from(next).filter(|entry| entry.is_for(key, self.first)) {
            entry.awaited -= 1;
            entry.late += 1;
        }
        true
    }

    /// It leaves: nothing waits for it any more.
    pub(super) fn leave_log(&self, key: usize, log: &mut Log) {
        let (next, is_late) = match self.pace() {
            Pace::Current => return,
            Pace::Behind(next) => (next, false),
            Pace::Late(next) => (next, true),
        };
        for entry in log.from(next).filter(|entry| entry.is_for(key, self.first)) {
            entry.let_go(is_late);
        }
    }
}

impl Paces {
    pub(super) fn count(&mut self, pace: Pace, change: fn(u32, u32) -> u32) {
        match pace {
            Pace::Current => {}
            Pace::Behind(_) => self.behind = change(self.behind, 1),
            Pace::Late(_) => self.late = change(self.late, 1),
        }
    }
}
