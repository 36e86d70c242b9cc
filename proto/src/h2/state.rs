//! The state of one stream (RFC 9113 §5.1), and the table of all.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;

use super::StreamId;
use super::config::Config;
use super::flow::{RecvWindow, SendWindow};

pub(super) use crate::unread::Unread;

/// The state of a stream that is held. Idle streams are not held, closed ones until the application releases them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// At least one side goes on: "open" while both do, "half-closed" after.
    Active { recv: Side, send: Side },
    /// Both sides are over.
    Closed(Ending),
}

/// How far one direction of a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The (final) header is still to come.
    Head,
    /// DATA or trailers may come.
    Body,
    /// END_STREAM came.
    Ended,
}

/// Why a stream is closed: what is to be said to late frames depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// END_STREAM both ways.
    Finished,
    /// The peer's RST_STREAM.
    ResetByPeer,
    /// Our RST_STREAM, which frames of the peer may have crossed.
    ResetByUs,
}

impl State {
    fn new(recv: Side, send: Side) -> Self {
        match (recv, send) {
            (Side::Ended, Side::Ended) => Self::Closed(Ending::Finished),
            _ => Self::Active { recv, send },
        }
    }

    /// The receiving side, `Ended` when closed.
    #[inline]
    pub(super) fn recv(self) -> Side {
        match self {
            Self::Active { recv, .. } => recv,
            Self::Closed(_) => Side::Ended,
        }
    }

    /// The sending side, `Ended` when closed.
    #[inline]
    pub(super) fn send(self) -> Side {
        match self {
            Self::Active { send, .. } => send,
            Self::Closed(_) => Side::Ended,
        }
    }

    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// What the request's method means for what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exchange {
    /// A message each way.
    Ordinary,
    /// HEAD: the response has no content, whatever its content-length says (RFC 9113 §8.1.1).
    Head,
    /// CONNECT, plain or extended: a tunnel (RFC 9113 §8.5), unless the response says otherwise.
    Tunnel,
}

impl Exchange {
    pub(super) fn new(method: &http::Method) -> Self {
        match *method {
            http::Method::HEAD => Self::Head,
            http::Method::CONNECT => Self::Tunnel,
            _ => Self::Ordinary,
        }
    }

    /// What it is once the (final) response is known.
    pub(super) fn after_response(self, status: http::StatusCode) -> Self {
        match self {
            // RFC 9110 §9.3.6: only a 2xx makes a tunnel.
            Self::Tunnel if !status.is_success() => Self::Ordinary,
            exchange => exchange,
        }
    }
}

/// What a stream whose `write` took less than it was offered waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Nothing.
    None,
    /// Its own window.
    Window,
    /// Its turn: it stands in the queue.
    Turn,
}

/// How much DATA may still come (RFC 9113 §8.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ContentLength(u64);

impl ContentLength {
    /// As much as comes.
    pub(super) const ANY: Self = Self(u64::MAX);
    /// Nothing.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn exactly(octets: u64) -> Self {
        Self(octets)
    }

    /// Takes octets of DATA; false where they are too many, or too few at the end.
    #[inline]
    pub(super) fn take(&mut self, octets: usize, end_stream: bool) -> bool {
        if *self == Self::ANY {
            return true;
        }
        let left = self.0.checked_sub(octets as u64);
        self.0 = left.unwrap_or(0);
        left.is_some() && (!end_stream || self.0 == 0)
    }
}

/// All that is kept of a stream.
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) exchange: Exchange,
    pub(super) wait: Wait,
    /// One more than the octets sent since the stream began to be watched for progress, `None` while it is not.
    pub(super) progress: Option<NonZeroU32>,
    pub(super) send_window: SendWindow,
    pub(super) recv_window: RecvWindow,
    pub(super) expected: ContentLength,
    pub(super) unread: Unread,
}

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<Entry>() <= 56);

impl Entry {
    /// Whether this is the entry of that stream, and the stream is not closed.
    fn is_active(&self, id: StreamId) -> bool {
        self.id == id.value() && !self.state.is_closed()
    }
}

/// The queue of dismissed streams is rid of closed ones when it is twice as long as there are streams, and this longer.
const QUEUE_SLACK: usize = 64;
/// The room for streams that is not worth giving up: as many as most connections have.
const MIN_CAPACITY: usize = 64;

/// What is known about a stream number.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Held in this slot.
    Held(u32),
    /// Closed a short while ago.
    Closed(Ending),
}

/// All streams that are held, and those closed lately.
///
/// The verbs of the application come by slot, without a look-up.
pub(super) struct Streams {
    slots: Slab<Entry>,
    /// The slots, by number.
    held: HashMap<u32, u32, FixedState>,
    endings: HashMap<u32, Ending, FixedState>,
    /// The numbers of closed streams, oldest first.
    closed: VecDeque<u32>,
    max_closed: usize,
    /// Of those held, the streams that are open or half-closed: what a limit on concurrent streams counts
    /// (RFC 9113 §5.1.2).
    active: usize,
    /// The streams of which the application awaits nothing but the peer's end, in the order in which it let go of them,
    /// with some that are closed by now.
    dismissed: VecDeque<StreamId>,
}

impl Streams {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            slots: Slab::new(),
            held: HashMap::with_hasher(FixedState::with_seed(config.seed)),
            endings: HashMap::with_hasher(FixedState::with_seed(config.seed)),
            closed: VecDeque::new(),
            // As many as can be closed at once, so that what crosses our resets is always known.
            max_closed: (config.max_concurrent_streams as usize).clamp(100, 1 << 14),
            active: 0,
            dismissed: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn place(&self, stream_id: u32) -> Option<Place> {
        match self.held.get(&stream_id) {
            Some(&slot) => Some(Place::Held(slot)),
            None => self.place_of_closed(stream_id),
        }
    }

    /// Out of line: frames of closed streams are few.
    #[inline(never)]
    fn place_of_closed(&self, stream_id: u32) -> Option<Place> {
        self.endings.get(&stream_id).copied().map(Place::Closed)
    }

    /// The receiving side of a stream went on.
    #[inline]
    pub(super) fn set_recv(&mut self, slot: u32, side: Side) {
        if let State::Active { send, .. } = self.slot(slot).state {
            self.set_state(slot, State::new(side, send));
        }
    }

    /// The sending side of a stream went on.
    #[inline]
    pub(super) fn set_send(&mut self, slot: u32, side: Side) {
        if let State::Active { recv, .. } = self.slot(slot).state {
            self.set_state(slot, State::new(recv, side));
        }
    }

    /// Both sides of a stream are over, whose writes wait for nothing any more.
    pub(super) fn close(&mut self, slot: u32, ending: Ending) {
        self.set_state(slot, State::Closed(ending));
        self.slot_mut(slot).wait = Wait::None;
    }

    fn set_state(&mut self, slot: u32, state: State) {
        let entry = self.slot_mut(slot);
        let was_closed = entry.state.is_closed();
        entry.state = state;
        if state.is_closed() && !was_closed {
            debug_assert!(self.active > 0, "a stream that is not closed is counted");
            self.active -= 1;
        }
    }

    /// The application awaits only the peer's end of this stream.
    pub(super) fn dismiss(&mut self, id: StreamId) {
        if self.dismissed.len() > 2 * self.slots.len() + QUEUE_SLACK {
            let slots = &self.slots;
            self.dismissed.retain(|id| slots.get(id.slot()).is_some_and(|entry| entry.is_active(*id)));
        }
        self.dismissed.push_back(id);
    }

    /// The stream that was [dismissed](Self::dismiss) first, of those that are not closed.
    pub(super) fn pop_dismissed(&mut self) -> Option<StreamId> {
        while let Some(id) = self.dismissed.pop_front() {
            if self.slots.get(id.slot()).is_some_and(|entry| entry.is_active(id)) {
                return Some(id);
            }
        }
        None
    }

    /// The entry of a stream that is held.
    #[inline]
    pub(super) fn slot(&self, slot: u32) -> &Entry {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.slots[slot as usize]
    }

    /// The entry of a stream, unless it was released.
    #[inline]
    pub(super) fn get(&self, id: StreamId) -> Option<&Entry> {
        self.slots.get(id.slot()).filter(|entry| entry.id == id.value())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Entry> {
        self.slots.get_mut(id.slot()).filter(|entry| entry.id == id.value())
    }

    pub(super) fn insert(&mut self, entry: Entry) -> StreamId {
        let value = entry.id;
        debug_assert!(!entry.state.is_closed(), "a stream begins open or half-closed");
        self.active += 1;
        let id = StreamId::new(value, self.slots.insert(entry) as u32);
        self.held.insert(value, id.slot);
        id
    }

    /// The entry that is held in a slot, if there is one.
    #[inline]
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)
    }

    /// Lets go of a stream that is held. Its ending is remembered for a while.
    pub(super) fn remove(&mut self, id: StreamId, ending: Ending) -> Entry {
        self.held.remove(&id.value());
        self.remember(id.value(), ending);
        let entry = self.slots.remove(id.slot());
        self.active -= usize::from(!entry.state.is_closed());
        debug_assert!(self.active <= self.slots.len(), "only streams that are held are counted");
        entry
    }

    /// Remembers the ending of a stream that is not held.
    pub(super) fn remember(&mut self, stream_id: u32, ending: Ending) {
        if self.endings.insert(stream_id, ending).is_some() {
            return;
        }
        self.closed.push_back(stream_id);
        if self.closed.len() > self.max_closed {
            self.closed.pop_front().map(|oldest| self.endings.remove(&oldest));
        }
    }

    /// Gives up room that is not used, where it is most of it: what is left is to be filled before it grows again.
    pub(super) fn shrink(&mut self) {
        if self.slots.capacity() > self.slots.len() + self.slots.len() / 8 {
            self.slots.shrink_to_fit();
        }
        let is_wasteful = |capacity: usize, length: usize| capacity > 4 * length + MIN_CAPACITY;
        if is_wasteful(self.held.capacity(), self.held.len()) {
            self.held.shrink_to(2 * self.held.len());
        }
        if is_wasteful(self.endings.capacity(), self.endings.len()) {
            self.endings.shrink_to(2 * self.endings.len());
        }
        if is_wasteful(self.closed.capacity(), self.closed.len()) {
            self.closed.shrink_to_fit();
        }
        self.dismissed.shrink_to_fit();
    }

    /// Streams that are open or half-closed (RFC 9113 §5.1.2).
    #[inline]
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Streams that are held, those that are closed and not released included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().map(|(_, entry)| entry)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Entry)> {
        self.slots.iter_mut().map(|(slot, entry)| (StreamId::new(entry.id, slot as u32), entry))
    }
}
