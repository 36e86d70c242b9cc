use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use http::{HeaderMap, Uri};
use sockeye_proto::h2;
use tokio::io::{AsyncRead, AsyncWrite};

use super::back_off::Bounds;
use super::origin::Target;
use super::settings::{Proxy, Settings, field};
#[cfg(feature = "tls")]
use super::tls::ClientConfig;
use super::{Client, Open, Shared, Versions};
use crate::engine::link::{Limits, PingTimes};
use crate::engine::transport::{KeepAlive, Transport};
use crate::error::{Error, Result};

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
        let http2 = h2::Config {
            // The server's limit is the one that counts; each stream is the caller's own doing.
            max_concurrent_streams: u32::MAX,
            // Its streams are its own: it bounds what they hold, and stops none for some that it does not read.
            max_unread: 16 << 20,
            window_pool: 1536 << 10,
            // The client waits for the first SETTINGS itself.
            handshake_timeout: Duration::MAX,
            ..h2::Config::default()
        };
        let settings = Settings {
            versions: Versions::Any,
            http2,
            limits: Limits::default(),
            headers: HeaderMap::new(),
            sends_key: false,
            max_connections: 32,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            tcp_keep_alive: KeepAlive::new(KeepAlive::TIME),
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

    /// The settings and limits of HTTP/2 connections. `seed` is drawn for each connection; `handshake_timeout` has no
    /// part in a client: see [`connect_timeout`](Self::connect_timeout). By default there may be as many streams as the
    /// server allows.
    #[must_use]
    pub fn http2(mut self, config: h2::Config) -> Self {
        let settings = self.edit();
        let h2::Config { keep_alive_interval, keep_alive_timeout, .. } = settings.http2;
        settings.http2 = h2::Config { handshake_timeout: Duration::MAX, ..config };
        if keep_alive_interval.is_some() {
            settings.http2 = h2::Config { keep_alive_interval, keep_alive_timeout, ..settings.http2.clone() };
        }
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
            Err(error) => self.invalidate(&error),
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
            Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Transport>) })
        }));
        self
    }

    /// Adds a header field to every handshake, none of the handshake's own.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match field(name, value) {
            Ok((name, value)) => drop(self.edit().headers.append(name, value)),
            Err(error) => self.invalidate(&error),
        }
        self
    }

    /// Sends a `Sec-WebSocket-Key` over HTTP/2 too, for every socket: see [`Open::send_key`]. Off by default.
    #[must_use]
    pub fn send_key(mut self) -> Self {
        self.edit().sends_key = true;
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

    /// Time for the server's answer to a socket's handshake; 10 seconds by default.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.edit().handshake_timeout = time;
        self
    }

    /// Time for the peer of a closed WebSocket to end its half of the stream; 5 seconds by default.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        let limits = &mut self.edit().limits;
        limits.set_close_timeout(time);
        limits.shutdown_timeout = time;
        self
    }

    /// Octets that a connection reads and drops after its end, so that the server gets the last that was sent; 4 MiB by
    /// default. Past it nothing more is read, and the connection is closed after a second.
    #[must_use]
    pub fn linger(mut self, octets: usize) -> Self {
        self.edit().limits.linger = octets;
        self
    }

    /// Time in which a connection has to take 16 KiB of what there is to write, or all of it; 60 seconds by default. Then it is
    /// cut off. A link of 300 octets a second is quick enough.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.edit().limits.write_timeout = time;
        self
    }

    /// Time in which 16 KiB have to come, or the rest, of a WebSocket message that has begun, while it is waited for; 60
    /// seconds by default, and at most twice as long. Then the socket fails with 1008: as
    /// [`Server::receive_timeout`](crate::Server::receive_timeout) in all else.
    #[must_use]
    pub fn receive_timeout(mut self, time: Duration) -> Self {
        self.edit().limits.receive_timeout = time;
        self
    }

    /// Asks the systems of servers, or of proxies, that are silent whether they are there, by TCP's own keep-alive: as
    /// [`Server::tcp_keep_alive`](crate::Server::tcp_keep_alive). 60 seconds by default; with zero nobody is asked. It does not
    /// hold for connections of a [`connector`](Self::connector).
    #[must_use]
    pub fn tcp_keep_alive(mut self, time: Duration) -> Self {
        self.edit().tcp_keep_alive = KeepAlive::new(time);
        self
    }

    /// Time for which a busy connection keeps its thread before others have their turn; 200 microseconds by default: as
    /// [`Server::time_slice`](crate::Server::time_slice).
    #[must_use]
    pub fn time_slice(mut self, time: Duration) -> Self {
        self.edit().limits.set_slice(time);
        self
    }

    /// Asks a silent HTTP/2 server by PING after `interval`, and gives it up `timeout` later (RFC 9113 §6.7). Off by default.
    ///
    /// A PING asks whoever the connection is with, such as a proxy, and does not pass it. [`ping`](Self::ping) asks for each
    /// WebSocket.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        let settings = self.edit();
        settings.http2.keep_alive_interval = Some(interval);
        settings.http2.keep_alive_timeout = timeout;
        self
    }

    /// Asks the peer of each WebSocket that was silent for `interval` by a Ping (RFC 6455 §5.5.2), over every version of
    /// HTTP, and gives the socket up where nothing at all comes within `timeout` after that: it gets
    /// [`Error::Timeout`]. Off by default, and with an `interval` of zero; as [`Server::ping`](crate::Server::ping) in all
    /// else.
    #[doc(alias = "ping_interval")]
    #[doc(alias = "ping_timeout")]
    #[doc(alias = "heartbeat")]
    #[must_use]
    pub fn ping(mut self, interval: Duration, timeout: Duration) -> Self {
        self.edit().limits.pings = PingTimes::new(interval, timeout);
        self
    }

    /// Octets of one stream's unsent data beyond which its sender waits; 64 KiB by default.
    #[must_use]
    pub fn stream_send_buffer(mut self, octets: usize) -> Self {
        self.edit().limits.stream_send = octets;
        self
    }

    /// Octets of one connection's unsent data beyond which a sender waits that has some unsent itself; 1 MiB by default.
    #[must_use]
    pub fn connection_send_buffer(mut self, octets: usize) -> Self {
        self.edit().limits.connection_send = octets;
        self
    }

    /// Octets of one connection's messages of [groups](crate::Group), beyond which who sends to a group waits; 2 MiB by default.
    /// Each is counted once, however many members wait for it, with some octets more; one is sent, whatever its size, where no
    /// other waits.
    #[must_use]
    pub fn group_send_buffer(mut self, octets: usize) -> Self {
        self.edit().limits.group_send = octets;
        self
    }

    /// Octets that unfinished messages of one connection may take together; 4 MiB by default.
    ///
    /// A message of a 64th of it (64 KiB) never waits. Past it large messages wait, and one of them at a time goes on to its
    /// end; those of up to a quarter of it (1 MiB) go on as long as they leave room for others, in as many octets again.
    /// While somebody waits, a message that does not go on by 16 KiB in ten seconds fails its WebSocket with 1008.
    #[must_use]
    pub fn unfinished_messages(mut self, octets: usize) -> Self {
        self.edit().limits.unfinished_messages = octets;
        self
    }

    /// Octets that the compressed messages of one connection may become beyond 64 times what came of them, at once and each
    /// second: 64 MiB and 16 MiB by default. Past it the message is decompressed no further, and fails its socket with 1008.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn inflation(mut self, surplus: h2::Rate) -> Self {
        self.edit().limits.inflation = surplus;
        self
    }

    /// Connects to the origin of a `wss`, `ws`, `https` or `http` URL; what it says beyond that and user information, which
    /// becomes basic authorization (RFC 7617), has no meaning here.
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

    /// Opens one WebSocket, on a connection of its own: see [`connect`](super::connect).
    pub fn open(&self, url: &str) -> Open {
        Open::once(self, url)
    }

    pub(super) async fn client(&self, target: &Target) -> Result<Client> {
        let shared = Shared::new(self.settings.clone(), target);
        shared.start().await?;
        Ok(Client(Arc::new(shared)))
    }

    /// Whether every setting could be taken.
    pub(super) fn check(&self) -> Result {
        self.invalid.as_ref().map_or(Ok(()), |why| Err(Error::invalid(why.to_string())))
    }

    /// Keeps the first fault, which tells more than those that follow.
    pub(super) fn invalidate(&mut self, error: &Error) {
        self.invalid.get_or_insert_with(|| error.reason().into());
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { versions, http2, limits, proxy, .. } = &*self.settings;
        f.debug_struct("ClientBuilder")
            .field("versions", versions)
            .field("http2", http2)
            .field("limits", limits)
            .field("proxy", proxy)
            .finish_non_exhaustive()
    }
}
