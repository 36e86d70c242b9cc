//! The round trip of a Ping (RFC 6455 §5.5.2 and §5.5.3).

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use sockeye_proto::ws::Message;

use super::WebSocket;
use crate::engine::pulse::{self, Mark};
use crate::error::{Error, Result};
use crate::socket::round_trip::{Pong, RoundTrip};

impl WebSocket {
    /// For a new caller of [`poll_ping`](Self::poll_ping).
    pub(crate) fn start_round_trip(&mut self) {
        self.round_trip().forget_answer();
    }

    /// Sends the Ping of a round trip, unless one is under way; ready when that is done.
    pub(super) fn poll_begin_round_trip(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
        let Some(payload) = self.round_trip().next() else { return Poll::Ready(Ok(())) };
        let mark = self.round_trip().mark();
        ready!(self.poll_control(cx, |machine, handle| {
            // With the Ping: what the keep-alive sends before it does not answer it.
            handle.set_round_trip(mark);
            machine.ping(&payload)
        }))?;
        self.round_trip().start();
        Poll::Ready(Ok(()))
    }

    /// Sends a Ping and receives until its Pong has come.
    pub(crate) fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<Result<Duration>> {
        let is_waiting = self.poll_begin_round_trip(cx)?.is_pending();
        let mut kept = self.round_trip().kept.take();
        if let Some(first) = self.0.machine.take_back() {
            kept.push_front(first);
        }
        let result = loop {
            if let Some(time) = self.round_trip().answer() {
                break Poll::Ready(Ok(time));
            }
            if !kept.has_room() {
                break Poll::Ready(Err(Error::invalid(
                    "more messages came before the Pong than are kept: receive them, by the other half of a split socket",
                )));
            }
            match self.poll_event(cx, &mut |_| {}) {
                Poll::Ready(Ok(Some(message))) => kept.push(message),
                Poll::Ready(Ok(None)) => break Poll::Ready(self.round_trip().answer().ok_or(Error::Closed)),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => match self.round_trip().answer() {
                    Some(time) => break Poll::Ready(Ok(time)),
                    None => break Poll::Pending,
                },
            }
        };
        debug_assert!(result.is_ready() || is_waiting || self.round_trip().next().is_none());
        self.round_trip().kept = kept;
        self.put_back_kept();
        result
    }

    /// [`poll_ping`](Self::poll_ping) where nobody is there to receive messages.
    pub(crate) fn poll_ping_alone(&mut self, cx: &mut Context<'_>) -> Poll<Result<Duration>> {
        let result = self.poll_ping(cx);
        while self.known_round_trip().is_some_and(|round_trip| round_trip.kept.pop().is_some()) {}
        result
    }

    /// Sends a Ping, and waits until another task has received its Pong.
    pub(crate) fn poll_ping_received_elsewhere(&mut self, cx: &mut Context<'_>) -> Poll<Result<Duration>> {
        ready!(self.poll_begin_round_trip(cx))?;
        let ended = self.0.ended;
        let round_trip = self.round_trip();
        match round_trip.answer() {
            Some(time) => Poll::Ready(Ok(time)),
            None if ended => Poll::Ready(Err(Error::Closed)),
            None => {
                round_trip.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Whether a Pong is none of the application's: it answers the keep-alive, or a round trip.
    pub(super) fn take_pong(&mut self, payload: &Bytes) -> bool {
        let is_kept_alive = self.0.handle.link().limits.pings.is_some();
        let kept_alive = pulse::answered(payload).filter(|_| is_kept_alive);
        let Some(round_trip) = self.known_round_trip() else { return kept_alive.is_some() };
        let (is_answer, is_ours) = match kept_alive {
            Some(mark) => (round_trip.take_marked(mark), true),
            None => match round_trip.take(payload) {
                Pong::Awaited => (true, true),
                Pong::OfLater => (true, false),
                Pong::Late => (false, true),
                Pong::OfNone => (false, false),
            },
        };
        if is_answer {
            self.0.handle.set_round_trip(Mark::None);
        }
        is_ours
    }

    /// The next message is the first of those that were kept. The machine holds it, so that it is not at rest.
    pub(super) fn put_back_kept(&mut self) {
        if let Some(message) = self.known_round_trip().and_then(|round_trip| round_trip.kept.pop()) {
            self.0.machine.put_back(message);
        }
    }

    /// The first message that a round trip has kept.
    pub(crate) fn take_kept(&mut self) -> Option<Message> {
        let message = self.0.machine.take_back()?;
        self.put_back_kept();
        Some(message)
    }

    /// Lets a caller of [`ping`](Self::ping) who waits for another task look again.
    pub(crate) fn wake_round_trip(&mut self) {
        if let Some(round_trip) = self.known_round_trip() {
            round_trip.wake();
        }
    }

    /// What a Ping's round trip needs, made when there is the first.
    pub(super) fn round_trip(&mut self) -> &mut RoundTrip {
        let mut rare = self.0.rare.take().unwrap_or_default();
        rare.round_trip.get_or_insert_default();
        self.0.rare.get_or_init(|| rare);
        let rare = self.0.rare.get_mut().and_then(|rare| rare.round_trip.as_mut());
        rare.expect("it was put there")
    }

    /// The same, if there was one.
    pub(super) fn known_round_trip(&mut self) -> Option<&mut RoundTrip> {
        self.0.rare.get_mut()?.round_trip.as_mut()
    }
}
