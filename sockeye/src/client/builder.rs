use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use http::{HeaderMap, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::back_off::Bounds;
use super::origin::Target;
use super::settings::{Proxy, Settings, field};
#[cfg(feature = "tls")]
use super::tls::ClientConfig;
use super::{Client, Open, Shared, Versions};
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::socket::SocketOptions;

/// The settings of a [`Client`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockeye::Client;
///
/// # async fn run() -> sockeye::Result {
/// let client = Client::builder()
///     .header("user-agent", "dashboard/1.0")
///     .keep_alive(Duration::from_secs(30), Duration::from_secs(10))
///     .connect("wss://example.com")
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// A setting that cannot be, such as a header with a line break, shows as [`Error::Invalid`] when the builder connects.
#[derive(Clone)]
pub struct ClientBuilder {
    settings: Arc<Settings>,
    invalid: Option<Arc<str>>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientBuilder {
    /// Every setting at its default.
    pub fn new() -> Self {
        let settings = Settings {
            versions: Versions::Any,
            limits: Limits::new(),
            options: SocketOptions::new(),
            headers: HeaderMap::new(),
            max_connections: 32,
            connect_timeout: Duration::from_secs(10),
            back_off: Bounds::default(),
            connector: None,
            proxy: None,
            memory: Arc::default(),
            tls_config: None,
            tls: OnceLock::new(),
        };
        Self { settings: Arc::new(settings), invalid: None }
    }

    /// The one that [`connect`](super::connect) and [`Client::connect`] use.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<ClientBuilder> = LazyLock::new(ClientBuilder::new);
        &SHARED
    }

    fn edit(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    /// HTTP/2 or nothing; in cleartext by prior knowledge (RFC 9113 §3.3). A server that does not offer it, or its
    /// extended CONNECT (RFC 8441 §3), is an [`Error::NotOffered`]; nothing is tried over HTTP/1.1.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.edit().versions = Versions::Http2;
        self
    }

    /// HTTP/1.1 alone: each socket has a connection of its own.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.edit().versions = Versions::Http1;
        self
    }

    /// What one connection may hold, how fast the server may be and how long is waited for it, in place of all that was said
    /// before: so [`ping`](Self::ping) and [`keep_alive`](Self::keep_alive) come after it.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.edit().limits = limits;
        self
    }

    /// What all sockets of the client begin with: subprotocols, message limits, extensions. [`Open::options`] and its
    /// shorthands say something else of one.
    #[must_use]
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.edit().options = options;
        self
    }

    /// Asks a silent HTTP/2 server by PING after `interval`, and gives it up `timeout` later; off by default: see
    /// [`Limits::keep_alive`].
    #[must_use]
    pub fn keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        self.limit(|limits| limits.keep_alive(interval, timeout))
    }

    /// Asks silent WebSockets by Ping after `interval`, and gives them up `timeout` later; off by default: see
    /// [`Limits::ping`].
    #[must_use]
    pub fn ping(self, interval: Duration, timeout: Duration) -> Self {
        self.limit(|limits| limits.ping(interval, timeout))
    }

    fn limit(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        let settings = self.edit();
        settings.limits = change(mem::take(&mut settings.limits));
        self
    }

    /// TLS as this configuration says; its protocols for ALPN are set for what is spoken. By default the system's
    /// certificates are trusted, and there is none of the client.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: ClientConfig) -> Self {
        let settings = self.edit();
        settings.tls_config = Some(Arc::new(config));
        settings.tls = OnceLock::new();
        self
    }

    /// What is used without [`tls`](Self::tls), to be changed and given there: the system's certificates are trusted, and there
    /// is none of the client.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] where the system has no certificate to trust.
    #[cfg(feature = "tls")]
    pub fn system_tls() -> Result<ClientConfig> {
        super::tls::by_system_roots()
    }

    /// Goes through an HTTP proxy: `http://host:port`, with user information where it asks for some (RFC 7617). It is
    /// asked for a tunnel (CONNECT, RFC 9110 §9.3.6) in cleartext, whatever the origin's scheme.
    #[must_use]
    pub fn proxy(mut self, url: &str) -> Self {
        match Proxy::parse(url) {
            Ok(proxy) => self.edit().proxy = Some(proxy),
            Err(error) => self.invalidate(error),
        }
        self
    }

    /// Connects by a function of the caller's own, which is given the origin's URL: to a Unix socket, through another
    /// kind of proxy, over anything. TLS, where the URL asks for it, goes on top.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// let builder = sockeye::Client::builder().connector(|_| tokio::net::UnixStream::connect("/run/chat.sock"));
    /// ```
    #[must_use]
    pub fn connector<F, R, T>(mut self, connect: F) -> Self
    where
        F: Fn(Uri) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.edit().connector = Some(Arc::new(move |uri| {
            let connecting = connect(uri);
            Box::pin(async move { Ok(AnyTransport::other(connecting.await?)) })
        }));
        self
    }

    /// Adds a header field to every handshake, none of the handshake's own.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match field(name, value) {
            Ok((name, value)) => drop(self.edit().headers.append(name, value)),
            Err(error) => self.invalidate(error),
        }
        self
    }

    /// HTTP/2 connections to the origin at once, beyond which an `open` waits for a free stream; 32 by default, at least 1.
    /// Over HTTP/1.1 each socket has its own, and there is no bound.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.edit().max_connections = connections.max(1);
        self
    }

    /// Time for each step to a connection: name resolution with TCP, the proxy's answer, TLS, the server's SETTINGS; and
    /// for a free stream. 10 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.edit().connect_timeout = time;
        self
    }

    /// How long the client waits before it connects again, after a connection with sockets on it was lost or one could not be
    /// made: for a random time of up to `first`, which doubles with each failure that follows up to `most`; 100 milliseconds and
    /// 5 seconds by default, and never with zeros. A socket that opens ends it.
    ///
    /// An orderly end, by GOAWAY with NO_ERROR, is no failure: there the next socket connects at once. The client does not open
    /// sockets again by itself, since only the application knows what was said on them: an `open` that finds no connection waits
    /// its turn, and its error says where nothing came of it. Who opens many sockets again after a Close 1001 need not wait: a
    /// server that drains tells them one after another.
    #[must_use]
    pub fn back_off(mut self, first: Duration, most: Duration) -> Self {
        self.edit().back_off = Bounds { first, most };
        self
    }

    /// Connects to the origin of a `wss`, `ws`, `https` or `http` URL; what it says beyond that and user information, which
    /// becomes basic authorization (RFC 7617), has no meaning here. Cancel safe: dropped before it is ready, it leaves no
    /// connection behind.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a wrong URL or setting; [`Error::Connect`] and [`Error::Timeout`], which name the step;
    /// [`Error::NotOffered`] with [`http2_only`](Self::http2_only); [`Error::Violation`] of a server that breaks the
    /// rules of HTTP/2.
    pub async fn connect(&self, url: &str) -> Result<Client> {
        self.check()?;
        let target = Target::parse(url)?;
        self.client(&target).await
    }

    /// A client of the same kind without a connection: the first [`open`](Client::open) makes one. For whoever has many origins, or
    /// some that may be down, such as a gateway.
    ///
    /// ```
    /// let client = sockeye::Client::builder().lazy("https://example.com")?;
    /// # Ok::<(), sockeye::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a wrong URL or setting.
    pub fn lazy(&self, url: &str) -> Result<Client> {
        self.check()?;
        let shared = Shared::new(self.settings.clone(), &Target::parse(url)?);
        shared.choose_way();
        Ok(Client(Arc::new(shared)))
    }

    /// Opens one WebSocket, on a connection of its own: see [`connect`](super::connect). Cancel safe.
    pub fn open(&self, url: &str) -> Open {
        Open::once(self, url)
    }

    pub(super) async fn client(&self, target: &Target) -> Result<Client> {
        let shared = Shared::new(self.settings.clone(), target);
        shared.start().await?;
        Ok(Client(Arc::new(shared)))
    }

    pub(super) fn options_of_all(&self) -> &SocketOptions {
        &self.settings.options
    }

    /// Whether every setting could be taken.
    pub(super) fn check(&self) -> Result {
        self.invalid.as_ref().map_or(Ok(()), |why| Err(Error::invalid(why.to_string())))
    }

    /// Keeps the first fault, which tells more than those that follow.
    pub(super) fn invalidate(&mut self, error: Error) {
        self.invalid.get_or_insert_with(|| error.into_reason().into());
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { versions, limits, options, proxy, .. } = &*self.settings;
        f.debug_struct("ClientBuilder")
            .field("versions", versions)
            .field("limits", limits)
            .field("options", options)
            .field("proxy", proxy)
            .finish_non_exhaustive()
    }
}
