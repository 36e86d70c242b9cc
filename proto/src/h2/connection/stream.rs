//! One stream, as its application sees it.

use bytes::BytesMut;
use http::{HeaderMap, Response};

use super::Connection;
use crate::Loan;
use crate::h2::streams::{Entry, Side};
use crate::h2::{Reason, SendError};

/// A stream: its number, and the slot that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId {
    value: u32,
    pub(in crate::h2) slot: u32,
}

impl StreamId {
    pub(crate) const fn new(value: u32, slot: u32) -> Self {
        Self { value, slot }
    }

    /// The stream identifier on the wire (RFC 9113 §5.1.1).
    pub const fn value(self) -> u32 {
        self.value
    }

    /// A small dense index, stable while the stream is held and reused after it was released: an index for a `Vec` of
    /// the caller's.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The verbs of one stream, from [`Connection::stream`].
pub struct Stream<'a> {
    connection: &'a mut Connection,
    id: StreamId,
}

impl<'a> Stream<'a> {
    /// The stream must be held.
    pub(super) fn new(connection: &'a mut Connection, id: StreamId) -> Self {
        Self { connection, id }
    }

    fn entry(&self) -> &Entry {
        self.connection.streams.slot(self.id.slot)
    }

    /// Which stream this is.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// All DATA received and not read yet, by move. This is what gives window credit back to the peer (RFC 9113 §6.9).
    pub fn read(&mut self) -> BytesMut {
        crate::MachineStream::read(self)
    }

    /// All DATA received and not read yet, by move, for a reader elsewhere. The connection's window has them back, and the stream's
    /// by [`credit`](Self::credit), once they are read: until then the peer may send that much less on this stream
    /// (RFC 9113 §5.2.1).
    pub fn take(&mut self) -> BytesMut {
        self.connection.take(self.id)
    }

    /// So many octets of those that were [taken](Self::take) have been read: gives the peer of the stream credit for them
    /// (RFC 9113 §6.9). Nothing happens where the peer has ended its side.
    pub fn credit(&mut self, octets: usize) {
        self.connection.credit(self.id, octets);
    }

    /// Lends the connection's own buffers out: what was received and not read, where it stands, and room for one DATA frame
    /// in what is to be sent. [`settle`](Self::settle) must follow before anything else is done with the connection; then
    /// what was read off the loan gives window credit back, and what was put into it is sent.
    ///
    /// Unlike [`write`](Self::write) this waits for no room: no [`Event::Writable`](crate::h2::Event::Writable) follows.
    #[inline]
    pub fn lend(&mut self, loan: &mut Loan) {
        self.connection.lend(self.id, loan);
    }

    /// Takes the buffers of [`lend`](Self::lend) back.
    #[inline]
    pub fn settle(&mut self, loan: &mut Loan) {
        self.connection.settle(self.id, loan);
    }

    /// Octets received and not read yet.
    pub fn unread(&self) -> usize {
        self.entry().unread()
    }

    /// Octets of DATA that the peer may still send (RFC 9113 §6.9): negative after our own decrease of the initial window.
    pub fn recv_window(&self) -> i32 {
        self.entry().recv_credit()
    }

    /// Whether windows and buffers allow to send anything now.
    pub fn has_room(&self) -> bool {
        self.connection.room(self.id) > 0
    }

    /// Sends what windows and buffers allow of `data` in one DATA frame, at most 16 KiB, and returns how much that was.
    ///
    /// END_STREAM goes with the last octet, only when all was taken; `write(&[], true)` ends a side without more data.
    /// Whenever less was taken than offered, [`Event::Writable`](crate::h2::Event::Writable) follows once more may be written and
    /// its turn has come: streams that wait share 48 KiB of each [`poll_transmit`](Connection::poll_transmit). A stream whose
    /// side is ended or reset takes nothing, and no event follows. The header must have been sent.
    pub fn write(&mut self, data: &[u8], end_stream: bool) -> usize {
        self.connection.write(self.id, data, end_stream)
    }

    /// Server: sends the response, or an informational one (1xx), which the response follows.
    ///
    /// Fields that speak of a connection of HTTP/1.1, or that `Connection` names, are left out (RFC 9113 §8.2.2), a
    /// `content-length` where RFC 9110 §8.6 allows none, and the white space about values (RFC 9113 §8.2.1). Where there can
    /// be no content (204, 205, 304, whatever answers HEAD), the response ends the stream, whatever `end_stream` says.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a reset, [`SendError::OutOfOrder`] after the response or for 101, or where an
    /// informational response would end the stream.
    pub fn respond(&mut self, response: &Response<()>, end_stream: bool) -> Result<(), SendError> {
        self.connection.respond(self.id, response, end_stream)
    }

    /// Sends trailers, which end our side (RFC 9113 §8.1). All data must have been taken by [`write`](Self::write). Of their
    /// fields the same are left out as of a response's.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end or a reset, [`SendError::OutOfOrder`] before the header, or in the tunnel
    /// of a CONNECT, which has none (RFC 9113 §8.5).
    pub fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        self.connection.send_trailers(self.id, trailers)
    }

    /// Sends RST_STREAM, unless the stream is closed already. It still is to be released.
    pub fn reset(&mut self, reason: Reason) {
        self.connection.reset(self.id, reason);
    }

    /// The application has ended its side and awaits only the peer's end, which some peers never send: where a new stream
    /// would be one too many, this one is reset with NO_ERROR to make place for it (RFC 9113 §8.1), and
    /// [`Event::Reset`](crate::h2::Event::Reset) follows. To be called once; a client's stream makes place for nothing.
    pub fn dismiss(&mut self) {
        debug_assert!(self.is_send_closed(), "a stream is dismissed once all of it is sent");
        if !self.is_closed() {
            self.connection.streams.dismiss(self.id);
        }
    }

    /// The application is done with this stream: its slot may be reused, unread data is dropped.
    ///
    /// A stream that is not closed is reset: with NO_ERROR where a server has ended an ordinary response early (RFC 9113
    /// §8.1), else with CANCEL.
    pub fn release(self) {
        self.connection.release(self.id);
    }

    /// Whether both sides have ended, or the stream was reset.
    pub fn is_closed(&self) -> bool {
        self.entry().state().is_closed()
    }

    /// Whether no more data will come. Unread data may remain.
    pub fn is_recv_closed(&self) -> bool {
        self.entry().state().recv() == Side::Ended
    }

    /// Whether no more data can be sent.
    pub fn is_send_closed(&self) -> bool {
        self.entry().state().send() == Side::Ended
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).field("state", &self.entry().state()).finish()
    }
}
