//! What other tasks have told a connection and it has not looked at, and how it is woken for that.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};

use bytes::BytesMut;

use super::broadcast::Groups;
use super::{Address, End, Ended, Flusher, HandedOver, Link, Phase};
#[cfg(feature = "tls")]
use crate::engine::peer::Certificates;
use crate::engine::sync::MutexGuard;
use crate::engine::sync::atomic::Ordering;
use crate::engine::watches::Watches;

/// There are slots or groups' messages that the connection has not taken.
pub(super) const TOLD: u8 = 1;
/// There is what tasks have handed over.
pub(super) const HANDED: u8 = 2;
/// There are cells that wait for a flush.
pub(super) const FLUSHING: u8 = 4;
/// There are tunnels in which the peer broke their protocol.
pub(super) const BLAMED: u8 = 8;

/// The slots that changed since the connection last looked, and how to wake it while it sleeps.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) slots: Vec<u32>,
    /// What tasks sent; boxed, since an idle connection has none.
    pub(super) handed: Option<Box<HandedOver>>,
    pub(super) sleeper: Option<Waker>,
    /// Another task woke the connection.
    called: bool,
    pub(super) end: End,
    /// Boxed, since most connections have nothing of it.
    pub(super) rare: Option<Box<Rare>>,
}

/// What comes from elsewhere, besides what streams have to say.
#[derive(Default)]
pub(super) struct Rare {
    /// What groups have for streams here.
    pub(super) groups: Groups,
    /// Cells that wait until all that the connection has is with the transport.
    pub(super) flushes: Vec<Arc<dyn Flusher>>,
    /// Tunnels in which the peer broke their protocol, which the connection has not counted.
    pub(super) blames: u32,
    /// Streams on which something has begun to come.
    watches: Watches,
    /// What the peer proved by TLS to be its own.
    #[cfg(feature = "tls")]
    pub(super) certificates: Option<Certificates>,
}

impl Ready {
    /// Another task has something for the connection: whom to wake once the lock is let go.
    pub(super) fn call(&mut self, is_awake: bool) -> Option<Waker> {
        if is_awake {
            return None;
        }
        self.called |= self.sleeper.is_some();
        self.sleeper.take()
    }

    /// Whether nothing rare is left that would be missed.
    fn has_nothing_rare(rare: &Rare) -> bool {
        #[cfg(feature = "tls")]
        if rare.certificates.is_some() {
            return false;
        }
        rare.groups.is_empty() && rare.flushes.is_empty() && rare.blames == 0 && rare.watches.is_empty()
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn end_groups(&mut self) -> Ended {
        self.rare.as_mut().map_or_else(Ended::default, |rare| rare.groups.end())
    }

    pub(super) fn take_flushes(&mut self) -> Vec<Arc<dyn Flusher>> {
        self.rare.as_mut().map_or_else(Vec::new, |rare| std::mem::take(&mut rare.flushes))
    }

    pub(super) fn has_handed(&self) -> bool {
        self.handed.as_ref().is_some_and(|handed| !handed.is_empty())
    }

    pub(super) fn has_broadcasts(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.groups.has_news())
    }

    pub(super) fn has_blames(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.blames > 0)
    }

    pub(super) fn has_flushes(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.flushes.is_empty())
    }
}

impl Link {
    pub(super) fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn news(&self) -> u8 {
        self.news.load(Ordering::Relaxed)
    }

    /// To be called under the lock of `ready`.
    pub(super) fn set_news(&self, news: u8) {
        self.news.store(news, Ordering::Relaxed);
    }

    /// Tells the connection to look at a slot.
    pub(crate) fn push_ready(&self, slot: u32) {
        let sleeper = {
            let mut ready = self.ready();
            debug_assert!(!cfg!(sockeye_model) || !ready.slots.contains(&slot), "a cell is listed once");
            ready.slots.push(slot);
            self.set_news(self.news() | TOLD);
            ready.call(self.is_awake())
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Hands what a stream's empty outbox got over to the connection, which need not look at the cell for it: behind all that
    /// was handed over before, and before what will stand in the outbox. To be called under the lock of the cell; who is
    /// returned is to be woken without it. Gives the octets back where too many wait.
    #[inline]
    pub(crate) fn hand_over(&self, address: Address, octets: BytesMut) -> Result<Sleeper, BytesMut> {
        let mut ready = self.ready();
        ready.handed.get_or_insert_default().push(address, octets)?;
        self.set_news(self.news() | HANDED);
        Ok(Sleeper(ready.call(self.is_awake())))
    }

    /// For the connection: what was handed over, if anything was.
    pub(crate) fn take_handed(&self) -> Option<Box<HandedOver>> {
        // What is handed over meanwhile is seen next time: the connection does not go to sleep over it.
        if self.news() & HANDED == 0 {
            return None;
        }
        let mut ready = self.ready();
        self.set_news(self.news() & !HANDED);
        ready.handed.take()
    }

    /// For the connection: gives an emptied list back for what comes next.
    pub(crate) fn recycle(&self, handed: Box<HandedOver>) {
        debug_assert!(handed.is_empty(), "what was handed over was sent");
        let mut ready = self.ready();
        ready.handed.get_or_insert(handed);
    }

    /// For the connection, under the lock of a cell: takes back what was handed over from there, or the outbox would go before.
    pub(crate) fn take_back(&self, address: Address) -> Option<BytesMut> {
        if self.news() & HANDED == 0 {
            return None;
        }
        let mut ready = self.ready();
        let octets = ready.handed.as_mut().and_then(|handed| handed.take_from(address));
        if !ready.has_handed() {
            self.set_news(self.news() & !HANDED);
        }
        octets
    }

    /// The peer broke the protocol of a tunnel, whoever found out: the connection is to count it.
    pub(crate) fn blame(&self) {
        let sleeper = {
            let mut ready = self.ready();
            if ready.end != End::None {
                return;
            }
            ready.rare().blames += 1;
            self.set_news(self.news() | BLAMED);
            ready.call(self.is_awake())
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// For the connection: in how many tunnels the peer broke their protocol since this was last asked.
    #[inline]
    pub(crate) fn take_blames(&self) -> u32 {
        if self.news() & BLAMED == 0 {
            return 0;
        }
        let mut ready = self.ready();
        self.set_news(self.news() & !BLAMED);
        ready.rare.as_mut().map_or(0, |rare| std::mem::take(&mut rare.blames))
    }

    /// For the connection: whether other tasks have told it of something that it has not taken. What is told at this moment
    /// may not be seen yet; [`sleep`](Self::sleep) sees it, under the lock.
    pub(crate) fn has_news(&self) -> bool {
        self.news() != 0
    }

    /// For the connection: whether there may be room that is not used.
    pub(crate) fn keeps_spare(&self) -> bool {
        let ready = self.ready();
        ready.rare.is_some() || ready.handed.is_some()
    }

    /// For the connection: gives up room that is not used.
    pub(crate) fn shrink(&self) {
        let mut ready = self.ready();
        ready.rare.take_if(|rare| Ready::has_nothing_rare(rare));
        ready.handed.take_if(|handed| handed.is_empty());
    }

    /// Where the streams stand on which something has begun to come.
    pub(crate) fn watches(&self) -> Watches {
        self.ready().rare().watches.clone()
    }

    /// For the connection as it wakes up: whether another task has woken it, and not its transport. That is a moment to let
    /// more of them run first: what they have to say then goes out with one write.
    pub(crate) fn was_called(&self) -> bool {
        self.has_news() && std::mem::take(&mut self.ready().called)
    }

    /// For the connection as it begins to run: until it [sleeps](Self::sleep) nobody wakes it. A task that was woken while it
    /// ran would run again before the runtime has looked at its network.
    pub(crate) fn wake_up(&self) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// To be called under the lock of `ready`, where a connection goes to sleep.
    pub(super) fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// For the connection: exchanges an empty list for the slots that changed. What groups have is to be
    /// [taken](Self::take_broadcasts) next.
    pub(crate) fn take_ready(&self, slots: &mut Vec<u32>) {
        debug_assert!(slots.is_empty(), "the slots of the last turn were all looked at");
        if self.news() & TOLD != 0 {
            std::mem::swap(&mut self.ready().slots, slots);
        }
    }

    /// For a connection without streams, as it goes to sleep: false if the phase is not the one that it has seen.
    pub(crate) fn watch(&self, cx: &Context<'_>, seen: Phase) -> bool {
        let mut ready = self.ready();
        self.awake.store(false, Ordering::Relaxed);
        // Who changes the phase takes the sleeper after: it finds this one, or is seen here.
        let unchanged = self.phase() == seen;
        if unchanged {
            ready.sleeper = Some(cx.waker().clone());
        }
        unchanged
    }

    /// For the connection as it goes to sleep: false if there is something to do after all, or the phase is not the one that
    /// it has seen. One that still has something to write looks after flushes when the transport wakes it.
    pub(crate) fn sleep(&self, cx: &Context<'_>, seen: Phase, has_written: bool) -> bool {
        let mut ready = self.ready();
        let told = !ready.slots.is_empty() || ready.has_handed() || ready.has_broadcasts() || ready.has_blames();
        debug_assert!(!told || self.has_news(), "what stands under the lock is told of");
        let asked = told || has_written && ready.has_flushes();
        // As in `watch`.
        if asked || self.phase() != seen {
            return false;
        }
        self.awake.store(false, Ordering::Relaxed);
        // An idle connection owns no buffers.
        ready.slots = Vec::new();
        match &mut ready.sleeper {
            // Which the transport has woken: it is the same, most likely.
            Some(before) => before.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        true
    }
}

/// A connection that slept, to be woken once no lock is held.
#[must_use = "a connection that sleeps is to be woken"]
pub(crate) struct Sleeper(pub(super) Option<Waker>);

impl Sleeper {
    /// Whether anybody is to be woken.
    pub(crate) fn sleeps(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn wake(self) {
        if let Some(sleeper) = self.0 {
            sleeper.wake();
        }
    }
}
