//! The members of a group on one connection: who gets which message, who is behind, and who misses some.
//!
//! A message goes to each member that has room for it, in the connection's task. Where some have none it stays in the
//! [`Log`], once for all of them, and each gets on with it as its stream has room again. So a member that is slow holds no
//! other, and what waits for any number of members is held once. How much may wait is the [link](crate::engine::link)'s to
//! say; past that, whose patience is over [makes room](Members::make_room): the oldest messages go, and those that were
//! waited for in vain miss them.

mod broadcast;
mod frame;
mod listed;
mod log;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sockeye_proto::ws::SharedDeflate;

pub(crate) use self::broadcast::{Broadcast, To};
pub(crate) use self::frame::Frame;
use self::listed::{Listed, Pace, Paces};
use self::log::Log;
use self::slots::Slots;
use crate::engine::link::Address;
use crate::engine::sync::{Mutex, MutexGuard};

/// What becomes of a group's member whose peer does not read, once it was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "web-socket"), allow(unreachable_pub))]
pub enum SlowMember {
    /// It misses the oldest messages that wait for it, and is told how many: by `Member::lagged` and `Member::missed`. It is
    /// not waited for again before it has caught up.
    #[default]
    Skip,
    /// Its socket is closed with 1013 (Try Again Later), and reset where the peer takes not even that within the close timeout.
    Close,
}

/// The members of a group on one connection.
pub(crate) struct Members {
    slow: SlowMember,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    members: Slots,
    /// The number of the first message that is for all of them: what the last to join gets first.
    for_all: u64,
    paces: Paces,
    log: Log,
}

/// What became of a frame that a stream was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The stream has it.
    Taken,
    /// There is no room just now. The connection looks at the stream again when there is.
    Full,
    /// The stream sends no message any more, and misses nothing.
    Never,
}

/// What [catching up](Members::catch_up) has come to.
pub(crate) struct CaughtUp {
    /// Octets that were charged for what is gone.
    pub(crate) freed: usize,
    pub(crate) rest: Rest,
}

/// What is left of a member, to be dropped without a lock.
pub(crate) struct Removed {
    /// Octets that were charged for what waited for it alone.
    pub(crate) freed: usize,
    _member: Option<Listed>,
}

/// What a member still has to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    None,
    /// What its stream has no room for.
    Full,
    /// What others go before.
    HadItsTurn,
}

/// Octets that a member gets at once while others may wait: as much as a DATA frame has.
const AT_ONCE: usize = 16 * 1024;

/// What [making room](Members::make_room) has come to.
#[derive(Default)]
#[must_use = "who waits is to be woken, and who was too slow may have to be closed"]
pub(crate) struct Evicted {
    /// Octets that were charged for what is gone.
    pub(crate) freed: usize,
    /// How many messages were missed, by all members together.
    pub(crate) missed: u64,
    /// Who waits to hear that it missed some.
    pub(crate) wakers: Vec<Waker>,
    /// Whom the group does not keep any longer.
    pub(crate) to_close: Vec<Address>,
}

impl Evicted {
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// Whether who makes room may be waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only what nobody waits for makes room.
    Kept,
    /// The oldest message makes room, whoever has not got it.
    Over,
}

impl Members {
    pub(crate) fn new(slow: SlowMember) -> Self {
        Self { slow, list: Mutex::default() }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member for the messages from number `first` on, which is no lower than that of any other. They are compressed as its
    /// socket does it, where none of its messages refers to another.
    pub(crate) fn insert(&self, address: Address, first: u64, deflate: Option<SharedDeflate>) -> usize {
        let mut list = self.list();
        debug_assert!(first >= list.for_all, "who joins later gets no earlier message");
        list.for_all = first;
        list.members.insert(Listed::new(address, first, deflate))
    }

    /// A member leaves at once, whatever waits for it.
    pub(crate) fn remove(&self, key: usize) -> Removed {
        let List { members, paces, log, .. } = &mut *self.list();
        let member = members.remove(key);
        debug_assert!(member.is_some(), "who leaves was there");
        if let Some(member) = &member {
            member.leave_log(key, log);
            paces.count(member.pace(), u32::wrapping_sub);
        }
        Removed { freed: log.trim(), _member: member }
    }

    pub(crate) fn len(&self) -> usize {
        self.list().members.len()
    }

    /// How many messages a member has missed.
    pub(crate) fn missed(&self, key: usize) -> u64 {
        let list = self.list();
        list.members.get(key).and_then(|member| member.lag.as_ref()).map_or(0, |lag| lag.missed)
    }

    /// How many messages a member has missed since it was last told, once it is more than none.
    pub(crate) fn poll_lagged(&self, key: usize, cx: &Context<'_>) -> Poll<u64> {
        let mut list = self.list();
        let Some(member) = list.members.get_mut(key) else { return Poll::Pending };
        let lag = member.lag();
        let missed = lag.missed - std::mem::replace(&mut lag.told, lag.missed);
        if missed > 0 {
            return Poll::Ready(missed);
        }
        let before = lag.waiter.replace(cx.waker().clone());
        drop(list);
        drop(before);
        Poll::Pending
    }

    /// All members miss so many messages, which never came to be sent here.
    pub(crate) fn miss(&self, messages: u64) -> Evicted {
        let mut evicted = Evicted::default();
        self.list().members.iter_mut().for_each(|(_, member)| member.miss(messages, &mut evicted));
        evicted
    }

    /// Octets that are charged for what waits here.
    pub(crate) fn charged(&self) -> usize {
        self.list().log.charged()
    }

    /// Gives a member what waits for it, up to some octets at once.
    pub(crate) fn catch_up(&self, key: usize, address: Address, mut send: impl FnMut(&Bytes) -> Sent) -> CaughtUp {
        if let Some((frame, deflate)) = self.next_large(key, address) {
            // Without the lock, as when it was delivered.
            frame.of(deflate);
        }
        let List { members, paces, log, .. } = &mut *self.list();
        let mut rest = Rest::None;
        // Who has left since, or left and joined again, has nothing to catch up with.
        let Some(member) = members.get_mut(key).filter(|member| member.address() == address) else {
            return CaughtUp { freed: 0, rest };
        };
        let (next, is_late) = match member.pace() {
            Pace::Current => return CaughtUp { freed: 0, rest },
            Pace::Behind(next) => (next, false),
            Pace::Late(next) => (next, true),
        };
        let (mut at, mut octets) = (log.position(next), 0);
        while let Some(entry) = log.get_mut(at) {
            if entry.is_for(key, member.first) {
                // A large one has a turn to itself.
                if octets >= AT_ONCE || octets > 0 && entry.frame.is_large() {
                    rest = Rest::HadItsTurn;
                    break;
                }
                let frame = entry.frame.of(member.deflate);
                match send(frame) {
                    Sent::Full => {
                        rest = Rest::Full;
                        break;
                    }
                    Sent::Taken => octets += frame.len(),
                    Sent::Never => {}
                }
                entry.let_go(is_late);
            }
            at += 1;
        }
        let pace = match log.get_mut(at) {
            None => Pace::Current,
            Some(entry) if is_late => Pace::Late(entry.number),
            Some(entry) => Pace::Behind(entry.number),
        };
        member.set_pace(pace, paces);
        CaughtUp { freed: log.trim(), rest }
    }

    /// How the members compress that get this message at once, each way once.
    fn deflates(&self, number: u64, to: To) -> Vec<SharedDeflate> {
        let mut deflates = Vec::new();
        for (key, member) in self.list().members.iter_mut() {
            if let Some(deflate) = member.deflate
                && member.pace() == Pace::Current
                && member.is_for(key, number, to)
                && !deflates.contains(&deflate)
            {
                deflates.push(deflate);
            }
        }
        deflates
    }

    /// The next message for a member that is behind, where it is large, and how it is compressed for it.
    fn next_large(&self, key: usize, address: Address) -> Option<(Frame, Option<SharedDeflate>)> {
        let List { members, log, .. } = &mut *self.list();
        let member = members.get(key).filter(|member| member.deflate.is_some() && member.address() == address)?;
        let (Pace::Behind(next) | Pace::Late(next)) = member.pace() else { return None };
        let entry = log.from(next).find(|entry| entry.is_for(key, member.first))?;
        entry.frame.is_large().then(|| (entry.frame.clone(), member.deflate))
    }

    /// Lets the oldest messages go until as many octets are free as are needed, as far as patience allows.
    pub(crate) fn make_room(&self, needed: usize, patience: Patience) -> Evicted {
        let mut evicted = Evicted::default();
        let List { members, paces, log, .. } = &mut *self.list();
        while evicted.freed < needed {
            let Some(front) = log.front() else { break };
            if front.awaited > 0 {
                if patience == Patience::Kept {
                    break;
                }
                let number = front.number;
                for (key, member) in members.iter_mut() {
                    if member.turn_late(key, number, paces, log) && self.slow == SlowMember::Close {
                        evicted.to_close.push(member.address());
                    }
                }
            }
            let Some(front) = log.pop() else { break };
            debug_assert!(front.awaited == 0, "whoever was waited for is late now");
            evicted.freed += front.charge;
            for (key, member) in members.iter_mut() {
                if let Pace::Late(next) = member.pace()
                    && next <= front.number
                    && front.is_for(key, member.first)
                {
                    member.set_pace(Pace::Late(front.number + 1), paces);
                    member.miss(1, &mut evicted);
                }
            }
        }
        // Behind it may stand what was for few, who have it.
        evicted.freed += log.trim();
        evicted
    }

    /// The connection is gone: nothing waits any more. Octets that were charged for what did.
    pub(crate) fn clear(&self) -> usize {
        let List { members, paces, log, .. } = &mut *self.list();
        let charged = log.charged();
        log.clear();
        for (_, member) in members.iter_mut() {
            if member.pace() != Pace::Current {
                member.set_pace(Pace::Current, paces);
            }
        }
        charged
    }
}
