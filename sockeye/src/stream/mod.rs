//! The cell that one stream's application side and its carrier share: the only thing that crosses tasks.
//!
//! A carrier (the task that owns an HTTP/2 connection, or one upgraded HTTP/1.1 connection) puts what it received into
//! the inbox and takes what is to be sent from the outbox. The application does the reverse, through an [`Owner`].
//! Whoever changes something that the carrier must see puts the cell on the carrier's ready list.

pub(crate) mod desk;
pub(crate) mod outbox;
mod owner;

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::{fmt, mem};

use bytes::{Bytes, BytesMut};
use futures_task::ArcWake;
use http::{HeaderMap, Response};

use crate::carrier::Carrier;
use crate::pulse::Stamp;
use crate::{Error, Reason, Result, Side};

pub(crate) use outbox::Outbox;
pub(crate) use owner::Owner;

pub(crate) struct StreamCell {
    carrier: Arc<Carrier>,
    /// Where the carrier keeps what belongs to this stream.
    slot: u32,
    /// [`QUEUED`], [`WOKEN`], [`CLOSING`], [`MASKING`] and [`FRAGMENTING`].
    flags: AtomicU8,
    /// [`QUIET`] and [`LISTENING`]: what the carrier saw when it last looked, if nobody has taken the lock since.
    calm: AtomicU8,
    /// For the carrier alone: a [`Stamp`].
    stamp: AtomicU16,
    shared: Mutex<Shared>,
}

/// The cell stands on the ready list.
const QUEUED: u8 = 1;
/// The handler that the carrier polls for this stream asked to be polled.
const WOKEN: u8 = 2;
/// A WebSocket has sent its Close, or is about to: no message may follow (RFC 6455 §5.5.1).
const CLOSING: u8 = 4;
/// The WebSocket's frames are masked (RFC 6455 §5.3).
const MASKING: u8 = 8;
/// A WebSocket has sent a fragment of a message and not the last: no other message may go between (RFC 6455 §5.4).
const FRAGMENTING: u8 = 16;

/// A tunnel that is open both ways, with nothing in its cell to be seen to.
const QUIET: u8 = 1;
/// Besides, the handler waits for what is received.
const LISTENING: u8 = 2;

/// What the lock of a cell protects. A server of a million sockets has a million of these.
pub(crate) struct Shared {
    /// Received, and not yet taken by the application.
    pub(crate) inbox: BytesMut,
    /// The carrier holds octets that found the inbox in use; it wants to know when that has been emptied.
    pub(crate) more: bool,
    pub(crate) received: Received,
    receiver: Option<Waker>,
    /// It is the handler that waits, and not a [`receiver`](Self::receiver).
    handler_receives: bool,
    /// To be sent, and not yet taken by the carrier.
    pub(crate) outbox: Outbox,
    /// What the carrier counts of the outbox as blocked.
    booked: u32,
    pub(crate) sent: Sent,
    sender: Option<Waker>,
    handler_sends: bool,
    /// The receiver has an answer that found no room in the outbox.
    answer_waits: bool,
    /// How many [`Owner`]s there are, which are a few; the last to leave ends the stream.
    owners: u8,
    /// The carrier is draining: a WebSocket says Close 1001.
    going_away: bool,
    /// A tunnel: the wire gets some time for the peer's end after the last owner has left.
    pub(crate) tunnel: bool,
    pub(crate) parting: Parting,
    /// For the carrier: what it waits for, with a time to it, before it lets go of the stream.
    pub(crate) awaited: Awaited,
    flush: Flush,
    pub(crate) rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<StreamCell>() <= 152);

/// How far it is that whoever flushes waits for. A cell is not quiet meanwhile, so that what is sent passes by its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nobody has asked.
    None,
    /// The carrier is to tell.
    Asked,
    /// All that the carrier had taken is with the transport, and it has taken nothing since.
    Done,
    /// The transport did not take it, and never will.
    Lost,
}

/// What a stream has at most once, and not for long.
#[derive(Default)]
pub(crate) struct Rare {
    /// Client: the response that came.
    pub(crate) response: Option<Response<()>>,
    /// Server: the response to send, and whether it ends the stream.
    pub(crate) head: Option<(Response<()>, bool)>,
    /// Server: a 100 is to be sent.
    continues: bool,
    pub(crate) trailers_out: Option<HeaderMap>,
    pub(crate) trailers_in: Option<HeaderMap>,
    closer: Option<Box<dyn Closer>>,
    close_code: Option<u16>,
    /// Who is to know that the stream is over, besides those who wait for either half.
    watcher: Option<Waker>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self { response, head, continues, trailers_out, trailers_in, closer, close_code, watcher } = self;
        let no_head = response.is_none() && head.is_none() && !continues;
        let no_trailers = trailers_out.is_none() && trailers_in.is_none();
        no_head && no_trailers && closer.is_none() && close_code.is_none() && watcher.is_none()
    }
}

/// What ends a tunnel in the words of its protocol once nobody holds it any more.
pub(crate) trait Closer: Send {
    /// Appends the last words, with this close code.
    fn close(&mut self, code: u16, output: &mut BytesMut);

    /// Takes what the peer still sends; whether it has said its last words.
    fn hear(&mut self, input: BytesMut) -> bool;
}

/// How far the two sides of a tunnel are with their last words, which say in its own protocol that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// Not both have said them.
    Open,
    /// The peer broke the protocol, and is told so.
    Failed,
    /// Both have: nothing but the ends of their halves is to come.
    Said,
}

/// What a carrier waits for, no longer than some time, at the end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nothing: the tunnel goes on.
    Nothing,
    /// Room to tell a peer that it broke the protocol.
    Room,
    /// Our own end, which the peer has no window for, or which is to follow the peer's.
    OurEnd,
    /// The peer's last words and the end of its half.
    LastWords,
    /// The end of the half of a peer that has said its last words.
    PeersEnd,
    /// The end of a handler whose stream is over.
    Handler,
}

impl Awaited {
    /// Whether all that we say has been sent, and only the peer is waited for.
    pub(crate) fn is_peers(self) -> bool {
        matches!(self, Self::LastWords | Self::PeersEnd)
    }
}

/// How far the receiving half is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Open,
    /// The peer ended its half; all it sent stands in the inbox.
    Finished,
    /// The stream is dead; what had arrived stands in the inbox.
    Dead(Death),
}

/// What a receiver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Octets were appended.
    Octets,
    /// The clean end of the peer's half.
    End,
    /// Nothing, but the carrier is draining; said once.
    GoingAway,
}

/// Why a stream is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Reset, by this side of its connection.
    Reset(ErrorCode, Side),
    /// A tunnel whose peer gave it up without a fault, and without a word in the tunnel's protocol: a page that was closed.
    Abandoned,
    /// Its connection went away.
    Disconnected,
    /// The peer did not answer a Ping of the keep-alive.
    Silent,
}

impl Death {
    /// What a reset means to one side of a stream: CANCEL and NO_ERROR end a tunnel without anybody's fault (RFC 9113 §7).
    fn of(self, shared: &Shared, side: Side) -> Self {
        match self {
            Self::Reset(code, by)
                if shared.tunnel && by != side && [Reason::CANCEL, Reason::NO_ERROR].contains(&code.reason()) =>
            {
                Self::Abandoned
            }
            death => death,
        }
    }
}

/// An error code of RFC 9113 §7, which takes no more room for its alignment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorCode([u8; 4]);

impl ErrorCode {
    pub(crate) const fn new(reason: Reason) -> Self {
        Self(reason.code().to_ne_bytes())
    }

    pub(crate) const fn reason(self) -> Reason {
        Reason::new(u32::from_ne_bytes(self.0))
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl From<Death> for Error {
    fn from(death: Death) -> Self {
        match death {
            Death::Reset(code, by) => Self::Reset { reason: code.reason(), by },
            Death::Abandoned => Self::Abnormal,
            Death::Disconnected => Self::Disconnected,
            Death::Silent => Self::Timeout("the answer to a Ping"),
        }
    }
}

/// How far the sending half is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Open,
    /// The outbox is the last of it, but its end is to follow the peer's.
    Following,
    /// The outbox is the last of it.
    Finishing,
    /// All of it is with the carrier.
    Finished,
    /// To be reset with this code; the outbox is void.
    Resetting(ErrorCode),
    Dead(Death),
}

/// RFC 6455 §7.4.1.
const UNEXPECTED_CONDITION: u16 = 1011;

impl StreamCell {
    pub(crate) fn new(carrier: Arc<Carrier>, slot: u32) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            slot,
            flags: AtomicU8::new(0),
            calm: AtomicU8::new(0),
            stamp: AtomicU16::new(0),
            shared: Mutex::new(Shared {
                inbox: BytesMut::new(),
                more: false,
                received: Received::Open,
                receiver: None,
                handler_receives: false,
                outbox: Outbox::default(),
                booked: 0,
                sent: Sent::Open,
                sender: None,
                handler_sends: false,
                answer_waits: false,
                owners: 0,
                going_away: false,
                tunnel: false,
                parting: Parting::Open,
                awaited: Awaited::Nothing,
                flush: Flush::None,
                rare: None,
            }),
        })
    }

    /// The only stream of an upgraded connection.
    pub(crate) fn new_tunnel(carrier: Arc<Carrier>) -> Arc<Self> {
        let cell = Self::new(carrier, 0);
        cell.lock().tunnel = true;
        cell
    }

    pub(crate) fn carrier(&self) -> &Arc<Carrier> {
        &self.carrier
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing under this lock runs foreign code: what it protects is whole even if a thread died with it.
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.calm.store(0, Ordering::Relaxed);
        shared
    }

    /// Whether the handler may use the [desk].
    pub(crate) fn is_quiet(&self) -> bool {
        self.calm.load(Ordering::Relaxed) & QUIET != 0
    }

    /// Whether, besides, it waits for what is received.
    pub(crate) fn is_listening(&self) -> bool {
        self.calm.load(Ordering::Relaxed) & LISTENING != 0
    }

    /// For the carrier, after it looked at all of the cell: takes note if there is nothing to be seen to.
    pub(crate) fn calm_down(&self, shared: &Shared) {
        let listening = if shared.handler_receives { LISTENING } else { 0 };
        self.calm.store(if shared.is_quiet() { QUIET | listening } else { 0 }, Ordering::Relaxed);
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot as usize
    }

    /// Whether the WebSocket sends no more messages.
    pub(crate) fn is_closing(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & CLOSING != 0
    }

    /// Whether no message may be sent now but by the WebSocket itself. To be asked before [`is_quiet`](Self::is_quiet): once
    /// the last fragment is on its way the cell is not quiet, until it was looked at.
    pub(crate) fn takes_no_message(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (CLOSING | FRAGMENTING) != 0
    }

    /// Whether the WebSocket's frames are masked.
    pub(crate) fn is_masking(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & MASKING != 0
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn set_stamp(&self, stamp: Stamp) {
        self.stamp.store(stamp.0, Ordering::Relaxed);
    }

    /// Whether a Ping may be sent: messages go both ways, and all that was sent before is with the carrier.
    pub(crate) fn takes_ping(&self) -> bool {
        let shared = self.lock();
        let is_open = shared.tunnel && shared.received == Received::Open && shared.sent == Sent::Open;
        let is_idle = shared.outbox.is_empty() && !shared.head_waits();
        is_open && is_idle && !shared.is_abandoned() && !self.is_closing()
    }

    /// Appends a whole frame from elsewhere to what is sent, where messages may be sent still; whether there was room.
    pub(crate) fn cast(&self, frame: &Bytes) -> bool {
        let mut shared = self.lock();
        if self.is_closing() || shared.check_open().is_err() || shared.is_abandoned() {
            return true;
        }
        if self.takes_no_message() || !self.carrier.admits(shared.outbox.len()) {
            return false;
        }
        shared.outbox.append_shared(frame.clone());
        drop(shared);
        self.queue();
        true
    }

    /// For the carrier of many streams: what came to wait is counted at once.
    pub(crate) fn rebook(&self) {
        self.lock().rebook(&self.carrier);
    }

    /// For the carrier: what it could not send of a frame goes before whatever has come to wait meanwhile.
    pub(crate) fn put_first(&self, rest: Bytes) {
        self.lock().outbox.prepend(rest);
        self.queue();
    }

    /// Puts the cell on the ready list, unless it stands there. To be called after what the carrier is to see was done
    /// under the lock: if the carrier looked before that, the flag is seen to be down.
    pub(crate) fn queue(&self) {
        if self.flags.load(Ordering::Relaxed) & QUEUED == 0 {
            self.set(QUEUED);
        }
    }

    fn set(&self, flags: u8) {
        if self.flags.fetch_or(flags, Ordering::AcqRel) & QUEUED == 0 {
            self.carrier.push_ready(self.slot);
        }
    }

    /// For the carrier as it starts on a cell: whether to poll the handler. Until [`unqueue`](Self::unqueue), what
    /// happens to the cell puts it on no list.
    pub(crate) fn start(&self) -> bool {
        let mut flags = self.flags.load(Ordering::Acquire);
        if flags & QUEUED == 0 {
            flags = self.flags.fetch_or(QUEUED, Ordering::AcqRel);
        }
        flags & WOKEN != 0 && self.flags.fetch_and(!WOKEN, Ordering::AcqRel) & WOKEN != 0
    }

    /// For the carrier after it polled the handler and before it looks into the cell: from here on a change queues the
    /// cell again.
    pub(crate) fn unqueue(&self) {
        if self.flags.fetch_and(!QUEUED, Ordering::AcqRel) & WOKEN != 0 {
            self.queue();
        }
    }
}

/// A cell is the waker of the handler that the carrier polls for its stream.
impl ArcWake for StreamCell {
    fn wake_by_ref(cell: &Arc<Self>) {
        cell.set(QUEUED | WOKEN);
    }
}

/// The carrier's side.
impl StreamCell {
    /// Fills an empty inbox from `read` and wakes the receiver, except that the handler is the caller's to poll: true
    /// says so. An inbox in use is left alone, and the carrier keeps the octets until it is empty.
    ///
    /// Where nobody reads any more, credit for a tunnel's last frames lets its peer get to its end.
    pub(crate) fn deliver(&self, read: impl FnOnce() -> BytesMut) -> bool {
        let receiver = {
            let mut shared = self.lock();
            if shared.is_abandoned() && shared.tunnel {
                shared.hear(read());
                drop(shared);
                self.queue();
                return false;
            }
            if !shared.inbox.is_empty() {
                shared.more = true;
                return false;
            }
            shared.inbox = read();
            shared.take_receiver()
        };
        match receiver {
            Waiter::Handler => return true,
            Waiter::Task(waker) => waker.wake(),
            Waiter::Nobody => {}
        }
        false
    }

    /// [`deliver`](Self::deliver), behind what is in the inbox.
    pub(crate) fn deliver_behind(&self, octets: &[u8]) -> bool {
        let mut shared = self.lock();
        if shared.inbox.is_empty() {
            drop(shared);
            return self.deliver(|| octets.into());
        }
        shared.inbox.extend_from_slice(octets);
        false
    }

    /// Takes what the handler left on the desk, and wakes the receiver if that is another task by now. A handler that left
    /// it waits for something else, and for the end of the stream.
    pub(crate) fn put_back(&self, rest: BytesMut) {
        let mut shared = self.lock();
        shared.inbox = rest;
        let task = shared.receiver.take();
        drop(shared);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Ends the receiving half, `rest` being the last that arrived. A dead stream's sending half ends with it.
    pub(crate) fn end(&self, rest: BytesMut, trailers: Option<HeaderMap>, received: Received) {
        let (waiting, watcher) = {
            let mut shared = self.lock();
            if shared.inbox.is_empty() {
                shared.inbox = rest;
            } else {
                shared.inbox.unsplit(rest);
            }
            shared.more = false;
            if trailers.is_some() {
                shared.rare().trailers_in = trailers;
            }
            let received = match received {
                Received::Dead(death) => Received::Dead(death.of(&shared, self.carrier.facts.side)),
                received => received,
            };
            if !matches!(shared.received, Received::Dead(_)) {
                shared.received = received;
            }
            match received {
                // All that there was to send has gone out.
                Received::Dead(_) if shared.sent == Sent::Finished => {}
                Received::Dead(death) => {
                    shared.sent = Sent::Dead(death);
                    shared.outbox = Outbox::default();
                }
                Received::Finished if shared.sent == Sent::Following => shared.sent = Sent::Finishing,
                Received::Finished | Received::Open => {}
            }
            let waiting = Waiting { sender: shared.take_sender(), receiver: shared.take_receiver() };
            (waiting, shared.take_watcher())
        };
        self.wake(waiting);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    /// The response came.
    pub(crate) fn respond(&self, response: Response<()>) {
        let receiver = {
            let mut shared = self.lock();
            shared.rare().response = Some(response);
            shared.take_receiver()
        };
        self.wake(Waiting { receiver, ..Waiting::default() });
    }

    /// The handler panicked: the tunnel ends as by an error.
    pub(crate) fn panicked(&self) {
        self.lock().rare().close_code = Some(UNEXPECTED_CONDITION);
    }

    /// What has become of a flush that was asked for; whoever waits looks again.
    pub(crate) fn flushed(&self, flush: Flush) {
        let sender = {
            let mut shared = self.lock();
            if shared.flush != Flush::Asked {
                return;
            }
            // What was sent since then is waited for first.
            shared.flush = if flush == Flush::Done && !shared.outbox.is_empty() { Flush::None } else { flush };
            shared.take_sender()
        };
        self.wake(Waiting { sender, ..Waiting::default() });
    }

    /// Tells the application that the carrier is draining.
    pub(crate) fn go_away(&self) {
        let receiver = {
            let mut shared = self.lock();
            shared.going_away = true;
            shared.take_receiver()
        };
        self.wake(Waiting { receiver, ..Waiting::default() });
    }

    /// To be called without the lock.
    pub(crate) fn wake(&self, waiting: Waiting) {
        for waiter in [waiting.sender, waiting.receiver] {
            match waiter {
                Waiter::Nobody => {}
                Waiter::Handler => self.set(QUEUED | WOKEN),
                Waiter::Task(waker) => waker.wake(),
            }
        }
    }
}

/// Who waited for one half of a stream.
#[derive(Default)]
enum Waiter {
    #[default]
    Nobody,
    /// The handler that the carrier polls for this stream: it is woken by a flag, without counting references.
    Handler,
    /// Another task.
    Task(Waker),
}

impl Waiter {
    fn take(is_handler: &mut bool, task: &mut Option<Waker>) -> Self {
        if mem::take(is_handler) { Self::Handler } else { task.take().map_or(Self::Nobody, Self::Task) }
    }

    /// Lets the handler wait, or else the task of `cx`.
    fn put(is_handler: &mut bool, task: &mut Option<Waker>, handler: bool, cx: &Context<'_>) {
        *is_handler = handler;
        match task {
            _ if handler => *task = None,
            Some(waker) => waker.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }
}

/// Who is to be woken by [`StreamCell::wake`], once no lock is held.
#[derive(Default)]
#[must_use]
pub(crate) struct Waiting {
    sender: Waiter,
    receiver: Waiter,
}

impl Shared {
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn take_receiver(&mut self) -> Waiter {
        Waiter::take(&mut self.handler_receives, &mut self.receiver)
    }

    /// Who is to know that the stream is over, to be woken without the lock.
    pub(crate) fn take_watcher(&mut self) -> Option<Waker> {
        self.take_rare(|rare| rare.watcher.take())
    }

    fn take_sender(&mut self) -> Waiter {
        Waiter::take(&mut self.handler_sends, &mut self.sender)
    }

    /// Whether there is nothing for the carrier to see to, and octets may go both ways.
    fn is_quiet(&self) -> bool {
        let is_open = self.tunnel && self.received == Received::Open && self.sent == Sent::Open;
        let is_empty = self.inbox.is_empty() && self.outbox.is_empty();
        let is_unasked = !self.more && !self.going_away && self.flush == Flush::None && !self.head_waits();
        is_open && is_empty && is_unasked && self.owners > 0
    }

    /// Whether the application may send.
    fn check_open(&self) -> Result {
        match self.sent {
            Sent::Open => Ok(()),
            Sent::Dead(death) => Err(death.into()),
            Sent::Following | Sent::Finishing | Sent::Finished | Sent::Resetting(_) => Err(Error::Closed),
        }
    }

    /// Whether the response was given, and the carrier has not taken it yet.
    fn head_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.head.is_some())
    }

    /// For the carrier: whether to send a 100.
    pub(crate) fn take_continue(&mut self) -> bool {
        self.take_rare(|rare| mem::take(&mut rare.continues).then_some(())).is_some()
    }

    /// For the carrier: the response to send.
    pub(crate) fn take_head(&mut self) -> Option<(Response<()>, bool)> {
        self.take_rare(|rare| rare.head.take())
    }

    fn take_rare<T>(&mut self, take: impl FnOnce(&mut Rare) -> Option<T>) -> Option<T> {
        let rare = self.rare.as_mut()?;
        let taken = take(rare);
        if rare.is_empty() {
            // Most streams have nothing more of it.
            self.rare = None;
        }
        taken
    }

    /// Tells the carrier how much stays in the outbox.
    pub(crate) fn rebook(&mut self, carrier: &Carrier) {
        let left = u32::try_from(self.outbox.len()).unwrap_or(u32::MAX);
        carrier.rebook(mem::replace(&mut self.booked, left) as usize, left as usize);
    }

    /// For the carrier: takes what the peer of a tunnel sends that nobody holds any more. Its last words may be among it.
    pub(crate) fn hear(&mut self, input: BytesMut) {
        let closer = self.rare.as_mut().and_then(|rare| rare.closer.as_mut());
        if !input.is_empty() && closer.is_some_and(|closer| closer.hear(input)) {
            self.parting = Parting::Said;
        }
    }

    /// Neither half has anything to move any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.received != Received::Open && matches!(self.sent, Sent::Finished | Sent::Dead(_))
    }

    /// No application holds the stream any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.owners == 0
    }

    /// Who waits for room, to be woken after the carrier took from the outbox.
    ///
    /// To be called only when it did take something: whoever waits has octets in the outbox, and to wake it for nothing
    /// would go on for ever.
    pub(crate) fn take_waiting(&mut self, carrier: &Carrier) -> Waiting {
        if self.flush == Flush::Done {
            self.flush = Flush::None;
        }
        let outbox = self.outbox.len();
        if outbox > carrier.limits.stream_send / 2 || !carrier.admits(outbox) {
            return Waiting::default();
        }
        let answers = mem::take(&mut self.answer_waits);
        let receiver = if answers { self.take_receiver() } else { Waiter::Nobody };
        Waiting { sender: self.take_sender(), receiver }
    }
}
