//! What all streams of one connection share, on both sides of their cells.

mod broadcast;
mod flush;
mod handed_over;
mod info;
mod limits;

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sockeye_proto::ws::Inflation;

use crate::engine::budget::Budget;
use crate::engine::heads::Heads;
use crate::engine::metrics::{Counter, Metrics};
#[cfg(feature = "tls")]
use crate::engine::peer::Certificates;
use crate::engine::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use crate::engine::sync::{Mutex, MutexGuard};
use crate::engine::watches::Watches;

use broadcast::Groups;
#[cfg_attr(not(feature = "web-socket"), allow(unused_imports))]
pub(crate) use broadcast::{Address, Ended, Excess, Wait};
pub(crate) use flush::{End, Flush, Flusher};
pub(crate) use handed_over::HandedOver;
pub(crate) use info::ConnectionInfo;
pub use info::Side;
pub(crate) use limits::{Limits, MIN_PROGRESS, PingTimes};

/// The shared part of a connection.
pub(crate) struct Link {
    ready: Mutex<Ready>,
    /// What there is under that lock, which is changed under it and read without it: [`TOLD`], [`HANDED`], [`FLUSHING`]
    /// and [`BLAMED`].
    news: AtomicU8,
    /// Octets that wait for a peer to read: in outboxes after their connection had taken what it could, and with senders who
    /// wait for room there.
    blocked: AtomicUsize,
    phase: AtomicU8,
    /// The connection's task runs, or will without being woken: it looks at what it is told before it goes to sleep.
    awake: AtomicBool,
    /// Among all connections of its server or client.
    pub(crate) number: u64,
    /// Shared by all connections of the server.
    pub(crate) limits: Arc<Limits>,
    pub(crate) info: ConnectionInfo,
    /// For messages that are not yet whole.
    pub(crate) budget: Budget,
    /// Of requests, responses and trailers that came.
    pub(crate) heads: Heads,
    inflation: OnceLock<Arc<Inflation>>,
    /// WebSockets open now.
    pub(crate) sockets: AtomicU32,
    /// Handlers that run in tasks of their own and have outlived their stream.
    outliving: AtomicU32,
    /// Requests so far.
    pub(crate) requests: AtomicU64,
    listing: Arc<dyn Listing>,
}

/// A server of a million sockets over HTTP/1.1 has a million of these.
const _: () = assert!(size_of::<Link>() <= 224 || cfg!(sockeye_model));

/// There are slots or groups' messages that the connection has not taken.
const TOLD: u8 = 1;
/// There is what tasks have handed over.
const HANDED: u8 = 2;
/// There are cells that wait for a flush.
const FLUSHING: u8 = 4;
/// There are tunnels in which the peer broke their protocol.
const BLAMED: u8 = 8;

/// The slots that changed since the connection last looked, and how to wake it while it sleeps.
#[derive(Default)]
struct Ready {
    slots: Vec<u32>,
    /// What tasks sent; boxed, since an idle connection has none.
    handed: Option<Box<HandedOver>>,
    sleeper: Option<Waker>,
    /// Another task woke the connection.
    called: bool,
    end: End,
    /// Boxed, since most connections have nothing of it.
    rare: Option<Box<Rare>>,
}

/// What comes from elsewhere, besides what streams have to say.
#[derive(Default)]
struct Rare {
    /// What groups have for streams here.
    groups: Groups,
    /// Cells that wait until all that the connection has is with the transport.
    flushes: Vec<Arc<dyn Flusher>>,
    /// Tunnels in which the peer broke their protocol, which the connection has not counted.
    blames: u32,
    /// Streams on which something has begun to come.
    watches: Watches,
    /// What the peer proved by TLS to be its own.
    #[cfg(feature = "tls")]
    certificates: Option<Certificates>,
}

impl Ready {
    /// Another task has something for the connection: whom to wake once the lock is let go.
    fn call(&mut self, is_awake: bool) -> Option<Waker> {
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

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn end_groups(&mut self) -> Ended {
        self.rare.as_mut().map_or_else(Ended::default, |rare| rare.groups.end())
    }

    fn take_flushes(&mut self) -> Vec<Arc<dyn Flusher>> {
        self.rare.as_mut().map_or_else(Vec::new, |rare| std::mem::take(&mut rare.flushes))
    }

    fn has_handed(&self) -> bool {
        self.handed.as_ref().is_some_and(|handed| !handed.is_empty())
    }

    fn has_broadcasts(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.groups.has_news())
    }

    fn has_blames(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.blames > 0)
    }

    fn has_flushes(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.flushes.is_empty())
    }
}

/// Where a connection is listed, and what counts for it.
pub(crate) trait Listing: Send + Sync {
    fn metrics(&self) -> &Metrics;

    /// By when a drain that spreads its Closes has told every WebSocket; none where there is no such drain.
    fn told_by(&self) -> Option<Instant> {
        None
    }

    /// Lists the connection of this number no more.
    fn leave(&self, number: u64, info: &ConnectionInfo);
}

/// How far its end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// No new streams; those that there are go on.
    Closing,
    /// The WebSockets that there are say Close 1001, too, each at a moment of its own.
    Spreading,
    /// All WebSockets say Close 1001.
    Draining,
    /// What is left is cut off.
    Ending,
}

impl Link {
    /// A connection that is listed under its number until it [leaves](Self::leave): when its task is done, or the last stream
    /// is gone.
    pub(crate) fn new(listing: Arc<dyn Listing>, number: u64, limits: Arc<Limits>, info: ConnectionInfo) -> Self {
        let budget = Budget::new(limits.unfinished_messages);
        Self {
            ready: Mutex::default(),
            news: AtomicU8::new(0),
            blocked: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
            awake: AtomicBool::new(false),
            number,
            limits,
            info,
            budget,
            heads: Heads::default(),
            inflation: OnceLock::new(),
            sockets: AtomicU32::new(0),
            outliving: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            listing,
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.listing.metrics()
    }

    /// The limit on what the messages of all WebSockets may decompress to.
    pub(crate) fn inflation(&self) -> Arc<Inflation> {
        self.inflation.get_or_init(|| Arc::new(Inflation::new(self.limits.inflation))).clone()
    }

    /// A place for a handler in a task of its own that outlives its stream, until it is dropped; none past the limit.
    pub(crate) fn outlive(&self) -> Option<Outliving<'_>> {
        let max = u32::try_from(self.limits.outliving_handlers).unwrap_or(u32::MAX);
        let more = |count| (count < max).then_some(count + 1);
        self.outliving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Outliving(&self.outliving))
    }

    /// By when every WebSocket is told of a drain in [`Phase::Spreading`].
    pub(crate) fn told_by(&self) -> Option<Instant> {
        self.listing.told_by()
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics().count(Counter::Requests);
    }

    /// What the peer proved by TLS to be its own is known as the connection begins.
    #[cfg(feature = "tls")]
    pub(crate) fn set_certificates(&self, certificates: Certificates) {
        self.ready().rare().certificates = Some(certificates);
    }

    #[cfg(feature = "tls")]
    pub(crate) fn certificates(&self) -> Option<Certificates> {
        self.ready().rare.as_ref()?.certificates.clone()
    }

    /// A handler has blocked its thread.
    #[cold]
    pub(crate) fn count_block(&self, time: Duration) {
        self.metrics().count(Counter::BlockedThreads);
        let (peer, connection) = (self.info.peer, self.number);
        tracing::warn!(
            ?peer,
            connection,
            ?time,
            "a connection's task has blocked its thread: see what its handlers do"
        );
    }

    /// It is over: what still holds a stream of it finds there all that there will be. The first end counts.
    pub(crate) fn leave(&self, end: End) {
        drop(self.end(end));
        self.listing.leave(self.number, &self.info);
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self) -> u8 {
        self.news.load(Ordering::Relaxed)
    }

    /// To be called under the lock of `ready`.
    fn set_news(&self, news: u8) {
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

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Closing,
            2 => Phase::Spreading,
            3 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    /// Asks the connection to enter a later phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        let sleeper = self.ready().sleeper.take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
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
    fn is_awake(&self) -> bool {
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

    /// Octets that wait on streams for the peer to take them.
    pub(crate) fn backlog(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether a stream whose outbox holds `outbox` octets may add to it.
    pub(crate) fn admits(&self, outbox: usize) -> bool {
        outbox == 0 || outbox < self.limits.stream_send && !self.has_blocked(|room| room)
    }

    /// Whether so much waits for the peer that streams on which something waits are not read from: what they received might
    /// have to wait as well.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.has_blocked(|room| (room / 4 * 3).max(1))
    }

    /// Whether at least a part of the octets waits for the peer that may. Those are fewer while unfinished messages hold more
    /// than their budget: one peer that does both has one bound.
    #[inline]
    fn has_blocked(&self, part: impl Fn(usize) -> usize) -> bool {
        let (blocked, all) = (self.backlog(), self.limits.connection_send);
        let least = all / 4;
        blocked >= part(least) && blocked >= part(all.saturating_sub(self.budget.beyond()).max(least))
    }

    /// For the connection: what waits on a stream grew or shrank.
    pub(crate) fn rebook(&self, before: usize, after: usize) {
        if after > before {
            self.blocked.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.blocked.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// A connection that slept, to be woken once no lock is held.
#[must_use = "a connection that sleeps is to be woken"]
pub(crate) struct Sleeper(Option<Waker>);

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

/// One handler that has outlived its stream.
pub(crate) struct Outliving<'a>(&'a AtomicU32);

impl Drop for Outliving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.leave(End::Lost);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::budget;

    /// Lists nothing.
    #[derive(Default)]
    struct Nowhere(Metrics);

    impl Listing for Nowhere {
        fn metrics(&self) -> &Metrics {
            &self.0
        }

        fn leave(&self, _: u64, _: &ConnectionInfo) {}
    }

    /// Unfinished messages beyond their budget leave less that may wait to be sent.
    #[test]
    fn unfinished_messages_leave_less_room_to_wait() {
        const MIB: usize = 1 << 20;
        let info = ConnectionInfo { side: Side::Server, peer: None, version: http::Version::HTTP_2, secure: false };
        let link =
            Link::alone(Limits { connection_send: 4 * MIB, unfinished_messages: 4 * MIB, ..Limits::default() }, info);
        let cx = std::task::Context::from_waker(Waker::noop());
        let (some, much) = (5 * MIB / 2, 7 * MIB / 2);
        link.rebook(0, some);
        assert!(!link.is_crowded());
        let message = budget::Message { held: MIB, spare: 0, announced: 0, is_last: true };
        let mut tickets: Vec<_> = (0..6).map(|_| budget::Ticket::default()).collect();
        for ticket in &mut tickets {
            assert_eq!(link.budget.hold(&cx, ticket, message, 0), budget::Verdict::Go);
        }
        assert_eq!(link.budget.beyond(), MIB, "one of them goes on whatever the others hold");
        assert!(link.is_crowded() && link.admits(1));
        link.rebook(some, much);
        assert!(!link.admits(1));
        tickets.iter_mut().for_each(|ticket| link.budget.release(ticket));
        assert!(link.admits(1));
    }

    impl Link {
        /// One that no server and no client knows of.
        pub(crate) fn alone(limits: Limits, info: ConnectionInfo) -> Arc<Self> {
            Arc::new(Self::new(Arc::<Nowhere>::default(), 1, Arc::new(limits), info))
        }
    }
}
