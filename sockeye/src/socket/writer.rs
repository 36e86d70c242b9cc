use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockeye_proto::ws::{CloseCode, Message, MessageKind};

use crate::error::{Error, Result};
use crate::socket::{Sender, WebSocket};

/// What a Close says of a message that its writer left unfinished.
const UNFINISHED: &str = "a message was not finished";

/// One message that is sent in pieces; made by [`WebSocket::send_stream`] and [`Sender::send_stream`].
///
/// Each piece is sent at once, as a fragment of its own (RFC 6455 §5.4). Pings and Pongs may go between them, other messages
/// cannot: what a [`Group`](crate::Group) sends meanwhile waits for the end of this one.
///
/// A message that has begun ends with [`finish`](Self::finish). Without it nobody could tell what was sent from a whole message
/// that is slow to come, so a writer that is dropped before closes the socket with 1011. One that has sent nothing leaves
/// nothing.
#[must_use = "a message begins with its first piece and ends with `finish`"]
pub struct MessageWriter<'a> {
    target: Target<'a>,
    kind: MessageKind,
    stage: Stage,
}

/// How far the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent.
    New,
    Begun,
    Finished,
}

/// What is written to.
enum Target<'a> {
    Socket(&'a mut WebSocket),
    Half(&'a mut Sender),
}

impl WebSocket {
    /// A message to be sent in pieces, of any size; nothing is sent before its first piece.
    ///
    /// ```
    /// # use sockeye::{MessageKind, Result, WebSocket};
    /// async fn count(socket: &mut WebSocket) -> Result {
    ///     let mut message = socket.send_stream(MessageKind::Text);
    ///     for number in 0..1_000_000 {
    ///         message.write(format!("{number}\n")).await?;
    ///     }
    ///     message.finish().await
    /// }
    /// ```
    ///
    /// A peer may limit into how many fragments a message is cut, as Sockeye does for whole messages: pieces of some kilobytes
    /// are welcome everywhere. With [compression](crate::SocketOptions::deflate) the message is compressed if its first
    /// piece has [`min_size`](crate::Deflate::min_size).
    pub fn send_stream(&mut self, kind: MessageKind) -> MessageWriter<'_> {
        MessageWriter { target: Target::Socket(self), kind, stage: Stage::New }
    }
}

impl Sender {
    /// A message to be sent in pieces; see [`WebSocket::send_stream`].
    pub fn send_stream(&mut self, kind: MessageKind) -> MessageWriter<'_> {
        MessageWriter { target: Target::Half(self), kind, stage: Stage::New }
    }
}

impl MessageWriter<'_> {
    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Sends a piece, once there is room for it: while the peer does not read, this waits. An empty piece is not sent. Cancel
    /// safe: where the future is dropped before it is ready, nothing of the piece was sent.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the piece is text and the message is binary, or the other way round; otherwise as
    /// [`WebSocket::send`].
    pub fn write(&mut self, piece: impl Into<Message>) -> impl Future<Output = Result> {
        let piece = piece.into();
        poll_fn(move |cx| self.poll_write(cx, &piece))
    }

    /// Ends the message, which then is whole. This waits for nothing, unless the message is empty. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn finish(mut self) -> Result {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, piece: &Message) -> Poll<Result> {
        self.check(piece)?;
        if piece.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.with(|socket| socket.poll_send_piece(cx, piece, false)))?;
        self.stage = Stage::Begun;
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
        let last = Message::empty(self.kind);
        match self.stage {
            Stage::New => {
                self.check(&last)?;
                ready!(self.with(|socket| socket.poll_send_piece(cx, &last, true)))?;
            }
            // It takes a few octets, for each message whose first piece had to wait for room.
            Stage::Begun => self.with(|socket| socket.send_piece_now(&last, true))?,
            Stage::Finished => {}
        }
        self.stage = Stage::Finished;
        Poll::Ready(Ok(()))
    }

    /// Whether a piece may be sent as one of this message.
    fn check(&mut self, piece: &Message) -> Result {
        self.with(|socket| socket.check_open())?;
        if piece.kind() != self.kind {
            return Err(Error::invalid("the pieces of a message are all text, or all binary"));
        }
        let other = self.with(|socket| socket.unfinished_kind());
        match self.stage {
            Stage::New if other.is_some() => {
                Err(Error::invalid("a message whose writer was forgotten is not finished"))
            }
            Stage::New | Stage::Begun => Ok(()),
            Stage::Finished => Err(Error::invalid("the message is finished")),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut WebSocket) -> T) -> T {
        match &mut self.target {
            Target::Socket(socket) => act(socket),
            Target::Half(half) => act(&mut half.lock()),
        }
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Begun {
            // Where this fails the stream has broken off, and there is nobody to tell.
            let _ = self.with(|socket| socket.start_close(CloseCode::INTERNAL_ERROR, UNFINISHED));
        }
    }
}

/// `flush` waits as [`WebSocket::flush`] does; `close` [finishes](MessageWriter::finish) the message and flushes it.
impl<M: Into<Message>> Sink<M> for MessageWriter<'_> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.with(|socket| Sink::<Message>::poll_ready(Pin::new(socket), cx))
    }

    fn start_send(mut self: Pin<&mut Self>, piece: M) -> Result {
        let piece = piece.into();
        self.check(&piece)?;
        if !piece.is_empty() {
            self.with(|socket| socket.send_piece_now(&piece, false))?;
            self.stage = Stage::Begun;
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.with(|socket| socket.poll_flush_outbox(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        ready!(self.poll_finish(cx))?;
        self.with(|socket| socket.poll_flush_outbox(cx))
    }
}

impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter").field("kind", &self.kind).finish_non_exhaustive()
    }
}
