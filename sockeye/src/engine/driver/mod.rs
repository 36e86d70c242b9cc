//! The task that owns one connection, of whatever version of HTTP: its transport, its [`Machine`] and its handlers.
//!
//! A turn is one batch: one read, all of its frames, all the handlers that they wake, one write. Nothing but the cells
//! of [`crate::engine::stream`] crosses to other tasks, so no lock stands around protocol state.

mod beginnings;
mod crowd;
mod ending;
mod farewell;
mod groups;
pub(crate) mod linger;
mod partings;
mod streams;
mod transport;

use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Version};
use sockeye_proto::Machine;
use sockeye_proto::h1;
use sockeye_proto::h2::{self, OpenError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use self::farewell::Parting;
use self::groups::Groups;
use self::linger::Linger;
use self::streams::Streams;
use self::transport::{Output, Reading};
use crate::engine::body::Body;
use crate::engine::link::{End, Link, Phase, Side};
use crate::engine::metrics::Counter;
use crate::engine::pulse::{Hearing, Pulse, Stamp};
use crate::engine::slice::{self, Slice};
use crate::engine::stream::{Interims, PeersEnd, StreamCell, StreamHandle};
use crate::engine::tunnel::Handler;
use crate::engine::{buffers, now};
use crate::error::{Error, Result};

#[cfg(all(feature = "http2", feature = "web-socket"))]
pub(crate) use self::streams::connection_error;
pub(crate) use self::transport::Abort;

/// Batches in one poll, however little time they take: the clock may stand still, as in tests.
const MAX_TURNS: u32 = 64;
/// Time without anything to do after which a connection gives up its spare memory.
const IDLE: Duration = Duration::from_secs(1);

/// What a connection serves: a server's application answers requests, a client's makes them.
pub(crate) trait Application<M> {
    /// What a stream holds until it is gone; one that the peer opened holds the default.
    type Permit: Default;

    /// Server: takes a request; the handler to poll inside the connection's task, none where the request went elsewhere.
    fn accept(&mut self, request: Request<Body>, handle: StreamHandle) -> Option<Handler>;

    /// Client: the next stream to open; `None`, once, when there will be no more.
    fn poll_opening(&mut self, _: &mut Context<'_>) -> Poll<Option<Opening<Self::Permit>>> {
        Poll::Pending
    }

    /// Client: something came from the peer.
    fn hear(&mut self) {}

    /// Client: the peer's settings or its will to take streams have changed.
    fn observe(&mut self, _: &M) {}
}

/// A stream that a client opens: an extended CONNECT, or another request.
pub(crate) struct Opening<P> {
    pub(crate) request: Request<()>,
    /// Nothing follows the head of the request.
    pub(crate) end_stream: bool,
    /// Takes what the server says before its response.
    pub(crate) interims: Option<Interims>,
    pub(crate) permit: P,
    /// Takes the stream, or why there is none. Nothing was sent then.
    pub(crate) reply: oneshot::Sender<Result<StreamHandle, OpenError>>,
}

/// The application of a connection whose only stream is there from the beginning.
pub(crate) struct NoMore;

impl<M> Application<M> for NoMore {
    type Permit = ();

    /// Never called: nobody asks for anything in a tunnel.
    fn accept(&mut self, _: Request<Body>, _: StreamHandle) -> Option<Handler> {
        None
    }
}

/// What was before a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A turn that left nothing undone but what it could not write.
    Whole,
    /// Whatever woke the task, or a timeout.
    Elsewhere,
}

/// Where the batch was left when its time was up: there it goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BrokenOff {
    Nowhere,
    /// Not everything was heard that the machine has to say. Until it is, no stream begins, which would take a slot of which
    /// something is still to be heard.
    Events,
    /// Not every stream was looked at that the ready list named.
    Visits,
}

/// One connection, as a future that is done when it is over.
pub(crate) struct Driver<T, M: Machine, A: Application<M>> {
    /// None once it was [left](Driver::leave) to somebody else, or [aborted](Driver::abort).
    transport: Option<T>,
    application: A,
    machine: M,
    link: Arc<Link>,
    streams: Streams<A::Permit>,
    groups: Groups,
    /// Those of the ready list that are still to be looked at.
    ready: Vec<u32>,
    broken_off: BrokenOff,
    /// What was read and the machine has not taken.
    input: BytesMut,
    reading: Reading,
    output: Output,
    timer: Option<Pin<Box<Sleep>>>,
    /// Asks silent sockets for a sign of life, if it is to.
    pulse: Option<Box<Pulse>>,
    /// What a cell is stamped with for which something comes in this batch.
    stamp: Stamp,
    phase: Phase,
    /// What is due of a drain that has begun.
    parting: Parting,
    /// When something last happened; none once the machine's spare memory was given up since.
    active: Option<Instant>,
    /// What was published of the machine's counters; none while all of them are zero. Boxed, since few peers meet a limit.
    counted: Option<Box<h2::Counters>>,
    /// What is left when the machine is done. Boxed, since it lasts for the last seconds of a connection's life.
    linger: Option<Box<Linger>>,
    /// What ended the connection otherwise than cleanly.
    failure: Option<Box<Error>>,
}

/// Besides its transport. A server of a million sockets over HTTP/1.1 has a million of these.
const _: () = assert!(size_of::<Driver<(), h1::Connection, NoMore>>() <= 336);

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// `input` is what was read from the transport before.
    pub(crate) fn new(transport: T, input: BytesMut, machine: M, link: Arc<Link>, application: A) -> Self {
        let pulse = link.limits.pings.map(|times| Box::new(Pulse::new(times, now())));
        Self {
            transport: Some(transport),
            application,
            machine,
            link,
            streams: Streams::default(),
            groups: Groups::default(),
            ready: Vec::new(),
            broken_off: BrokenOff::Nowhere,
            input,
            reading: Reading::Open,
            output: Output::default(),
            timer: None,
            pulse,
            stamp: Stamp::default(),
            phase: Phase::Running,
            parting: Parting::None,
            active: None,
            counted: None,
            linger: None,
            failure: None,
        }
    }

    /// What the end of the peer's half says about the peer.
    fn peers_end(&self) -> PeersEnd {
        if self.link.info.version == Version::HTTP_2 { PeersEnd::OfItsHalf } else { PeersEnd::OfAll }
    }

    /// One batch; whether anything happened. One that follows another mostly finds nothing, and is over at once:
    /// for a connection of one socket that is every other turn.
    fn turn(&mut self, cx: &mut Context<'_>, now: Instant, last: Last) -> bool {
        if let Some(pulse) = &self.pulse {
            self.stamp = pulse.stamp(now);
        }
        let phase = self.phase;
        // What was told before any handler runs: one may close its socket because of the same, and no message follows a Close.
        let mut progress = self.link.has_news() && (self.send_handed() | self.send_frames());
        self.follow(now);
        progress |= match self.broken_off {
            BrokenOff::Nowhere => {
                let received = self.receive(cx, now);
                let opened = self.open(cx);
                self.handle_events(now) | received | opened
            }
            BrokenOff::Events => {
                self.handle_events(now);
                true
            }
            BrokenOff::Visits => true,
        };
        progress |= !self.ready.is_empty();
        let is_idle = !progress && phase == self.phase && !self.link.has_news() && self.output.is_with_transport();
        if is_idle && last == Last::Whole {
            return false;
        }
        if self.broken_off != BrokenOff::Events {
            progress |= self.run(now);
        }
        progress |= self.transmit(cx, now);
        if progress {
            self.active = Some(now);
        }
        progress
    }

    /// Sends what tasks have handed over, looks at every stream that changed, then handles what the machine has to say; whether
    /// anything happened.
    fn run(&mut self, now: Instant) -> bool {
        let mut progress = self.send_handed() | self.count_blames(now);
        progress |= self.visit_ready(now);
        if self.broken_off == BrokenOff::Visits {
            return true;
        }
        progress |= self.send_frames();
        progress |= self.handle_events(now);
        self.relieve(now);
        progress
    }

    /// Looks at every stream that changed, or as many as there is time for; whether there was any.
    fn visit_ready(&mut self, now: Instant) -> bool {
        let mut ready = mem::take(&mut self.ready);
        if ready.is_empty() {
            self.link.take_ready(&mut ready);
        }
        let progress = !ready.is_empty();
        let mut visited = 0;
        while visited < ready.len() && slice::goes_on() {
            self.visit(ready[visited] as usize, now);
            visited += 1;
        }
        ready.drain(..visited);
        self.broken_off = if ready.is_empty() { BrokenOff::Nowhere } else { BrokenOff::Visits };
        self.ready = ready;
        progress
    }

    /// Goes to sleep, without buffers; false if there is something to do.
    fn sleep(&mut self, cx: &Context<'_>) -> bool {
        debug_assert!(
            self.ready.is_empty() && self.broken_off == BrokenOff::Nowhere,
            "a connection with something to do does not sleep"
        );
        self.publish_counters();
        if !self.rest() {
            return false;
        }
        buffers::give_back(&mut self.output.octets);
        self.ready = Vec::new();
        self.link.sleep(cx, self.phase, self.output.is_with_transport())
    }

    /// The machine writes into a buffer of the thread's, until the connection [rests](Self::rest).
    fn lend_output(&mut self) {
        if self.output.is_with_transport() && self.output.octets.capacity() == 0 {
            buffers::fill(&mut self.output.octets);
            self.machine.poll_transmit(&mut self.output.octets);
        }
    }

    /// Owns no buffers that are not in use, as one of thousands of connections that wait for their next turn. What waits to be
    /// written stays where it is. False if the machine has more to say.
    fn rest(&mut self) -> bool {
        buffers::give_back(&mut self.input);
        let mut is_all = true;
        if self.output.is_with_transport() {
            buffers::give_back(&mut self.output.octets);
            // The machine and the connection take turns with two buffers: the other one is there.
            self.machine.poll_transmit(&mut self.output.octets);
            is_all = self.output.octets.is_empty();
            if is_all {
                buffers::give_back(&mut self.output.octets);
            }
        }
        buffers::give_back(&mut self.machine.take_batch());
        is_all
    }

    fn publish_counters(&mut self) {
        let counters = self.machine.counters();
        let before = self.counted.as_deref().copied().unwrap_or_default();
        if counters != before {
            **self.counted.get_or_insert_default() = counters;
            let metrics = self.link.metrics();
            metrics.add(Counter::StreamsRefused, counters.streams_refused - before.streams_refused);
            metrics.add(Counter::HeaderListsRefused, counters.header_lists_refused - before.header_lists_refused);
            metrics.add(Counter::ResetsReceived, counters.resets_received - before.resets_received);
            metrics.add(Counter::ResetsForFaults, counters.resets_for_faults - before.resets_for_faults);
            metrics.add(Counter::SettingsChanges, counters.settings_changes - before.settings_changes);
            metrics.add(Counter::Glitches, counters.glitches - before.glitches);
            metrics.add(Counter::ReadingStopped, counters.stops - before.stops);
            let stuck = counters.streams_without_progress - before.streams_without_progress;
            metrics.add(Counter::StreamsWithoutProgress, stuck);
            metrics.add(Counter::IdleTimeouts, counters.idle_timeouts - before.idle_timeouts);
            metrics.add(Counter::ConnectionErrors, counters.connection_errors - before.connection_errors);
        }
    }
}

// Nothing in it is pinned in place.
impl<T: Unpin, M: Machine, A: Application<M>> Unpin for Driver<T, M, A> {}

impl<T, M, A> Future for Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Abort + Unpin,
    M: Machine,
    A: Application<M>,
{
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let this = &mut *self;
        // A task that wakes itself is put behind those that are ready, where one that others wake goes before them: what more
        // streams have to say goes out with one write then.
        if this.machine.stream_count() > 1 && this.link.was_called() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.link.wake_up();
        this.lend_output();
        let mut now = now();
        let time = this.link.limits.slice;
        let end = now + time;
        let _slice = Slice::begin(now, time);
        let mut last = Last::Elsewhere;
        for _ in 0..MAX_TURNS {
            let progress = this.turn(cx, now, last);
            last = if progress { Last::Whole } else { Last::Elsewhere };
            let is_whole = this.broken_off == BrokenOff::Nowhere;
            if is_whole && this.machine.is_closed() && this.poll_over(cx).is_ready() {
                this.publish_counters();
                return Poll::Ready(this.failure.take().map_or(Ok(()), |error| Err(*error)));
            }
            if !progress && !this.handle_timeouts(cx, Hearing::Sharp) && this.sleep(cx) {
                return Poll::Pending;
            }
            let turn = now;
            now = crate::engine::now();
            if now.saturating_duration_since(turn) >= this.link.limits.watchdog {
                this.link.count_block(now.saturating_duration_since(turn));
            }
            if now >= end || !is_whole || !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        this.handle_timeouts(cx, Hearing::Behind);
        this.publish_counters();
        this.rest();
        yield_now(cx);
        Poll::Pending
    }
}

/// Wakes the task once all others that are ready have run and the runtime has looked at its network. To be woken at once
/// would do for the others, but a runtime runs some sixty tasks before it asks whether a socket has something.
pub(crate) fn yield_now(cx: &mut Context<'_>) {
    if pin!(tokio::task::yield_now()).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

impl<T, M: Machine, A: Application<M>> Drop for Driver<T, M, A> {
    fn drop(&mut self) {
        self.streams.disconnect(&mut self.machine, self.failure.as_deref());
        for slot in self.streams.iter_mut() {
            slot.drop_handler();
        }
        if self.transport.is_none() && self.machine.is_left() {
            return;
        }
        self.link.leave(if self.output.is_with_transport() { End::Flushed } else { End::Lost });
        // After that no group has anything for it.
        self.groups.clear();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T, h1::Connection, NoMore> {
    /// A connection of HTTP/1.1 that was upgraded (RFC 9110 §7.8): from here on it is the tunnel of `cell`, with the handler to
    /// poll for it. `read` is what was read behind the handshake.
    pub(crate) fn of_tunnel(transport: T, read: BytesMut, cell: Arc<StreamCell>, handler: Option<Handler>) -> Self {
        let link = cell.link().clone();
        let role = match link.info.side {
            Side::Client => h2::Role::Client,
            Side::Server => h2::Role::Server,
        };
        let mut driver =
            Self::new(transport, read, h1::Connection::tunnel(role, &h2::Config::default(), now()), link, NoMore);
        driver.insert_tunnel(cell, handler);
        driver
    }
}

impl<T, A: Application<h1::Connection>> Driver<T, h1::Connection, A> {
    /// Whether the exchange has become a tunnel: then no request comes any more.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.machine.is_tunnel()
    }

    pub(crate) fn application(&mut self) -> &mut A {
        &mut self.application
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// For a driver that is done: the transport and what was read off it, where the client of a refused upgrade goes on with
    /// other requests. Whoever takes it takes the connection's place in its registry over, too.
    pub(crate) fn leave(&mut self) -> Option<(T, BytesMut)> {
        let transport = self.transport.take_if(|_| self.machine.is_left())?;
        let mut rest = self.machine.take_rest();
        rest.unsplit(mem::take(&mut self.input));
        Some((transport, rest))
    }
}

/// The transport, which is there as long as the driver is not done.
fn pinned<T: Unpin>(transport: &mut Option<T>) -> Pin<&mut T> {
    Pin::new(transport.as_mut().expect("a driver that is done is not polled"))
}
