//! A connection of HTTP/1.1 that is asked for one WebSocket.

use std::mem;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};

use super::response::{self, CHUNK_OVERHEAD, Framing};
use crate::h2::{self, Counters, Event, SendError, StreamId};
use crate::loan::{Buffers, HEAD};
use crate::machine::{Machine, Stream};
use crate::{Loan, Reason};

/// The only stream.
pub const STREAM: StreamId = StreamId::new(1, 0);

/// Time for the answer to a client that ended its half behind its request. Some do and read on; nothing tells them from one
/// that is gone, whose request is to be given up at once.
const HALF_CLOSED: Duration = Duration::from_millis(100);

/// Octets that one [`write`](Stream::write) takes at most: as in HTTP/2, so that sockets share a processor evenly.
const QUANTUM: usize = 16 << 10;

/// One exchange, which may become a tunnel: a [`Machine`] of one stream, [`STREAM`]. The connection ends with it.
///
/// In a tunnel the stream's data is what the transport carries, as it is. Where the stream is reset the transport is to be
/// closed, and what was not transmitted yet is dropped (RFC 6455 §7.1.7).
pub struct Connection {
    buffers: Box<Buffers>,
    state: State,
    /// Octets that may be unread before no more are taken.
    window: u32,
    /// Octets to be sent before no more are taken.
    max_send: u32,
    date: Option<fn() -> [u8; 29]>,
    /// When a client that has ended its half before it was answered is taken for gone.
    gone: Option<Instant>,
    events: Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The response is to come.
    Asked { recv: Half },
    /// The last response of this connection is under way: nobody listens to the client any more.
    Answering(Framing),
    Tunnel { recv: Half, send: Half },
    /// Both halves of the stream have ended.
    Ended,
    /// The stream was released, or the connection closed before.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

/// What is to be told, in this order.
#[derive(Default)]
struct Events {
    request: Option<Box<Request<()>>>,
    readable: bool,
    writable: Writable,
    finished: bool,
    reset: bool,
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writable {
    /// Nobody waits.
    #[default]
    Unasked,
    /// Somebody does, for what is to be sent to be taken.
    Waiting,
    Now,
}

/// An idle connection of HTTP/1.1 has one of these.
const _: () = assert!(size_of::<Connection>() <= 96);

impl Connection {
    /// Server: a connection whose client has asked for a WebSocket, by the head that [`RequestHead`](super::RequestHead)
    /// found. What followed the head goes into [`handle_data`](Machine::handle_data).
    pub fn server(request: Box<Request<()>>, config: &h2::Config) -> Self {
        let mut connection = Self::new(config, State::Asked { recv: Half::Open });
        connection.events.request = Some(request);
        connection
    }

    /// A connection that was upgraded before: a tunnel from its beginning, for either role.
    pub fn tunnel(config: &h2::Config) -> Self {
        Self::new(config, State::Tunnel { recv: Half::Open, send: Half::Open })
    }

    fn new(config: &h2::Config, state: State) -> Self {
        Self {
            buffers: Box::default(),
            state,
            window: config.initial_window_size.max(1),
            max_send: u32::try_from(config.max_send_buffer).unwrap_or(u32::MAX).max(1),
            date: config.date,
            gone: None,
            events: Events::default(),
        }
    }

    /// Octets that are received and not read: all that the batch holds, other than in HTTP/2.
    fn unread(&self) -> usize {
        self.buffers.batch.len()
    }

    fn recv(&self) -> Half {
        match self.state {
            State::Asked { recv } | State::Tunnel { recv, .. } => recv,
            State::Answering(_) | State::Ended | State::Closed => Half::Ended,
        }
    }

    fn send(&self) -> Half {
        match self.state {
            State::Asked { .. } | State::Answering(_) => Half::Open,
            State::Tunnel { send, .. } => send,
            State::Ended | State::Closed => Half::Ended,
        }
    }

    /// Whether the application may send octets now.
    fn takes_data(&self) -> bool {
        matches!(self.state, State::Answering(_) | State::Tunnel { send: Half::Open, .. })
    }

    /// Octets that may be sent now.
    fn room(&self) -> usize {
        let left = (self.max_send as usize).saturating_sub(self.buffers.output.len());
        if self.takes_data() { left.min(QUANTUM) } else { 0 }
    }

    fn end_recv(&mut self) {
        self.state = match self.state {
            State::Asked { .. } => State::Asked { recv: Half::Ended },
            State::Tunnel { send: Half::Open, .. } => State::Tunnel { recv: Half::Ended, send: Half::Open },
            State::Tunnel { send: Half::Ended, .. } => State::Ended,
            state => state,
        };
    }

    fn end_send(&mut self) {
        self.state = match self.state {
            State::Tunnel { recv: Half::Open, .. } => State::Tunnel { recv: Half::Open, send: Half::Ended },
            State::Closed => State::Closed,
            _ => State::Ended,
        };
    }

    /// Nothing is said or heard any more.
    fn end(&mut self) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.gone = None;
            self.events.closed = true;
        }
    }

    /// Gives up what was to be said, too.
    fn break_off(&mut self) {
        self.buffers.output.clear();
        self.end();
    }

    fn read(&mut self) -> BytesMut {
        // Copied: the batch is large, and the thread's.
        let read = BytesMut::from(&self.buffers.batch[..]);
        self.buffers.batch.clear();
        read
    }

    fn lend(&mut self, loan: &mut Loan) {
        debug_assert!(loan.kept.is_empty(), "what was lent before is settled");
        loan.room = self.room();
        loan.start = self.buffers.output.len();
        loan.unread = 0..self.buffers.batch.len();
        mem::swap(&mut loan.buffers, &mut self.buffers);
    }

    fn settle(&mut self, loan: &mut Loan) {
        mem::swap(&mut loan.buffers, &mut self.buffers);
        self.buffers.batch.advance(loan.unread.start);
        let output = &mut self.buffers.output;
        if output.len() == loan.start {
            return;
        }
        // The loan leaves room for the head of a frame, which a tunnel of HTTP/1.1 has not.
        if loan.start == 0 {
            output.advance(HEAD.len());
        } else {
            output.copy_within(loan.start + HEAD.len().., loan.start);
            output.truncate(output.len() - HEAD.len());
        }
    }

    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        if !self.takes_data() {
            return 0;
        }
        let taken = data.len().min(self.room());
        let (is_all, data) = (taken == data.len(), &data[..taken]);
        let output = &mut self.buffers.output;
        match self.state {
            State::Answering(Framing::Chunked) if taken > 0 => {
                output.reserve(taken + CHUNK_OVERHEAD);
                response::put_chunk(data, output);
            }
            _ => output.extend_from_slice(data),
        }
        if !is_all {
            self.events.writable = Writable::Waiting;
        } else if end_stream {
            self.finish(None);
        }
        taken
    }

    /// Ends our half.
    fn finish(&mut self, trailers: Option<&HeaderMap>) {
        if self.state == State::Answering(Framing::Chunked) {
            response::put_last_chunk(trailers, &mut self.buffers.output);
        }
        self.events.writable = Writable::Unasked;
        self.end_send();
    }

    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        let State::Asked { recv } = self.state else {
            return Err(if self.send() == Half::Ended { SendError::Closed } else { SendError::OutOfOrder });
        };
        let status = response.status();
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        // RFC 9110 §15.2: an interim response has another behind it.
        if status.is_informational() && end_stream {
            return Err(SendError::OutOfOrder);
        }
        let output = &mut self.buffers.output;
        let date = self.date.filter(|_| !status.is_informational() || switches).map(|now| now());
        if status.is_informational() {
            response::put_switch(response, date.as_ref(), output);
            if switches {
                self.gone = None;
                self.state = State::Tunnel { recv, send: Half::Open };
                self.events.finished = recv == Half::Ended;
            }
            return Ok(());
        }
        let framing = response::put_last(response, end_stream, date.as_ref(), output);
        self.gone = None;
        // What the client says from now on is nothing to anybody.
        self.buffers.batch.clear();
        self.events.readable = false;
        self.state = if end_stream { State::Ended } else { State::Answering(framing) };
        Ok(())
    }

    fn reset(&mut self, reason: Reason) {
        let status = match reason {
            _ if matches!(self.state, State::Ended | State::Closed) => return,
            Reason::INTERNAL_ERROR => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::REFUSED_STREAM => StatusCode::SERVICE_UNAVAILABLE,
            _ => return self.break_off(),
        };
        // A client that was told nothing is told this much.
        let mut response = Response::new(());
        *response.status_mut() = status;
        match self.respond(&response, true) {
            Ok(()) => self.end(),
            Err(_) => self.break_off(),
        }
    }
}

impl Machine for Connection {
    type Stream<'a> = TheStream<'a>;

    fn handle_data(&mut self, _: Instant, input: &mut BytesMut) {
        if self.recv() == Half::Ended {
            return input.clear();
        }
        let was_empty = self.buffers.batch.is_empty();
        let room = self.window as usize - self.unread().min(self.window as usize);
        if was_empty && input.len() <= room {
            // The emptied buffer is for what comes next.
            mem::swap(&mut self.buffers.batch, input);
        } else {
            let taken = input.split_to(input.len().min(room));
            self.buffers.batch.extend_from_slice(&taken);
        }
        self.events.readable |= was_empty && !self.buffers.batch.is_empty();
    }

    fn handle_eof(&mut self, now: Instant) {
        match self.state {
            State::Asked { recv: Half::Open } => self.gone = now.checked_add(HALF_CLOSED),
            State::Tunnel { recv: Half::Open, .. } => self.events.finished = true,
            _ => {}
        }
        self.end_recv();
    }

    fn handle_failure(&mut self, _: Instant) {
        self.break_off();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.gone.is_some_and(|gone| gone <= now) {
            self.events.reset = true;
            self.break_off();
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        let events = &mut self.events;
        if let Some(request) = events.request.take() {
            Some(Event::Request { id: STREAM, request, end_stream: false })
        } else if mem::take(&mut events.readable) {
            Some(Event::Readable(STREAM))
        } else if events.writable == Writable::Now {
            events.writable = Writable::Unasked;
            Some(Event::Writable(STREAM))
        } else if mem::take(&mut events.finished) {
            Some(Event::Finished { id: STREAM, trailers: None })
        } else if mem::take(&mut events.reset) {
            Some(Event::Reset { id: STREAM, reason: Reason::CANCEL, remote: true })
        } else {
            mem::take(&mut events.closed).then_some(Event::Closed(None))
        }
    }

    fn poll_transmit(&mut self, output: &mut BytesMut) {
        if output.is_empty() {
            mem::swap(&mut self.buffers.output, output);
        } else {
            output.extend_from_slice(&self.buffers.output);
            self.buffers.output.clear();
        }
        if self.events.writable == Writable::Waiting {
            self.events.writable = Writable::Now;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.gone
    }

    fn is_stopped(&self) -> bool {
        self.unread() >= self.window as usize && self.recv() == Half::Open
    }

    fn is_send_closed(&self) -> bool {
        self.send() == Half::Ended
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn stream(&mut self, id: StreamId) -> Option<TheStream<'_>> {
        (id == STREAM).then_some(TheStream(self))
    }

    fn stream_count(&self) -> usize {
        usize::from(!self.is_closed())
    }

    fn drain(&mut self, _: Instant) {}

    fn close(&mut self, _: Reason) {
        self.end();
    }

    fn take_batch(&mut self) -> BytesMut {
        // What is not read yet stays, in a buffer that is no larger than it must be.
        let unread = BytesMut::from(&self.buffers.batch[..]);
        let mut batch = mem::replace(&mut self.buffers.batch, unread);
        batch.clear();
        batch
    }

    fn recycle(&mut self, _: BytesMut) {}

    fn shrink(&mut self) {
        drop(self.take_batch());
        if self.buffers.output.is_empty() {
            self.buffers.output = BytesMut::new();
        }
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// The verbs of the only stream.
pub struct TheStream<'a>(&'a mut Connection);

impl Stream for TheStream<'_> {
    fn read(&mut self) -> BytesMut {
        self.0.read()
    }

    fn unread(&self) -> usize {
        self.0.unread()
    }

    fn recv_window(&self) -> i32 {
        let left = (self.0.window as usize).saturating_sub(self.0.unread());
        i32::try_from(left).unwrap_or(i32::MAX)
    }

    #[inline]
    fn lend(&mut self, loan: &mut Loan) {
        self.0.lend(loan);
    }

    #[inline]
    fn settle(&mut self, loan: &mut Loan) {
        self.0.settle(loan);
    }

    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        self.0.write(data, end_stream)
    }

    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        self.0.respond(response, end_stream)
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        match self.0.state {
            State::Answering(_) => {
                self.0.finish(Some(trailers));
                Ok(())
            }
            State::Ended | State::Closed => Err(SendError::Closed),
            State::Asked { .. } | State::Tunnel { .. } => Err(SendError::OutOfOrder),
        }
    }

    fn reset(&mut self, reason: Reason) {
        self.0.reset(reason);
    }

    fn dismiss(&mut self) {}

    fn release(self) {
        match self.0.state {
            State::Ended => self.0.end(),
            State::Closed => {}
            _ => self.0.break_off(),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.0.state, State::Ended | State::Closed)
    }

    fn is_send_closed(&self) -> bool {
        self.0.send() == Half::Ended
    }
}
