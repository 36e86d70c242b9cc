use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use http::{Extensions, Version, request, response};
use sockeye_proto::ws::{
    self, CloseCode, CloseFrame, Event, Message, MessageKind, Piece, PingError, SendError, State, Violation,
};

use crate::engine::budget;
use crate::engine::budget::{Ticket, Verdict};
use crate::engine::link::Side;
use crate::engine::metrics::Counter;
use crate::engine::pulse::{self, Mark};
use crate::engine::stream::outbox::LEAST_SHARED;
use crate::engine::stream::{Closer, Ending, Input, Parting, Room, StreamCell, StreamHandle};
use crate::error::{BoxError, Error, Result};
use crate::socket::head::Head;
use crate::socket::round_trip::{Pong, RoundTrip};

/// An open WebSocket (RFC 6455), whatever carries it: a stream of HTTP/2 (RFC 8441) or a connection of HTTP/1.1.
///
/// Pings are answered and the closing handshake is done while [`recv`](Self::recv) or [`close`](Self::close) waits, so
/// one of them should. Every async function is cancel safe: dropping its future before it is ready loses no message and
/// sends none in part.
///
/// A dropped socket is closed: with code 1000 after its handler returned `Ok`, 1011 after it returned an error, and 1001
/// where it is dropped without a handler's result.
///
/// ```
/// # use sockeye::{Result, WebSocket};
/// async fn echo(mut socket: WebSocket) -> Result {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
/// ```
pub struct WebSocket(Box<Inner>);

/// Octets of a frame's header, at most (RFC 6455 §5.2).
const HEADER: usize = 14;

/// Boxed, since a handler's future holds its argument twice.
struct Inner {
    machine: ws::WebSocket,
    handle: StreamHandle,
    /// Received and not yet looked at; empty while the socket is idle.
    input: BytesMut,
    /// Whether the end was reported.
    ended: bool,
    ticket: Ticket,
    head: Head,
    rare: OnceLock<Box<Rare>>,
}

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<Inner>() <= 216);

/// What most sockets have nothing of while they are open.
#[derive(Default)]
struct Rare {
    /// Of the request.
    extensions: Extensions,
    /// Made when it is first asked for.
    request: OnceLock<Box<request::Parts>>,
    /// Of a client's socket.
    response: OnceLock<response::Parts>,
    close_frame: OnceLock<CloseFrame>,
    /// Of a socket that was asked for one.
    round_trip: Option<RoundTrip>,
}

impl WebSocket {
    pub(crate) fn new(
        machine: ws::WebSocket,
        handle: StreamHandle,
        request: request::Parts,
        protocol: Option<String>,
    ) -> Self {
        let link = handle.link();
        link.sockets.fetch_add(1, Ordering::Relaxed);
        link.metrics().count(Counter::WebSockets);
        let head = Head::new(&request, protocol.as_deref());
        let rare = OnceLock::new();
        let extensions = request.extensions;
        if !extensions.is_empty() {
            rare.get_or_init(|| Box::new(Rare { extensions, ..Rare::default() }));
        }
        if machine.is_masking() {
            handle.start_masking();
        }
        let (input, ticket) = (BytesMut::new(), Ticket::default());
        Self(Box::new(Inner { machine, handle, input, ended: false, ticket, head, rare }))
    }

    /// Client: keeps the head of the response.
    #[cfg(all(feature = "http2", feature = "web-socket"))]
    pub(crate) fn with_response(self, response: response::Parts) -> Self {
        self.rare().response.get_or_init(|| response);
        self
    }

    pub(crate) fn cell(&self) -> &Arc<StreamCell> {
        self.0.handle.cell()
    }

    /// What a Ping's round trip needs, made when there is the first.
    fn round_trip(&mut self) -> &mut RoundTrip {
        let mut rare = self.0.rare.take().unwrap_or_default();
        rare.round_trip.get_or_insert_default();
        self.0.rare.get_or_init(|| rare);
        let rare = self.0.rare.get_mut().and_then(|rare| rare.round_trip.as_mut());
        rare.expect("it was put there")
    }

    /// The same, if there was one.
    fn known_round_trip(&mut self) -> Option<&mut RoundTrip> {
        self.0.rare.get_mut()?.round_trip.as_mut()
    }

    fn rare(&self) -> &Rare {
        self.0.rare.get_or_init(Box::default)
    }

    /// The next message, whole; `None` once the peer has closed the socket cleanly, or after an error was returned.
    ///
    /// # Errors
    ///
    /// [`Error::Violation`] where the peer broke a rule or a limit (it was sent a Close with the code),
    /// [`Error::Abnormal`] where the stream ended without a Close, [`Error::Reset`] and [`Error::Disconnected`] where it
    /// or its connection broke off, [`Error::Timeout`] where the peer did not answer a Ping of the keep-alive. RFC 6455
    /// §7.1.5 calls the last four code 1006. Messages that had arrived before are delivered first.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// [`recv`](Self::recv), which tells of every Pong that comes meanwhile, by its payload: the answers to
    /// [`send_ping`](Self::send_ping), and those that come unasked (RFC 6455 §5.5.3). The answers to [`ping`](Self::ping)
    /// and to the Pings of the keep-alive are not told.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_with(&mut self, mut on_pong: impl FnMut(Bytes)) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv_with(cx, &mut on_pong)).await
    }

    /// Sends a message, once there is room for it: while the peer does not read, this waits. Octets wait in a buffer of
    /// 64 KiB per socket and 1 MiB per connection, or one whole message where that is more.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after a Close was sent or received; [`Error::Reset`] or [`Error::Disconnected`] where the stream
    /// broke off.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result> {
        // An async function would keep the message twice, in every handler that sends.
        let message = message.into();
        poll_fn(move |cx| self.poll_send(cx, &message))
    }

    /// Waits until the transport has taken everything that was sent, TLS included: a program that ends then loses nothing of
    /// it. While the peer does not read, this waits; it does not wait for the peer to have read. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Reset`], [`Error::Disconnected`] or [`Error::Timeout`] where the stream broke off before.
    pub async fn flush(&mut self) -> Result {
        poll_fn(|cx| self.0.handle.poll_flush(cx)).await
    }

    /// Sends a Ping and waits for its Pong (RFC 6455 §5.5.2); returns the time between. For a peer that may be gone give it
    /// a limit by [`tokio::time::timeout`]; to ask silent peers all the time, see the server's and the client's `ping`.
    ///
    /// Messages that come before the Pong are kept for the next [`recv`](Self::recv), up to 1 MiB, each counted with 64
    /// octets more. Cancel safe: where the future is dropped before the Pong has come, the next call waits for the same one.
    ///
    /// ```
    /// # async fn check(socket: &mut sockeye::WebSocket) -> sockeye::Result {
    /// let time = socket.ping().await?;
    /// println!("the peer answers within {time:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after a Close was sent, or where the peer's comes first; [`Error::Invalid`] where more messages come
    /// first than are kept: receive meanwhile, by a [`Sender`](crate::Sender) and a [`Receiver`](crate::Receiver). Otherwise
    /// as [`recv`](Self::recv).
    pub async fn ping(&mut self) -> Result<Duration> {
        self.start_round_trip();
        poll_fn(|cx| self.poll_ping(cx)).await
    }

    /// Sends a Ping of at most 125 octets (RFC 6455 §5.5.2), and does not wait. Its Pong is taken silently, unless
    /// [`recv_with`](Self::recv_with) waits for it. [`ping`](Self::ping) waits.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a longer payload; otherwise as [`send`](Self::send).
    pub async fn send_ping(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| self.poll_send_ping(cx, payload)).await
    }

    /// Sends a Pong of at most 125 octets that answers no Ping: a heartbeat (RFC 6455 §5.5.3). Pings are answered without
    /// it.
    ///
    /// # Errors
    ///
    /// As [`send_ping`](Self::send_ping).
    pub async fn pong(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| self.poll_send_pong(cx, payload)).await
    }

    /// Closes the socket with code 1000 and waits for the peer's Close, and until the transport has taken all that is ours to
    /// send, the end of our half included unless it is to follow the peer's; messages that still arrive are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] where the peer does not answer within 5 seconds; otherwise as [`recv`](Self::recv).
    pub async fn close(&mut self) -> Result {
        self.close_with(CloseCode::NORMAL, "").await
    }

    /// Closes the socket with a code that may be sent (RFC 6455 §7.4) and a reason of at most 123 octets, and waits for
    /// the peer's Close.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another code or a longer reason; otherwise as [`close`](Self::close).
    pub async fn close_with(&mut self, code: CloseCode, reason: &str) -> Result {
        match self.start_close(code, reason) {
            // The peer's Close may have come before the end of the stream, and is there to be read: then nothing is amiss.
            Ok(()) | Err(Error::Abnormal | Error::Reset { .. } | Error::Disconnected | Error::Timeout(_)) => {}
            Err(error) => return Err(error),
        }
        let timeout = self.0.handle.link().limits.close_timeout;
        let answered = async {
            while self.recv().await?.is_some() {}
            // The handshake is complete, whatever becomes of the stream that has done its service.
            self.flush().await.or(Ok(()))
        };
        match tokio::time::timeout(timeout, answered).await {
            Ok(result) => result,
            Err(_) => {
                self.mark_ended();
                self.finish();
                Err(Error::Timeout("the closing handshake"))
            }
        }
    }

    /// Queues our Close, unless one was sent.
    pub(crate) fn start_close(&mut self, code: CloseCode, reason: &str) -> Result {
        if self.0.machine.state() != State::Open {
            return Ok(());
        }
        self.0.machine.close(code, reason).map_err(Error::invalid)?;
        self.0.handle.start_closing();
        // What is unfinished is of no use any more: the machine has let go of it.
        self.0.handle.link().budget.release(&mut self.0.ticket);
        match self.0.handle.append_now(0, |outbox| (self.0.machine.poll_transmit(outbox), None)) {
            Ok(()) | Err(Error::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the peer's Close said, once it has come.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.0.rare.get()?.close_frame.get()
    }

    /// The subprotocol that the handshake settled on (RFC 6455 §1.9).
    pub fn protocol(&self) -> Option<&str> {
        self.0.head.protocol()
    }

    /// The extensions that the handshake settled on (RFC 6455 §9): compression and no masking.
    pub fn extensions(&self) -> ws::Extensions {
        self.0.machine.extensions()
    }

    /// The head of the request that opened the socket. It is kept in little memory until it is first asked for; from then
    /// on the socket holds it a second time, which is a kilobyte or two with a browser's fields.
    pub fn request(&self) -> &request::Parts {
        let rare = self.rare();
        rare.request.get_or_init(|| {
            let mut request = self.0.head.request();
            request.extensions = rare.extensions.clone();
            Box::new(request)
        })
    }

    /// The head of the response that opened the socket; of a client's socket alone.
    pub fn response(&self) -> Option<&response::Parts> {
        self.0.rare.get()?.response.get()
    }

    /// The version of HTTP that carries the socket.
    pub fn version(&self) -> Version {
        self.0.handle.link().info.version
    }

    /// The peer's address, where the transport has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.handle.link().info.peer
    }

    /// Splits the socket into halves for two tasks.
    pub fn split(self) -> (crate::socket::Sender, crate::socket::Receiver) {
        crate::socket::halves::split(self)
    }

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
        // What happens for nearly every message: it is there, and after it nothing is.
        if self.0.machine.is_at_rest() && self.0.input.capacity() == 0 {
            match self.read_in_place() {
                Some(Some(message)) => return Poll::Ready(Ok(Some(message))),
                None if self.0.handle.is_listening(cx) => return Poll::Pending,
                _ => {}
            }
        }
        self.poll_event(cx, &mut on_pong)
    }

    /// Goes on until there is a whole message, or the end.
    fn poll_event(&mut self, cx: &mut Context<'_>, on_pong: &mut dyn FnMut(Bytes)) -> Poll<Result<Option<Message>>> {
        // Of a message whose reader has gone away the rest is skipped.
        self.0.machine.receive_whole();
        self.poll_incoming(cx, on_pong).map_ok(|incoming| match incoming {
            Incoming::Message(message) => Some(message),
            Incoming::Piece(_) | Incoming::End => None,
        })
    }

    /// Goes on until there is something for the application.
    pub(crate) fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
        on_pong: &mut dyn FnMut(Bytes),
    ) -> Poll<Result<Incoming>> {
        loop {
            // Before the event, which a piece makes that breaks a rule.
            if let Some(piece) = self.0.machine.poll_piece() {
                return Poll::Ready(Ok(Incoming::Piece(piece)));
            }
            match self.0.machine.poll_event() {
                Some(Event::Message(message)) => {
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
            match ready!(received) {
                Ok(Input::Octets) => {}
                Ok(Input::End) => self.0.machine.handle_eof(),
                Ok(Input::GoingAway) => self.start_close(CloseCode::GOING_AWAY, "")?,
                Err(error) => {
                    self.give_up();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Sends what the machine has to answer, or waits for room to.
    fn answer(&mut self, cx: &Context<'_>) {
        let Inner { machine, handle, .. } = &mut *self.0;
        // Where nothing can be sent any more, nobody awaits an answer.
        let _ = handle.poll_append(0, Room::Answer(cx), |outbox| (machine.poll_transmit(outbox), None));
    }

    /// Whether a Pong is none of the application's: it answers the keep-alive, or a round trip.
    fn take_pong(&mut self, payload: &Bytes) -> bool {
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
    fn put_back_kept(&mut self) {
        if let Some(message) = self.known_round_trip().and_then(|round_trip| round_trip.kept.pop()) {
            self.0.machine.put_back(message);
        }
    }

    /// For a new caller of [`poll_ping`](Self::poll_ping).
    pub(crate) fn start_round_trip(&mut self) {
        self.round_trip().forget_answer();
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

    /// Sends the Ping of a round trip, unless one is under way; ready when that is done.
    fn poll_begin_round_trip(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
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

    /// Books what is held of a message that is not whole, and asks whether more of it may be taken.
    fn hold_unfinished(&mut self, cx: &Context<'_>) -> Verdict {
        let Inner { machine, handle, ticket, .. } = &mut *self.0;
        let message = machine.unfinished();
        match message.map(|ws::Unfinished { held, announced, is_last }| budget::Message { held, announced, is_last }) {
            Some(message) if handle.link().budget.counts(message) => {
                let link = handle.link();
                let verdict = link.budget.hold(cx, ticket, message);
                if verdict == Verdict::Wait {
                    link.metrics().count(Counter::UnfinishedMessagesWaited);
                }
                verdict
            }
            _ => Verdict::Go,
        }
    }

    /// Takes what has just arrived, if this is the handler: a message, or what the machine has to tell or not.
    #[inline]
    fn read_in_place(&mut self) -> Option<Option<Message>> {
        let Inner { machine, handle, .. } = &mut *self.0;
        handle.read_in_place(|octets| machine.handle_in_place(crate::engine::now, octets))
    }

    /// Nothing more comes, no Pong either.
    fn mark_ended(&mut self) {
        self.0.ended = true;
        self.wake_round_trip();
    }

    /// Lets a caller of [`ping`](Self::ping) who waits for another task look again.
    pub(crate) fn wake_round_trip(&mut self) {
        if let Some(round_trip) = self.known_round_trip() {
            round_trip.wake();
        }
    }

    /// The stream is dead: an unfinished message goes with it.
    fn give_up(&mut self) {
        self.mark_ended();
        self.0.machine.handle_eof();
        self.0.machine.poll_event();
        self.0.handle.link().budget.release(&mut self.0.ticket);
    }

    /// The machine's last event: what is left to say goes out with the END_STREAM.
    fn end(&mut self, event: Event) -> Result {
        self.mark_ended();
        if !matches!(event, Event::Eof) {
            self.0.handle.start_closing();
        }
        self.0.handle.link().budget.release(&mut self.0.ticket);
        match event {
            Event::Failed(_) => self.0.handle.part(Parting::Failed),
            Event::Close(_) => self.0.handle.part(Parting::Said),
            _ => {}
        }
        if matches!(event, Event::Close(_)) && !self.0.machine.is_transmit_pending() {
            self.finish_closing();
        } else {
            self.finish();
        }
        match event {
            Event::Close(frame) => {
                self.rare().close_frame.get_or_init(|| frame);
                Ok(())
            }
            Event::Failed(violation) => {
                self.0.handle.link().metrics().count(match violation {
                    Violation::MessageTooBig | Violation::StreamedMessageTooBig | Violation::TooManyFragments => {
                        Counter::MessagesTooBig
                    }
                    Violation::TooManyPings => Counter::PingFloods,
                    Violation::MessageStalled => Counter::UnfinishedMessagesGivenUp,
                    _ => Counter::WebSocketViolations,
                });
                tracing::debug!(%violation, "a WebSocket failed");
                let rule: BoxError = match self.0.machine.limit_passed(violation) {
                    Some(limit) => Box::new(limit),
                    None => Box::new(violation),
                };
                Err(Error::Violation { code: u16::from(violation.code()).into(), rule })
            }
            _ => Err(Error::Abnormal),
        }
    }

    fn finish(&mut self) {
        self.0.handle.append_last(Ending::Now(None), |outbox| self.0.machine.poll_transmit(outbox));
    }

    /// The closing handshake that we began is done, or as good as done: now the server ends first (RFC 6455 §7.1.1). Some
    /// servers end their connection, with all its streams, over what comes on a stream after its Close.
    fn finish_closing(&mut self) {
        let Inner { machine, handle, .. } = &mut *self.0;
        let ending = match handle.link().info.side {
            Side::Client => Ending::AfterPeer,
            Side::Server => Ending::Now(None),
        };
        handle.append_last(ending, |outbox| machine.poll_transmit(outbox));
    }

    /// What is left to say, and to hear, is the machine's without the socket.
    fn leave_to_owner(&mut self) {
        let idle = ws::WebSocket::new(ws::Role::Server, ws::Config::default());
        let machine = mem::replace(&mut self.0.machine, idle);
        let unread = mem::take(&mut self.0.input);
        self.0.handle.close_by(Box::new(machine), unread);
    }

    #[inline]
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, message: &Message) -> Poll<Result> {
        // What happens for nearly every message. A result that is known here is not carried about.
        if self.send_in_place(message) { Poll::Ready(Ok(())) } else { self.poll_send_in_cell(cx, message) }
    }

    /// Sends a message in place; whether it did. The machine refuses a message before it writes any of it.
    #[inline(never)]
    fn send_in_place(&mut self, message: &Message) -> bool {
        let Inner { machine, handle, .. } = &mut *self.0;
        let encode = |outbox: &mut BytesMut| encode(machine, message, outbox);
        matches!(handle.append_in_place(message.len() + HEADER, encode), Ok(Ok(())))
    }

    /// Sends a message by the cell, once there is room for it.
    #[inline(never)]
    fn poll_send_in_cell(&mut self, cx: &mut Context<'_>, message: &Message) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, input, .. } = &mut *self.0;
        let sent = ready!(handle.poll_append_in_cell(Room::Wait(cx), |outbox| {
            // The buffer of the message that this one answers will do.
            if outbox.capacity() == 0 && input.is_empty() {
                mem::swap(outbox, input);
            }
            encode(machine, message, outbox)
        }))?;
        Poll::Ready(sent)
    }

    /// The first message that a round trip has kept.
    pub(crate) fn take_kept(&mut self) -> Option<Message> {
        let message = self.0.machine.take_back()?;
        self.put_back_kept();
        Some(message)
    }

    /// Asks for the next message in pieces.
    pub(crate) fn receive_in_pieces(&mut self) {
        self.0.machine.receive_in_pieces();
        // Nothing is held of it any more.
        self.0.handle.link().budget.release(&mut self.0.ticket);
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

    /// Sends what `queue` puts into the machine.
    fn poll_control(
        &mut self,
        cx: &mut Context<'_>,
        queue: impl FnOnce(&mut ws::WebSocket, &StreamHandle) -> Result<(), PingError>,
    ) -> Poll<Result> {
        self.check_open()?;
        let Inner { machine, handle, .. } = &mut *self.0;
        let sent = ready!(handle.poll_append(0, Room::Wait(cx), |outbox| {
            let queued = queue(machine, handle).map_err(|error| match error {
                PingError::Closed => Error::Closed,
                PingError::PayloadTooLong => Error::invalid(error),
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
        SendError::Unfinished | SendError::OtherKind => Error::invalid(error),
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

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("version", &self.version())
            .field("uri", &self.0.head.uri())
            .field("protocol", &self.protocol())
            .field("state", &self.0.machine.state())
            .finish_non_exhaustive()
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        let link = self.0.handle.link();
        link.sockets.fetch_sub(1, Ordering::Relaxed);
        link.budget.release(&mut self.0.ticket);
        if self.0.machine.state() == State::Open {
            // The last handle knows the handler's result, and so the code.
            self.leave_to_owner();
        } else {
            self.finish_closing();
            if self.0.machine.state() == State::Closing {
                self.leave_to_owner();
            }
        }
    }
}

impl Closer for ws::WebSocket {
    fn close(&mut self, code: u16, output: &mut BytesMut) {
        if ws::WebSocket::close(self, code.into(), "").is_ok() {
            self.poll_transmit(output);
        }
    }

    fn hear(&mut self, mut input: BytesMut) -> bool {
        while !input.is_empty() {
            self.handle_data(crate::engine::now, &mut input);
            self.poll_event();
        }
        self.state() == State::Closed
    }
}

/// The messages, until the socket is closed or fails.
impl Stream for WebSocket {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

/// `flush` waits as [`WebSocket::flush`] does. `close` sends the Close, flushes, and does not wait for the peer's Close: that
/// comes as the end of the [`Stream`].
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
