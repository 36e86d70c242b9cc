//! The face that every machine of a connection shows to whoever drives it.

use std::time::Instant;

use bytes::BytesMut;
use http::{HeaderMap, Request, Response};

use crate::h2::{Counters, Event, OpenError, SendError, StreamId};
use crate::{Loan, Reason};

/// A connection without its transport: HTTP/2 ([`h2::Connection`](crate::h2::Connection)), or one exchange of HTTP/1.1 that
/// may become a tunnel ([`h1::Connection`](crate::h1::Connection)). Whoever drives it goes round as the module
/// [`h2`](crate::h2) says.
pub trait Machine {
    /// The verbs of one stream.
    type Stream<'a>: Stream
    where
        Self: 'a;

    /// Takes octets off the front of `input`; it may leave some, most of all when it [stops](Self::is_stopped).
    fn handle_data(&mut self, now: Instant, input: &mut BytesMut);
    /// The peer has ended its half of the transport.
    fn handle_eof(&mut self, now: Instant);
    /// The transport failed: nothing more comes, and nothing more goes out.
    fn handle_failure(&mut self, now: Instant);
    /// What was due at [`poll_timeout`](Self::poll_timeout) is seen to.
    fn handle_timeout(&mut self, now: Instant);

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

    /// Client: opens a stream and sends `request` on it.
    ///
    /// # Errors
    ///
    /// Where none can be opened; nothing was sent then. A machine of one stream opens none.
    fn open(&mut self, _request: &Request<()>) -> Result<StreamId, OpenError> {
        Err(OpenError::TooManyStreams)
    }
    /// What the peer said besides as it ended the connection.
    fn goaway_debug_data(&self) -> &[u8] {
        &[]
    }
    /// A stream, `None` once it was released.
    fn stream(&mut self, id: StreamId) -> Option<Self::Stream<'_>>;
    /// Streams held: open, or closed and not released.
    fn stream_count(&self) -> usize;

    /// Takes no new streams; those that there are go on.
    fn drain(&mut self, now: Instant);
    /// Ends the connection, and all of its streams, behind what is to be sent.
    fn close(&mut self, reason: Reason);

    /// The buffer that held what [`handle_data`](Self::handle_data) took last, empty, for what comes next.
    fn take_batch(&mut self) -> BytesMut;
    /// Gives a buffer of [`Stream::read`] back.
    fn recycle(&mut self, buffer: BytesMut);
    /// Frees what is kept for reuse.
    fn shrink(&mut self);
    /// How often each limit was met.
    fn counters(&self) -> Counters;
}

/// The verbs of one stream of a [`Machine`]; for what they promise see [`h2::Stream`](crate::h2::Stream).
pub trait Stream {
    /// All octets received and not read yet.
    fn read(&mut self) -> BytesMut;
    /// Octets received and not read yet.
    fn unread(&self) -> usize;
    /// Octets that the peer may still send.
    fn recv_window(&self) -> i32;
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

mod of_http2 {
    use super::*;
    use crate::h2;

    impl Machine for h2::Connection {
        type Stream<'a> = h2::Stream<'a>;

        #[inline]
        fn handle_data(&mut self, now: Instant, input: &mut BytesMut) {
            h2::Connection::handle_data(self, now, input);
        }

        fn handle_eof(&mut self, now: Instant) {
            h2::Connection::handle_eof(self, now);
        }

        fn handle_failure(&mut self, now: Instant) {
            h2::Connection::handle_eof(self, now);
        }

        fn handle_timeout(&mut self, now: Instant) {
            h2::Connection::handle_timeout(self, now);
        }

        #[inline]
        fn poll_event(&mut self) -> Option<Event> {
            h2::Connection::poll_event(self)
        }

        #[inline]
        fn poll_transmit(&mut self, output: &mut BytesMut) {
            h2::Connection::poll_transmit(self, output);
        }

        fn poll_timeout(&self) -> Option<Instant> {
            h2::Connection::poll_timeout(self)
        }

        #[inline]
        fn is_stopped(&self) -> bool {
            h2::Connection::is_stopped(self)
        }

        fn is_send_closed(&self) -> bool {
            self.is_closed()
        }

        #[inline]
        fn is_closed(&self) -> bool {
            h2::Connection::is_closed(self)
        }

        fn open(&mut self, request: &Request<()>) -> Result<StreamId, OpenError> {
            h2::Connection::open(self, request, false)
        }

        fn goaway_debug_data(&self) -> &[u8] {
            h2::Connection::goaway_debug_data(self)
        }

        #[inline]
        fn stream(&mut self, id: StreamId) -> Option<h2::Stream<'_>> {
            h2::Connection::stream(self, id)
        }

        fn stream_count(&self) -> usize {
            h2::Connection::stream_count(self)
        }

        fn drain(&mut self, now: Instant) {
            h2::Connection::drain(self, now);
        }

        fn close(&mut self, reason: Reason) {
            h2::Connection::close(self, reason);
        }

        fn take_batch(&mut self) -> BytesMut {
            h2::Connection::take_batch(self)
        }

        fn recycle(&mut self, buffer: BytesMut) {
            h2::Connection::recycle(self, buffer);
        }

        fn shrink(&mut self) {
            h2::Connection::shrink(self);
        }

        fn counters(&self) -> Counters {
            *h2::Connection::counters(self)
        }
    }

    impl Stream for h2::Stream<'_> {
        fn read(&mut self) -> BytesMut {
            h2::Stream::read(self)
        }

        fn unread(&self) -> usize {
            h2::Stream::unread(self)
        }

        fn recv_window(&self) -> i32 {
            h2::Stream::recv_window(self)
        }

        #[inline]
        fn lend(&mut self, loan: &mut Loan) {
            h2::Stream::lend(self, loan);
        }

        #[inline]
        fn settle(&mut self, loan: &mut Loan) {
            h2::Stream::settle(self, loan);
        }

        fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
            h2::Stream::write(self, data, end_stream)
        }

        fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
            h2::Stream::respond(self, response, end_stream)
        }

        fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
            h2::Stream::send_trailers(self, trailers)
        }

        fn reset(&mut self, reason: Reason) {
            h2::Stream::reset(self, reason);
        }

        fn dismiss(&mut self) {
            h2::Stream::dismiss(self);
        }

        fn release(self) {
            h2::Stream::release(self);
        }

        fn is_closed(&self) -> bool {
            h2::Stream::is_closed(self)
        }

        fn is_send_closed(&self) -> bool {
            h2::Stream::is_send_closed(self)
        }
    }
}
