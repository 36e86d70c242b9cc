//! What waits for a time: one deadline each for the connection, and one queue for all streams.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Config, StreamId, Violation};

/// The time, as the owner of the connection last told it.
pub(super) struct Clock {
    /// When the connection began.
    start: Instant,
    now: Instant,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, now }
    }

    pub(super) fn set(&mut self, now: Instant) {
        self.now = now;
    }

    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Milliseconds of the connection's life, which wrap around after 49 days.
    pub(super) fn milliseconds(&self) -> u32 {
        self.now.saturating_duration_since(self.start).as_millis() as u32
    }
}

/// The deadlines of a connection, by what they end.
pub(super) struct Timers {
    /// The peer's preface and first SETTINGS.
    preface: Option<Instant>,
    /// The acknowledgement of our SETTINGS.
    settings: Option<Instant>,
    /// END_HEADERS.
    header: Option<Instant>,
    /// The peer's sight of our first GOAWAY.
    drain: Option<Instant>,
    /// When to ask, or when to give up asking, whether the peer is there.
    keep_alive: KeepAlive,
    /// The next stream, where there is none.
    idle: Idle,
    /// The streams that were blocked.
    watches: Watches,
}

enum KeepAlive {
    Off,
    /// A PING goes unless something comes first.
    AskAt(Instant),
    /// The connection ends unless something comes first.
    GiveUpAt(Instant),
}

/// Until when a connection may be without a stream.
#[derive(Clone, Copy)]
enum Idle {
    /// There were streams when this was last looked at, or there is no limit.
    Busy,
    /// There were none from a moment on that the clock may have told too early: from this one on there is another time.
    From(Instant),
    /// Drained at this time, unless there are streams then.
    Until(Instant),
}

impl Timers {
    /// The peer's preface is awaited.
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let mut timers = Self {
            preface: deadline(now, config.preface_timeout),
            settings: None,
            header: None,
            drain: None,
            keep_alive: KeepAlive::Off,
            idle: config.idle_timeout.and_then(|time| deadline(now, time)).map_or(Idle::Busy, Idle::Until),
            watches: Watches::default(),
        };
        timers.restart_keep_alive(config, now);
        timers
    }

    /// The earliest deadline.
    pub(super) fn next(&self, clock: &Clock) -> Option<Instant> {
        let keep_alive = match self.keep_alive {
            KeepAlive::Off => None,
            KeepAlive::AskAt(at) | KeepAlive::GiveUpAt(at) => Some(at),
        };
        let idle = match self.idle {
            Idle::Busy => None,
            Idle::From(at) | Idle::Until(at) => Some(at),
        };
        let deadlines =
            [self.preface, self.settings, self.header, self.drain, keep_alive, idle, self.watches.next(clock)];
        deadlines.into_iter().flatten().min()
    }

    /// The rule that the peer has broken by the time it took.
    pub(super) fn overdue(&self, now: Instant) -> Option<Violation> {
        let give_up = if let KeepAlive::GiveUpAt(at) = self.keep_alive { Some(at) } else { None };
        let deadlines = [
            (self.preface, Violation::PrefaceTimeout),
            (self.settings, Violation::SettingsTimeout),
            (self.header, Violation::HeaderTimeout),
            (give_up, Violation::KeepAliveTimeout),
        ];
        let overdue = deadlines.into_iter().find(|(deadline, _)| deadline.is_some_and(|at| at <= now));
        overdue.map(|(_, violation)| violation)
    }

    /// The peer's first SETTINGS have come. The acknowledgement of ours is awaited from now on, unless it `was` there.
    pub(super) fn handle_first_settings(&mut self, config: &Config, now: Instant, was_acknowledged: bool) {
        self.preface = None;
        self.settings = if was_acknowledged { None } else { deadline(now, config.settings_timeout) };
    }

    /// Our SETTINGS were acknowledged.
    pub(super) fn handle_settings_acknowledged(&mut self) {
        self.settings = None;
    }

    /// A header block began whose END_HEADERS is awaited.
    pub(super) fn await_end_headers(&mut self, config: &Config, now: Instant) {
        self.header = deadline(now, config.header_timeout);
    }

    /// END_HEADERS came.
    pub(super) fn handle_end_headers(&mut self) {
        self.header = None;
    }

    /// The first GOAWAY was sent.
    pub(super) fn await_drain(&mut self, config: &Config, now: Instant) {
        self.drain = deadline(now, config.drain_timeout);
    }

    pub(super) fn is_drain_due(&self, now: Instant) -> bool {
        self.drain.is_some_and(|at| at <= now)
    }

    /// The final GOAWAY is due.
    pub(super) fn end_drain(&mut self) {
        self.drain = None;
    }

    /// The last stream was released. The clock may be late, since the application says so, which brings no time along.
    pub(super) fn handle_last_release(&mut self, config: &Config, now: Instant) {
        self.idle = config.idle_timeout.and_then(|time| deadline(now, time)).map_or(Idle::Busy, Idle::From);
    }

    /// Whether there was no stream for the whole time that a connection may be without one.
    pub(super) fn has_been_idle(&mut self, config: &Config, now: Instant, is_empty: bool) -> bool {
        let (is_due, is_over) = match self.idle {
            Idle::Busy => return false,
            Idle::From(at) => (at <= now, false),
            Idle::Until(at) => (at <= now, true),
        };
        if is_due {
            let again = config.idle_timeout.filter(|_| is_empty && !is_over).and_then(|time| deadline(now, time));
            self.idle = again.map_or(Idle::Busy, Idle::Until);
        }
        is_due && is_over && is_empty
    }

    /// Something came: the peer is there.
    pub(super) fn restart_keep_alive(&mut self, config: &Config, now: Instant) {
        if let Some(interval) = config.keep_alive_interval {
            self.keep_alive = deadline(now, interval).map_or(KeepAlive::Off, KeepAlive::AskAt);
        }
    }

    /// Whether it is time to ask if the peer is there. Then its answer is awaited.
    pub(super) fn ask_keep_alive(&mut self, config: &Config, now: Instant) -> bool {
        let is_due = matches!(self.keep_alive, KeepAlive::AskAt(at) if at <= now);
        if is_due {
            let at = deadline(now, config.keep_alive_timeout);
            self.keep_alive = at.map_or(KeepAlive::Off, KeepAlive::GiveUpAt);
        }
        is_due
    }

    #[inline]
    pub(super) fn watches(&mut self) -> &mut Watches {
        &mut self.watches
    }

    /// `is_watched` says whether a stream is held that is watched for progress.
    pub(super) fn check(&self, has_block: bool, is_acknowledged: bool, is_watched: impl Fn(StreamId) -> Option<bool>) {
        assert!(self.header.is_none() || has_block, "END_HEADERS is awaited without a header block");
        assert!(self.settings.is_none() || !is_acknowledged, "an acknowledgement is awaited that came");
        let mut ids: Vec<_> = self.watches.ids().filter(|&id| is_watched(id).is_some()).collect();
        assert!(ids.iter().all(|&id| is_watched(id) == Some(true)), "a stream is looked at that is not watched");
        ids.sort_by_key(|id| id.value());
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "a stream is watched twice");
    }
}

/// The streams whose writes were blocked, in the order in which they are to be looked at again: all wait for equally
/// long, so a queue is enough.
#[derive(Default)]
pub(super) struct Watches {
    queue: VecDeque<(Instant, StreamId)>,
    /// Streams that were blocked by a verb of the application, which brings no time along. The next look at the clock
    /// puts them in the queue.
    unstamped: Vec<StreamId>,
}

impl Watches {
    /// Begins to watch a stream that is not watched yet.
    pub(super) fn push(&mut self, id: StreamId) {
        self.unstamped.push(id);
    }

    /// Stamps what is new.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant, timeout: Duration) {
        let unstamped = self.unstamped.drain(..);
        if let Some(at) = deadline(now, timeout) {
            self.queue.extend(unstamped.map(|id| (at, id)));
        }
    }

    /// The next stream whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<StreamId> {
        let is_due = self.queue.front().is_some_and(|&(at, _)| at <= now);
        if is_due { self.queue.pop_front().map(|(_, id)| id) } else { None }
    }

    /// How many are watched.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.unstamped.len()
    }

    /// Forgets streams that are gone.
    pub(super) fn retain(&mut self, is_live: impl Fn(StreamId) -> bool) {
        self.queue.retain(|&(_, id)| is_live(id));
        self.unstamped.retain(|&id| is_live(id));
    }

    fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.queue.iter().map(|&(_, id)| id).chain(self.unstamped.iter().copied())
    }

    /// Gives up room that is not used.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
        self.unstamped.shrink_to_fit();
    }

    fn next(&self, clock: &Clock) -> Option<Instant> {
        // A stream without a time asks for a look at the clock at once.
        let unstamped = (!self.unstamped.is_empty()).then_some(clock.now);
        unstamped.or_else(|| self.queue.front().map(|(at, _)| *at))
    }
}

/// When a time is over: never, for one that no clock can reach, such as [`Duration::MAX`].
#[inline]
fn deadline(now: Instant, time: Duration) -> Option<Instant> {
    now.checked_add(time)
}
