//! What all actors of a run share: the connections, what was said on each socket, and what befell it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sockeye::{Counter, Group, Handle};

use crate::program::{Plan, Settings};
use crate::scheduler::Scheduler;
use crate::transport::Link;
use crate::wire::{SERVER, Sightings};

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) scheduler: Scheduler,
    pub(crate) settings: Settings,
    pub(crate) sightings: Sightings,
    pub(crate) server: Handle,
    /// The client's, once there is one.
    pub(crate) client: OnceLock<Handle>,
    pub(crate) groups: Vec<Group>,
    links: Mutex<Vec<Link>>,
    state: Mutex<State>,
    alive: AtomicUsize,
    /// Which sides were told to end: 1001 may come from them at any moment.
    drained: [AtomicBool; 2],
    /// The millisecond from which on what is open may be cut off.
    cut_off: AtomicU64,
    /// Somebody who sent to a group did not wait for all its members.
    hurried: AtomicBool,
}

#[derive(Default)]
struct State {
    plans: BTreeMap<u32, Plan>,
    records: BTreeMap<u32, [Record; 2]>,
    group_messages: Vec<usize>,
}

/// What one side of a socket has done, and what it has heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The size of each message that was sent.
    pub(crate) sent: Vec<usize>,
    pub(crate) sent_octets: u64,
    /// Octets of the largest of them.
    pub(crate) largest: usize,
    pub(crate) received: usize,
    /// The number of the last message of each group.
    pub(crate) last_of_group: BTreeMap<usize, usize>,
    /// The codes that its Close may have, by what it has done.
    pub(crate) codes: BTreeSet<u16>,
    pub(crate) end: Option<Heard>,
    /// There is a socket, or was one.
    pub(crate) is_open: bool,
    /// There was another before, which breaks a rule: two sockets have one number, and nobody can tell whose messages are whose.
    pub(crate) is_second: bool,
    /// A call has told of the end already: receiving tells of nothing more.
    pub(crate) has_failed: bool,
    /// The millisecond when the socket was dropped. What is still to be sent then has the close timeout to go.
    pub(crate) left: Option<u64>,
    /// All that comes is received at once.
    pub(crate) is_listening: bool,
    /// Messages are received and dropped, by `close`.
    pub(crate) is_discarding: bool,
    /// The socket was given up here, or its peer has taken too long: from here on the other side may hear of it in any way.
    pub(crate) gave_up: bool,
}

impl Record {
    fn is_given_up(&self, now: u64) -> bool {
        self.gave_up || self.left.is_some_and(|left| now >= left + CLOSE_TIMEOUT)
    }
}

/// Milliseconds that the end of a socket may take, by default.
pub(crate) const CLOSE_TIMEOUT: u64 = 5000;

/// How a socket ended, for the side that looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The peer's Close, with its code, or 0 where nobody could look.
    Close(u16),
    Error(String),
}

/// Says that something of the application's is alive until it is dropped.
#[must_use]
pub(crate) struct Alive(World);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::ops::Deref for World {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl World {
    pub(crate) fn new(scheduler: Scheduler, settings: Settings, server: Handle, plans: BTreeMap<u32, Plan>) -> Self {
        let group = || Group::builder().wait(settings.patience).build();
        let groups: Vec<_> = (0..settings.groups).map(|_| group()).collect();
        let state = State { plans, records: BTreeMap::new(), group_messages: vec![0; groups.len()] };
        let trace = scheduler.trace().clone();
        Self(Arc::new(Shared {
            scheduler,
            settings,
            sightings: Sightings::new(trace),
            server,
            client: OnceLock::new(),
            groups,
            links: Mutex::default(),
            state: Mutex::new(state),
            alive: AtomicUsize::new(0),
            drained: Default::default(),
            cut_off: AtomicU64::new(u64::MAX),
            hurried: AtomicBool::new(false),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alive(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive(self.clone())
    }

    pub(crate) fn count_alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    pub(crate) fn plan(&self, socket: u32) -> Option<Plan> {
        self.state().plans.get(&socket).cloned()
    }

    pub(crate) fn sockets(&self) -> Vec<u32> {
        self.state().plans.keys().copied().collect()
    }

    /// Looks at both sides of a socket.
    pub(crate) fn records<T>(&self, socket: u32, look: impl FnOnce(&mut [Record; 2]) -> T) -> T {
        look(self.state().records.entry(socket).or_default())
    }

    pub(crate) fn note(&self, what: &str, socket: u32, number: u64) {
        self.scheduler.note(what, socket.into(), number);
    }

    pub(crate) fn fail(&self, socket: u32, side: usize, why: &str) {
        let side = if side == SERVER { "server" } else { "client" };
        let tell = || format!("{:?} {:?}", self.sightings.of(socket), self.records(socket, |records| records.clone()));
        self.scheduler.trace().tell(tell);
        self.scheduler.fail(format!("socket {socket}, {side}: {why}"));
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next message to a group.
    pub(crate) fn next_of_group(&self, group: usize) -> usize {
        let mut state = self.state();
        let number = state.group_messages[group];
        state.group_messages[group] += 1;
        number
    }

    /// Somebody who sent to a group did not wait for all its members: from now on some may miss messages.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_to_group(&self, group: usize) -> usize {
        self.state().group_messages[group]
    }

    /// A shutdown has begun, which gives what is open some time after so many milliseconds.
    pub(crate) fn cut_off_after(&self, time: u64) {
        self.cut_off.fetch_min(self.scheduler.now() + time + CLOSE_TIMEOUT - 100, Ordering::Relaxed);
    }

    /// From now on the sockets of one side may be closed with 1001.
    pub(crate) fn drain(&self, side: usize) {
        self.drained[side].store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_drained(&self, side: usize) -> bool {
        self.drained[side].load(Ordering::Relaxed)
    }

    /// Whether something befell the socket after which it may end in any way.
    pub(crate) fn is_rough(&self, socket: u32) -> bool {
        let sighting = self.sightings.of(socket);
        let link = sighting.map(|sighting| sighting.link);
        let is_second = sighting.is_some_and(|sighting| sighting.is_second || sighting.is_dismissed());
        let now = self.scheduler.now();
        let is_given_up = self.records(socket, |records| records.iter().any(|record| record.is_given_up(now)));
        let is_lost = self.links().iter().any(|other| Some(other.number) == link && other.is_lost());
        is_given_up || is_second || is_lost || self.is_cut_off() || self.timeouts() > 0
    }

    /// Whether what a reader takes at once arrives within seconds, whatever it is.
    pub(crate) fn is_swift(&self) -> bool {
        let manners = &self.settings.manners;
        manners.capacity >= 64 << 10 && manners.chunk >= 3000 && self.settings.window >= 65_535
    }

    fn is_cut_off(&self) -> bool {
        self.scheduler.now() >= self.cut_off.load(Ordering::Relaxed)
    }

    /// Whether a socket may fail to be opened, on whatever connection.
    pub(crate) fn is_any_rough(&self) -> bool {
        self.links().iter().any(Link::is_lost) || self.is_cut_off() || self.timeouts() > 0
    }

    /// Whether an error, as it is printed, has a cause of its own, of which there is a counter. What else there is may come of
    /// many things.
    pub(crate) fn has_cause(&self, why: &str) -> bool {
        let cause = match why {
            // Both sides keep to the protocols, but for messages that do not go on.
            why if why.contains("Http2(NoProgress)") => Counter::StreamsWithoutProgress,
            why if why.contains("NoProgress") => Counter::ReceiveTimeouts,
            why if why.contains("KeepAliveTimeout") => Counter::KeepAliveTimeouts,
            why if why.starts_with("Violation") => Counter::UnfinishedMessagesGivenUp,
            "Timeout(Pong)" => Counter::PingTimeouts,
            _ => return true,
        };
        self.has_counted(cause)
    }

    /// Whether it was counted by either side; the low-level way counts for itself.
    pub(crate) fn has_counted(&self, counter: Counter) -> bool {
        let handles = [Some(&self.server), self.client.get()];
        self.settings.is_low_level || handles.into_iter().flatten().any(|handle| handle.counter(counter) > 0)
    }

    /// How often somebody was given up for taking too long.
    pub(crate) fn timeouts(&self) -> u64 {
        const TIMEOUTS: [Counter; 11] = [
            Counter::HandshakeTimeouts,
            Counter::CloseTimeouts,
            Counter::HandlersDropped,
            Counter::WriteTimeouts,
            Counter::ReceiveTimeouts,
            Counter::IdleTimeouts,
            Counter::PingTimeouts,
            Counter::StreamsWithoutProgress,
            Counter::UnfinishedMessagesGivenUp,
            Counter::KeepAliveTimeouts,
            Counter::UnreadStreamsReset,
        ];
        let of = |handle: &Handle| TIMEOUTS.iter().map(|&counter| handle.counter(counter)).sum::<u64>();
        of(&self.server) + self.client.get().map_or(0, of)
    }
}
