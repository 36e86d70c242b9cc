use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::ws::{CloseCode, CloseFrame, Message};

use crate::engine::sync::atomic::{AtomicBool, Ordering};
use crate::engine::sync::{Arc, Mutex, MutexGuard};
use crate::error::{Error, Result};
use crate::socket::WebSocket;

/// The half of a [`WebSocket`] that sends; made by [`WebSocket::split`].
///
/// The socket is closed when both halves are dropped.
#[derive(Debug)]
pub struct Sender(Arc<Halves>);

/// The half of a [`WebSocket`] that receives; made by [`WebSocket::split`].
///
/// It also answers pings and the peer's Close while [`recv`](Self::recv) waits, so it should.
#[derive(Debug)]
pub struct Receiver(Arc<Halves>);

/// What both halves share.
#[derive(Debug)]
struct Halves {
    socket: Mutex<WebSocket>,
    /// The receiving half was dropped: whoever waits for something to be received has to receive it.
    is_receiver_gone: AtomicBool,
}

pub(crate) fn split(socket: WebSocket) -> (Sender, Receiver) {
    let shared = Arc::new(Halves { socket: Mutex::new(socket), is_receiver_gone: AtomicBool::new(false) });
    (Sender(shared.clone()), Receiver(shared))
}

impl Sender {
    /// Sends a message; see [`WebSocket::send`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result> {
        let message = message.into();
        poll_fn(move |cx| lock(&self.0).poll_send(cx, &message))
    }

    /// Sends a Ping and waits for its Pong; see [`WebSocket::ping`]. The Pong comes while the other half
    /// [receives](Receiver::recv), which gets all messages. Where the other half was dropped, they are dropped. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) after a Close was sent, or where the socket has ended, which the other half
    /// tells more of; otherwise as [`WebSocket::send`].
    pub async fn ping(&mut self) -> Result<Duration> {
        lock(&self.0).start_round_trip();
        poll_fn(|cx| {
            let mut socket = lock(&self.0);
            let is_alone = self.0.is_receiver_gone.load(Ordering::Relaxed);
            if is_alone { socket.poll_ping_alone(cx) } else { socket.poll_ping_received_elsewhere(cx) }
        })
        .await
    }

    /// Sends a Ping and does not wait; see [`WebSocket::send_ping`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_ping`].
    pub async fn send_ping(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| lock(&self.0).poll_send_ping(cx, payload)).await
    }

    /// Sends a Pong that answers no Ping; see [`WebSocket::pong`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::pong`].
    pub async fn pong(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| lock(&self.0).poll_send_pong(cx, payload)).await
    }

    /// Waits until the transport has taken everything that was sent; see [`WebSocket::flush`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`].
    pub async fn flush(&mut self) -> Result {
        poll_fn(|cx| lock(&self.0).poll_flush_outbox(cx)).await
    }

    /// Sends a Close, after which this half sends nothing more. The other half sees the peer's answer; messages that still arrive
    /// before it are dropped.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close_with`], without the wait.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result {
        lock(&self.0).start_close(code, reason)
    }

    /// What the peer's Close said, once the other half has received it; see [`WebSocket::close_frame`].
    pub fn close_frame(&self) -> Option<CloseFrame> {
        self.look().close_frame().cloned()
    }

    /// Puts the halves together again; gives them back where they are of two sockets.
    ///
    /// # Errors
    ///
    /// The halves, as they were.
    pub fn reunite(self, receiver: Receiver) -> std::result::Result<WebSocket, (Self, Receiver)> {
        if !Arc::ptr_eq(&self.0, &receiver.0) {
            return Err((self, receiver));
        }
        drop(receiver);
        match Arc::try_unwrap(self.0) {
            Ok(halves) => Ok(halves.socket.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Err(_) => unreachable!("a socket has two halves"),
        }
    }
}

impl Receiver {
    /// The next message; see [`WebSocket::recv`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| lock(&self.0).poll_recv(cx)).await
    }

    /// The next message, and every Pong that comes before it; see [`WebSocket::recv_with`]. Cancel safe. `on_pong` must
    /// not use the other half.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_with(&mut self, mut on_pong: impl FnMut(Bytes)) -> Result<Option<Message>> {
        poll_fn(|cx| lock(&self.0).poll_recv_with(cx, &mut on_pong)).await
    }

    /// What the peer's Close said, once it has come; see [`WebSocket::close_frame`].
    pub fn close_frame(&self) -> Option<CloseFrame> {
        self.look().close_frame().cloned()
    }
}

impl Sender {
    /// The socket, while nothing waits.
    pub(crate) fn lock(&mut self) -> MutexGuard<'_, WebSocket> {
        lock(&self.0)
    }

    /// The socket, to be looked at.
    pub(crate) fn look(&self) -> MutexGuard<'_, WebSocket> {
        lock(&self.0)
    }
}

impl Receiver {
    /// The socket, while nothing waits.
    pub(crate) fn lock(&mut self) -> MutexGuard<'_, WebSocket> {
        lock(&self.0)
    }

    /// The socket, to be looked at.
    pub(crate) fn look(&self) -> MutexGuard<'_, WebSocket> {
        lock(&self.0)
    }
}

/// The messages, until the socket is closed or fails.
impl Stream for Receiver {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        lock(&self.0).poll_recv(cx).map(Result::transpose)
    }
}

/// As the sink that the [`WebSocket`] is: to close it sends a Close with 1000.
impl<M: Into<Message>> Sink<M> for Sender {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        Sink::<M>::poll_ready(Pin::new(&mut *lock(&self.0)), cx)
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result {
        Pin::new(&mut *lock(&self.0)).start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        Sink::<M>::poll_flush(Pin::new(&mut *lock(&self.0)), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        Sink::<M>::poll_close(Pin::new(&mut *lock(&self.0)), cx)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut socket = lock(&self.0);
        // Under the lock, so that the other half sees it when it is woken.
        self.0.is_receiver_gone.store(true, Ordering::Relaxed);
        socket.wake_round_trip();
    }
}

fn lock(halves: &Halves) -> MutexGuard<'_, WebSocket> {
    halves.socket.lock().unwrap_or_else(PoisonError::into_inner)
}
