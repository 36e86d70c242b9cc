//! What a connection tells its application.

use http::{HeaderMap, Request, Response};

use super::{ConnectionError, Reason, StreamId, Violation};

/// What happened on a connection, from [`Connection::poll_event`](super::Connection::poll_event).
///
/// It is exhaustive on purpose: an event more is for whoever runs a connection to act on, and so a new major version.
#[derive(Debug)]
pub enum Event {
    /// Server: a request came.
    ///
    /// An extended CONNECT has its `:protocol` as a [`Protocol`](crate::Protocol) among the request's extensions.
    Request {
        /// Its stream.
        id: StreamId,
        /// Its header; cookie crumbs are joined, and `:authority` (or else `host`) is in the URI.
        request: Box<Request<()>>,
        /// Whether nothing follows; no [`Finished`](Self::Finished) comes then.
        end_stream: bool,
    },
    /// Client: a response came, or an informational one (1xx), which another follows.
    Response {
        /// Its stream.
        id: StreamId,
        /// Its header.
        response: Box<Response<()>>,
        /// Whether nothing follows; no [`Finished`](Self::Finished) comes then.
        end_stream: bool,
    },
    /// [`Stream::unread`](super::Stream::unread) went from zero to more. Not repeated until it has been read.
    Readable(StreamId),
    /// The peer has ended its side by END_STREAM; unread data may remain.
    Finished {
        /// The stream.
        id: StreamId,
        /// The trailers, if any came.
        trailers: Option<Box<HeaderMap>>,
    },
    /// The stream, whose [`write`](super::Stream::write) had taken less than it was offered, may write more. Best done at
    /// once: whether the next stream is told depends on the room that is left of the batch.
    Writable(StreamId),
    /// The stream is dead. Data that had arrived stays readable until the stream is released.
    Reset {
        /// The stream.
        id: StreamId,
        /// Why. REFUSED_STREAM says that nothing was done: it may be tried again elsewhere.
        reason: Reason,
        /// Whether the peer did it.
        remote: bool,
        /// The rule that the peer broke, or the limit that it passed, where we did it for that.
        violation: Option<Violation>,
    },
    /// The peer's SETTINGS were applied: its first ones, or a change.
    Settings,
    /// A [`ping`](super::Connection::ping) was answered.
    Pong([u8; 8]),
    /// The peer sent GOAWAY: it takes no stream of ours above `last`. Those that are open get a [`Reset`](Self::Reset)
    /// with REFUSED_STREAM (RFC 9113 §6.8).
    GoAway {
        /// The last stream of ours that it may have acted on.
        last: u32,
        /// Why.
        reason: Reason,
    },
    /// The connection is over: comes once, as the last event. What is left to transmit should still be sent.
    Closed(Option<ConnectionError>),
}

/// Events are moved for every message.
const _: () = assert!(size_of::<Event>() <= 24);
