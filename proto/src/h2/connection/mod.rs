//! The connection: its parts, each of which owns its fields, and the verbs of its owner.

mod check;
mod receive;
mod send;
mod shutdown;
mod stream;

use std::time::Instant;

use bytes::BytesMut;
use http::Request;

use super::events::Events;
use super::guard::Guard;
use super::input::Input;
use super::life::{Life, Phase, Shutdown};
use super::output::{Output, Turns};
use super::peer::Peer;
use super::streams::{Exchange, Side, State, Streams, Wait};
use super::timers::{Clock, Timers};
use super::{Config, ConnectionError, Counters, Event, KEEP_ALIVE, OpenError, Role, Settings, Violation};

pub use self::stream::{Stream, StreamId};

/// Octets that a blocked stream has to send within [`Config::progress_timeout`].
const MIN_PROGRESS: u32 = 16 << 10;

/// One HTTP/2 connection, without its transport: see the [module](crate::h2).
pub struct Connection {
    role: Role,
    config: Config,
    clock: Clock,
    /// How far the connection is.
    life: Life,
    /// What the peer has told.
    peer: Peer,
    /// What came and is not whole.
    input: Input,
    streams: Streams,
    /// What the application has not heard.
    events: Events,
    /// What is not sent.
    output: Output,
    /// Who waits to send.
    turns: Turns,
    timers: Timers,
    /// What the peer may not do too often.
    guard: Guard,
}

impl Connection {
    /// A connection that begins now: our preface is ready for [`poll_transmit`](Self::poll_transmit) at once.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        Self {
            role,
            clock: Clock::new(now),
            life: Life::new(role),
            peer: Peer::new(role.peer()),
            input: Input::new(&config),
            streams: Streams::new(role, &config),
            events: Events::default(),
            output: Output::new(role, &config),
            turns: Turns::default(),
            timers: Timers::new(&config, now),
            guard: Guard::new(&config, now),
            config,
        }
    }

    /// Takes whole frames off the front of `input` and leaves a partial one: call again with the same buffer, and more
    /// behind. It also leaves what [`is_stopped`](Self::is_stopped) holds back. Once the connection is closed all is
    /// dropped.
    pub fn handle_data(&mut self, now: Instant, input: &mut BytesMut) {
        self.receive(now, input);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come; at any other time this does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.life.is_closed() {
            return;
        }
        self.advance(now);
        if let Some(violation) = self.timers.overdue(now) {
            return self.fail(violation);
        }
        if self.timers.ask_keep_alive(&self.config, now) {
            self.output.put_ping(KEEP_ALIVE);
        }
        self.reset_streams_without_progress();
        if self.timers.has_been_idle(&self.config, now, self.streams.is_empty()) && !self.is_going_away() {
            self.guard.counters_mut().idle_timeouts += 1;
            self.drain(now);
        }
        if self.timers.is_drain_due(now) {
            self.finish_drain(false);
        }
    }

    /// Client: opens a stream and sends `request` on it. With a [`Protocol`](crate::Protocol) among its extensions, a
    /// CONNECT is an extended one (RFC 8441 §4).
    ///
    /// Fields that speak of a connection of HTTP/1.1, or that `Connection` names, are left out (RFC 9113 §8.2.2), and so is
    /// `host`, which the URI says. Values go without the white space about them (§8.2.1).
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nothing was sent then.
    pub fn open(&mut self, request: &Request<()>, end_stream: bool) -> Result<StreamId, OpenError> {
        if self.life.is_closed() {
            return Err(OpenError::Closed);
        }
        if self.is_going_away() {
            return Err(OpenError::GoingAway);
        }
        let is_extended = request.extensions().get::<crate::Protocol>().is_some();
        // RFC 8441 §3
        if is_extended && !self.peer.settings().enable_connect_protocol {
            return Err(OpenError::ExtendedConnectNotAllowed);
        }
        // RFC 8441 §5: END_STREAM would end the tunnel before it begins.
        if self.role == Role::Server || (is_extended && end_stream) {
            return Err(OpenError::Malformed);
        }
        if self.streams.active() >= self.peer.max_streams(&self.config) {
            return Err(OpenError::TooManyStreams);
        }
        let stream_id = self.streams.numbers().next()?;
        if !self.output.put_request(stream_id, request, end_stream) {
            return Err(OpenError::Malformed);
        }
        let send = if end_stream { Side::Ended } else { Side::Body };
        let state = State::Active { recv: Side::Head, send };
        Ok(self.streams.open(stream_id, state, Exchange::new(request.method())))
    }

    /// The verbs of one stream, `None` once it was released.
    #[inline]
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.streams.get(id).is_some().then(|| Stream::new(self, id))
    }

    /// Sends a PING; [`Event::Pong`] says that it was answered.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if !self.life.is_closed() {
            self.peer.expect_pong();
            self.output.put_ping(payload);
        }
    }

    /// What happened, oldest first. `None` until one of the other functions was called.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop().or_else(|| self.next_turn())
    }

    /// Appends all that is to be sent, in order. An empty `output` is exchanged for the full one and used for what
    /// follows, so nothing is copied.
    pub fn poll_transmit(&mut self, output: &mut BytesMut) {
        self.output.transmit(output);
        self.turns.begin_batch();
        self.input.resume();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if it is. May change with every call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.life.is_closed() { None } else { self.timers.next(&self.clock) }
    }

    /// Whether `handle_data` left frames that were whole: too many answers wait to be sent, or a new stream would be one too
    /// many unless an event frees a place, or 64 events, or 256 KiB of header lists, wait to be heard before it. Call it again after
    /// [`poll_transmit`](Self::poll_transmit). A peer that does not read so stops itself.
    pub fn is_stopped(&self) -> bool {
        self.input.is_stopped()
    }

    /// Whether the connection is over. What is left to transmit should still be sent.
    pub fn is_closed(&self) -> bool {
        self.life.is_closed()
    }

    /// Whether one of the sides has sent GOAWAY, or drains: no new streams are opened.
    pub fn is_going_away(&self) -> bool {
        self.life.shutdown() != Shutdown::No || self.peer.goaway().is_some()
    }

    /// What ended the connection otherwise than cleanly: what [`Event::Closed`] says.
    pub fn error(&self) -> Option<ConnectionError> {
        self.life.error()
    }

    /// The additional debug data of the peer's last GOAWAY (RFC 9113 §6.8), of which the first 256 octets are kept. Most
    /// often a sentence in UTF-8, but the peer may have put anything there.
    pub fn goaway_debug_data(&self) -> &[u8] {
        self.peer.debug_data()
    }

    /// Streams held: open, or closed and not released.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Streams that are open or half-closed: what `max_concurrent_streams` counts (RFC 9113 §5.1.2).
    pub fn active_stream_count(&self) -> usize {
        self.streams.active()
    }

    /// The peer's settings, from its first SETTINGS to the end of the connection.
    pub fn peer_settings(&self) -> Option<&Settings> {
        // A connection that has ended may not have got so far: then these are none of the peer's.
        (self.life.phase() == Phase::Open).then_some(self.peer.settings())
    }

    /// Client: whether the peer has offered the extended CONNECT (RFC 8441 §3).
    pub fn extended_connect_allowed(&self) -> bool {
        self.peer.allows_extended_connect()
    }

    /// How often each limit was met.
    pub fn counters(&self) -> &Counters {
        self.guard.counters()
    }

    /// Gives a buffer that came from [`Stream::read`] back, to be used for what comes next. Optional: it saves an
    /// allocation for each stream and batch. Those of more than 256 octets are dropped, and all beyond 1024.
    pub fn recycle(&mut self, buffer: BytesMut) {
        self.streams.recycle(buffer);
    }

    /// The buffer that held what [`handle_data`](Self::handle_data) took last, empty, for what comes next. Optional: it
    /// saves the next batch a buffer. What was not read yet is copied.
    pub fn take_batch(&mut self) -> BytesMut {
        self.end_batch();
        std::mem::take(self.output.batch())
    }

    /// Frees what is kept for reuse: emptied buffers, and the room of queues and tables beyond what they hold.
    ///
    /// For a connection that has been quiet for some time, such as a second: what busy ones keep saves an allocation for
    /// each message, and is up to some 330 KiB. Costs next to nothing where there is nothing to free, else at most a look
    /// at each stream.
    pub fn shrink(&mut self) {
        drop(self.take_batch());
        self.output.shrink();
        self.events.shrink();
        self.turns.shrink();
        self.timers.watches().shrink();
        self.streams.shrink();
    }
}

/// What verbs share.
impl Connection {
    /// Takes note of the time.
    fn advance(&mut self, now: Instant) {
        self.clock.set(now);
        self.timers.watches().advance(now, self.config.progress_timeout);
    }

    /// The next stream whose turn it is to write.
    fn next_turn(&mut self) -> Option<Event> {
        if self.life.is_closed() {
            return None;
        }
        self.turns.next(&self.output, &mut self.streams).map(Event::Writable)
    }

    /// Resets streams that were blocked for too long, and looks at the others again after that time.
    fn reset_streams_without_progress(&mut self) {
        let now = self.clock.now();
        while let Some(id) = self.timers.watches().pop(now) {
            let Some(entry) = self.streams.get_mut(id) else { continue };
            let progress = entry.end_watch();
            if entry.wait() == Wait::None {
                continue;
            }
            if progress.is_some_and(|octets| octets < MIN_PROGRESS) {
                self.guard.counters_mut().streams_without_progress += 1;
                self.reset(id, Violation::NoProgress.reason());
                self.events.push_reset(id, Violation::NoProgress);
            } else {
                entry.watch();
                self.timers.watches().push(id);
            }
        }
        self.timers.watches().advance(now, self.config.progress_timeout);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("phase", &self.life.phase())
            .field("shutdown", &self.life.shutdown())
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}
