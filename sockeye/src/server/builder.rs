use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use sockeye_proto::h2;
use tokio::time::timeout;
use tracing::Instrument;

use crate::engine::admission::{Doors, Place};
use crate::engine::link::{self, Link};
use crate::engine::now;
#[cfg(feature = "tls")]
use crate::engine::peer::Certificates;
use crate::engine::registry::{Arrival, Ending, Handle, Registry};
use crate::engine::relay::{Relay, Then, Unattended};
use crate::engine::transport::{AnyTransport, KeepAlive};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::server::accepted::Accepted;
use crate::server::accepting::{Turn, Turns, turn_away};
use crate::server::admission::AdmissionSettings;
use crate::server::answer::{AnyService, HttpService};
use crate::server::last;
use crate::server::listener::Listeners;

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
/// Cancel safe, as [`Server::serve`].
///
/// # Errors
///
/// Those of [`Server::serve`].
pub async fn serve<S: HttpService>(listeners: impl Into<Listeners>, service: S) -> Result {
    Server::new().serve(listeners, service).await
}

/// A server with its settings.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockeye::{Limits, Server};
///
/// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> sockeye::Result {
/// let server = Server::new()
///     .limits(Limits::new().max_concurrent_streams(10_000).write_timeout(Duration::from_secs(20)))
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
    limits: Arc<Limits>,
    pub(super) admission: AdmissionSettings,
    pub(super) secure: Option<Secure>,
    pub(super) registry: Arc<Registry>,
}

/// A server's settings as its connections use them.
pub(crate) struct Settled {
    pub(super) http2: h2::Config,
    pub(super) limits: Arc<link::Limits>,
    pub(super) handshake_timeout: Duration,
    tcp_keep_alive: Option<KeepAlive>,
    pub(super) secure: Option<Secure>,
    pub(super) registry: Arc<Registry>,
}

/// What a secure transport is once its handshake is done.
pub(crate) struct Secured {
    pub(crate) transport: AnyTransport,
    /// What ALPN settled on.
    pub(crate) version: Option<Version>,
    /// What the peer proved to be its own.
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<Certificates>,
}

impl Secured {
    /// Has the connection know its peer.
    pub(super) fn identify(&self, link: &Link) {
        #[cfg(feature = "tls")]
        if let Some(certificates) = self.certificates.clone() {
            link.set_certificates(certificates);
        }
        #[cfg(not(feature = "tls"))]
        let _ = link;
    }
}

/// How a transport becomes a secure one.
pub(crate) type Secure = Arc<dyn Fn(AnyTransport) -> Securing + Send + Sync>;
pub(crate) type Securing = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server in cleartext, with every limit at its default.
    pub fn new() -> Self {
        Self { limits: Arc::default(), admission: AdmissionSettings::default(), secure: None, registry: Arc::default() }
    }

    /// What one connection may hold, how fast its peer may be and how long is waited for it, in place of all that was said
    /// before: so [`ping`](Self::ping) and its like come after it.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// Streams of HTTP/2 at once on a connection; 100 by default: see
    /// [`Limits::max_concurrent_streams`].
    #[must_use]
    pub fn max_concurrent_streams(self, streams: u32) -> Self {
        self.limit(|limits| limits.max_concurrent_streams(streams))
    }

    /// Asks silent peers of HTTP/2 by PING after `interval`, and gives them up `timeout` later; off by default: see
    /// [`Limits::keep_alive`].
    #[must_use]
    pub fn keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        self.limit(|limits| limits.keep_alive(interval, timeout))
    }

    /// Asks silent WebSockets by Ping after `interval`, and gives them up `timeout` later; off by default: see
    /// [`Limits::ping`].
    #[cfg(feature = "web-socket")]
    #[must_use]
    pub fn ping(self, interval: Duration, timeout: Duration) -> Self {
        self.limit(|limits| limits.ping(interval, timeout))
    }

    fn limit(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.limits = Arc::new(change(Arc::unwrap_or_clone(self.limits)));
        self
    }

    /// A view of the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.registry.clone())
    }

    /// Serves every connection of a listener, or of several, by clones of a tower service, until [`Handle::shutdown`] or
    /// [`Handle::drain`], as many at once as [`max_connections`](Self::max_connections) says. It takes a
    /// [`TcpListener`](tokio::net::TcpListener), a `UnixListener`, or an array or a `Vec` of such, of both kinds as
    /// [`Listener`](crate::server::Listener)s; they take turns. A listener that fails for want of descriptors or memory is tried again
    /// after a while: of a few milliseconds at first, and of a second at last.
    ///
    /// At a drain the connections that wait in the listener's queue are let in before it is closed, since the system resets those
    /// that are left there. What else a restart needs that loses no handshake is the caller's, who made the listener: that
    /// another process listens already, best on the same socket.
    ///
    /// ```no_run
    /// # async fn run(server: sockeye::Server, app: axum::Router) -> sockeye::Result {
    /// use tokio::net::TcpListener;
    ///
    /// let [v4, v6] = [TcpListener::bind("0.0.0.0:8080").await?, TcpListener::bind("[::1]:8080").await?];
    /// server.serve([v4, v6], app).await
    /// # }
    /// ```
    ///
    /// Where listeners have services of their own, or some of them TLS, clones of the server serve them, which share their
    /// connections' number, their handle and their counters:
    /// `tokio::try_join!(server.clone().serve(a, public), server.serve(b, internal))`.
    ///
    /// Cancel safe: where the future is dropped nothing more is accepted, and the connections that there are go on.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where there is no listener. What goes wrong with one connection ends that one, and a listener that fails is
    /// tried again.
    pub async fn serve<S: HttpService>(self, listeners: impl Into<Listeners>, service: S) -> Result {
        self.serve_any(listeners.into(), AnyService::new(service)).await
    }

    async fn serve_any(self, listeners: Listeners, service: AnyService) -> Result {
        let (doors, mut turns) = (self.admission.doors(), Turns::new());
        let nowhere = "a server without a listener would wait for ever: give it one";
        let mut queues = listeners.queues().ok_or_else(|| Error::invalid(nowhere))?;
        let server = self.settled();
        loop {
            let (turn, accepted) = tokio::select! {
                biased;
                () = server.registry.wait_ending() => break,
                accepted = turns.accept(&mut queues, &server.registry.metrics) => accepted,
            };
            server.clone().admit(&doors, accepted, turn, service.clone());
        }
        let to_tell = match server.registry.ending() {
            Ending::Drain { until } => {
                for listener in queues.into_listeners() {
                    last::accept_waiting(listener, |accepted| {
                        server.clone().admit(&doors, accepted, None, service.clone())
                    });
                }
                until.saturating_duration_since(now())
            }
            Ending::No | Ending::Shutdown => {
                drop(queues);
                Duration::ZERO
            }
        };
        // Each connection cuts off by itself what has not ended in time.
        let time = to_tell.saturating_add(server.limits.shutdown_timeout).saturating_add(server.limits.failed_timeout);
        timeout(time, server.registry.wait_empty()).await.ok();
        Ok(())
    }

    /// What all connections share.
    pub(super) fn settled(self) -> Arc<Settled> {
        Arc::new(Settled {
            http2: self.limits.http2(h2::Role::Server),
            limits: Arc::new(self.limits.connection(h2::Role::Server)),
            handshake_timeout: self.limits.handshake_timeout,
            tcp_keep_alive: self.limits.tcp_keep_alive,
            secure: self.secure,
            registry: self.registry,
        })
    }
}

impl Settled {
    /// Lets an accepted connection in, or turns it away.
    fn admit(self: Arc<Self>, doors: &Doors, accepted: Accepted, turn: Option<Turn>, service: AnyService) {
        match self.registry.admit(doors, accepted.ip()) {
            Ok(arrival) => self.begin(accepted, turn, arrival, service),
            Err(refused) => turn_away(accepted, refused),
        }
    }

    /// Serves an accepted connection in a task of its own.
    fn begin(self: Arc<Self>, accepted: Accepted, turn: Option<Turn>, arrival: Arrival, service: AnyService) {
        let span = tracing::debug_span!("connection", peer = accepted.peer.map(tracing::field::display));
        let (place, registry) = (arrival.place(), self.registry.clone());
        let serving = Unattended(Relay::new(async move {
            drop(turn);
            match accepted.prepare(self.tcp_keep_alive) {
                Ok(()) => self.run(accepted.transport, accepted.peer, arrival, service).await,
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
            .field("limits", &self.limits)
            .field("admission", &self.admission)
            .field("tls", &self.secure.is_some())
            .finish_non_exhaustive()
    }
}
