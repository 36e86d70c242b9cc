//! What goes out of a socket: messages, their pieces, Pings and Pongs (RFC 6455 §6.1).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_sink::Sink;
use sockeye_proto::ws::{self, CloseCode, Message, MessageKind, PingError, SendError, State};

use super::{HEADER, Inner, WebSocket};
use crate::engine::stream::outbox::LEAST_SHARED;
use crate::engine::stream::{Room, StreamHandle};
use crate::error::{Error, Result};

impl WebSocket {
    #[inline]
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, message: &Message) -> Poll<Result> {
        // What happens for nearly every message. A result that is known here is not carried about.
        if self.send_in_place(message) { Poll::Ready(Ok(())) } else { self.poll_send_in_cell(cx, message) }
    }

    /// Sends a message in place; whether it did. The machine refuses a message before it writes any of it.
    #[inline(never)]
    pub(super) fn send_in_place(&mut self, message: &Message) -> bool {
        let Inner { machine, handle, .. } = &mut *self.0;
        let encode = |outbox: &mut BytesMut| encode(machine, message, outbox);
        matches!(handle.append_in_place(message.len() + HEADER, encode), Ok(Ok(())))
    }

    /// Sends a message by the cell, once there is room for it.
    #[inline(never)]
    pub(super) fn poll_send_in_cell(&mut self, cx: &mut Context<'_>, message: &Message) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let size = message.len() + HEADER;
        let sent = ready!(handle.poll_append_in_cell(size, Room::Wait(cx), |outbox| encode(machine, message, outbox)))?;
        Poll::Ready(sent)
    }

    /// Sends a message that is made once there is room for it: who has to wait copies nothing.
    pub(crate) fn poll_send_made(
        &mut self,
        cx: &mut Context<'_>,
        size: usize,
        make: impl FnOnce() -> Message,
    ) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let append = |outbox: &mut BytesMut| encode(machine, &make(), outbox);
        let sent = ready!(handle.poll_append(size + HEADER, Room::Wait(cx), append))?;
        Poll::Ready(sent)
    }

    /// Whether no Close was sent or received.
    pub(crate) fn is_open(&self) -> bool {
        self.0.machine.state() == State::Open
    }

    /// Whether a verb that sends may go on, whichever it is. After a Close was sent or received none does, whatever became of
    /// the stream since (RFC 6455 §5.5.1); before that the stream says what broke it off.
    pub(crate) fn check_open(&self) -> Result {
        if self.is_open() {
            return Ok(());
        }
        if !self.0.handle.is_closing() {
            self.0.handle.check_open()?;
        }
        Err(Error::Closed)
    }

    /// The kind of the message that is being sent in pieces.
    pub(crate) fn unfinished_kind(&self) -> Option<MessageKind> {
        self.0.machine.unfinished_kind()
    }

    /// Sends a piece of a message, or its first, once there is room for it.
    pub(crate) fn poll_send_piece(&mut self, cx: &mut Context<'_>, piece: &Message, is_last: bool) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let size = piece.len() + HEADER;
        let sent = ready!(
            handle.poll_append(size, Room::Wait(cx), |outbox| encode_piece(machine, handle, piece, is_last, outbox))
        )?;
        Poll::Ready(sent)
    }

    /// The same, whatever the room.
    pub(crate) fn send_piece_now(&mut self, piece: &Message, is_last: bool) -> Result {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let size = piece.len() + HEADER;
        handle.append_now(size, |outbox| encode_piece(machine, handle, piece, is_last, outbox))?
    }

    /// Sends a Ping of the application's.
    pub(crate) fn poll_send_ping(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<Result> {
        ready!(self.poll_control(cx, |machine, _| machine.ping(payload)))?;
        if let Some(round_trip) = self.known_round_trip() {
            round_trip.follow(payload);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a Pong of the application's.
    pub(crate) fn poll_send_pong(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<Result> {
        self.poll_control(cx, |machine, _| machine.pong(payload))
    }

    /// Sends what `queue` puts into the machine.
    pub(super) fn poll_control(
        &mut self,
        cx: &mut Context<'_>,
        queue: impl FnOnce(&mut ws::WebSocket, &StreamHandle) -> Result<(), PingError>,
    ) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let sent = ready!(handle.poll_append(0, Room::Wait(cx), |outbox| {
            let queued = queue(machine, handle).map_err(|error| match error {
                PingError::Closed => Error::Closed,
                error => Error::invalid(error),
            });
            machine.poll_transmit(outbox);
            (queued, None)
        }))?;
        Poll::Ready(sent)
    }

    pub(crate) fn poll_flush_outbox(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
        self.0.handle.poll_flush(cx)
    }
}

/// Appends a message, or its head where the payload can follow as it is and is large enough to be worth that.
#[inline]
fn encode(machine: &mut ws::WebSocket, message: &Message, outbox: &mut BytesMut) -> (Result, Option<Bytes>) {
    let sent = if message.len() < LEAST_SHARED {
        machine.send_into(message, outbox).map(|()| None)
    } else {
        machine.send_head_into(message, outbox)
    };
    match sent {
        Ok(payload) => (Ok(()), payload),
        Err(error) => (Err(refused(error)), None),
    }
}

/// Appends a piece of a message, or its head where the payload follows as it is. No group may send between it and the next.
fn encode_piece(
    machine: &mut ws::WebSocket,
    handle: &StreamHandle,
    piece: &Message,
    is_last: bool,
    outbox: &mut BytesMut,
) -> (Result, Option<Bytes>) {
    let sent = machine.send_piece(piece, is_last, outbox).map_err(refused);
    handle.set_fragmenting(machine.unfinished_kind().is_some());
    match sent {
        Ok(Some(payload)) if payload.len() < LEAST_SHARED => {
            outbox.extend_from_slice(&payload);
            (Ok(()), None)
        }
        Ok(payload) => (Ok(()), payload),
        Err(error) => (Err(error), None),
    }
}

/// Why a message or a piece of one was not sent.
fn refused(error: SendError) -> Error {
    match error {
        SendError::Closed => Error::Closed,
        error => Error::invalid(error),
    }
}

/// `flush` waits as [`WebSocket::flush`] does. `close` sends the Close, flushes, and does not wait for the peer's Close: that
/// comes as the end of the [`Stream`](futures_core::Stream). Messages that still arrive before it are dropped: whoever forwards into a
/// socket and awaits answers to the last message closes it after these.
impl<M: Into<Message>> Sink<M> for WebSocket {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.check_open()?;
        self.0.handle.poll_append(0, Room::Wait(cx), |_| ((), None))
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> Result {
        self.check_open()?;
        let message = message.into();
        let Inner { handle, machine, .. } = &mut *self.0;
        handle.append_now(message.len() + HEADER, |outbox| encode(machine, &message, outbox))?
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.poll_flush_outbox(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.start_close(CloseCode::NORMAL, "")?;
        self.poll_flush_outbox(cx)
    }
}
