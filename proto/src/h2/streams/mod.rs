//! The streams of a connection: the table of those that are held, those closed lately, and what came for them.

mod check;
mod closed;
mod entry;
mod numbers;
mod receiving;
mod state;

use std::collections::VecDeque;

use bytes::BytesMut;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;

use self::closed::Closed;
use super::config::{Config, DEFAULT_WINDOW, MAX_WINDOW};
use super::flow::{RecvWindow, WindowPool};
use super::{Role, StreamId, Violation};

pub(super) use self::entry::Entry;
pub(super) use self::numbers::Numbers;
pub(super) use self::receiving::NotTaken;
pub(super) use self::state::{ContentLength, Ending, Exchange, Side, State, Wait};

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
    closed: Closed,
    numbers: Numbers,
    /// Of those held, the streams that are open or half-closed: what a limit on concurrent streams counts
    /// (RFC 9113 §5.1.2).
    active: usize,
    admission: Admission,
    /// The streams of which the application awaits nothing but the peer's end, in the order in which it let go of them,
    /// with some that are closed by now.
    dismissed: VecDeque<StreamId>,
    /// No stream's [`SendWindow::difference`](super::flow::SendWindow::difference) is above this: a change of the initial
    /// window needs to look at the streams only where this does not rule an overflow out.
    max_difference: i32,
    /// The window that a stream begins with, and the credit that its peer has then: more than the window, as long as the
    /// peer may not know of it (RFC 9113 §6.5.3).
    initial_window: u32,
    initial_credit: u32,
    /// Octets by which the initial window is smaller than it would be if there were few streams.
    tolerance: u32,
    /// The streams, by number, that went beyond their windows by no more than that, and how many may: as many as the connection's
    /// window has room for.
    beyond: Vec<u32>,
    max_beyond: usize,
    pool: WindowPool,
    /// The slots of the DATA in the batch.
    in_batch: Vec<u32>,
    /// Emptied buffers for the next DATA.
    spares: Vec<BytesMut>,
}

/// How many streams the peer may have: none is refused to a server, which opens none (RFC 9113 §8.4).
struct Admission {
    max_active: usize,
    /// Closed streams that the application has not released.
    max_closed: usize,
}

impl Admission {
    fn new(role: Role, config: &Config) -> Self {
        match role {
            Role::Server => {
                Self { max_active: config.max_concurrent_streams as usize, max_closed: config.max_closed_streams() }
            }
            Role::Client => Self { max_active: usize::MAX, max_closed: usize::MAX },
        }
    }
}

impl Streams {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        let initial_window = config.initial_window(role);
        Self {
            slots: Slab::new(),
            held: HashMap::with_hasher(FixedState::with_seed(config.seed)),
            closed: Closed::new(config),
            numbers: Numbers::new(role),
            active: 0,
            admission: Admission::new(role, config),
            dismissed: VecDeque::new(),
            max_difference: 0,
            initial_window,
            initial_credit: initial_window.max(DEFAULT_WINDOW),
            tolerance: config.initial_window_size.min(MAX_WINDOW) - initial_window,
            beyond: Vec::new(),
            max_beyond: config.connection_window().div_ceil(DEFAULT_WINDOW) as usize,
            pool: WindowPool::new(config, initial_window),
            in_batch: Vec::new(),
            spares: Vec::new(),
        }
    }

    /// Which stream numbers are whose.
    #[inline]
    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    #[inline]
    pub(super) fn numbers_mut(&mut self) -> &mut Numbers {
        &mut self.numbers
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
        self.closed.get(stream_id).map(Place::Closed)
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

    /// A stream of ours begins.
    pub(super) fn open(&mut self, stream_id: u32, state: State, exchange: Exchange) -> StreamId {
        self.numbers.open(stream_id);
        self.insert(stream_id, state, exchange, ContentLength::ANY)
    }

    /// A stream begins, ours or the peer's.
    pub(super) fn insert(
        &mut self,
        stream_id: u32,
        state: State,
        exchange: Exchange,
        expected: ContentLength,
    ) -> StreamId {
        debug_assert!(!state.is_closed(), "a stream begins open or half-closed");
        debug_assert!(!self.numbers.is_idle(stream_id), "the number of a stream is opened before the stream");
        let window = RecvWindow::new(self.initial_credit, self.initial_window);
        self.active += 1;
        let slot = self.slots.insert(Entry::new(stream_id, state, exchange, window, expected));
        let id = StreamId::new(stream_id, slot as u32);
        let before = self.held.insert(stream_id, id.slot);
        debug_assert!(before.is_none(), "a number has one stream");
        id
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

    /// Both sides of a stream are over.
    pub(super) fn close(&mut self, slot: u32, ending: Ending) {
        self.set_state(slot, State::Closed(ending));
    }

    fn set_state(&mut self, slot: u32, state: State) {
        let entry = self.slot_mut(slot);
        let was_closed = entry.state.is_closed();
        entry.state = state;
        if state.send() == Side::Ended {
            entry.set_wait(Wait::None);
        }
        if state.is_closed() && !was_closed {
            debug_assert!(self.active > 0, "a stream that is not closed is counted");
            self.active -= 1;
        }
    }

    /// Closes a stream for the peer's fault, whether it is held or not. Returns it where it was not closed before: its
    /// application is to be told.
    pub(super) fn close_for_fault(&mut self, stream_id: u32) -> Option<StreamId> {
        debug_assert!(!self.numbers.is_idle(stream_id), "an idle stream cannot be reset (RFC 9113 §6.4)");
        let Some(Place::Held(slot)) = self.place(stream_id) else {
            self.remember(stream_id, Ending::ResetByUs);
            return None;
        };
        let was_closed = self.slot(slot).state.is_closed();
        self.close(slot, Ending::ResetByUs);
        (!was_closed).then_some(StreamId::new(stream_id, slot))
    }

    /// Lets go of a stream that is held. Its ending is remembered for a while: of one that is not closed `otherwise`.
    pub(super) fn remove(&mut self, id: StreamId, otherwise: Ending) {
        let entry = self.slots.remove(id.slot());
        debug_assert_eq!(entry.id, id.value(), "a stream that was released holds no slot");
        self.active -= usize::from(!entry.state.is_closed());
        self.held.remove(&id.value());
        let ending = if let State::Closed(ending) = entry.state { ending } else { otherwise };
        self.remember(id.value(), ending);
        self.pool.put_back(&entry.recv_window);
        self.beyond.retain(|beyond| *beyond != entry.id);
        debug_assert!(self.active <= self.slots.len(), "only streams that are held are counted");
    }

    /// Remembers the ending of a stream that is not held.
    pub(super) fn remember(&mut self, stream_id: u32, ending: Ending) {
        debug_assert!(!self.held.contains_key(&stream_id), "a stream that is held is not remembered");
        self.closed.insert(stream_id, ending);
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

    /// Takes a stream's WINDOW_UPDATE. `initial` is the peer's initial window.
    pub(super) fn update_send_window(&mut self, slot: u32, increment: u32, initial: u32) -> Result<(), Violation> {
        let window = &mut self.slots[slot as usize].send_window;
        if !window.update(increment, initial) {
            return Err(Violation::StreamWindowOverflow);
        }
        self.max_difference = self.max_difference.max(window.difference());
        Ok(())
    }

    /// Whether all windows fit into 31 bits when this is the peer's initial window (RFC 9113 §6.9.2). They are kept
    /// relative to that, so nothing else is to be done.
    pub(super) fn fit_initial_window(&mut self, initial: u32) -> bool {
        let overflows = |difference: i32| i64::from(initial) + i64::from(difference) > i64::from(MAX_WINDOW);
        if overflows(self.max_difference) {
            let differences = self.iter().map(|entry| entry.send_window.difference());
            self.max_difference = differences.max().unwrap_or(0).max(0);
        }
        !overflows(self.max_difference)
    }

    /// Whether a new stream of the peer has to be refused, unless the application lets go of one.
    pub(super) fn are_full(&self) -> bool {
        self.are_all_active() || self.hold_too_many()
    }

    /// Whether the peer has all the streams that it may have (RFC 9113 §5.1.2).
    pub(super) fn are_all_active(&self) -> bool {
        self.active >= self.admission.max_active
    }

    /// Whether the application has not released more closed streams than it may.
    pub(super) fn hold_too_many(&self) -> bool {
        self.slots.len() - self.active >= self.admission.max_closed
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

    pub(super) fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.slots.iter().map(|(slot, entry)| StreamId::new(entry.id, slot as u32))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Entry)> {
        self.slots.iter_mut().map(|(slot, entry)| (StreamId::new(entry.id, slot as u32), entry))
    }

    /// Gives up room that is not used, where it is most of it: what is left is to be filled before it grows again.
    pub(super) fn shrink(&mut self) {
        if self.slots.capacity() > self.slots.len() + self.slots.len() / 8 {
            self.slots.shrink_to_fit();
        }
        if is_wasteful(self.held.capacity(), self.held.len()) {
            self.held.shrink_to(2 * self.held.len());
        }
        self.closed.shrink();
        self.dismissed.shrink_to_fit();
        self.in_batch.shrink_to_fit();
        self.spares = Vec::new();
    }
}

/// Whether a table has far more room than it uses.
fn is_wasteful(capacity: usize, length: usize) -> bool {
    capacity > 4 * length + MIN_CAPACITY
}
