//! How an upstream is reached: where it is, by which version of HTTP, and the connections that are kept to it.

mod dial;
mod error;
mod pool;
mod resolve;
mod stream;
mod target;
mod tls;
mod turns;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use sockeye::error::Missing;
use tokio::time::timeout;

pub(crate) use self::dial::{Dialer, Pooled};
pub use self::error::Error;
use self::pool::Pool;
pub(crate) use self::stream::Stream;
pub use self::target::Target;
pub use self::tls::Tls;
pub(crate) use self::turns::Turns;
use crate::http::{Source, Upload};

/// Octets of a response's head over HTTP/1.1, and so of what hyper reads at once.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// The version of HTTP towards an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// What ALPN chooses over TLS, HTTP/1.1 in cleartext. WebSockets go over HTTP/1.1 where an upstream that speaks HTTP/2 does not
    /// offer the extended CONNECT (RFC 8441 §3).
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, in cleartext by prior knowledge (RFC 9113 §3.3); WebSockets as with [`Auto`](Self::Auto).
    Http2,
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "h1" => Ok(Self::Http1),
            "h2" => Ok(Self::Http2),
            _ => Err(Error::invalid(format!("{text:?} is none of h1, h2 and auto"))),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Http1 => "h1",
            Self::Http2 => "h2",
        })
    }
}

/// How long an upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For TCP, for TLS behind it, and for the first SETTINGS of HTTP/2, each. 5 seconds by default: a host that is up answers in
    /// milliseconds.
    pub connect: Duration,
    /// For the response head, to a handshake and to any other request. 60 seconds by default: a long poll takes half of that.
    pub answer: Duration,
    /// How long a connection of HTTP/1.1 is kept for the next request. 4 seconds by default: a Node server ends one after 5, and a
    /// request that crosses its end is lost. One of HTTP/2, whose end is said beforehand (RFC 9113 §6.8), is kept for a minute.
    pub idle: Duration,
    /// For the end of a WebSocket's other side once one has ended, from the last octet on; then both are broken off. 10 seconds by
    /// default, twice what this library gives its own sockets. Behind an upstream's Close and end it is a second at most: Firefox
    /// never ends its half, and many servers tell their application of the end only once their connection is closed. Where the
    /// server's [`close_timeout`](sockeye::Limits::close_timeout) is less, that counts for a client behind its upstream's end, and
    /// for a client of HTTP/1.1 that ends its half first, which is most likely gone.
    pub close: Duration,
    /// The silence after which an upstream's system is asked whether it is there, by TCP's own keep-alive (RFC 9293 §3.8.4): four
    /// times within as long again, and then it is gone. So is one that acknowledges nothing of what was sent to it for twice as long
    /// (Linux, RFC 5482). 60 seconds by default, at least 4, at most 32,767; zero never asks. No other time finds an upstream whose
    /// link is cut while a WebSocket, or content, is silent, which it may be for ever.
    pub tcp_keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(4),
            close: Duration::from_secs(10),
            tcp_keep_alive: Duration::from_secs(60),
        }
    }
}

/// For how long a connection of HTTP/2 is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(60);

/// Octets of the windows of a connection of HTTP/2 (RFC 9113 §5.2.2), the most there may be: what some clients do not take stands in
/// the windows of their own streams, and stops no other.
const WINDOW: u32 = (1 << 31) - 1;

/// Octets of a stream's window at its start. It grows for a client that keeps up; one that takes nothing of a thousand streams has
/// 8 MiB stand in these windows, beside what waits for it on its own connection.
const STREAM_WINDOW: u32 = 8 << 10;

/// So many times as long as [`Timeouts::close`] a connection of HTTP/2 itself waits for the second end of a stream. A relay has its
/// time from the last octet on, and breaks off by itself.
const CLOSES: u32 = 10;

/// For how long an upstream is not asked again for what it did not offer.
const REFRAIN: Duration = Duration::from_secs(60);

/// One upstream, and the connections that are kept to it. Clones share them.
#[derive(Clone)]
pub struct Reach(Arc<Shared>);

struct Shared {
    protocol: Protocol,
    timeouts: Timeouts,
    dialer: Dialer,
    /// For requests over HTTP/1.1.
    pool: Pool,
    /// For WebSockets over HTTP/2, if that may be.
    tunnels: Option<sockeye::Client>,
    /// For requests over HTTP/2, on connections of their own: of many that clients give up at once an upstream thinks that they are
    /// an attack, and ends the connection with all that is on it (CVE-2023-44487).
    requests: Option<sockeye::Client>,
    /// The upstream did not choose HTTP/2.
    http1_requests: Lately,
    /// It did not offer the extended CONNECT.
    http1_sockets: Lately,
}

/// What was found out of an upstream, and holds for a while.
#[derive(Default)]
struct Lately(Mutex<Option<Instant>>);

impl Lately {
    fn is_so(&self) -> bool {
        let found = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.is_some_and(|found| found.elapsed() < REFRAIN)
    }

    fn found_out(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Reach {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// What cannot be: a name that no certificate has, roots that are none.
    pub fn new(target: Target, protocol: Protocol, tls: &Tls, timeouts: &Timeouts) -> Result<Self, Error> {
        let dialer = Dialer::new(target, tls, timeouts)?;
        let pool = Pool::new(&dialer, timeouts);
        let may_be_http2 = protocol == Protocol::Http2 || protocol == Protocol::Auto && dialer.target().is_secure();
        let client = || may_be_http2.then(|| client(&dialer, tls, protocol, timeouts)).transpose();
        let (tunnels, requests) = (client()?, client()?);
        Ok(Self(Arc::new(Shared {
            protocol,
            timeouts: *timeouts,
            dialer,
            pool,
            tunnels,
            requests,
            http1_requests: Lately::default(),
            http1_sockets: Lately::default(),
        })))
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        self.0.dialer.target()
    }

    /// The same, for who keeps it.
    pub(crate) fn shared_target(&self) -> &Arc<Target> {
        self.0.dialer.shared_target()
    }

    /// By which version of HTTP it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// How long it may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    /// Asks for a path, and drops the content: whether the upstream is well is what its status says.
    ///
    /// # Errors
    ///
    /// Where there is no answer, or none in time.
    pub async fn check(&self, path: &str) -> Result<StatusCode, Error> {
        let path = PathAndQuery::try_from(path).map_err(|_| Error::invalid(format!("{path:?} is no path")))?;
        let target = self.target();
        let uri = target.uri(target.authority().clone(), path).map_err(|error| Error::invalid(error.to_string()))?;
        let mut request = Request::new(Upload::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        // Whether it takes connections is a part of it.
        let response = timeout(self.0.timeouts.answer, async {
            *request.version_mut() = self.version().await?;
            self.request(request, true).await
        });
        let response =
            response.await.map_err(|_| Error::timed_out(format!("{target} did not answer in time"), true))?;
        Ok(response?.status())
    }

    /// By which version of HTTP the next request goes. Where that is the upstream's choice, it is found out by connecting.
    pub(crate) async fn version(&self) -> Result<Version, Error> {
        let Some(client) = &self.0.requests else { return Ok(Version::HTTP_11) };
        if self.0.protocol == Protocol::Http2 {
            return Ok(Version::HTTP_2);
        }
        if self.0.http1_requests.is_so() {
            return Ok(Version::HTTP_11);
        }
        match client.offers_http2().await {
            Ok(true) => Ok(Version::HTTP_2),
            Ok(false) => {
                self.0.http1_requests.found_out();
                Ok(Version::HTTP_11)
            }
            Err(error) => Err(Error::of_http2(self.target(), error)),
        }
    }

    /// Makes a request by its version: `afresh` where a kept connection of HTTP/1.1 has ended under it.
    pub(crate) async fn request(&self, request: Request<Upload>, afresh: bool) -> Result<Response<Source>, Error> {
        match &self.0.requests {
            Some(client) if request.version() == Version::HTTP_2 => match client.request(request).await {
                Ok(response) => Ok(response.map(Source::Sockeye)),
                Err(error) if self.0.protocol == Protocol::Auto && asks_for_http1(&error) => {
                    self.0.http1_requests.found_out();
                    Err(Error::ended(format!("{} is to be spoken to over HTTP/1.1: {error}", self.target())))
                }
                Err(error) => Err(Error::of_http2(self.target(), error)),
            },
            _ => Ok(self.0.pool.request(request, afresh, self.target()).await?.map(Source::Hyper)),
        }
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// What opens WebSockets over HTTP/2, where that may do.
    pub(crate) fn tunnels(&self) -> Option<&sockeye::Client> {
        self.0.tunnels.as_ref().filter(|_| !self.0.http1_sockets.is_so())
    }

    /// It does not do: the upstream did not offer the extended CONNECT.
    pub(crate) fn refrain_from_tunnels(&self) {
        self.0.http1_sockets.found_out();
    }
}

/// Whether HTTP/1.1 is to be spoken after all: a new connection turned out to be of it, or the upstream says so (RFC 9113 §7).
fn asks_for_http1(error: &sockeye::Error) -> bool {
    use sockeye::{Error as E, Reason, Side};
    matches!(
        error,
        E::NotOffered(Missing::Http2)
            | E::Reset { reason: Reason::HTTP_1_1_REQUIRED, by: Side::Server }
            | E::GoAway { reason: Reason::HTTP_1_1_REQUIRED, by: Side::Server, .. }
    )
}

/// A client of HTTP/2. Whether an upstream is well the gateway says itself, so the client waits for none.
fn client(dialer: &Dialer, tls: &Tls, protocol: Protocol, timeouts: &Timeouts) -> Result<sockeye::Client, Error> {
    let target = dialer.target();
    let transports = dialer.clone();
    let connect = move |_| {
        let dialer = transports.clone();
        async move { dialer.transport().await.map_err(std::io::Error::other) }
    };
    let options = sockeye::SocketOptions::new().answer_timeout(timeouts.answer);
    let limits = sockeye::Limits::new().close_timeout(timeouts.close.saturating_mul(CLOSES));
    let mut builder = sockeye::Client::builder()
        .connect_timeout(timeouts.connect)
        .back_off(Duration::ZERO, Duration::ZERO)
        .limits(limits.idle_timeout(KEPT).max_unread(WINDOW).initial_window_size(STREAM_WINDOW))
        .connector(connect)
        .options(options);
    if protocol == Protocol::Http2 {
        builder = builder.http2_only();
    }
    if let Some(config) = dialer.tls_config() {
        builder = builder.tls(config.clone());
    }
    let (scheme, authority) =
        if target.is_secure() { ("https", target.authority()) } else { ("http", target.authority()) };
    let url = match &tls.server_name {
        // It is by its URL that the client knows which name the certificate is to have (RFC 3986 §3.2.2: an IPv6 address in brackets).
        Some(name) if name.contains(':') => format!("{scheme}://[{name}]"),
        Some(name) => format!("{scheme}://{name}"),
        None => format!("{scheme}://{authority}"),
    };
    builder.lazy(&url).map_err(|error| Error::invalid(error.to_string()))
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.target(), self.0.protocol)
    }
}
