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

#[cfg(feature = "web-socket")]
use crate::engine::link::PingTimes;
use crate::engine::link::{Limits, Phase};
use crate::engine::registry::{Handle, Registry};
use crate::engine::relay::{Relay, Then, Unattended};
use crate::engine::transport::Transport;
use crate::error::Result;
use crate::server::answer::HttpService;

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
    keep_alive: Option<(Duration, Duration)>,
    pub(super) handshake_timeout: Duration,
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
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
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

    /// Octets of one connection's unsent data beyond which a sender waits that has some unsent itself; 1 MiB by default.
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
    /// A message of a 64th of it (64 KiB) never waits. Past it large messages wait, and one of them at a time goes on to its
    /// end; those of up to a quarter of it (1 MiB) go on as long as they leave room for others, in as many octets again.
    /// While somebody waits, a message that does not go on by 16 KiB in ten seconds fails its WebSocket with 1008.
    #[must_use]
    pub fn unfinished_messages(mut self, octets: usize) -> Self {
        self.limits().unfinished_messages = octets;
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

    /// Time for TLS, for the first octets of HTTP and for the head of an HTTP/1.1 request; 10 seconds by default.
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

    /// Time for which a connection may take nothing of what there is to write; 60 seconds by default. Then it is cut off.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.limits().write_timeout = time;
        self
    }

    /// Time for what is open to end after [`Handle::shutdown`], on each connection, whoever serves it; 5 seconds by default. Then
    /// handlers are dropped, and the peer has a second to read the last. Handshakes that are under way end at once.
    #[must_use]
    pub fn shutdown_timeout(mut self, time: Duration) -> Self {
        self.limits().shutdown_timeout = time;
        self
    }

    /// A view of the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.registry.clone())
    }

    /// Serves every connection of the listener by clones of a tower service, until [`Handle::shutdown`].
    ///
    /// # Errors
    ///
    /// None at present: what can go wrong with one connection ends that one, and a listener that fails is tried again.
    pub async fn serve<S: HttpService>(self, listener: TcpListener, service: S) -> Result {
        let server = self.settled();
        loop {
            tokio::select! {
                biased;
                () = server.registry.wait_shutdown() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => server.clone().accept(stream, peer, service.clone()),
                    Err(error) => wait_out(&error).await,
                },
            }
        }
        drop(listener);
        server.registry.advance(Phase::Draining);
        // Each connection cuts off by itself what has not ended in time.
        let time = server.limits.shutdown_timeout.saturating_add(server.limits.failed_timeout);
        timeout(time, server.registry.wait_empty()).await.ok();
        Ok(())
    }

    fn limits(&mut self) -> &mut Limits {
        Arc::make_mut(&mut self.limits)
    }

    /// Takes over into HTTP/2's settings what is the server's own. All connections share the result.
    fn settled(mut self) -> Arc<Self> {
        self.http2.handshake_timeout = self.handshake_timeout;
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
    /// # Errors
    ///
    /// What ended the connection otherwise than cleanly.
    pub fn serve_connection<T, S>(&self, transport: T, service: S) -> impl Future<Output = Result> + Send + use<T, S>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: HttpService,
    {
        let arrival = self.registry.expect();
        Relay::new(self.clone().settled().run(transport, None, arrival, service))
    }

    /// Serves an accepted connection in a task of its own.
    fn accept<S: HttpService>(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, service: S) {
        let span = tracing::debug_span!("connection", %peer);
        let arrival = self.registry.expect();
        let serving = Unattended(Relay::new(async move {
            match stream.set_nodelay(true) {
                Ok(()) => self.run(stream, Some(peer), arrival, service).await,
                Err(error) => Then::Over(Err(error.into())),
            }
        }));
        // A span that nobody looks at takes no room beside the socket.
        if span.is_disabled() {
            tokio::spawn(serving);
        } else {
            tokio::spawn(serving.instrument(span));
        }
    }
}

/// A listener fails for one connection's sake, which is no matter, or for want of something, which may pass.
async fn wait_out(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::warn!(%error, "no connection can be accepted; trying again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("http2", &self.http2)
            .field("limits", &self.limits)
            .field("tls", &self.secure.is_some())
            .finish_non_exhaustive()
    }
}
