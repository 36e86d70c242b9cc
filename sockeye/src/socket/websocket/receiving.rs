//! What comes of a socket: messages, and what the machine has to tell or to answer (RFC 6455 §5 and §6.2).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use sockeye_proto::ws::{self, CloseCode, Event, Message, Piece};

use super::{Inner, WebSocket};
use crate::engine::budget::{self, Verdict};
use crate::engine::link::MIN_PROGRESS;
use crate::engine::metrics::Counter;
use crate::engine::slice;
use crate::engine::stream::{Input, Notice, Room};
use crate::error::Result;

impl WebSocket {
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        self.poll_recv_with(cx, |_| {})
    }

    #[inline]
    pub(crate) fn poll_recv_with(
        &mut self,
        cx: &mut Context<'_>,
        mut on_pong: impl FnMut(Bytes),
    ) -> Poll<Result<Option<Message>>> {
        ready!(slice::poll_go_on(cx));
        // What happens for nearly every message: it is there, and after it nothing is.
        if self.0.machine.is_at_rest() && self.0.input.capacity() == 0 {
            match self.read_in_place() {
                Some(Some(message)) => return Poll::Ready(Ok(Some(message))),
                None if self.0.handle.is_listening(cx) => return Poll::Pending,
                None => return self.poll_recv_in_cell(cx, &mut on_pong),
                Some(None) => {}
            }
        }
        self.poll_event(cx, &mut on_pong)
    }

    /// Takes what waits in the cell, where the machine is at rest and nothing is left in place: nearly always that is one message,
    /// or nothing yet.
    #[inline(never)]
    pub(super) fn poll_recv_in_cell(
        &mut self,
        cx: &mut Context<'_>,
        on_pong: &mut dyn FnMut(Bytes),
    ) -> Poll<Result<Option<Message>>> {
        let Inner { machine, handle, input, .. } = &mut *self.0;
        let read = |octets: &mut [u8]| machine.handle_in_place(crate::engine::now, octets);
        match ready!(handle.poll_read_few(cx, input, read)).flatten() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_event(cx, on_pong),
        }
    }

    /// Goes on until there is a whole message, or the end.
    pub(super) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        on_pong: &mut dyn FnMut(Bytes),
    ) -> Poll<Result<Option<Message>>> {
        // Of a message whose reader has gone away the rest is skipped.
        self.0.machine.receive_whole();
        self.poll_incoming(cx, on_pong).map_ok(|incoming| match incoming {
            Incoming::Message(message) => Some(message),
            Incoming::Piece(_) | Incoming::End => None,
        })
    }

    /// The next step of a message that is received in pieces, if it is there.
    pub(crate) fn take_piece(&mut self) -> Option<Piece> {
        self.0.machine.poll_piece()
    }

    /// Goes on until there is something for the application.
    pub(crate) fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
        on_pong: &mut dyn FnMut(Bytes),
    ) -> Poll<Result<Incoming>> {
        loop {
            // Before the event, which a piece makes that breaks a rule.
            if let Some(piece) = self.take_piece() {
                if let Piece::Payload(piece) = &piece {
                    slice::spend_octets(cx, piece.len());
                }
                return Poll::Ready(Ok(Incoming::Piece(piece)));
            }
            match self.0.machine.poll_event() {
                Some(Event::Message(message)) => {
                    slice::spend_octets(cx, message.len());
                    self.0.handle.link().budget.release(&mut self.0.ticket);
                    self.put_back_kept();
                    return Poll::Ready(Ok(Incoming::Message(message)));
                }
                Some(Event::Pong(payload)) => {
                    if !self.take_pong(&payload) {
                        on_pong(payload);
                    }
                    continue;
                }
                Some(event @ (Event::Close(_) | Event::Failed(_) | Event::Eof)) => {
                    return Poll::Ready(self.end(event).map(|()| Incoming::End));
                }
                None if self.0.ended => return Poll::Ready(Ok(Incoming::End)),
                None => {}
            }
            if self.0.machine.is_transmit_pending() {
                self.answer(cx);
            }
            ready!(slice::poll_go_on(cx));
            if !self.0.input.is_empty() {
                self.0.machine.handle_data(crate::engine::now, &mut self.0.input);
                continue;
            }
            let verdict = self.hold_unfinished(cx);
            // Of a stream that has ended no more comes than what is there.
            if matches!(verdict, Verdict::Wait | Verdict::StillWait) && !self.0.handle.is_ended(cx) {
                return Poll::Pending;
            }
            match self.read_in_place() {
                Some(Some(message)) => return Poll::Ready(Ok(Incoming::Message(message))),
                Some(None) => continue,
                None => {}
            }
            let received = self.0.handle.poll_read(cx, &mut self.0.input);
            if received.is_pending() && verdict == Verdict::GiveUp {
                self.0.machine.give_up();
                continue;
            }
            if received.is_pending() && self.lacks_progress() {
                self.0.machine.time_out();
                continue;
            }
            match ready!(received) {
                Ok(Input::Octets) => {}
                Ok(Input::End) => self.0.machine.handle_eof(),
                Ok(Input::Notice(Notice::GoingAway)) => self.start_close(CloseCode::GOING_AWAY, "")?,
                Ok(Input::Notice(Notice::TooSlow)) => self.0.machine.give_up_slow(),
                Err(error) => {
                    self.give_up();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Sends what the machine has to answer, or waits for room to.
    pub(super) fn answer(&mut self, cx: &Context<'_>) {
        let Inner { machine, handle, .. } = &mut *self.0;
        // Where nothing can be sent any more, nobody awaits an answer.
        let _ = handle.poll_append(0, Room::Answer(cx), |outbox| (machine.poll_transmit(outbox), None));
    }

    /// Books what is held of a message that is not whole, and asks whether more of it may be taken.
    pub(super) fn hold_unfinished(&mut self, cx: &Context<'_>) -> Verdict {
        let Inner { machine, handle, ticket, .. } = &mut *self.0;
        let message = machine.unfinished();
        let message = message.map(|ws::Unfinished { held, spare, announced, is_last, .. }| budget::Message {
            held,
            spare,
            announced,
            is_last,
        });
        match message {
            Some(message) if handle.link().budget.counts(ticket, message) => {
                let link = handle.link();
                let verdict = link.budget.hold(cx, ticket, message, link.backlog());
                if verdict == Verdict::Wait {
                    link.metrics().count(Counter::UnfinishedMessagesWaited);
                }
                verdict
            }
            _ => Verdict::Go,
        }
    }

    /// Whether the peer had its time for what is under way, and too little came. Until then its progress is watched: by periods,
    /// each of which begins when something is waited for.
    fn lacks_progress(&mut self) -> bool {
        let Inner { machine, handle, .. } = &mut *self.0;
        if !machine.is_midway() || handle.is_watched() {
            return false;
        }
        let is_over = machine.progress().is_some_and(|octets| octets < MIN_PROGRESS);
        if !is_over {
            machine.watch();
            handle.watch();
        }
        is_over
    }

    /// Takes what has just arrived, if this is the handler: a message, or what the machine has to tell or not.
    #[inline]
    pub(super) fn read_in_place(&mut self) -> Option<Option<Message>> {
        let Inner { machine, handle, .. } = &mut *self.0;
        handle.read_in_place(|octets| machine.handle_in_place(crate::engine::now, octets))
    }

    /// Asks for the next message in pieces.
    pub(crate) fn receive_in_pieces(&mut self) {
        self.0.machine.receive_in_pieces();
        // Nothing is held of it any more.
        self.0.handle.link().budget.release(&mut self.0.ticket);
    }
}

/// What comes of a socket.
pub(crate) enum Incoming {
    /// A whole message.
    Message(Message),
    /// A step of a message that is received in pieces.
    Piece(Piece),
    /// Nothing more: the peer has closed the socket, or an error was returned before.
    End,
}

/// The messages, until the socket is closed or fails.
impl Stream for WebSocket {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}
