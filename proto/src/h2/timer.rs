//! What waits for a time: one deadline each for the connection, and one queue for all streams.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::state::Wait;
use super::{Connection, Event, KEEP_ALIVE, MIN_PROGRESS, Phase, StreamId, Violation, frame};

/// The deadlines of a connection, by what they end.
#[derive(Default)]
pub(super) struct Timers {
    /// The peer's preface and first SETTINGS.
    pub(super) preface: Option<Instant>,
    /// The acknowledgement of our SETTINGS.
    pub(super) settings: Option<Instant>,
    /// END_HEADERS.
    pub(super) header: Option<Instant>,
    /// The peer's sight of our first GOAWAY.
    pub(super) drain: Option<Instant>,
    /// When to ask, or when to give up asking, whether the peer is there.
    pub(super) keep_alive: KeepAlive,
    /// The streams that were blocked.
    pub(super) progress: Watches,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        let keep_alive = match self.keep_alive {
            KeepAlive::Off => None,
            KeepAlive::AskAt(at) | KeepAlive::GiveUpAt(at) => Some(at),
        };
        [self.preface, self.settings, self.header, self.drain, keep_alive, self.progress.next()]
            .into_iter()
            .flatten()
            .min()
    }
}

#[derive(Default)]
pub(super) enum KeepAlive {
    #[default]
    Off,
    /// A PING goes unless something comes first.
    AskAt(Instant),
    /// The connection ends unless something comes first.
    GiveUpAt(Instant),
}

/// The streams whose writes were blocked, in the order in which they are to be looked at again: all wait for equally
/// long, so a queue is enough.
#[derive(Default)]
pub(super) struct Watches {
    queue: VecDeque<(Instant, StreamId)>,
    /// Streams that were blocked by a verb of the application, which brings no time along. The next look at the clock
    /// puts them in the queue.
    unstamped: Vec<StreamId>,
    /// The latest time known.
    now: Option<Instant>,
}

impl Watches {
    /// Begins to watch a stream that is not watched yet.
    pub(super) fn push(&mut self, id: StreamId) {
        self.unstamped.push(id);
    }

    /// Stamps what is new.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant, timeout: Duration) {
        self.now = Some(now);
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

    /// Gives up room that is not used.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
        self.unstamped.shrink_to_fit();
    }

    fn next(&self) -> Option<Instant> {
        // A stream without a time asks for a look at the clock at once.
        let unstamped = self.now.filter(|_| !self.unstamped.is_empty());
        unstamped.or_else(|| self.queue.front().map(|(at, _)| *at))
    }
}

/// When a time is over: never, for one that no clock can reach, such as [`Duration::MAX`].
#[inline]
pub(super) fn deadline(now: Instant, time: Duration) -> Option<Instant> {
    now.checked_add(time)
}

impl Connection {
    /// The time of [`poll_timeout`](Self::poll_timeout) has come; at any other time this does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        self.advance(now);
        let is_due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if is_due(self.timers.preface) {
            return self.fail(Violation::PrefaceTimeout);
        }
        if is_due(self.timers.settings) {
            return self.fail(Violation::SettingsTimeout);
        }
        if is_due(self.timers.header) {
            return self.fail(Violation::HeaderTimeout);
        }
        match self.timers.keep_alive {
            KeepAlive::GiveUpAt(at) if at <= now => return self.fail(Violation::KeepAliveTimeout),
            KeepAlive::AskAt(at) if at <= now => {
                frame::put_ping(&mut self.buffers.output, KEEP_ALIVE, false);
                let at = deadline(now, self.config.keep_alive_timeout);
                self.timers.keep_alive = at.map_or(KeepAlive::Off, KeepAlive::GiveUpAt);
            }
            _ => {}
        }
        self.reset_streams_without_progress();
        if is_due(self.timers.drain) {
            self.finish_drain();
        }
    }

    /// Takes note of the time.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = now;
        self.timers.progress.advance(now, self.config.progress_timeout);
    }

    pub(super) fn restart_keep_alive(&mut self) {
        if let Some(interval) = self.config.keep_alive_interval {
            self.timers.keep_alive = deadline(self.now, interval).map_or(KeepAlive::Off, KeepAlive::AskAt);
        }
    }

    fn reset_streams_without_progress(&mut self) {
        while let Some(id) = self.timers.progress.pop(self.now) {
            let Some(entry) = self.streams.get_mut(id) else { continue };
            let progress = entry.progress.take();
            if !matches!(entry.wait, Wait::Window | Wait::Turn) {
                continue;
            }
            if progress.is_some_and(|octets| octets.get() <= MIN_PROGRESS) {
                self.counters.streams_without_progress += 1;
                self.reset(id, Violation::NoProgress.reason());
                self.events.push_back(Event::Reset { id, reason: Violation::NoProgress.reason(), remote: false });
            } else {
                entry.progress = Some(NonZeroU32::MIN);
                self.timers.progress.push(id);
            }
        }
        self.timers.progress.advance(self.now, self.config.progress_timeout);
    }
}
