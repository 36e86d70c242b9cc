mod closing;
mod pinging;
mod receiving;
mod sending;

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Extensions, Version, request, response};
use sockeye_proto::ws::{self, CloseCode, CloseFrame, Message};

use crate::engine::budget::Ticket;
use crate::engine::heads::Held;
use crate::engine::metrics::Counter;
#[cfg(feature = "tls")]
use crate::engine::peer::Certificates;
use crate::engine::peer::Credentials;
use crate::engine::stream::{StreamCell, StreamHandle};
use crate::error::{Error, Result, Step};
use crate::socket::head::{self, Head};
use crate::socket::round_trip::RoundTrip;

pub(crate) use receiving::Incoming;

/// An open WebSocket (RFC 6455), whatever carries it: a stream of HTTP/2 (RFC 8441) or a connection of HTTP/1.1.
///
/// Pings are answered and the closing handshake is done while [`recv`](Self::recv) or [`close`](Self::close) waits, so
/// one of them should: there a server that shuts down says its Close, too. Every async function but [`echo`](Self::echo) is
/// cancel safe: dropping its future before it is ready loses no message and sends none in part.
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
    response: OnceLock<Answer>,
    close_frame: OnceLock<CloseFrame>,
    /// Of a socket that was asked for one.
    round_trip: Option<RoundTrip>,
}

/// The head of the response, and what is made of it when it is first asked for.
struct Answer {
    head: Head,
    parts: OnceLock<response::Parts>,
}

impl WebSocket {
    pub(crate) fn new(
        machine: ws::WebSocket,
        handle: StreamHandle,
        mut request: request::Parts,
        protocol: Option<String>,
    ) -> Self {
        let link = handle.link();
        link.sockets.fetch_add(1, Ordering::Relaxed);
        link.metrics().count(Counter::WebSockets);
        let head = Head::of_request(&request, protocol.as_deref(), link);
        // From here on it is counted as what is kept of it.
        request.extensions.remove::<Held>();
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

    /// Client: keeps the head of the response, as far as its connection has room for it.
    #[cfg(all(feature = "http2", feature = "web-socket"))]
    pub(crate) fn with_response(self, response: &response::Parts) -> Self {
        if let Some(head) = Head::of_response(response, self.0.handle.link()) {
            self.rare().response.get_or_init(|| Answer { head, parts: OnceLock::new() });
        }
        self
    }

    /// Nothing is held any more of the heads that opened the socket.
    fn let_go_of_heads(&self) {
        let Inner { handle, head, rare, .. } = &*self.0;
        let link = handle.link();
        head.let_go(link);
        let Some(Rare { request, response, .. }) = rare.get().map(|rare| &**rare) else { return };
        if let Some(request) = request.get() {
            head::drop_parts(&request.headers, link);
        }
        if let Some(Answer { head, parts }) = response.get() {
            head.let_go(link);
            parts.get().inspect(|parts| head::drop_parts(&parts.headers, link));
        }
    }

    pub(crate) fn cell(&self) -> &Arc<StreamCell> {
        self.0.handle.cell()
    }

    fn rare(&self) -> &Rare {
        self.0.rare.get_or_init(Box::default)
    }

    /// The next message, whole; `None` once the peer has closed the socket, or after an error was returned. Cancel safe.
    ///
    /// A Close is an orderly end whatever its code says: `None` after 1000, and after 1009 or 1011 too. What the peer thought of
    /// it, [`close_frame`](Self::close_frame) tells then:
    ///
    /// ```
    /// # use sockeye::{CloseCode, Result, WebSocket};
    /// async fn follow(mut socket: WebSocket) -> Result {
    ///     while let Some(message) = socket.recv().await? {
    ///         println!("{message:?}");
    ///     }
    ///     match socket.close_frame() {
    ///         // After 1005 (NO_STATUS) the Close named no code.
    ///         Some(frame) if ![CloseCode::NORMAL, CloseCode::NO_STATUS].contains(&frame.code) => {
    ///             println!("closed with {}: {}", frame.code, frame.reason);
    ///         }
    ///         _ => println!("closed, and all is well"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Violation`] where the peer broke a rule or a limit: of the WebSocket (it was sent a Close with the code), or of the
    /// connection of HTTP/2, which then ended. [`Error::Abnormal`] where the stream ended without a Close, [`Error::Reset`],
    /// [`Error::GoAway`] and [`Error::Disconnected`] where it or its connection broke off, [`Error::Timeout`] where the peer did
    /// not answer a Ping of the keep-alive. But for a violation of the WebSocket's all of these are what RFC 6455 §7.1.5 calls
    /// code 1006. Messages that had arrived before are delivered first.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// [`recv`](Self::recv), which tells of every Pong that comes meanwhile, by its payload: the answers to
    /// [`send_ping`](Self::send_ping), and those that come unasked (RFC 6455 §5.5.3). The answers to [`ping`](Self::ping)
    /// and to the Pings of the keep-alive are not told. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_with(&mut self, mut on_pong: impl FnMut(Bytes)) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv_with(cx, &mut on_pong)).await
    }

    /// Sends a message, once there is room for it: while the peer does not read, this waits. Octets wait in a buffer of
    /// 64 KiB per socket and 4 MiB per connection, or one whole message of each socket where that is more. Cancel safe: where the
    /// future is dropped before it is ready, nothing of the message was sent.
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

    /// Sends every message back until the peer has closed the socket: a handler for tests, examples and loads, as
    /// [`websocket`](crate::websocket)`(WebSocket::echo)`. Each message is sent before the next is received, so that a peer which
    /// does not read is not read from. Not cancel safe: the socket goes with the future, and a message that was not sent back yet.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv) and [`send`](Self::send).
    pub async fn echo(mut self) -> Result {
        while let Some(message) = self.recv().await? {
            self.send(message).await?;
        }
        Ok(())
    }

    /// Waits until the transport has taken everything that was sent, TLS included. While the peer does not read, this waits; it
    /// does not wait for the peer to have read. Cancel safe.
    ///
    /// A program that ends then leaves the rest to its system, which breaks a TCP connection off where something that the peer
    /// sent was left unread (RFC 1122 §4.2.2.13), with what it had not put on the wire yet. The answer to a Close comes behind all
    /// that was sent: who waits for [`close`](Self::close) loses nothing.
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
    /// A peer may answer only the last Ping that it has seen (RFC 6455 §5.5.3): the Pong for one that was sent later, by
    /// [`send_ping`](Self::send_ping) or the keep-alive, is the answer too.
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
    /// first than are kept: receive meanwhile, by a [`Sender`](crate::socket::Sender) and a [`Receiver`](crate::socket::Receiver). Otherwise
    /// as [`recv`](Self::recv).
    pub async fn ping(&mut self) -> Result<Duration> {
        self.start_round_trip();
        poll_fn(|cx| self.poll_ping(cx)).await
    }

    /// Sends a Ping of at most 125 octets (RFC 6455 §5.5.2), and does not wait. Its Pong is taken silently, unless
    /// [`recv_with`](Self::recv_with) waits for it. [`ping`](Self::ping) waits. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a longer payload; otherwise as [`send`](Self::send).
    pub async fn send_ping(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| self.poll_send_ping(cx, payload)).await
    }

    /// Sends a Pong of at most 125 octets that answers no Ping: a heartbeat (RFC 6455 §5.5.3). Pings are answered without
    /// it. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`send_ping`](Self::send_ping).
    pub async fn pong(&mut self, payload: &[u8]) -> Result {
        poll_fn(|cx| self.poll_send_pong(cx, payload)).await
    }

    /// Closes the socket with code 1000 and waits for the peer's Close, and until the transport has taken all that is ours to
    /// send, the end of our half included unless it is to follow the peer's; messages that still arrive are dropped.
    /// Cancel safe: a second call waits for the same answer. It keeps its time by tokio: call it inside a runtime with timers, which the
    /// other verbs of a socket do not ask for.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] where the peer does not answer within 5 seconds; otherwise as [`recv`](Self::recv).
    pub async fn close(&mut self) -> Result {
        self.close_with(CloseCode::NORMAL, "").await
    }

    /// Closes the socket with a code that may be sent (RFC 6455 §7.4) and a reason of at most 123 octets, and waits for
    /// the peer's Close. Cancel safe, as [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another code or a longer reason; otherwise as [`close`](Self::close).
    pub async fn close_with(&mut self, code: CloseCode, reason: &str) -> Result {
        match self.start_close(code, reason) {
            // The peer's Close may have come before the end of the stream, and is there to be read: then nothing is amiss.
            Ok(()) => {}
            Err(error) if error.is_of_the_end() => {}
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
                // Over HTTP/2 it counts as its stream is reset.
                let link = self.0.handle.link();
                if link.info.version != Version::HTTP_2 {
                    link.metrics().count(Counter::CloseTimeouts);
                }
                Err(Error::Timeout(Step::Closing))
            }
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

    /// How what goes to this socket and others may be compressed once for all of them.
    pub(crate) fn shared_deflate(&self) -> Option<ws::SharedDeflate> {
        self.0.machine.shared_deflate()
    }

    /// The head of the request that opened the socket. It is kept in little memory, of which sockets of one connection share
    /// what they have in common, until it is first asked for; from then on the socket holds it a second time, which is a
    /// kilobyte or two with a browser's fields. What all of a connection's heads may take together is a setting of the server
    /// (`kept_heads`).
    pub fn request(&self) -> &request::Parts {
        let rare = self.rare();
        rare.request.get_or_init(|| {
            let mut request = self.0.head.request(self.0.handle.link());
            request.extensions = rare.extensions.clone();
            Box::new(request)
        })
    }

    /// The head of the response that opened the socket; of a client's socket alone. None, too, where what the heads of the
    /// connection's sockets hold had passed its limit by then (2 MiB), which only a hostile server's do.
    pub fn response(&self) -> Option<&response::Parts> {
        let Answer { head, parts } = self.0.rare.get()?.response.get()?;
        Some(parts.get_or_init(|| head.response(self.0.handle.link())))
    }

    /// The version of HTTP that carries the socket.
    pub fn version(&self) -> Version {
        self.0.handle.link().info.version
    }

    /// The peer's address, where the connection is one of TCP and not made by way of a proxy.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.handle.link().info.addr()
    }

    /// A server's socket: who connected by a Unix socket.
    pub fn peer_credentials(&self) -> Option<Credentials> {
        self.0.handle.link().info.credentials()
    }

    /// A server's socket: the certificates that the client proved by TLS to be its own. See
    /// [`Peer::certificates`](crate::Peer::certificates).
    #[cfg(feature = "tls")]
    pub fn peer_certificates(&self) -> Option<Certificates> {
        self.0.handle.link().certificates()
    }

    /// Splits the socket into halves for two tasks.
    pub fn split(self) -> (crate::socket::Sender, crate::socket::Receiver) {
        crate::socket::halves::split(self)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("version", &self.version())
            .field("uri", &self.0.head.uri(self.0.handle.link()))
            .field("protocol", &self.protocol())
            .field("state", &self.0.machine.state())
            .finish_non_exhaustive()
    }
}
