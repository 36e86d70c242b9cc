use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use sockeye_proto::h2;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::Instrument;

use crate::engine::admission::{Doors, Place};
use crate::engine::link::Limits;
#[cfg(feature = "web-socket")]
use crate::engine::link::PingTimes;
use crate::engine::now;
use crate::engine::registry::{Arrival, Ending, Handle, Registry};
use crate::engine::relay::{Relay, Then, Unattended};
use crate::engine::transport::{KeepAlive, Transport};
use crate::error::{Error, Result};
use crate::server::accepting::{Setbacks, Turn, Turns, turn_away};
use crate::server::admission::AdmissionSettings;
use crate::server::answer::HttpService;
use crate::server::last;

/// Serves HTTP/2, with WebSockets over it, and HTTP/1.1 on one port, in cleartext, for as long as the process runs. A
/// listener that fails is tried again; a [`Server`] can be ended, by its [`Handle`].
///
#[cfg_attr(feature = "web-socket", doc = "```no_run")]
#[cfg_attr(not(feature = "web-socket"), doc = "```ignore")]
/// use sockeye::{Result, WebSocket, serve, websocket};
///
/// #[tokio::main]
/// async fn main() -> Result {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///     serve(listener, websocket(echo)).await
/// }
///
/// async fn echo(mut socket: WebSocket) -> Result {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// Those of [`Server::serve`].
pub async fn serve<S: HttpService>(listener: TcpListener, service: S) -> Result {
    Server::new().serve(listener, service).await
}

/// A server with its settings.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockeye::{Server, http2};
///
/// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> sockeye::Result {
/// let server = Server::new()
///     .http2(http2::Config { max_concurrent_streams: 10_000, ..http2::Config::default() })
///     .keep_alive(Duration::from_secs(30), Duration::from_secs(10));
/// let handle = server.handle();
/// tokio::spawn(async move {
///     tokio::signal::ctrl_c().await.ok();
///     handle.shutdown();
/// });
/// server.serve(listener, app).await
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    pub(super) http2: h2::Config,
    pub(super) limits: Arc<Limits>,
    pub(super) admission: AdmissionSettings,
    keep_alive: Option<(Duration, Duration)>,
    pub(super) handshake_timeout: Duration,
    tcp_keep_alive: Option<KeepAlive>,
    pub(crate) secure: Option<Secure>,
    pub(super) registry: Arc<Registry>,
}

/// What a secure transport is once its handshake is done.
pub(crate) struct Secured {
    pub(crate) transport: Box<dyn Transport>,
    /// What ALPN settled on.
    pub(crate) version: Option<Version>,
}

/// How a transport becomes a secure one.
pub(crate) type Secure = Arc<dyn Fn(Box<dyn Transport>) -> Securing + Send + Sync>;
pub(crate) type Securing = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server in cleartext, with every limit at its default.
    pub fn new() -> Self {
        Self {
            http2: h2::Config::default(),
            limits: Arc::default(),
            admission: AdmissionSettings::default(),
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
            tcp_keep_alive: KeepAlive::new(KeepAlive::TIME),
            secure: None,
            registry: Arc::default(),
        }
    }

    /// The settings and limits of HTTP/2 connections; the limits of a request's head hold for HTTP/1.1, too. `seed` is drawn
    /// for each connection; `handshake_timeout` and, where it is called, [`keep_alive`](Self::keep_alive) are the server's
    /// own, in whatever order they are set.
    #[must_use]
    pub fn http2(mut self, config: h2::Config) -> Self {
        self.http2 = config;
        self
    }

    /// Octets of one stream's unsent data beyond which its sender waits; 64 KiB by default.
    #[must_use]
    pub fn stream_send_buffer(mut self, octets: usize) -> Self {
        self.limits().stream_send = octets;
        self
    }

    /// Octets that wait to be sent on one connection beyond which a sender waits that has some unsent itself; 4 MiB by default.
    ///
    /// Where three quarters of that wait, since the peer does not read, streams on which something waits are given nothing to
    /// read either: what they would answer would have to wait as well. What comes for them stays in their windows, and the
    /// others go on. One of these whose peer stops to read as well is reset with ENHANCE_YOUR_CALM after ten seconds, where such
    /// streams hold an eighth of it together ([`Counter::UnreadStreamsReset`](crate::Counter::UnreadStreamsReset)).
    #[must_use]
    pub fn connection_send_buffer(mut self, octets: usize) -> Self {
        self.limits().connection_send = octets;
        self
    }

    /// Octets of one connection's messages of [groups](crate::Group), beyond which who sends to a group waits; 2 MiB by default.
    /// Each is counted once, however many members wait for it, with some octets more; one is sent, whatever its size, where no
    /// other waits.
    #[cfg(feature = "web-socket")]
    #[must_use]
    pub fn group_send_buffer(mut self, octets: usize) -> Self {
        self.limits().group_send = octets;
        self
    }

    /// Octets that unfinished messages of one connection may take together; 4 MiB by default.
    ///
    /// Messages of up to a 64th of it (64 KiB) have an eighth beside it. Past it large messages wait, and one of them at a time goes
    /// on to its end; those of up to a quarter of it (1 MiB) go on as long as they leave room for others, in as many octets again.
    /// While somebody waits, a message that does not go on by 16 KiB in ten seconds fails its WebSocket with 1008.
    #[must_use]
    pub fn unfinished_messages(mut self, octets: usize) -> Self {
        self.limits().unfinished_messages = octets;
        self
    }

    /// Octets of memory that the heads of one HTTP/2 connection may take together; 2 MiB by default. Counted are those of
    /// requests, for as long as the service holds them, trailers that were not read, and what WebSockets keep of the requests
    /// that opened them, but for 128 octets each: of what their heads have in common a connection keeps one copy.
    ///
    /// HPACK lets a peer say a head of 16 KiB in a hundred octets (RFC 7541 §7.3). Past the limit new streams are refused
    /// with REFUSED_STREAM, before the service hears of them, and the peer may try elsewhere or later; streams with trailers
    /// are reset with ENHANCE_YOUR_CALM. [`Counter::HeadsRefused`](crate::Counter::HeadsRefused) counts both. A browser's
    /// request takes some 3.5 KiB while it is held. Behind a proxy that puts the sockets of thousands of users on one
    /// connection, allow for a cookie and a token of each.
    #[must_use]
    pub fn kept_heads(mut self, octets: usize) -> Self {
        self.limits().kept_heads = octets;
        self
    }

    /// Octets that the compressed messages of one connection may become beyond 64 times what came of them, at once and each
    /// second: 64 MiB and 16 MiB by default, which is a megabyte of zeros sixteen times a second for ever. Past it the message
    /// is decompressed no further, and fails its WebSocket with 1008, which
    /// [`Counter::InflationFloods`](crate::Counter::InflationFloods) counts. JSON comes to some 20 times what came.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn inflation(mut self, surplus: h2::Rate) -> Self {
        self.limits().inflation = surplus;
        self
    }

    /// Asks a silent HTTP/2 peer by PING after `interval`, and gives it up `timeout` later (RFC 9113 §6.7). Off by default.
    ///
    /// A PING asks whoever the connection is with, such as a proxy or a browser, and passes neither: it finds connections
    /// that are dead. Whether a WebSocket still has somebody at its other end only `ping` finds out.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive = Some((interval, timeout));
        self
    }

    /// Asks the peer of each WebSocket that was silent for `interval` by a Ping (RFC 6455 §5.5.2), over every version of
    /// HTTP, and gives the socket up where nothing at all comes within `timeout` after that: it gets
    /// [`Error::Timeout`](crate::Error::Timeout), which RFC 6455 §7.1.5 calls code 1006, its stream is reset with CANCEL or its connection of
    /// HTTP/1.1 is closed, and [`Counter::PingTimeouts`](crate::Counter::PingTimeouts) counts it. Off by default, and with an
    /// `interval` of zero; 25 and 20 seconds do well, since proxies cut off what is silent for 60.
    ///
    /// It does not matter what the application does: neither whether it receives nor in which task. The Pongs are not told
    /// to [`recv_with`](crate::WebSocket::recv_with). A Ping may be late by a 64th of the shorter time, or an eighth where a
    /// connection has more than 512 streams. A peer whose octets or ours wait for room is not silent.
    ///
    /// Other than the PING of HTTP/2, of [`keep_alive`](Self::keep_alive), a Ping passes proxies and keeps them from cutting
    /// the socket off, and finds a page that is gone while its browser keeps the connection.
    #[cfg(feature = "web-socket")]
    #[doc(alias = "ping_interval")]
    #[doc(alias = "ping_timeout")]
    #[doc(alias = "heartbeat")]
    #[must_use]
    pub fn ping(mut self, interval: Duration, timeout: Duration) -> Self {
        self.limits().pings = PingTimes::new(interval, timeout);
        self
    }

    /// Time for TLS, for the first octets of HTTP and for the head of an HTTP/1.1 request; 10 seconds by default. The time of a
    /// later head begins with its first octet.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// Time for the peer of a closed WebSocket to end its half of the stream, and for a handler to end after its stream is
    /// over; 5 seconds by default. A handler that goes on is dropped then
    /// ([`Counter::HandlersDropped`](crate::Counter::HandlersDropped)).
    ///
    /// Over HTTP/1.1 the end of a peer is seen behind at most a window of octets that nobody has read (64 KiB by default):
    /// [`ping`](Self::ping) finds the others.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.limits().set_close_timeout(time);
        self
    }

    /// Octets that a connection reads and drops after its end, by an error or by ours, so that the peer gets the last that was
    /// sent; 4 MiB by default, which is what a fast peer far away has sent before it knows. Past it nothing more is read, and
    /// the connection is closed after a second ([`Counter::LingersGivenUp`](crate::Counter::LingersGivenUp)).
    #[must_use]
    pub fn linger(mut self, octets: usize) -> Self {
        self.limits().linger = octets;
        self
    }

    /// Time in which a connection has to take 16 KiB of what there is to write, or all of it; 60 seconds by default. Then it is
    /// cut off ([`Counter::WriteTimeouts`](crate::Counter::WriteTimeouts)): who takes nothing, or an octet a minute, keeps what
    /// is held for it for ever. A link of 300 octets a second is quick enough. It holds over every version of HTTP; one stream of
    /// HTTP/2 has the same in its [`progress_timeout`](h2::Config::progress_timeout).
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.limits().write_timeout = time;
        self
    }

    /// Time in which 16 KiB have to come, or the rest, of a WebSocket message or of a request's content that has begun, while the
    /// application waits for it; 60 seconds by default, and at most twice as long, since it is looked at once in each
    /// period. Then the socket fails with 1008, or the content with [`Error::Timeout`](crate::Error::Timeout), and
    /// [`Counter::ReceiveTimeouts`](crate::Counter::ReceiveTimeouts) counts it.
    ///
    /// A link of 300 octets a second is quick enough, and between two messages a socket may be silent for as long as it likes; so
    /// may one whose message is received [in pieces](crate::WebSocket::recv_stream), between two frames. For requests whose
    /// content is a stream of events from the client, [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn receive_timeout(mut self, time: Duration) -> Self {
        self.limits().receive_timeout = time;
        self
    }

    /// Time for which a connection may have neither a request nor a WebSocket; 60 seconds by default, and over HTTP/2 at most twice
    /// as long. Then it ends, over HTTP/2 by a GOAWAY that loses no request that is under way, and
    /// [`Counter::IdleTimeouts`](crate::Counter::IdleTimeouts) counts it. To the first request over HTTP/1.1 there is the
    /// [`handshake_timeout`](Self::handshake_timeout). PINGs do not make a connection busy.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.limits().idle_timeout = time;
        self
    }

    /// Asks the systems of peers that are silent whether they are there, by TCP's own keep-alive (RFC 9293 §3.8.4): after `time`
    /// without a segment, then four times within the same time. So a peer whose link was cut is gone after twice the `time`,
    /// whether we have something to send or not (where the system has `TCP_USER_TIMEOUT`). 60 seconds by default; with zero
    /// nobody is asked.
    ///
    /// It holds for the connections that [`serve`](Self::serve) accepts. It finds systems that are gone, and no more: whether
    /// a program or a page is there is found out by [`keep_alive`](Self::keep_alive) and [`ping`](Self::ping).
    #[must_use]
    pub fn tcp_keep_alive(mut self, time: Duration) -> Self {
        self.tcp_keep_alive = KeepAlive::new(time);
        self
    }

    /// Time for which a busy connection, and the handlers that run in its task, keep their thread before others have their turn;
    /// 200 microseconds by default. A batch that takes twice as long is broken off where it is. With less others wait less;
    /// with zero the connection gives way at every step, which is for tests.
    #[must_use]
    pub fn time_slice(mut self, time: Duration) -> Self {
        self.limits().set_slice(time);
        self
    }

    /// Time that a connection's task may take in one go before it is logged, with the peer's address, and counted
    /// ([`Counter::BlockedThreads`](crate::Counter::BlockedThreads)): then a handler or a service has blocked its thread, and
    /// nothing else of the thread has run. 1 second by default.
    #[must_use]
    pub fn watchdog(mut self, time: Duration) -> Self {
        self.limits().watchdog = time;
        self
    }

    /// Time for what is open to end after [`Handle::shutdown`], or after the time of [`Handle::drain`], on each connection, whoever
    /// serves it; 5 seconds by default. Then handlers are dropped, and the peer has a second to read the last. At a shutdown
    /// handshakes that are under way end at once; a drain lets them end.
    #[must_use]
    pub fn shutdown_timeout(mut self, time: Duration) -> Self {
        self.limits().shutdown_timeout = time;
        self
    }

    /// A view of the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.registry.clone())
    }

    /// Serves every connection of the listener by clones of a tower service, until [`Handle::shutdown`] or [`Handle::drain`], as
    /// many at once as [`max_connections`](Self::max_connections) says. Where the listener fails for want of descriptors or
    /// memory, it is tried again after a while: of a few milliseconds at first, and of a second at last.
    ///
    /// At a drain the connections that wait in the listener's queue are let in before it is closed, since the system resets those
    /// that are left there. What else a restart needs that loses no handshake is the caller's, who made the listener: that
    /// another process listens already, best on the same socket.
    ///
    /// # Errors
    ///
    /// None at present: what can go wrong with one connection ends that one, and a listener that fails is tried again.
    pub async fn serve<S: HttpService>(self, listener: TcpListener, service: S) -> Result {
        let server = self.settled();
        let (doors, mut turns, mut setbacks) = (server.admission.doors(), Turns::new(), Setbacks::default());
        loop {
            let (turn, (stream, peer)) = tokio::select! {
                biased;
                () = server.registry.wait_ending() => break,
                accepted = turns.accept(&listener, &mut setbacks, &server.registry.metrics) => accepted,
            };
            server.clone().admit(&doors, stream, peer, turn, service.clone());
        }
        let to_tell = match server.registry.ending() {
            Ending::Drain { until } => {
                last::accept_waiting(listener, |stream, peer| {
                    server.clone().admit(&doors, stream, peer, None, service.clone())
                });
                until.saturating_duration_since(now())
            }
            Ending::No | Ending::Shutdown => {
                drop(listener);
                Duration::ZERO
            }
        };
        // Each connection cuts off by itself what has not ended in time.
        let time = to_tell.saturating_add(server.limits.shutdown_timeout).saturating_add(server.limits.failed_timeout);
        timeout(time, server.registry.wait_empty()).await.ok();
        Ok(())
    }

    fn limits(&mut self) -> &mut Limits {
        Arc::make_mut(&mut self.limits)
    }

    /// Takes over into HTTP/2's settings what is the server's own. All connections share the result.
    fn settled(mut self) -> Arc<Self> {
        self.http2.handshake_timeout = self.handshake_timeout;
        self.http2.idle_timeout = Some(self.limits.idle_timeout);
        // One more is about to be let go of.
        self.limits().outliving_handlers = self.http2.max_closed_streams().saturating_sub(1);
        if let Some((interval, timeout)) = self.keep_alive {
            self.http2.keep_alive_interval = Some(interval);
            self.http2.keep_alive_timeout = timeout;
        }
        Arc::new(self)
    }

    /// Serves one connection over any transport, by the same settings: TLS where it was asked for, HTTP/2 and HTTP/1.1. It
    /// follows [`Handle::shutdown`] as others do.
    ///
    /// ```no_run
    /// # async fn run(server: sockeye::Server, app: axum::Router) -> sockeye::Result {
    /// # #[cfg(unix)]
    /// while let Ok((stream, _)) = tokio::net::UnixListener::bind("/run/chat.sock")?.accept().await {
    ///     let (server, app) = (server.clone(), app.clone());
    ///     tokio::spawn(async move { server.serve_connection(stream, app).await });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The connection counts among those that [`max_connections`](Self::max_connections) allows.
    ///
    /// # Errors
    ///
    /// What ended the connection otherwise than cleanly; [`Error::Io`] of the kind
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) where there are as many as there may be.
    pub fn serve_connection<T, S>(&self, transport: T, service: S) -> impl Future<Output = Result> + Send + use<T, S>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: HttpService,
    {
        let arrival = self.registry.admit(&self.admission.doors(), None);
        let server = self.clone().settled();
        Relay::new(async move {
            match arrival {
                Ok(arrival) => server.run(transport, None, arrival, service).await,
                Err(_) => Then::Over(Err(Error::Io(io::ErrorKind::QuotaExceeded.into()))),
            }
        })
    }

    /// Lets an accepted connection in, or turns it away.
    fn admit<S: HttpService>(
        self: Arc<Self>,
        doors: &Doors,
        stream: TcpStream,
        peer: SocketAddr,
        turn: Option<Turn>,
        service: S,
    ) {
        match self.registry.admit(doors, Some(peer.ip())) {
            Ok(arrival) => self.begin(stream, peer, turn, arrival, service),
            Err(refused) => turn_away(stream, peer, refused),
        }
    }

    /// Serves an accepted connection in a task of its own.
    fn begin<S: HttpService>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        turn: Option<Turn>,
        arrival: Arrival,
        service: S,
    ) {
        let span = tracing::debug_span!("connection", %peer);
        let (place, registry) = (arrival.place(), self.registry.clone());
        let serving = Unattended(Relay::new(async move {
            drop(turn);
            let keep_alive = self.tcp_keep_alive.map_or(Ok(()), |keep_alive| keep_alive.set(&stream));
            match keep_alive.and_then(|()| stream.set_nodelay(true)) {
                Ok(()) => self.run(stream, Some(peer), arrival, service).await,
                Err(error) => Then::Over(Err(error.into())),
            }
        }));
        // A span that nobody looks at takes no room beside the socket.
        let task = if span.is_disabled() { tokio::spawn(serving) } else { tokio::spawn(serving.instrument(span)) };
        if place == Place::Kept {
            registry.keep(task.abort_handle());
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("http2", &self.http2)
            .field("limits", &self.limits)
            .field("admission", &self.admission)
            .field("tls", &self.secure.is_some())
            .finish_non_exhaustive()
    }
}
