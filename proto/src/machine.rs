//! The face that every machine of a connection shows to whoever drives it.

use std::time::Instant;

use bytes::BytesMut;
use http::{HeaderMap, Request, Response};

use crate::h2::{self, Counters, Event, OpenError, SendError, StreamId};
use crate::{Loan, Reason};

/// A connection without its transport: HTTP/2 ([`h2::Connection`]), or one exchange of HTTP/1.1 that may become a tunnel
/// ([`h1::Connection`](crate::h1::Connection)). Whoever drives it goes round as the module [`h2`] says.
pub trait Machine {
    /// The verbs of one stream.
    type Stream<'a>: MachineStream
    where
        Self: 'a;

    /// Takes octets off the front of `input`; it may leave some, most of all when it [stops](Self::is_stopped).
    fn handle_data(&mut self, now: Instant, input: &mut BytesMut);
    /// The peer has ended its half of the transport, behind all that [`handle_data`](Self::handle_data) took.
    fn handle_eof(&mut self, now: Instant);
    /// The transport failed: nothing more comes, and nothing more goes out.
    fn handle_failure(&mut self, now: Instant);
    /// What was due at [`poll_timeout`](Self::poll_timeout) is seen to.
    fn handle_timeout(&mut self, now: Instant);

    /// Client: opens a stream with this request, which more is to follow unless it ends the stream.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A machine of one stream opens none: [`OpenError::TooManyStreams`].
    fn open(&mut self, request: &Request<()>, end_stream: bool) -> Result<StreamId, OpenError> {
        let _ = (request, end_stream);
        Err(OpenError::TooManyStreams)
    }

    /// What happened, oldest first.
    fn poll_event(&mut self) -> Option<Event>;
    /// Appends all that is to be sent; an empty `output` is exchanged for the full one.
    fn poll_transmit(&mut self, output: &mut BytesMut);
    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if it is.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether it takes no more input just now: to be asked again after [`poll_transmit`](Self::poll_transmit), or once the
    /// application has read.
    fn is_stopped(&self) -> bool;
    /// Whether our half of the transport ends behind what is left to transmit, though more may come from the peer.
    fn is_send_closed(&self) -> bool;
    /// Whether the connection is over. What is left to transmit should still be sent.
    fn is_closed(&self) -> bool;

    /// Whether the connection is over while its transport goes on, for somebody else to use it: what is to be transmitted still
    /// goes before, and nothing is shut down.
    fn is_left(&self) -> bool {
        false
    }

    /// Whether the connection was broken off in the middle of what it carried, and its peer is to see that: its transport goes
    /// without an end of its own, TCP by a reset (RFC 9293 §3.10.5).
    fn is_aborted(&self) -> bool {
        false
    }

    /// Whether the peer is known to have received all that streams have sent.
    fn is_all_received(&self) -> bool {
        false
    }

    /// A stream, `None` once it was released.
    fn stream(&mut self, id: StreamId) -> Option<Self::Stream<'_>>;
    /// Streams held: open, or closed and not released.
    fn stream_count(&self) -> usize;

    /// The peer has broken the protocol of a tunnel: counts against a limit where a connection may have many of them.
    fn blame(&mut self, now: Instant) {
        let _ = now;
    }
    /// Takes no new streams; those that there are go on.
    fn drain(&mut self, now: Instant);
    /// Ends the connection, and all of its streams, behind what is to be sent.
    fn close(&mut self, reason: Reason);

    /// The buffer that held what [`handle_data`](Self::handle_data) took last, empty, for what comes next.
    fn take_batch(&mut self) -> BytesMut;
    /// Gives a buffer of [`MachineStream::read`] back.
    fn recycle(&mut self, buffer: BytesMut);
    /// Frees what is kept for reuse.
    fn shrink(&mut self);
    /// How often each limit was met.
    fn counters(&self) -> Counters;
    /// What the peer said when it went away, where its version of HTTP has words for it (RFC 9113 §6.8).
    fn goaway_debug_data(&self) -> &[u8] {
        &[]
    }
}

/// The verbs of one stream of a [`Machine`]; for what they promise see [`h2::Stream`].
pub trait MachineStream {
    /// All octets received and not read yet, to be read elsewhere.
    fn take(&mut self) -> BytesMut;
    /// So many octets of those that were taken have been read: their peer may send as many more.
    fn credit(&mut self, octets: usize);
    /// All octets received and not read yet.
    fn read(&mut self) -> BytesMut {
        let octets = self.take();
        self.credit(octets.len());
        octets
    }
    /// Octets received and not read yet.
    fn unread(&self) -> usize;
    /// Octets that the peer may still send.
    fn recv_window(&self) -> i32;
    /// Whether any octets may be sent now.
    fn has_room(&self) -> bool;
    /// Lends the connection's buffers out until [`settle`](Self::settle).
    fn lend(&mut self, loan: &mut Loan);
    /// Takes the buffers back.
    fn settle(&mut self, loan: &mut Loan);
    /// Sends as much of `data` as there is room for, and says how much that was; [`Event::Writable`] follows where that was
    /// not all.
    fn write(&mut self, data: &[u8], end_stream: bool) -> usize;
    /// Server: sends the response, or an informational one.
    ///
    /// # Errors
    ///
    /// Where the stream is closed, or the response is out of order.
    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError>;
    /// Sends trailers, which end our side.
    ///
    /// # Errors
    ///
    /// As for [`respond`](Self::respond).
    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError>;
    /// Breaks the stream off, unless it is closed already.
    fn reset(&mut self, reason: Reason);
    /// Only the peer's end is awaited: where its place is needed, the stream is broken off.
    fn dismiss(&mut self);
    /// The application is done with the stream.
    fn release(self);
    /// Whether both sides have ended, or the stream was reset.
    fn is_closed(&self) -> bool;
    /// Whether no more data can be sent.
    fn is_send_closed(&self) -> bool;
}

impl Machine for h2::Connection {
    type Stream<'a> = h2::Stream<'a>;

    #[inline]
    fn handle_data(&mut self, now: Instant, input: &mut BytesMut) {
        self.handle_data(now, input);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.handle_eof(now);
    }

    fn handle_failure(&mut self, now: Instant) {
        // Without an octet of the peer's about it, a failure is an end like any other.
        self.handle_eof(now);
    }

    #[inline]
    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    #[inline]
    fn open(&mut self, request: &Request<()>, end_stream: bool) -> Result<StreamId, OpenError> {
        self.open(request, end_stream)
    }

    #[inline]
    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    #[inline]
    fn poll_transmit(&mut self, output: &mut BytesMut) {
        self.poll_transmit(output);
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    #[inline]
    fn is_stopped(&self) -> bool {
        self.is_stopped()
    }

    fn is_all_received(&self) -> bool {
        self.is_all_received()
    }

    #[inline]
    fn is_send_closed(&self) -> bool {
        // HTTP/2 ends its streams, and never half of its transport.
        false
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    #[inline]
    fn stream(&mut self, id: StreamId) -> Option<h2::Stream<'_>> {
        self.stream(id)
    }

    #[inline]
    fn stream_count(&self) -> usize {
        self.stream_count()
    }

    fn blame(&mut self, now: Instant) {
        self.blame(now);
    }

    fn drain(&mut self, now: Instant) {
        self.drain(now);
    }

    fn close(&mut self, reason: Reason) {
        self.close(reason);
    }

    #[inline]
    fn take_batch(&mut self) -> BytesMut {
        self.take_batch()
    }

    #[inline]
    fn recycle(&mut self, buffer: BytesMut) {
        self.recycle(buffer);
    }

    fn shrink(&mut self) {
        self.shrink();
    }

    #[inline]
    fn counters(&self) -> Counters {
        *self.counters()
    }

    fn goaway_debug_data(&self) -> &[u8] {
        self.goaway_debug_data()
    }
}

impl MachineStream for h2::Stream<'_> {
    #[inline]
    fn take(&mut self) -> BytesMut {
        self.take()
    }

    #[inline]
    fn credit(&mut self, octets: usize) {
        self.credit(octets);
    }

    #[inline]
    fn unread(&self) -> usize {
        self.unread()
    }

    #[inline]
    fn recv_window(&self) -> i32 {
        self.recv_window()
    }

    fn has_room(&self) -> bool {
        self.has_room()
    }

    #[inline]
    fn lend(&mut self, loan: &mut Loan) {
        self.lend(loan);
    }

    #[inline]
    fn settle(&mut self, loan: &mut Loan) {
        self.settle(loan);
    }

    #[inline]
    fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        self.write(data, end_stream)
    }

    fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        self.respond(response, end_stream)
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        self.send_trailers(trailers)
    }

    fn reset(&mut self, reason: Reason) {
        self.reset(reason);
    }

    fn dismiss(&mut self) {
        self.dismiss();
    }

    fn release(self) {
        self.release();
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    #[inline]
    fn is_send_closed(&self) -> bool {
        self.is_send_closed()
    }
}
