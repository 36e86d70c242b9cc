//! The lock around one stream's state, and how its connection's task learns of what changed.
//!
//! Whoever changes something that the connection must see puts the cell on its ready list.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_task::ArcWake;
use http::Response;
use sockeye_proto::MachineStream;

use super::ends::{Interims, Received};
use super::state::waiters::{Waiter, Waiting};
use super::state::{Delivered, StreamState, Trailers, Waits};
use crate::engine::link::{Address, Flush, Flusher, Link};
use crate::engine::members::Sent;
use crate::engine::pulse::{Mark, Stamp};
use crate::engine::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use crate::engine::sync::{Mutex, MutexGuard};

pub(crate) struct StreamCell {
    link: Arc<Link>,
    /// Tells this cell from every other that there was or will be.
    key: u64,
    /// Where the connection keeps what belongs to this stream.
    slot: u32,
    /// [`QUEUED`], [`WOKEN`], [`CLOSING`], [`WATCHED`], [`FRAGMENTING`], [`ROUND_TRIPS`] and [`BEHIND`].
    flags: AtomicU8,
    /// [`QUIET`] and [`LISTENING`]: what the connection saw when it last looked, if nobody has taken the lock since. And
    /// [`MASKING`], for good.
    calm: AtomicU8,
    /// For the connection alone: a [`Stamp`].
    stamp: AtomicU16,
    state: Mutex<StreamState>,
}

/// The cell stands on the ready list.
const QUEUED: u8 = 1;
/// The handler that the connection polls for this stream asked to be polled.
const WOKEN: u8 = 2;
/// A WebSocket has sent its Close, or is about to: no message may follow (RFC 6455 §5.5.1).
const CLOSING: u8 = 4;
/// What has begun to come has some time to go on, which is not over.
const WATCHED: u8 = 8;
/// A WebSocket has sent a fragment of a message and not the last: no other message may go between (RFC 6455 §5.4).
const FRAGMENTING: u8 = 16;
/// A WebSocket awaits the Pong of its own Ping (RFC 6455 §5.5.2): which one, as far as two bits tell.
const ROUND_TRIPS: u8 = Mark::Even.bits() | Mark::Odd.bits();
/// Messages of groups wait until the stream has room for them: nothing goes by the cell's lock meanwhile.
const BEHIND: u8 = 128;

/// A tunnel that is open both ways, with nothing in its cell to be seen to.
const QUIET: u8 = 1;
/// Besides, the handler waits for what is received.
const LISTENING: u8 = 2;
/// The WebSocket's frames are masked (RFC 6455 §5.3).
const MASKING: u8 = 4;

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<StreamCell>() <= 144 || cfg!(sockeye_model));

/// The key of the next cell; nobody's is 0.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl StreamCell {
    pub(crate) fn new(link: Arc<Link>, slot: u32) -> Arc<Self> {
        Self::with(link, slot, StreamState::default())
    }

    /// The only stream of an upgraded connection.
    pub(crate) fn new_tunnel(link: Arc<Link>) -> Arc<Self> {
        Self::with(link, 0, StreamState::tunnel())
    }

    fn with(link: Arc<Link>, slot: u32, state: StreamState) -> Arc<Self> {
        Arc::new(Self {
            link,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            slot,
            flags: AtomicU8::new(0),
            calm: AtomicU8::new(0),
            stamp: AtomicU16::new(0),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn address(&self) -> Address {
        Address { key: self.key, slot: self.slot }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot as usize
    }

    /// Server: sends an interim response (RFC 9110 §15.2), unless the response goes before; whether it goes.
    pub(crate) fn send_interim(&self, head: Response<()>) -> bool {
        let goes = self.lock().send_interim(head);
        if goes {
            self.queue();
        }
        goes
    }

    /// Takes the lock, which ends the calm.
    pub(crate) fn lock(&self) -> MutexGuard<'_, StreamState> {
        // Nothing under this lock runs foreign code: what it protects is whole even if a thread died with it.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_calm(0);
        state
    }

    /// Whether octets may pass by the cell, through the [port](super::port).
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.calm.load(Ordering::Relaxed) & QUIET != 0
    }

    /// Whether, besides, the handler waits for what is received.
    #[inline]
    pub(crate) fn is_listening(&self) -> bool {
        self.calm.load(Ordering::Relaxed) & LISTENING != 0
    }

    /// For the connection, after it looked at all of the cell: takes note if there is nothing to be seen to.
    pub(crate) fn calm_down(&self, state: &StreamState) {
        let listening = if state.is_handler_receiving() { LISTENING } else { 0 };
        let is_quiet = state.is_quiet() && !self.is_behind();
        self.set_calm(if is_quiet { QUIET | listening } else { 0 });
    }

    /// To be called under the lock.
    fn set_calm(&self, calm: u8) {
        self.calm.store(self.calm.load(Ordering::Relaxed) & MASKING | calm, Ordering::Relaxed);
    }

    /// Whether the WebSocket sends no more messages.
    pub(crate) fn is_closing(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & CLOSING != 0
    }

    /// Whether no message may be sent now but by the WebSocket itself. To be asked before [`is_quiet`](Self::is_quiet): once
    /// the last fragment is on its way the cell is not quiet, until it was looked at.
    pub(super) fn takes_no_message(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (CLOSING | FRAGMENTING) != 0
    }

    pub(super) fn set_fragmenting(&self, fragmenting: bool) {
        if fragmenting {
            self.flags.fetch_or(FRAGMENTING, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!FRAGMENTING, Ordering::AcqRel);
        }
    }

    /// No message may follow what is sent next.
    pub(super) fn start_closing(&self) {
        self.flags.fetch_or(CLOSING, Ordering::Relaxed);
    }

    /// Whether messages of groups wait until the stream has room for them.
    pub(crate) fn is_behind(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & BEHIND != 0
    }

    /// For the connection: the next message of a group waits. Where it is the application that makes room, to be called under
    /// the lock: or it would not see that the connection is to be told.
    pub(super) fn fall_behind(&self) {
        self.flags.fetch_or(BEHIND, Ordering::AcqRel);
        self.calm.store(0, Ordering::Relaxed);
    }

    /// For the connection: no message of a group waits any more.
    pub(crate) fn catch_up(&self) {
        self.flags.fetch_and(!BEHIND, Ordering::AcqRel);
        self.queue();
    }

    /// Whether the WebSocket's frames are masked.
    pub(crate) fn is_masking(&self) -> bool {
        self.calm.load(Ordering::Relaxed) & MASKING != 0
    }

    pub(super) fn start_masking(&self) {
        let _state = self.lock();
        self.calm.store(MASKING, Ordering::Relaxed);
    }

    /// The [mark](crate::pulse::Mark) of the round trip that the WebSocket awaits.
    pub(crate) fn round_trip(&self) -> Mark {
        Mark::from_bits(self.flags.load(Ordering::Relaxed) & ROUND_TRIPS)
    }

    /// From what is sent next the WebSocket awaits this round trip, or none.
    pub(super) fn set_round_trip(&self, mark: Mark) {
        self.flags.fetch_and(!ROUND_TRIPS, Ordering::AcqRel);
        self.flags.fetch_or(mark.bits() & ROUND_TRIPS, Ordering::AcqRel);
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn set_stamp(&self, stamp: Stamp) {
        self.stamp.store(stamp.0, Ordering::Relaxed);
    }

    /// Whether a Ping may be sent.
    pub(crate) fn takes_ping(&self) -> bool {
        self.lock().takes_ping() && !self.is_closing()
    }

    /// Whether it is a request and its response, and no tunnel.
    pub(crate) fn is_exchange(&self) -> bool {
        // Only a tunnel is ever quiet.
        !self.is_quiet() && !self.lock().is_tunnel()
    }

    /// Octets that the application has not taken.
    pub(crate) fn unread(&self) -> usize {
        self.lock().unread()
    }

    /// What waits on the stream.
    pub(crate) fn waits(&self) -> Waits {
        self.lock().waits()
    }
}

/// What has begun to come.
impl StreamCell {
    /// Whether the time of [`watch`](Self::watch) is not over.
    pub(crate) fn is_watched(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Gives what has begun to come some time to go on: then whoever receives is woken, to see whether it has.
    pub(super) fn watch(self: &Arc<Self>) {
        if self.flags.fetch_or(WATCHED, Ordering::AcqRel) & WATCHED == 0 {
            self.link.watches().push(self, self.link.limits.receive_timeout);
        }
    }

    /// The time of [`watch`](Self::watch) is over.
    pub(crate) fn end_watch(&self) {
        self.flags.fetch_and(!WATCHED, Ordering::AcqRel);
        let waiting = self.lock().wake_receiver();
        self.wake(waiting);
    }
}

/// What the connection finds as it starts on a cell.
pub(crate) struct Start {
    /// The handler asked to be polled.
    pub(crate) is_woken: bool,
    /// The cell stood on the ready list. It stands there still, unless the list is where the connection has it from.
    pub(crate) is_queued: bool,
}

/// The ready list.
impl StreamCell {
    /// Puts the cell on the ready list, unless it stands there. To be called after what the connection is to see was done
    /// under the lock.
    ///
    /// The flag is written even where it is up. The connection takes it down by [`unqueue`](Self::unqueue) and then asks whether
    /// the cell [is quiet](Self::is_quiet), without the lock: either that comes after this, and sees what was done, or this comes
    /// after that, and sees the flag down. To read the flag would promise neither: each side could miss what the other wrote.
    pub(crate) fn queue(&self) {
        self.set(QUEUED);
    }

    fn set(&self, flags: u8) {
        if self.flags.fetch_or(flags, Ordering::AcqRel) & QUEUED == 0 {
            self.link.push_ready(self.slot);
        }
    }

    /// For the connection as it starts on a cell. Until [`unqueue`](Self::unqueue), what happens to the cell puts it on no list.
    pub(crate) fn start(&self) -> Start {
        let mut flags = self.flags.load(Ordering::Acquire);
        if flags & QUEUED == 0 {
            flags = self.flags.fetch_or(QUEUED, Ordering::AcqRel);
        }
        let is_woken = flags & WOKEN != 0 && self.flags.fetch_and(!WOKEN, Ordering::AcqRel) & WOKEN != 0;
        Start { is_woken, is_queued: flags & QUEUED != 0 }
    }

    /// For the connection after it polled the handler and before it looks into the cell: from here on a change queues the
    /// cell again.
    pub(crate) fn unqueue(&self) {
        if self.flags.fetch_and(!QUEUED, Ordering::AcqRel) & WOKEN != 0 {
            self.queue();
        }
    }

    /// Wakes those who waited. To be called without the lock.
    pub(crate) fn wake(&self, waiting: Waiting) {
        let Waiting { sender, receiver, watcher } = waiting;
        self.wake_one(sender);
        self.wake_one(receiver);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    #[inline]
    fn wake_one(&self, waiter: Waiter) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Handler => self.set(QUEUED | WOKEN),
            Waiter::Task(waker) => waker.wake(),
        }
    }

    /// For a handler that the connection is to poll for the first time.
    pub(crate) fn wake_handler(&self) {
        self.set(QUEUED | WOKEN);
    }
}

/// A cell is the waker of the handler that the connection polls for its stream.
impl ArcWake for StreamCell {
    fn wake_by_ref(cell: &Arc<Self>) {
        cell.set(QUEUED | WOKEN);
    }
}

/// The connection's verbs: transitions of the [state](StreamState) under the lock, and who waits is woken without it.
impl StreamCell {
    /// Gives octets to whoever reads; whether that is the handler, which is the caller's to poll.
    #[inline]
    pub(crate) fn deliver(&self, stream: &mut impl MachineStream) -> bool {
        let delivered = self.lock().deliver(stream);
        match delivered {
            Delivered::Put(Waiter::Handler) => return true,
            Delivered::Put(waiter) => self.wake_one(waiter),
            Delivered::Heard => self.queue(),
            Delivered::HeldBack => {}
        }
        false
    }

    /// For the connection: it keeps octets that have come, for now.
    pub(crate) fn hold_back(&self) {
        self.lock().hold_back();
    }

    /// A handler has left octets unread, which the connection keeps until somebody waits for them. That may be another task.
    pub(super) fn leave_unread(&self) {
        if self.lock().leave_unread() {
            self.queue();
        }
    }

    /// Ends the receiving half, `rest` being the last that arrived. A dead stream's sending half ends with it.
    pub(crate) fn end(&self, rest: BytesMut, trailers: Option<Trailers>, received: Received) {
        let waiting = self.lock().end(rest, trailers, received, self.link.info.side);
        self.wake(waiting);
    }

    /// Client: from now on this hears of interim responses.
    pub(crate) fn hear_interims(&self, interims: Interims) {
        self.lock().hear_interims(interims);
    }

    /// Client: what hears of interim responses, which is not to be called under the lock.
    pub(crate) fn interims(&self) -> Option<Interims> {
        self.lock().interims()
    }

    /// Client: the response came.
    pub(crate) fn respond(&self, response: Response<()>) {
        let waiting = self.lock().put_response(response);
        self.wake(waiting);
    }

    /// The handler panicked: the tunnel ends as by an error.
    pub(crate) fn panicked(&self) {
        self.lock().panicked();
    }

    /// Tells the application that the connection is draining.
    pub(crate) fn go_away(&self) {
        let waiting = self.lock().go_away();
        self.wake(waiting);
    }

    /// Appends a whole frame from elsewhere, which depends on what the WebSocket has sent before it, to what waits to be sent,
    /// where messages may be sent still; whether there was room.
    pub(crate) fn append_frame_with(&self, frame: impl FnOnce() -> Bytes) -> bool {
        let mut state = self.lock();
        if self.is_closing() || !state.takes_frames() {
            return true;
        }
        if self.takes_no_message() || !self.link.admits(state.waiting_octets()) {
            return false;
        }
        state.append_frame(frame());
        state.rebook(&self.link);
        drop(state);
        self.queue();
        true
    }

    /// Sends a whole frame of a group's, unless something else goes before it. The connection is to look at the cell.
    pub(super) fn send_frame(&self, stream: &mut impl MachineStream, frame: &Bytes) -> Sent {
        let mut state = self.lock_all();
        if self.is_closing() || !state.takes_frames() {
            return Sent::Never;
        }
        let taken = if self.takes_no_message() { 0 } else { state.send_frame(stream, frame) };
        if taken == 0 {
            self.fall_behind();
            return Sent::Full;
        }
        state.rebook(&self.link);
        Sent::Taken
    }

    /// The peer has not read what a group has sent: the WebSocket is to say so and to close.
    pub(crate) fn close_slow(&self) {
        let waiting = self.lock().close_slow();
        self.wake(waiting);
        self.queue();
    }

    /// For the connection that is to look at all of the cell: takes the lock, and what was [handed over](Link::hand_over) and
    /// not sent back into the outbox, before what stands there.
    pub(crate) fn lock_all(&self) -> MutexGuard<'_, StreamState> {
        let mut state = self.lock();
        if let Some(handed) = self.link.take_back(self.address()) {
            state.put_first(handed.freeze());
        }
        state
    }

    /// What the connection could not take of a frame, or of what was handed over, goes before whatever has come to wait
    /// meanwhile, in either place.
    pub(crate) fn put_first(&self, rest: Bytes) {
        let mut state = self.lock_all();
        state.put_first(rest);
        state.rebook(&self.link);
        drop(state);
        self.queue();
    }
}

impl Flusher for StreamCell {
    fn flushed(&self, flush: Flush) {
        let waiting = self.lock().flushed(flush);
        self.wake(waiting);
    }
}
