use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use sockeye_proto::ws::{Message, MessageKind, Piece};

use crate::error::{Error, Result};
use crate::socket::websocket::Incoming;
use crate::socket::{Receiver, WebSocket};

/// One message that is received in pieces; made by [`WebSocket::recv_stream`] and [`Receiver::recv_stream`].
///
/// A piece is a [`Message`] of the same kind as the whole, and never empty. It is what has come at once, decompressed and
/// unmasked, and 64 KiB at most, except for the first where [`recv`](WebSocket::recv) has begun to receive the message. A piece
/// of text ends between two characters.
///
/// A reader that is dropped early leaves the rest of its message to be skipped by the next call that receives.
pub struct MessageReader<'a> {
    source: Source<'a>,
    kind: MessageKind,
    stage: Stage,
}

/// What is read from.
enum Source<'a> {
    Socket(&'a mut WebSocket),
    Half(&'a mut Receiver),
}

enum Stage {
    /// The message has come whole before it was asked for.
    Whole(Message),
    Reading,
    Ended,
}

/// A message that has begun.
struct Begun {
    kind: MessageKind,
    stage: Stage,
}

impl WebSocket {
    /// The next message, to be read in pieces as they come: however large it is, no more of it is held than its next piece.
    /// `None` once the peer has closed the socket cleanly, or after an error was returned. Calls of this and of
    /// [`recv`](Self::recv) may alternate.
    ///
    /// A message may be of any size, unless
    /// [`max_streamed_message_size`](crate::SocketOptions::max_streamed_message_size) says otherwise; the limits of a whole
    /// message do not hold. While its pieces are not taken its peer is held back by the window of its stream, and no other
    /// socket is. Cancel safe: where the future is dropped before it is ready, no octet is lost.
    ///
    /// ```
    /// # use sockeye::{Result, WebSocket};
    /// # use tokio::io::AsyncWriteExt;
    /// async fn save(mut socket: WebSocket, mut file: tokio::fs::File) -> Result {
    ///     while let Some(mut message) = socket.recv_stream().await? {
    ///         while let Some(piece) = message.next().await? {
    ///             file.write_all(piece.as_bytes()).await?;
    ///         }
    ///         socket.send("saved").await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_>>> {
        let begun = poll_fn(|cx| self.poll_begun(cx)).await?;
        Ok(begun.map(|begun| MessageReader::new(Source::Socket(self), begun)))
    }

    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Begun>>> {
        // A message that a round trip has kept is older than one that is under way, which stays as it is.
        if let Some(message) = self.take_kept() {
            return Poll::Ready(Ok(Some(Begun { kind: message.kind(), stage: Stage::Whole(message) })));
        }
        self.receive_in_pieces();
        loop {
            return Poll::Ready(Ok(match ready!(self.poll_incoming(cx, &mut |_| {}))? {
                Incoming::Message(message) => Some(Begun { kind: message.kind(), stage: Stage::Whole(message) }),
                Incoming::Piece(Piece::Begin(kind)) => Some(Begun { kind, stage: Stage::Reading }),
                Incoming::Piece(Piece::Payload(_) | Piece::End) => {
                    debug_assert!(false, "what was not begun is skipped");
                    continue;
                }
                Incoming::End => None,
            }));
        }
    }

    /// The next piece of the message that has begun; `None` at its end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        // After our Close the machine drops what comes.
        while self.is_open() {
            match self.poll_incoming(cx, &mut |_| {})? {
                Poll::Ready(Incoming::Piece(Piece::Payload(piece))) => return Poll::Ready(Ok(Some(piece))),
                Poll::Ready(Incoming::Piece(Piece::End)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Incoming::End) => return Poll::Ready(Err(Error::Incomplete)),
                Poll::Ready(Incoming::Piece(Piece::Begin(_)) | Incoming::Message(_)) => {
                    debug_assert!(false, "a message ends before the next one begins");
                }
                // Without this the Close of a server that shuts down would leave the reader to wait for the peer's.
                Poll::Pending if self.is_open() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Err(if self.close_frame().is_some() { Error::Incomplete } else { Error::Closed }))
    }
}

impl Receiver {
    /// The next message, to be read in pieces; see [`WebSocket::recv_stream`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_stream(&mut self) -> Result<Option<MessageReader<'_>>> {
        let begun = poll_fn(|cx| self.lock().poll_begun(cx)).await?;
        Ok(begun.map(|begun| MessageReader::new(Source::Half(self), begun)))
    }
}

impl<'a> MessageReader<'a> {
    fn new(source: Source<'a>, Begun { kind, stage }: Begun) -> Self {
        Self { source, kind, stage }
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The next piece; `None` once the message is whole. Cancel safe.
    ///
    /// Pings and the peer's Close are answered while this waits, as while [`recv`](WebSocket::recv) does.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`], and besides [`Error::Incomplete`] where the peer closes the socket before the message is whole,
    /// and [`Error::Closed`] where this side has closed it, as a server does that shuts down.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        let polled = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Whole(message) => return Poll::Ready(Ok(Some(message).filter(|message| !message.is_empty()))),
            Stage::Ended => return Poll::Ready(Ok(None)),
            Stage::Reading => match &mut self.source {
                Source::Socket(socket) => socket.poll_piece(cx),
                Source::Half(half) => half.lock().poll_piece(cx),
            },
        };
        if matches!(polled, Poll::Pending | Poll::Ready(Ok(Some(_)))) {
            self.stage = Stage::Reading;
        }
        polled
    }
}

/// The pieces, until the message is whole.
impl Stream for MessageReader<'_> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_piece(cx).map(Result::transpose)
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind).finish_non_exhaustive()
    }
}
