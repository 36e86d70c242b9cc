//! The client: one origin, its connections, and the sockets opened on them.

mod back_off;
mod bounded;
mod builder;
mod exchange;
mod fall_back;
mod http1;
mod http2;
#[cfg(feature = "tls")]
mod insecure;
mod memory;
mod occupancy;
mod open;
mod origin;
#[cfg(feature = "tls")]
mod pem;
mod pool;
mod request;
mod settings;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod transport;
mod tunnel;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Version};
use sockeye_proto::h2;
use tokio::time::timeout;

use self::back_off::BackOff;
use self::http2::Purpose;
use self::memory::Way;
use self::origin::{Origin, Target};
use self::pool::Pool;
use self::settings::Settings;
use self::transport::Established;
use crate::engine::link::{ConnectionInfo, Link, Side};
use crate::engine::peer::PeerAddress;
use crate::engine::registry::{Ending, Handle, Registry};
use crate::error::{Error, Missing, Result, Step};

pub use self::builder::ClientBuilder;
pub use self::open::Open;
pub use self::request::OnInterim;
pub use self::tunnel::TunnelAnswer;

/// Opens one WebSocket, on a connection of its own: what `new WebSocket(url)` is to a page.
///
/// For several to the same origin a [`Client`] is better: they share a connection.
///
/// ```no_run
/// # async fn run() -> sockeye::Result {
/// let mut socket = sockeye::connect("wss://example.com/chat").protocols(["chat"]).await?;
/// socket.send("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// Cancel safe: dropped before it is ready, the future leaves no connection behind.
///
/// # Errors
///
/// Those of [`Client::connect`] and [`Client::open`].
pub fn connect(url: &str) -> Open {
    Open::once(ClientBuilder::shared(), url)
}

/// Opens WebSockets to one origin: many on one HTTP/2 connection (RFC 8441) where the server offers it, each on a
/// connection of HTTP/1.1 of its own where it does not. Clones share the connections.
///
/// ```no_run
/// use sockeye::Client;
///
/// # async fn run() -> sockeye::Result {
/// let client = Client::connect("https://example.com").await?; // one connection
/// let mut chat = client.open("/chat").await?; // many sockets
/// let mut news = client.open("/news").protocols(["news"]).await?;
/// chat.send("hello").await?;
/// while let Some(message) = news.recv().await? {
///     println!("{message:?}");
/// }
/// chat.close().await
/// # }
/// ```
///
/// Over TLS the version of HTTP is settled by ALPN. An HTTP/2 connection waits for the server's SETTINGS: where they do
/// not offer the extended CONNECT (RFC 8441 §3), or ALPN chose HTTP/1.1, the client goes on with HTTP/1.1, as it does
/// for the next hour with that origin. There are servers that offer the extended CONNECT and do not serve it: where no
/// socket has opened over HTTP/2 yet and one is answered with 400, 404, 405, 426 or 501, or by the end of its stream or
/// connection, that one is tried over HTTP/1.1 once. If it opens, all go that way for the next hour;
/// [`WebSocket::version`](crate::WebSocket::version) tells. In cleartext a client speaks HTTP/1.1 unless told
/// [`http2_only`](ClientBuilder::http2_only), which then goes by prior knowledge (RFC 9113 §3.3).
///
/// Where the server goes away in order (GOAWAY, as by a restart) the next socket has a new connection at once, and one that the
/// server did not act on any more is tried there: no handshake is lost. Where a connection with sockets on it is lost, or cannot be
/// made, the next one waits for a random time first, so that the clients of one server do not come back in one moment: see
/// [`back_off`](ClientBuilder::back_off).
///
/// # Reconnecting
///
/// A `Client` lives as long as the program: it connects again by itself, with a back-off, whenever the next [`open`](Self::open) finds
/// no connection. The sockets that were lost it does not open again, since only the application knows what was said on them. A loop
/// does:
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockeye::{Client, Result};
///
/// async fn follow(client: &Client) -> Result {
///     loop {
///         let followed = async {
///             let mut feed = client.open("/feed").await?;
///             while let Some(message) = feed.recv().await? {
///                 println!("{message:?}");
///             }
///             feed.close().await
///         };
///         match followed.await {
///             Err(error) if error.is_retryable() => eprintln!("{error}; again"),
///             ended => return ended,
///         }
///         // The client has a back-off where it gets no connection. A server that is there and says no is not asked again at once.
///         tokio::time::sleep(Duration::from_secs(1)).await;
///     }
/// }
/// ```
///
/// The first [`connect`](Self::connect) is not tried again: an URL that is wrong is known at once. The example `reconnect` goes on
/// where it was.
///
/// # Limits
///
/// Past the server's limit on concurrent streams further connections are made, up to
/// [`max_connections`](ClientBuilder::max_connections); beyond that an `open` waits. When the last clone and the last
/// socket are gone, so are the connections.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

pub(crate) struct Shared {
    settings: Arc<Settings>,
    origin: Origin,
    /// Of every handshake.
    headers: HeaderMap,
    registry: Arc<Registry>,
    pool: Pool,
    back_off: BackOff,
    /// What this origin is known to take.
    way: Mutex<Way>,
    /// What came of HTTP/2 where a socket then opened over HTTP/1.1.
    fell_back: Mutex<Option<Arc<Error>>>,
    /// How often HTTP/1.1 opened a socket where HTTP/2 had failed in a way that may pass.
    doubts: AtomicU32,
    /// A connection of HTTP/1.1 on which nothing was asked yet.
    spare: Mutex<Option<Established>>,
}

impl Client {
    /// Connects to an origin with default settings: see [`ClientBuilder::connect`]. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        ClientBuilder::shared().connect(url).await
    }

    /// A client's settings, all at their defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Opens a WebSocket: `path` is a path with or without a query, or an URL of the client's origin. Await what is
    /// returned, or say more about the socket first.
    ///
    /// ```no_run
    /// # async fn run(client: sockeye::Client) -> sockeye::Result {
    /// let socket = client.open("/chat?room=1").protocols(["chat"]).header("x-user", "me").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path or a header that cannot be sent. [`Error::Refused`] with the response of a server
    /// that said no, and [`Error::Neither`] where it did so over HTTP/2 and something else came of HTTP/1.1;
    /// [`Error::Handshake`] where its answer breaks a rule. [`Error::Connect`] and [`Error::Timeout`] name
    /// the step that failed. [`Error::Reset`], [`Error::GoAway`] and [`Error::Disconnected`] where the stream broke off before it
    /// was open, [`Error::Violation`] where the server broke a rule of HTTP/2 then:
    /// one that the server did not act on (REFUSED_STREAM, or above the last of its GOAWAY) was tried once elsewhere
    /// before, and so was one over HTTP/1.1 of which nothing was sent, as the server had closed the connection that was kept for
    /// it. A handshake that the server may have seen is not made twice: [`Error::is_retryable`] says whether to.
    /// [`Error::Closed`] after [`close`](Self::close).
    ///
    /// Cancel safe: dropped before it is ready, the future gives its stream up, and the connection is as good as before.
    pub fn open(&self, path: &str) -> Open {
        Open::on(self, path)
    }

    /// Closes every socket with 1001 and every connection by GOAWAY, and waits for their end. A socket says its Close while
    /// it is being received from; what is left after the
    /// [`shutdown_timeout`](crate::Limits::shutdown_timeout) is cut off. Cancel safe: the end goes on where the future is dropped.
    pub async fn close(&self) {
        let Shared { settings, registry, pool, .. } = &*self.0;
        // From here on nothing is opened, and nothing kept.
        self.handle().shutdown();
        pool.clear();
        self.0.spare().take();
        let limits = settings.limits.connection(h2::Role::Client);
        let time = limits.shutdown_timeout.saturating_add(limits.failed_timeout);
        timeout(time, registry.wait_empty()).await.ok();
    }

    /// Why sockets of this client opened over HTTP/1.1 that were to be streams of HTTP/2: what came last of an extended CONNECT (RFC
    /// 8441 §4) in whose place an upgrade then opened a socket, a refusal without its content. It tells whoever runs the server what
    /// browsers, which do not fall back, get there.
    ///
    /// `None` where no socket fell back, also where the server does not offer the extended CONNECT: it refused nothing then. A
    /// client that goes by what another of its builder has learnt asked nothing either.
    pub fn fell_back(&self) -> Option<Arc<Error>> {
        self.0.fell_back.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A view of the client's connections and counters.
    pub fn handle(&self) -> Handle {
        Handle(self.0.registry.clone())
    }
}

impl Shared {
    fn new(settings: Arc<Settings>, target: &Target) -> Self {
        let mut headers = settings.headers.clone();
        if let Some(authorization) = &target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let pool = Pool::new(settings.max_connections);
        Self {
            origin: target.origin.clone(),
            headers,
            registry: Arc::default(),
            pool,
            back_off: BackOff::default(),
            way: Mutex::default(),
            fell_back: Mutex::default(),
            doubts: AtomicU32::new(0),
            spare: Mutex::default(),
            settings,
        }
    }

    /// Keeps a connection of HTTP/1.1 for the next socket, unless there will be none.
    fn keep(&self, established: Established) {
        let mut spare = self.spare();
        if self.registry.ending() == Ending::No {
            *spare = Some(established);
        }
    }

    fn spare(&self) -> MutexGuard<'_, Option<Established>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, established: &Established) -> Arc<Link> {
        let Established { peer, version, .. } = *established;
        let peer = peer.map(PeerAddress::Tcp);
        let info = ConnectionInfo { side: Side::Client, peer, version, secure: self.origin.secure };
        self.registry.enter(Arc::new(self.settings.limits.connection(h2::Role::Client)), info)
    }

    /// The way to begin with, by what was said and what is known.
    fn choose_way(&self) -> Way {
        let may_choose = self.settings.versions == Versions::Any;
        let recalled = if may_choose { self.settings.memory.recall(&self.origin) } else { Way::Unknown };
        let in_cleartext = may_choose && !self.origin.secure;
        let is_http1 = self.settings.versions == Versions::Http1 || recalled == Way::Http1 || in_cleartext;
        let way = if is_http1 { Way::Http1 } else { recalled };
        *self.way() = way;
        way
    }

    /// The first connection, so that an origin that cannot be reached is known at once.
    async fn start(&self) -> Result {
        if self.choose_way() == Way::Http1 {
            self.keep(self.settings.establish(&self.origin, Versions::Http1).await?);
        } else if let Some(connection) = self.make_connection(Purpose::Tunnel).await? {
            self.pool.add(connection);
        }
        Ok(())
    }
}

/// The versions of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Any,
    Http1,
    Http2,
}

impl Versions {
    /// What a connection without ALPN speaks.
    fn by_prior_knowledge(self) -> Version {
        if self == Self::Http2 { Version::HTTP_2 } else { Version::HTTP_11 }
    }

    /// What a server lacks that chose none of them.
    fn by_alpn(self) -> Missing {
        match self {
            Self::Any => Missing::Http,
            Self::Http1 => Missing::Http1,
            Self::Http2 => Missing::Http2,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &format_args!("{}", self.0.origin))
            .field("http1", &self.0.speaks_http1(Purpose::Tunnel))
            .finish_non_exhaustive()
    }
}

/// Gives a step some time.
async fn within<T>(time: Duration, step: Step, future: impl Future<Output = T>) -> Result<T> {
    timeout(time, future).await.map_err(|_| Error::Timeout(step))
}
