//! The connection's side of the machine: what comes from the transport and the clock, and how it all ends.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use http::{HeaderName, Request};

use super::response::Framing;
use super::{STREAM, Stream};
use crate::connection_option::is_connection_option;
use crate::h2::{Config, ConnectionError, Counters, Event, Role, StreamId};
use crate::loan::Buffers;
use crate::unread::Unread;
use crate::{Machine, Reason};

/// Octets that a writer that waits may find in the output and go on: as many as HTTP/2's streams add to one output, so that
/// large messages go out as evenly as they come in and while the cache has them.
const BATCH: usize = 48 << 10;

/// One exchange of HTTP/1.1, which may become a tunnel, or a tunnel from the start: see the [module](super).
///
/// In a tunnel octets go both ways as they are. Those that are not read yet are bounded by
/// [`Config::initial_window_size`]: past it the connection [stops](Machine::is_stopped) until they are. Those that wait to be
/// transmitted are bounded by [`Config::max_send_buffer`].
///
/// A response other than a 101 ends the exchange. Where the client and the server would go on with other requests (RFC 9112
/// §9.3), the connection then [is left](Machine::is_left) to whoever serves them, with [what had come](Self::take_rest); else
/// it ends, and what the client still sends is dropped, as much of it as may be unread. Only a stream
/// that is closed, by the end of both halves, can be released without harm: to release or to reset it before closes the
/// connection at once, with what is left to transmit (RFC 6455 §7.1.7).
pub struct Connection {
    pub(super) state: State,
    pub(super) writer: Writer,
    role: Role,
    /// Server: the client goes on with other requests if this one gets no tunnel.
    pub(super) persists: bool,
    /// Octets that may be unread here: what may be received and not read, which is one at least, less those that are to be read
    /// elsewhere. Of a client that was refused, those that may still be dropped.
    pub(super) window: u32,
    /// Octets that may wait to be transmitted: one at least.
    pub(super) max_send_buffer: usize,
    pub(super) date: Option<fn() -> [u8; 29]>,
    /// There while one of them is used.
    pub(super) buffers: Option<Box<Buffers>>,
    pub(super) unread: Unread,
    /// [`Event::Readable`] is to be told, before all others.
    is_readable: bool,
    /// All others, each of which comes once in the life of a tunnel.
    #[expect(
        clippy::box_collection,
        reason = "an idle tunnel has no events, and pays one word for them instead of four"
    )]
    events: Option<Box<VecDeque<Event>>>,
}

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<Connection>() <= 80);

/// How far the connection and its one stream are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Server: the response is to come.
    Asked(Client),
    /// Server: the content of a response that is no tunnel goes out.
    Answering(Framing),
    /// Octets go both ways as they are, in one half or both.
    Tunnel { recv: Half, send: Half },
    /// Both halves have ended, or the client is gone: the connection ends when the stream is released.
    Ended,
    /// The connection is over, and the stream still held.
    Closed(Close),
    /// The connection is over, and the stream released.
    Released(Close),
}

/// How a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Close {
    Orderly,
    /// A tunnel was reset before our half of it had ended.
    Aborted,
}

/// What is known of a client that waits for its response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Client {
    /// It may send. Once it ends its half it has so much time for its response: [`Config::half_close_timeout`].
    Open(Duration),
    /// It has ended its half, and counts as gone at this time.
    HalfClosed(Option<Instant>),
}

/// One direction of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Half {
    Open,
    Ended,
}

/// Whether a `write` took less than it was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Writer {
    /// No: nobody waits to be told of room.
    Idle,
    /// Yes: [`Event::Writable`] follows.
    Waiting,
}

impl Connection {
    /// Server: a connection whose client has sent this request, a GET without content, such as [`Head`](super::Head) has one.
    /// [`Event::Request`] is the first event. Octets behind the request's head go into
    /// [`handle_data`](Machine::handle_data).
    pub fn server(request: Box<Request<()>>, config: &Config, _now: Instant) -> Self {
        let mut connection = Self::new(State::Asked(Client::Open(config.half_close_timeout)), Role::Server, config);
        connection.persists = !is_connection_option(request.headers(), &HeaderName::from_static("close"));
        connection.tell(Event::Request { id: STREAM, request, end_stream: false });
        connection
    }

    /// A connection that was upgraded before, by either side.
    pub fn tunnel(role: Role, config: &Config, _now: Instant) -> Self {
        Self::new(State::Tunnel { recv: Half::Open, send: Half::Open }, role, config)
    }

    fn new(state: State, role: Role, config: &Config) -> Self {
        Self {
            state,
            writer: Writer::Idle,
            role,
            persists: false,
            window: config.initial_window_size.clamp(1, i32::MAX as u32),
            max_send_buffer: config.max_send_buffer.max(1),
            date: config.date,
            buffers: None,
            unread: Unread::default(),
            is_readable: false,
            events: None,
        }
    }

    pub(super) fn buffers(&mut self) -> &mut Buffers {
        self.buffers.get_or_insert_default()
    }

    /// Octets that wait to be transmitted.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.output.len())
    }

    /// Which side of the connection this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether octets go both ways as they are, in one half or both.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel { .. })
    }

    /// What the client had sent behind the exchange, where the connection [is left](Machine::is_left).
    pub fn take_rest(&mut self) -> BytesMut {
        let rest = self.unread.take(batch(&self.buffers), BytesMut::new);
        self.buffers().batch.clear();
        rest
    }

    /// Whether what comes is another exchange's.
    fn is_answered(&self) -> bool {
        matches!(self.state, State::Answering(_) | State::Ended | State::Released(_)) && self.persists
    }

    /// Octets that may still be received before any is read.
    pub(super) fn window(&self) -> usize {
        (self.window as usize).saturating_sub(self.unread.len())
    }

    /// Whether the peer may send octets of the tunnel, or has sent some before it.
    fn is_receiving(&self) -> bool {
        matches!(self.state, State::Asked(Client::Open(_)) | State::Tunnel { recv: Half::Open, .. })
    }

    /// Whether the application may write now or later, if the response is a tunnel or has content.
    fn is_sending(&self) -> bool {
        matches!(self.state, State::Answering(_) | State::Tunnel { send: Half::Open, .. })
    }

    /// Takes octets of the tunnel: they become the batch, or join those that are not read.
    fn receive(&mut self, input: &mut BytesMut) {
        let taken = input.len().min(self.window());
        if taken == 0 {
            return;
        }
        self.end_batch();
        // Before there is a tunnel, nobody knows whose octets they are.
        if self.unread.is_empty() && !matches!(self.state, State::Asked(_)) {
            self.tell_readable();
        }
        let rest = input.len() - taken;
        // What is not taken moves when buffers are exchanged, which must not be the most of it.
        if self.unread.is_empty() && rest <= taken {
            let batch = &mut self.buffers().batch;
            mem::swap(batch, input);
            input.extend_from_slice(&batch[taken..]);
            self.unread.place(0, taken as u32);
        } else {
            self.unread.append(&[], &input[..taken]);
            input.advance(taken);
        }
        self.check();
    }

    /// A client that has been refused may go on sending: a window of it is dropped, and the connection stops until it is over.
    fn drop_input(&mut self, input: &mut BytesMut) {
        if matches!(self.state, State::Answering(_)) {
            // Nobody reads any more: the window is there for nothing else.
            self.window = self.window.saturating_sub(u32::try_from(input.len()).unwrap_or(u32::MAX));
        }
        input.clear();
    }

    fn has_dropped_enough(&self) -> bool {
        matches!(self.state, State::Answering(_)) && self.window == 0
    }

    fn tell(&mut self, event: Event) {
        self.events.get_or_insert_default().push_back(event);
    }

    pub(super) fn tell_readable(&mut self) {
        self.is_readable = true;
    }

    /// What of the batch was not read is kept, and the rest is forgotten.
    fn end_batch(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            self.unread.keep(&buffers.batch);
            buffers.batch.clear();
        }
    }

    /// The peer's half of the exchange is over.
    pub(super) fn finish_recv(&mut self) {
        self.tell(Event::Finished { id: STREAM, trailers: None });
    }

    /// Whether there is room for a writer that waits.
    fn has_turn(&self) -> bool {
        self.writer == Writer::Waiting && self.queued() < BATCH.min(self.max_send_buffer)
    }

    /// Our half of the exchange is over.
    pub(super) fn finish_send(&mut self) {
        self.writer = Writer::Idle;
        // RFC 9112 §8: the client would take another response for the rest of the content. It sees by the end of the
        // connection that it is not whole.
        self.persists &= !matches!(self.state, State::Answering(Framing::Length(left)) if left > 0);
        self.state = match self.state {
            State::Tunnel { recv: Half::Open, .. } => State::Tunnel { recv: Half::Open, send: Half::Ended },
            _ => State::Ended,
        };
    }

    /// Ends the connection. What is left to transmit stays.
    pub(super) fn end(&mut self, error: Option<ConnectionError>) {
        if !self.is_closed() {
            self.state = State::Closed(Close::Orderly);
            self.writer = Writer::Idle;
            self.tell(Event::Closed(error));
        }
    }

    /// Ends the connection if its stream is not closed: at once, with what is left to transmit, unless that is whole.
    pub(super) fn abort(&mut self, error: Option<ConnectionError>) {
        if self.is_stream_closed() {
            return;
        }
        if !matches!(self.state, State::Tunnel { send: Half::Ended, .. }) {
            self.buffers().output = BytesMut::new();
        }
        self.end(error);
    }

    /// Resets a tunnel. One whose half of ours has ended gets the end that is on its way.
    pub(super) fn break_off(&mut self, reason: Reason) {
        let is_cut = matches!(self.state, State::Tunnel { send: Half::Open, .. }) && reason != Reason::NO_ERROR;
        self.abort(None);
        if is_cut {
            self.state = State::Closed(Close::Aborted);
        }
    }

    pub(super) fn is_stream_closed(&self) -> bool {
        matches!(self.state, State::Ended | State::Closed(_) | State::Released(_))
    }

    fn is_released(&self) -> bool {
        matches!(self.state, State::Released(_))
    }

    /// The application is done with the stream.
    pub(super) fn release(&mut self) {
        self.abort(None);
        self.persists &= self.state == State::Ended;
        if !self.persists {
            self.end(None);
            self.unread = Unread::default();
        }
        let close = if let State::Closed(close) = self.state { close } else { Close::Orderly };
        self.state = State::Released(close);
        self.check();
    }

    /// What holds after each verb.
    #[inline]
    pub(super) fn check(&self) {
        debug_assert!(self.unread.len() <= self.window as usize, "no more is taken than may be unread");
        debug_assert!(self.writer == Writer::Idle || self.is_sending(), "only who may write waits for it");
        debug_assert!(
            !self.is_released() || self.unread.is_empty() || self.persists,
            "nobody reads a stream that was released"
        );
        debug_assert!(
            !matches!(self.state, State::Answering(_)) || self.unread.is_empty() || self.persists,
            "what a refused client had sent is dropped"
        );
    }
}

/// The octets handled last.
#[inline]
pub(super) fn batch(buffers: &Option<Box<Buffers>>) -> &[u8] {
    buffers.as_ref().map_or(&[], |buffers| &buffers.batch)
}

impl Machine for Connection {
    type Stream<'a> = Stream<'a>;

    /// Leaves what is more than may be unread, and drops what comes where nothing is received any more.
    #[inline]
    fn handle_data(&mut self, _now: Instant, input: &mut BytesMut) {
        match () {
            () if self.is_receiving() => self.receive(input),
            () if self.is_answered() => {}
            () => self.drop_input(input),
        }
    }

    /// In a tunnel, [`Event::Finished`] follows. A client that waits for its response may read on, or be gone: after
    /// [`Config::half_close_timeout`] [`Event::Reset`] follows, with CANCEL.
    fn handle_eof(&mut self, now: Instant) {
        self.persists &= self.is_released();
        match self.state {
            State::Asked(Client::Open(time)) => {
                self.state = State::Asked(Client::HalfClosed(now.checked_add(time)));
            }
            State::Tunnel { recv: Half::Open, send } => {
                self.state = match send {
                    Half::Open => State::Tunnel { recv: Half::Ended, send },
                    Half::Ended => State::Ended,
                };
                self.finish_recv();
            }
            // A client may end its half and read a response to its end. No other exchange follows, whatever it sent of one.
            State::Answering(_) => self.unread = Unread::default(),
            _ => {}
        }
        self.check();
    }

    fn handle_failure(&mut self, _now: Instant) {
        self.persists = false;
        self.abort(Some(ConnectionError::Eof));
        self.buffers().output = BytesMut::new();
        self.end(None);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.state = State::Ended;
            self.tell(Event::Reset { id: STREAM, reason: Reason::CANCEL, remote: true, violation: None });
        }
    }

    #[inline]
    fn poll_event(&mut self) -> Option<Event> {
        if mem::take(&mut self.is_readable) {
            return Some(Event::Readable(STREAM));
        }
        if let Some(events) = &mut self.events {
            let event = events.pop_front();
            self.events.take_if(|events| events.is_empty());
            return event;
        }
        self.has_turn().then(|| {
            self.writer = Writer::Idle;
            Event::Writable(STREAM)
        })
    }

    #[inline]
    fn poll_transmit(&mut self, output: &mut BytesMut) {
        let is_lent = output.is_empty() && output.capacity() > 0;
        if is_lent {
            // What comes next is put there.
            self.buffers();
        }
        let Some(buffers) = &mut self.buffers else { return };
        if output.is_empty() {
            mem::swap(&mut buffers.output, output);
        } else {
            output.extend_from_slice(&buffers.output);
            buffers.output.clear();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Asked(Client::HalfClosed(at)) => at,
            _ => None,
        }
    }

    #[inline]
    fn is_stopped(&self) -> bool {
        self.is_receiving() && self.window() == 0 || self.is_answered() || self.has_dropped_enough()
    }

    fn is_send_closed(&self) -> bool {
        !matches!(self.state, State::Asked(_)) && !self.is_sending() && !self.is_answered()
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_) | State::Released(_))
    }

    #[inline]
    fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        (id == STREAM && !self.is_released()).then_some(Stream(self))
    }

    fn stream_count(&self) -> usize {
        usize::from(!self.is_released())
    }

    /// A connection of one stream takes no other, and is left to nobody.
    fn drain(&mut self, _now: Instant) {
        self.persists &= self.is_answered();
    }

    fn is_left(&self) -> bool {
        self.is_released() && self.persists
    }

    fn is_aborted(&self) -> bool {
        matches!(self.state, State::Closed(Close::Aborted) | State::Released(Close::Aborted))
    }

    /// HTTP/1.1 has no words for the reason.
    fn close(&mut self, _reason: Reason) {
        self.persists = false;
        self.end(None);
    }

    fn take_batch(&mut self) -> BytesMut {
        self.end_batch();
        let Some(buffers) = &mut self.buffers else { return BytesMut::new() };
        let batch = mem::take(&mut buffers.batch);
        // Between two batches there is nothing to be lent.
        self.buffers.take_if(|buffers| buffers.output.capacity() == 0);
        batch
    }

    /// Nothing is kept: most streams are read where the transport put their octets, and one that is not can make its buffer.
    fn recycle(&mut self, _buffer: BytesMut) {}

    fn shrink(&mut self) {
        drop(self.take_batch());
    }

    /// All of them zero: they count what HTTP/2 allows a peer.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("role", &self.role).field("state", &self.state).finish_non_exhaustive()
    }
}
