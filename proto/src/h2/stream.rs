//! One stream.

use bytes::BytesMut;

use super::{Connection, Reason, SendError};

/// A stream, by the RFC's number and by the slot that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId {
    value: u32,
    slot: u32,
}

impl StreamId {
    /// The stream identifier on the wire.
    pub const fn value(self) -> u32 {
        self.value
    }

    /// A small dense index, stable while the stream is held and reused after: an index for a `Vec` of the caller's.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The verbs of one stream.
#[derive(Debug)]
pub struct Stream<'a> {
    #[allow(dead_code)]
    connection: &'a mut Connection,
}

#[allow(unused_variables)]
impl Stream<'_> {
    /// This stream.
    pub fn id(&self) -> StreamId {
        todo!()
    }
    /// All DATA received and unread, by move; gives window credit back.
    pub fn read(&mut self) -> BytesMut {
        todo!()
    }
    /// Octets received and unread.
    pub fn unread(&self) -> usize {
        todo!()
    }
    /// Sends what windows and buffers allow, at most 16 KiB, and says how much that was.
    pub fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        todo!()
    }
    /// Sends the response, or an informational one (1xx).
    pub fn respond(&mut self, response: &http::Response<()>, end_stream: bool) -> Result<(), SendError> {
        todo!()
    }
    /// Sends trailers, which end our side.
    pub fn send_trailers(&mut self, trailers: &http::HeaderMap) -> Result<(), SendError> {
        todo!()
    }
    /// Resets the stream; nothing if it is closed already.
    pub fn reset(&mut self, reason: Reason) {
        todo!()
    }
    /// The application is done with this stream.
    pub fn release(self) {
        todo!()
    }
    /// Whether both sides have ended, or either was reset.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
    /// Whether the peer has ended its side, or the stream was reset.
    pub fn is_recv_closed(&self) -> bool {
        todo!()
    }
    /// Whether we have ended our side, or the stream was reset.
    pub fn is_send_closed(&self) -> bool {
        todo!()
    }
}
