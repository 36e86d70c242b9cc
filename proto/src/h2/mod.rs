//! HTTP/2 (RFC 9113) with the extended CONNECT (RFC 8441), for both roles.
//!
//! A [`Connection`] does no I/O. Its owner goes round, from top to bottom:
//!
//! 1. octets from the transport go into [`handle_data`](Connection::handle_data), time into
//!    [`handle_timeout`](Connection::handle_timeout);
//! 2. [`poll_event`](Connection::poll_event) says what happened, until it says nothing;
//! 3. the application reads, writes, responds, with the verbs of [`Stream`];
//! 4. [`poll_transmit`](Connection::poll_transmit) yields what to send. Then `poll_event` may have more (streams that
//!    waited for room), and `handle_data` too where [`is_stopped`](Connection::is_stopped) held it back.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use sockeye_proto::h2::{Config, Connection, Event, Role};
//!
//! let now = Instant::now();
//! let mut client = Connection::new(Role::Client, Config::default(), now);
//! let mut server = Connection::new(Role::Server, Config::default(), now);
//!
//! let request = http::Request::get("https://example.com/").body(()).unwrap();
//! let id = client.open(&request, true)?;
//! let mut wire = BytesMut::new();
//! client.poll_transmit(&mut wire);
//! server.handle_data(now, &mut wire);
//! while let Some(event) = server.poll_event() {
//!     if let Event::Request { id, request, .. } = event {
//!         assert_eq!(request.uri().path(), "/");
//!         let mut stream = server.stream(id).unwrap();
//!         stream.respond(&http::Response::new(()), false).unwrap();
//!         stream.write(b"hello", true);
//!         stream.release();
//!     }
//! }
//! server.poll_transmit(&mut wire);
//! client.handle_data(now, &mut wire);
//! assert_eq!(client.stream(id).unwrap().read(), "hello");
//! # Ok::<(), sockeye_proto::h2::OpenError>(())
//! ```

mod config;
mod control;
mod error;
mod event;
mod fields;
mod flow;
mod frame;
mod head;
mod limit;
mod message;
mod recv;
mod send;
mod settings;
mod shutdown;
mod state;
mod stream;
mod timer;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use http::Request;

use self::config::{DEFAULT_WINDOW, MAX_WINDOW};
use self::flow::{RecvWindow, SendWindow, WindowPool};
use self::limit::{Bucket, Overhead};
use self::message::PartialBlock;
use self::shutdown::Shutdown;
use self::state::{ContentLength, Ending, Entry, Exchange, Side, State, Streams, Unread, Wait};
use self::timer::{Timers, deadline};
use crate::hpack::{Decoder, Encoder};
use crate::loan::Buffers;
use crate::uri::request_path;

pub use self::config::{Config, Counters};
pub use self::error::{ConnectionError, OpenError, Scope, SendError, Violation};
pub use self::event::Event;
pub use self::frame::PREFACE;
pub use self::settings::Settings;
pub use self::stream::{Stream, StreamId};
pub use crate::{Rate, Reason};

/// The payload of the PING that asks whether the peer is there.
const KEEP_ALIVE: [u8; 8] = *b"sockeye?";
/// The payload of the PING that goes with the first GOAWAY.
const DRAIN: [u8; 8] = *b"sockeye!";
/// Octets beyond [`Config::max_send_buffer`] that answers and control frames may take before reading stops.
const CONTROL_ROOM: usize = 64 << 10;
/// Octets that a blocked stream has to send within [`Config::progress_timeout`].
const MIN_PROGRESS: u32 = 16 << 10;
/// Octets that are kept of a GOAWAY's additional debug data: enough for a sentence.
const MAX_DEBUG_DATA: usize = 256;
/// Buffers kept for reuse, and octets of each one.
const MAX_SPARES: usize = 1024;
const MAX_SPARE: usize = 256;

/// Which side of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

/// One HTTP/2 connection, without its transport: see the [module](self).
pub struct Connection {
    role: Role,
    config: Config,
    phase: Phase,
    shutdown: Shutdown,
    /// When the connection began, and the latest time known.
    start: Instant,
    now: Instant,
    buffers: Box<Buffers>,

    // Receiving.
    decoder: Decoder,
    /// The slots of the DATA in the [batch](Buffers::batch).
    in_batch: Vec<u32>,
    /// Octets that the last call left in its input.
    unhandled: usize,
    /// A header block without its END_HEADERS.
    partial_block: Option<Box<PartialBlock>>,
    /// Octets received since the connection's window was last credited.
    uncredited: u32,
    pool: WindowPool,
    /// Whether the peer has acknowledged our SETTINGS.
    settings_acknowledged: bool,
    /// The answer of this kind waits in the output; a second one must wait for it to be sent.
    settings_ack_waits: bool,
    ping_ack_waits: bool,
    stopped: bool,

    // Sending.
    encoder: Encoder,
    peer_settings: Settings,
    /// What we may still send on the connection.
    send_window: u32,
    /// No stream's [`SendWindow::difference`] is above this: a change of the initial window needs to look at the streams
    /// only where this does not rule an overflow out.
    max_difference: i32,
    /// No stream that waits for its window has a difference above this, `None` where none waits: a larger initial window
    /// needs to look at the streams only where this says that one could go on.
    max_waiting_difference: Option<i32>,
    /// The streams that wait for their turn to write.
    turns: VecDeque<StreamId>,
    /// What the output held when the first of them got its turn, if one did.
    turns_from: Option<usize>,
    /// Our PINGs that are not answered.
    pings: u32,

    streams: Streams,
    /// The highest stream of the peer, and the highest that we acted on, which is what GOAWAY says.
    last_peer_id: u32,
    last_accepted_id: u32,
    /// The next stream of ours.
    next_id: u32,
    /// What ended the connection otherwise than cleanly.
    error: Option<ConnectionError>,
    /// The last stream and the reason of the peer's GOAWAY.
    peer_goaway: Option<(u32, Reason)>,
    /// What that GOAWAY said besides, cut to [`MAX_DEBUG_DATA`].
    peer_debug_data: Box<[u8]>,
    /// Emptied buffers for the next DATA.
    spares: Vec<BytesMut>,

    events: VecDeque<Event>,
    timers: Timers,
    resets: Bucket,
    settings: Bucket,
    glitches: Bucket,
    overhead: Overhead,
    counters: Counters,
}

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The client's preface is to come.
    Preface,
    /// The peer's first SETTINGS are to come.
    Settings,
    Open,
    /// Nothing is parsed any more.
    Closed,
}

impl Connection {
    /// A connection that begins now: our preface is ready for [`poll_transmit`](Self::poll_transmit) at once.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let mut output = BytesMut::with_capacity(128);
        if role == Role::Client {
            output.extend_from_slice(frame::PREFACE);
        }
        frame::put_settings(&mut output, &settings::ours(role, &config));
        // The window of the connection is as large as can be: what bounds memory are those of the streams.
        frame::put_window_update(&mut output, 0, MAX_WINDOW - DEFAULT_WINDOW);
        let timers = Timers { preface: deadline(now, config.handshake_timeout), ..Timers::default() };
        let mut connection = Self {
            role,
            phase: if role == Role::Server { Phase::Preface } else { Phase::Settings },
            shutdown: Shutdown::No,
            start: now,
            now,
            decoder: Decoder::new(config.max_hpack_len_decoder as usize, head::hard_limits(&config)),
            buffers: Box::new(Buffers { batch: BytesMut::new(), output }),
            in_batch: Vec::new(),
            unhandled: 0,
            partial_block: None,
            uncredited: 0,
            pool: WindowPool::new(&config),
            settings_acknowledged: false,
            settings_ack_waits: false,
            ping_ack_waits: false,
            stopped: false,
            encoder: Encoder::new(config.max_hpack_len_encoder as usize),
            peer_settings: Settings::default(),
            send_window: DEFAULT_WINDOW,
            max_difference: 0,
            max_waiting_difference: None,
            turns: VecDeque::new(),
            turns_from: None,
            pings: 0,
            streams: Streams::new(&config),
            last_peer_id: 0,
            last_accepted_id: 0,
            next_id: if role == Role::Client { 1 } else { 2 },
            error: None,
            peer_goaway: None,
            peer_debug_data: Box::default(),
            spares: Vec::new(),
            events: VecDeque::new(),
            timers,
            resets: Bucket::new(config.resets, now),
            settings: Bucket::new(config.settings, now),
            glitches: Bucket::new(config.glitches, now),
            overhead: Overhead::new(&config, now),
            counters: Counters::default(),
            config,
        };
        connection.restart_keep_alive();
        connection
    }

    /// Takes whole frames off the front of `input` and leaves a partial one: call again with the same buffer, and more
    /// behind. It also leaves what [`is_stopped`](Self::is_stopped) holds back. Once the connection is closed all is
    /// dropped.
    pub fn handle_data(&mut self, now: Instant, input: &mut BytesMut) {
        self.recv(now, input);
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
        let max_streams = self.peer_settings.max_concurrent_streams.unwrap_or(u32::MAX);
        let max_streams = max_streams.min(self.config.max_concurrent_streams);
        if self.phase == Phase::Closed {
            return Err(OpenError::Closed);
        }
        if self.is_going_away() {
            return Err(OpenError::GoingAway);
        }
        let is_extended = request.extensions().get::<crate::Protocol>().is_some();
        // RFC 8441 §3
        if is_extended && !self.peer_settings.enable_connect_protocol {
            return Err(OpenError::ExtendedConnectNotAllowed);
        }
        // RFC 8441 §5: END_STREAM would end the tunnel before it begins.
        if self.role == Role::Server || (is_extended && end_stream) {
            return Err(OpenError::Malformed);
        }
        if self.streams.active() >= max_streams as usize {
            return Err(OpenError::TooManyStreams);
        }
        if self.next_id > MAX_WINDOW {
            return Err(OpenError::StreamIdsUsedUp);
        }
        let path = request_path(request.uri());
        let fields = fields::request_fields(request, &path).ok_or(OpenError::Malformed)?;
        frame::put_headers(&mut self.buffers.output, self.next_id, end_stream, |output| {
            self.encoder.encode(fields, output)
        });
        let send = if end_stream { Side::Ended } else { Side::Body };
        let state = State::Active { recv: Side::Head, send };
        let id = self.insert(self.next_id, state, Exchange::new(request.method()), ContentLength::ANY);
        self.next_id += 2;
        Ok(id)
    }

    /// The verbs of one stream, `None` once it was released.
    #[inline]
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.streams.get(id).is_some().then(|| Stream::new(self, id))
    }

    /// Sends a PING; [`Event::Pong`] says that it was answered.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if self.phase != Phase::Closed {
            self.pings = self.pings.saturating_add(1);
            frame::put_ping(&mut self.buffers.output, payload, false);
        }
    }

    /// What happened, oldest first. `None` until one of the other functions was called.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.next_turn())
    }

    /// Appends all that is to be sent, in order. An empty `output` is exchanged for the full one and used for what
    /// follows, so nothing is copied.
    pub fn poll_transmit(&mut self, output: &mut BytesMut) {
        if output.is_empty() {
            std::mem::swap(&mut self.buffers.output, output);
        } else {
            output.extend_from_slice(&self.buffers.output);
            self.buffers.output.clear();
        }
        self.turns_from = None;
        self.settings_ack_waits = false;
        self.ping_ack_waits = false;
        self.stopped = false;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if it is. May change with every call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Closed { None } else { self.timers.next() }
    }

    /// Whether `handle_data` left frames that were whole: too many answers wait to be sent, or a new stream would be one too
    /// many unless an event frees a place, or 64 events wait to be heard before it. Call it again after
    /// [`poll_transmit`](Self::poll_transmit). A peer that does not read so stops itself.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the connection is over. What is left to transmit should still be sent.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether one of the sides has sent GOAWAY, or drains: no new streams are opened.
    pub fn is_going_away(&self) -> bool {
        self.shutdown != Shutdown::No || self.peer_goaway.is_some()
    }

    /// What ended the connection otherwise than cleanly: what [`Event::Closed`] says.
    pub fn error(&self) -> Option<ConnectionError> {
        self.error
    }

    /// The additional debug data of the peer's last GOAWAY (RFC 9113 §6.8), of which the first 256 octets are kept. Most
    /// often a sentence in UTF-8, but the peer may have put anything there.
    pub fn goaway_debug_data(&self) -> &[u8] {
        &self.peer_debug_data
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
        (self.phase == Phase::Open).then_some(&self.peer_settings)
    }

    /// Client: whether the peer has offered the extended CONNECT (RFC 8441 §3).
    pub fn extended_connect_allowed(&self) -> bool {
        self.role == Role::Client && self.peer_settings.enable_connect_protocol
    }

    /// How often each limit was met.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Gives a buffer that came from [`Stream::read`] back, to be used for what comes next. Optional: it saves an
    /// allocation for each stream and batch. Those of more than 256 octets are dropped, and all beyond 1024.
    pub fn recycle(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        // Its capacity does not count what was read out of its front: that it is small does not say that it holds little.
        let is_large = buffer.try_reclaim(MAX_SPARE + 1);
        if !is_large && buffer.try_reclaim(1) && self.spares.len() < MAX_SPARES {
            self.spares.push(buffer);
        }
    }

    /// The buffer that held what [`handle_data`](Self::handle_data) took last, empty, for what comes next. Optional: it
    /// saves the next batch a buffer. What was not read yet is copied.
    pub fn take_batch(&mut self) -> BytesMut {
        self.end_batch();
        std::mem::take(&mut self.buffers.batch)
    }

    /// Frees what is kept for reuse: emptied buffers, and the room of queues and tables beyond what they hold.
    ///
    /// For a connection that has been quiet for some time, such as a second: what busy ones keep saves an allocation for
    /// each message, and is up to some 330 KiB. Costs next to nothing where there is nothing to free, else at most a look
    /// at each stream.
    pub fn shrink(&mut self) {
        self.spares = Vec::new();
        drop(self.take_batch());
        self.in_batch.shrink_to_fit();
        if self.buffers.output.is_empty() {
            self.buffers.output = BytesMut::new();
        }
        self.events.shrink_to_fit();
        self.turns.shrink_to_fit();
        self.timers.progress.shrink();
        self.streams.shrink();
    }
}

/// What both directions share.
impl Connection {
    fn insert(&mut self, stream_id: u32, state: State, exchange: Exchange, expected: ContentLength) -> StreamId {
        let window = self.config.initial_window_size.min(MAX_WINDOW);
        // RFC 9113 §6.5.3: the peer may not know of a smaller window yet.
        let credit = if self.settings_acknowledged { window } else { window.max(DEFAULT_WINDOW) };
        self.streams.insert(Entry {
            id: stream_id,
            state,
            exchange,
            wait: Wait::None,
            progress: None,
            send_window: SendWindow::default(),
            recv_window: RecvWindow::new(credit, window),
            expected,
            unread: Unread::default(),
        })
    }

    /// Whether we open streams of this number.
    fn is_ours(&self, stream_id: u32) -> bool {
        (stream_id % 2 == 1) == (self.role == Role::Client)
    }

    /// Whether a stream was never opened (RFC 9113 §5.1).
    fn is_idle(&self, stream_id: u32) -> bool {
        if self.is_ours(stream_id) { stream_id >= self.next_id } else { stream_id > self.last_peer_id }
    }

    /// Resets a stream that goes on, without an event.
    fn reset(&mut self, id: StreamId, reason: Reason) {
        let Some(entry) = self.streams.get(id) else { return };
        if !entry.state.is_closed() && self.phase != Phase::Closed {
            self.streams.close(id.slot, Ending::ResetByUs);
            frame::put_rst_stream(&mut self.buffers.output, id.value(), reason);
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("phase", &self.phase)
            .field("shutdown", &self.shutdown)
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}
