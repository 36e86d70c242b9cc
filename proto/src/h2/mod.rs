//! HTTP/2 (RFC 9113) with the extended CONNECT (RFC 8441), for both roles.

mod config;
mod error;
mod settings;
mod stream;

use std::time::Instant;

use bytes::BytesMut;

pub use config::{Config, Counters, Rate};
pub use error::{ConnectionError, OpenError, Reason, Scope, SendError, Violation};
pub use settings::Settings;
pub use stream::{Stream, StreamId};

/// Which side of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

/// One HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {}

#[allow(unused_variables)]
impl Connection {
    /// A connection that begins now: our preface is ready for [`poll_transmit`](Self::poll_transmit).
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        todo!()
    }
    /// Takes whole frames off the front of `input`; see [`is_stopped`](Self::is_stopped).
    pub fn handle_data(&mut self, now: Instant, input: &mut BytesMut) {
        todo!()
    }
    /// The transport has ended.
    pub fn handle_eof(&mut self, now: Instant) {
        todo!()
    }
    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    /// Client: opens a stream.
    pub fn open(&mut self, request: &http::Request<()>, end_stream: bool) -> Result<StreamId, OpenError> {
        todo!()
    }
    /// One stream, `None` once released.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        todo!()
    }
    /// Sends a PING, answered by [`Event::Pong`].
    pub fn ping(&mut self, payload: [u8; 8]) {
        todo!()
    }
    /// Begins a graceful end.
    pub fn drain(&mut self, now: Instant) {
        todo!()
    }
    /// Ends the connection at once, by GOAWAY.
    pub fn close(&mut self, reason: Reason) {
        todo!()
    }
    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// Appends everything to send.
    pub fn poll_transmit(&mut self, output: &mut BytesMut) {
        todo!()
    }
    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Whether reading waits for the next `poll_transmit`.
    pub fn is_stopped(&self) -> bool {
        todo!()
    }
    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
    /// The peer's settings, once they have come.
    pub fn peer_settings(&self) -> Option<&Settings> {
        todo!()
    }
    /// Client: whether the peer has offered the extended CONNECT.
    pub fn extended_connect_allowed(&self) -> bool {
        todo!()
    }
    /// How often each limit was met.
    pub fn counters(&self) -> &Counters {
        todo!()
    }
    /// Gives a buffer of [`Stream::read`] back for reuse; optional.
    pub fn recycle(&mut self, buffer: BytesMut) {
        todo!()
    }
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// Server: a request came. An extended CONNECT has a [`Protocol`](crate::Protocol) among its extensions.
    Request {
        /// Its stream.
        id: StreamId,
        /// Its header.
        request: Box<http::Request<()>>,
        /// Whether nothing follows.
        end_stream: bool,
    },
    /// Client: a response came, or an informational one (1xx), which another follows.
    Response {
        /// Its stream.
        id: StreamId,
        /// Its header.
        response: Box<http::Response<()>>,
        /// Whether nothing follows.
        end_stream: bool,
    },
    /// [`Stream::unread`] went from zero to more.
    Readable(StreamId),
    /// The peer has ended its side; unread data may remain.
    Finished {
        /// The stream.
        id: StreamId,
        /// The trailers, if any came.
        trailers: Option<Box<http::HeaderMap>>,
    },
    /// The stream, whose [`write`](Stream::write) had taken less than it was offered, may write more.
    Writable(StreamId),
    /// The stream is dead; data that had arrived stays readable until it is released.
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        reason: Reason,
        /// By the peer, or by us for its fault.
        remote: bool,
    },
    /// The peer's SETTINGS were applied, the first or a change.
    Settings,
    /// A PING of ours was answered.
    Pong([u8; 8]),
    /// The peer takes no stream of ours above `last`.
    GoAway {
        /// The last stream it may have acted on.
        last: u32,
        /// Why.
        reason: Reason,
    },
    /// The connection is over: the last event.
    Closed(Option<ConnectionError>),
}
