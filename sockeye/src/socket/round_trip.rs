//! The time from a Ping to its Pong (RFC 6455 §5.5.2), and the messages that come between.

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use sockeye_proto::ws::Message;

use crate::engine::now;
use crate::engine::pulse::Mark;

/// Octets of messages that may come before a Pong, each counted with [`OVERHEAD`]: they are kept for the next `recv`.
const MAX_KEPT: usize = 1 << 20;
/// Octets that a message counts for beside its own.
const OVERHEAD: usize = 64;
/// Pings of the application's own that are remembered while one waits: a peer answers the last of them at the latest, and
/// with so many on their way one of them.
const MAX_LATER: usize = 64;

/// One round trip at a time. Where its caller went away before the Pong came, the next caller waits for the same one.
///
/// A peer may answer only the last of several Pings that it has seen (RFC 6455 §5.5.3), so a Pong for any Ping that was sent
/// after ours answers ours: one of the application's, or of the keep-alive.
pub(crate) struct RoundTrip {
    /// What the payload of each Ping begins with: nobody else's do.
    key: [u8; 8],
    number: u32,
    progress: Progress,
    waiter: Option<Waker>,
    pub(crate) kept: Kept,
}

enum Progress {
    Idle,
    Sent {
        at: Instant,
        /// What the application's own Pings carried that were sent since; the last of them.
        later: VecDeque<Box<[u8]>>,
    },
    Answered(Duration),
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self { key: rand::random(), number: 0, progress: Progress::Idle, waiter: None, kept: Kept::default() }
    }
}

impl RoundTrip {
    /// A new caller has no use for an answer to somebody else.
    pub(crate) fn forget_answer(&mut self) {
        if let Progress::Answered(_) = self.progress {
            self.progress = Progress::Idle;
        }
    }

    /// The payload of the Ping to send, unless one is under way.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        matches!(self.progress, Progress::Idle).then(|| [&self.key[..], &self.number.to_be_bytes()].concat())
    }

    /// What Pings of the keep-alive are marked with that follow the next Ping of ours.
    pub(crate) fn mark(&self) -> Mark {
        if self.number % 2 == 0 { Mark::Even } else { Mark::Odd }
    }

    /// The Ping was sent.
    pub(crate) fn start(&mut self) {
        self.progress = Progress::Sent { at: now(), later: VecDeque::new() };
    }

    /// The application has sent a Ping of its own.
    pub(crate) fn follow(&mut self, payload: &[u8]) {
        if let Progress::Sent { later, .. } = &mut self.progress {
            if later.len() == MAX_LATER {
                later.pop_front();
            }
            later.push_back(payload.into());
        }
    }

    /// What a Pong says of our Ping.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Pong {
        let Some(number) = payload.strip_prefix(&self.key) else {
            let answers =
                matches!(&self.progress, Progress::Sent { later, .. } if later.iter().any(|sent| **sent == *payload));
            return if answers && self.settle() { Pong::OfLater } else { Pong::OfNone };
        };
        if number == self.number.to_be_bytes() && self.settle() { Pong::Awaited } else { Pong::Late }
    }

    /// A Pong answers a Ping of the keep-alive that was sent while this round trip was awaited; whether it still is.
    pub(crate) fn take_marked(&mut self, mark: Mark) -> bool {
        mark == self.mark() && self.settle()
    }

    /// The answer has come, if one is awaited.
    fn settle(&mut self) -> bool {
        let Progress::Sent { at, .. } = self.progress else { return false };
        self.number = self.number.wrapping_add(1);
        self.progress = Progress::Answered(now().saturating_duration_since(at));
        self.wake();
        true
    }

    /// The answer, once it is there.
    pub(crate) fn answer(&mut self) -> Option<Duration> {
        let Progress::Answered(time) = self.progress else { return None };
        self.progress = Progress::Idle;
        Some(time)
    }

    /// Lets the task wait for a Pong that another one receives.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        self.waiter = Some(cx.waker().clone());
    }

    /// Lets whoever waits look again.
    pub(crate) fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// What a Pong answers, as far as a round trip can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pong {
    /// The Ping that is awaited.
    Awaited,
    /// One of the application's that was sent after it, and so both.
    OfLater,
    /// A Ping of ours from before.
    Late,
    /// None that this knows of.
    OfNone,
}

/// Messages that came before a Pong, in their order.
#[derive(Default)]
pub(crate) struct Kept {
    messages: VecDeque<Message>,
    size: usize,
}

impl Kept {
    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.size < MAX_KEPT
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.size += size(&message);
        self.messages.push_back(message);
    }

    /// Puts the first of them back.
    pub(crate) fn push_front(&mut self, message: Message) {
        self.size += size(&message);
        self.messages.push_front(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.size -= size(&message);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(crate) fn take(&mut self) -> Self {
        mem::take(self)
    }
}

fn size(message: &Message) -> usize {
    message.len() + OVERHEAD
}
