//! A socket as a stream of octets, for what asks for one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use sockeye_proto::ws::{CloseCode, Message, MessageKind, Piece};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::error::Error;
use crate::socket::WebSocket;
use crate::socket::websocket::Incoming;

/// Octets of the largest message that one write becomes: as much as waits for a stream before its sender does. Peers that limit
/// messages take it.
const MAX_WRITE: usize = 64 * 1024;

/// A [`WebSocket`] as a stream of octets in binary messages, for codecs, proxies and protocols that ask for
/// [`AsyncRead`] and [`AsyncWrite`]; made by [`WebSocket::into_io`].
///
/// Where one message ends and the next begins has no meaning, and empty ones are skipped. Each write is a message of at most
/// 64 KiB: write through [`tokio::io::BufWriter`] what comes in small parts. Messages are read as they come, however large they
/// are, and no more is held of them than the next piece of 64 KiB.
///
/// # Back-pressure
///
/// A write waits for room as [`WebSocket::send`] does, and a flush as [`WebSocket::flush`]. While nobody reads, the peer is held
/// back by the window of its stream, and no other socket is. Pings and the peer's Close are answered while a read waits, so one
/// should.
///
/// # The end
///
/// The peer's Close is the end of the stream where its code is 1000 or where it has none. Shutting down sends Close 1000 and
/// does not wait for the answer, which the next read does. A WebSocket has no half of its own to close (RFC 6455 §5.5.1): after the
/// Close nothing can be written, and what the peer still sends is dropped. So let a protocol say when it is done in both
/// directions before either side shuts down. A message that was read to its end by then is whole; one that the Close cut off ends
/// with an error. Dropped, it closes as a [`WebSocket`] does.
///
/// # Errors
///
/// | of the socket | [`io::ErrorKind`] |
/// |---|---|
/// | the peer's Close with another code than 1000 | `ConnectionAborted` |
/// | an end without a Close (1006), or within a message | `UnexpectedEof` |
/// | a message of text, which is answered with Close 1003; a broken rule or limit | `InvalidData` |
/// | the stream was reset · its connection went away · a time was over | `ConnectionReset` · `ConnectionAborted` · `TimedOut` |
/// | a write after a Close | `BrokenPipe` |
///
/// [`io::Error::get_ref`] gives the [`Error`], where there is one.
///
/// # Cancel safety
///
/// What tokio says of its functions holds: a `read` or a `write` whose future is dropped before it is ready has taken no octet and
/// sent none.
///
/// ```
/// # use sockeye::{Result, WebSocket};
/// use tokio::net::TcpStream;
///
/// /// What comes from the socket goes to a server, and the other way round.
/// async fn to_database(socket: WebSocket) -> Result {
///     let mut database = TcpStream::connect("127.0.0.1:5432").await?;
///     tokio::io::copy_bidirectional(&mut socket.into_io(), &mut database).await?;
///     Ok(())
/// }
/// ```
pub struct WebSocketIo {
    socket: WebSocket,
    /// Received and not yet read.
    unread: Bytes,
    place: Place,
}

/// Where in the peer's messages the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    Within,
}

impl WebSocket {
    /// The socket as a stream of octets in binary messages, which implements tokio's [`AsyncRead`] and [`AsyncWrite`].
    pub fn into_io(self) -> WebSocketIo {
        WebSocketIo { socket: self, unread: Bytes::new(), place: Place::Between }
    }
}

impl WebSocketIo {
    /// The socket below, to be asked for its subprotocol, its peer, or the peer's Close.
    pub fn get_ref(&self) -> &WebSocket {
        &self.socket
    }

    /// The socket again, with what was received and not yet read. The rest of a message that was read in part is skipped.
    pub fn into_inner(self) -> (WebSocket, Bytes) {
        (self.socket, self.unread)
    }

    /// Waits until there is something unread, or the end.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            if self.place == Place::Between {
                if let Some(message) = self.socket.take_kept() {
                    self.unread = self.octets(message)?;
                    continue;
                }
                self.socket.receive_in_pieces();
            }
            match ready!(self.socket.poll_incoming(cx, &mut |_| {}))? {
                Incoming::Message(message) => self.unread = self.octets(message)?,
                Incoming::Piece(Piece::Begin(kind)) => {
                    self.check(kind)?;
                    self.place = Place::Within;
                }
                Incoming::Piece(Piece::Payload(piece)) => self.unread = self.octets(piece)?,
                Incoming::Piece(Piece::End) => self.place = Place::Between,
                Incoming::End => return Poll::Ready(self.end()),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// After our Close nothing is told of what had come before: whether what was read of a message is all of it shows now.
    fn look_for_end(&mut self) {
        let mut next = self.socket.take_piece();
        if self.unread.is_empty()
            && let Some(Piece::Payload(piece)) = next
        {
            self.unread = piece.into_bytes();
            next = self.socket.take_piece();
        }
        if next == Some(Piece::End) {
            self.place = Place::Between;
        }
    }

    fn octets(&mut self, message: Message) -> io::Result<Bytes> {
        self.check(message.kind())?;
        Ok(message.into_bytes())
    }

    /// RFC 6455 §7.4.1: 1003 is for a type of data that is not accepted.
    fn check(&mut self, kind: MessageKind) -> io::Result<()> {
        match kind {
            MessageKind::Binary => Ok(()),
            MessageKind::Text => {
                self.socket.start_close(CloseCode::UNSUPPORTED_DATA, "binary messages only")?;
                Err(io::Error::new(io::ErrorKind::InvalidData, "a message of text, where octets are read"))
            }
        }
    }

    /// Whether the end is one, of all that was sent.
    fn end(&self) -> io::Result<()> {
        match self.socket.close_frame() {
            Some(frame) if matches!(frame.code, CloseCode::NORMAL | CloseCode::NO_STATUS) => match self.place {
                Place::Between => Ok(()),
                Place::Within => Err(Error::Incomplete.into()),
            },
            Some(frame) => {
                let why = format!("the peer closed the socket with {}: {:?}", frame.code, &*frame.reason);
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
            }
            // An error was returned before.
            None => Err(Error::Abnormal.into()),
        }
    }
}

impl AsyncRead for WebSocketIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unread(cx))?;
        let octets = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread.split_to(octets));
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for WebSocketIo {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_unread(cx))?;
        Poll::Ready(Ok(&this.unread))
    }

    fn consume(mut self: Pin<&mut Self>, octets: usize) {
        self.unread.advance(octets);
    }
}

impl AsyncWrite for WebSocketIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let octets = &octets[..octets.len().min(MAX_WRITE)];
        if !octets.is_empty() {
            ready!(self.socket.poll_send_made(cx, octets.len(), || octets.into()))?;
        }
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.socket.poll_flush_outbox(cx))?))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place == Place::Within {
            self.look_for_end();
        }
        self.socket.start_close(CloseCode::NORMAL, "")?;
        let flushed = ready!(self.socket.poll_flush_outbox(cx));
        // The handshake is complete, whatever becomes of the stream that has done its service.
        Poll::Ready(if self.socket.close_frame().is_some() { Ok(()) } else { Ok(flushed?) })
    }
}

impl fmt::Debug for WebSocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketIo").field("socket", &self.socket).field("unread", &self.unread.len()).finish()
    }
}

/// The error as one of a stream of octets: its kind is what a reader or a writer can act on.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(error) => error.kind(),
            Error::Abnormal | Error::Incomplete => io::ErrorKind::UnexpectedEof,
            Error::Violation { .. } => io::ErrorKind::InvalidData,
            Error::Reset { .. } => io::ErrorKind::ConnectionReset,
            Error::Disconnected | Error::GoAway { .. } => io::ErrorKind::ConnectionAborted,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::Invalid(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
