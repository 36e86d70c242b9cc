//! One stream of a connection.

use bytes::BytesMut;
use sockeye_proto::h2::StreamId;

use super::super::plan::Task;
use super::super::socket::Socket;

/// One stream.
pub(super) struct Tunnel {
    pub(super) id: StreamId,
    pub(super) state: State,
    /// Octets of frames that windows held back.
    pub(super) unsent: Option<Box<BytesMut>>,
}

pub(super) enum State {
    /// The request was sent, at this time in nanoseconds.
    Asked {
        since: u64,
        number: u32,
        task: Task,
    },
    Open(Socket),
    /// Both Closes are done, and our END_STREAM is sent.
    Closed,
}

/// A load of a million sockets has a million of these.
const _: () = assert!(size_of::<Option<Tunnel>>() <= 232);
