//! Connections to an upstream: TCP, TLS, Unix sockets.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::resolve::Resolver;
use super::stream::Stream;
use super::target::Place;
use super::{Error, Target, Timeouts, Turns};

/// How often an upstream's system is asked whether it is there before it counts as gone.
const PROBES: u32 = 4;

/// Makes connections to one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    target: Arc<Target>,
    tls: Option<Arc<Secure>>,
    tcp: HttpConnector<Resolver>,
    /// Of TCP, and of TLS behind it.
    time: Duration,
}

#[derive(Debug)]
struct Secure {
    name: ServerName<'static>,
    /// What it trusts.
    config: ClientConfig,
    /// The same, and ALPN offers HTTP/1.1.
    http1: Arc<ClientConfig>,
}

impl Secure {
    fn new(name: ServerName<'static>, config: ClientConfig) -> Self {
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { name, config, http1: Arc::new(http1) }
    }
}

impl Dialer {
    pub(super) fn new(target: Target, tls: &super::Tls, timeouts: &Timeouts) -> Result<Self, Error> {
        let tls = if target.is_secure() {
            let name = tls.server_name.as_deref().unwrap_or(target.host());
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| Error::invalid(format!("{name:?} is no name that a certificate could have")))?;
            Some(Arc::new(Secure::new(name, tls.config()?)))
        } else {
            None
        };
        let resolver = Resolver::new(GaiResolver::new());
        Ok(Self {
            target: Arc::new(target),
            tls,
            tcp: with_settings(HttpConnector::new_with_resolver(resolver), timeouts),
            time: timeouts.connect,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn shared_target(&self) -> &Arc<Target> {
        &self.target
    }

    /// What TLS trusts.
    pub(super) fn tls_config(&self) -> Option<&ClientConfig> {
        Some(&self.tls.as_ref()?.config)
    }

    /// Connects, for HTTP/1.1.
    pub(crate) async fn dial(&self) -> Result<Stream, Error> {
        match (&self.tls, self.transport().await?) {
            // Apart, for it is large: who dials without TLS does not carry it.
            (Some(secure), Stream::Tcp(tcp)) => Box::pin(self.secure(secure, tcp)).await,
            (_, stream) => Ok(stream),
        }
    }

    /// Connects without TLS.
    pub(super) async fn transport(&self) -> Result<Stream, Error> {
        let target = &self.target;
        let timed_out = || {
            let time = self.time.as_secs_f32();
            Error::timed_out(
                format!(
                    "{target} did not take a connection within {time} s: is its host up and reachable? (--connect-timeout gives more)"
                ),
                false,
            )
        };
        let connected = timeout(self.time, self.connect()).await.map_err(|_| timed_out())?;
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => timed_out(),
            _ => Error::of_connect(target, &error),
        })
    }

    async fn connect(&self) -> io::Result<Stream> {
        match self.target.place() {
            #[cfg(unix)]
            Place::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Place::Unix(_) => Err(io::Error::other("this system has no Unix sockets")),
            Place::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let uri: Uri = format!("http://{host}:{port}/").parse().map_err(io::Error::other)?;
                let mut tcp = self.tcp.clone();
                // All addresses of both families are tried (RFC 8305).
                let connected = tcp.call(uri).await.map_err(of_connector)?;
                Ok(Stream::Tcp(connected.into_inner()))
            }
        }
    }

    async fn secure(&self, secure: &Secure, tcp: TcpStream) -> Result<Stream, Error> {
        let target = &self.target;
        let connecting = TlsConnector::from(secure.http1.clone()).connect(secure.name.clone(), tcp);
        let connected = timeout(self.time, connecting).await.map_err(|_| {
            let time = self.time.as_secs_f32();
            Error::timed_out(
                format!("{target} did not finish TLS within {time} s: does it speak TLS on this port? (--connect-timeout gives more)"),
                false,
            )
        })?;
        let tls = connected.map_err(|error| Error::of_tls_for_http1(target, &error))?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

/// How an upstream is connected to, whoever looks its name up.
fn with_settings<R>(mut tcp: HttpConnector<R>, timeouts: &Timeouts) -> HttpConnector<R> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Of several addresses of a family each gets its share, so that one that says nothing does not use it all up.
    tcp.set_connect_timeout(Some(timeouts.connect));
    if !timeouts.tcp_keep_alive.is_zero() {
        // Systems count in whole seconds, and have sixteen bits for them.
        let time = timeouts.tcp_keep_alive.clamp(Duration::from_secs(PROBES.into()), Duration::from_secs(32_767));
        tcp.set_keepalive(Some(time));
        tcp.set_keepalive_interval(Some(time / PROBES));
        tcp.set_keepalive_retries(Some(PROBES));
        // Where something waits to be acknowledged, TCP does not ask, and by itself tries for a quarter of an hour.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        tcp.set_tcp_user_timeout(Some(time * 2));
    }
    tcp
}

/// What the system said, out of what the connector makes of it.
fn of_connector(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), io.to_string()),
            };
        }
        source = cause.source();
    }
    io::Error::other(error)
}

/// The connections of a pool of hyper's, whatever URI it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Pooled(pub(super) Dialer);

impl Service<Uri> for Pooled {
    type Response = TokioIo<Turns>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Turns>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self(dialer) = self.clone();
        Box::pin(async move { Ok(TokioIo::new(Turns::new(dialer.dial().await?))) })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::SocketAddr;

    use socket2::{Domain, SockRef, Socket, Type};
    use tower::service_fn;

    use super::*;

    /// An address at which a connection is neither taken nor refused: the queue of those that are to be accepted is full.
    fn silent() -> (Socket, Vec<std::net::TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let time = Duration::from_millis(100);
        let queued = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, time).ok()).collect();
        (socket, queued)
    }

    fn dialer(url: &str, timeouts: &Timeouts) -> Dialer {
        Dialer::new(url.parse().unwrap(), &super::super::Tls::default(), timeouts).unwrap()
    }

    /// A name of several machines, the first of which is down.
    #[tokio::test]
    async fn of_several_addresses_one_that_is_silent_leaves_time_for_the_others() {
        let (first, _queued) = silent();
        let silent = first.local_addr().unwrap().as_socket().unwrap();
        let second = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 3], silent.port()))).unwrap();
        let resolver = service_fn(move |_| async move {
            Ok::<_, io::Error>([silent, SocketAddr::from(([127, 0, 0, 3], 0))].into_iter())
        });
        let time = Duration::from_secs(2);
        let timeouts = Timeouts { connect: time, ..Timeouts::default() };
        let mut tcp = with_settings(HttpConnector::new_with_resolver(resolver), &timeouts);
        let uri = format!("http://several.example:{}/", silent.port()).parse::<Uri>().unwrap();
        let connected = timeout(time, tcp.call(uri)).await.expect("there is time for both").unwrap();
        assert_eq!(connected.inner().peer_addr().unwrap(), second.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_place_that_is_silent_takes_too_long() {
        let (socket, _queued) = silent();
        let url = format!("http://{}", socket.local_addr().unwrap().as_socket().unwrap());
        let timeouts = Timeouts { connect: Duration::from_millis(50), ..Timeouts::default() };
        let error = dialer(&url, &timeouts).dial().await.expect_err("nobody takes it");
        let text = error.to_string();
        assert!(error.is_timeout() && text.contains("0.05 s") && text.contains("--connect-timeout"), "{text}");
    }

    /// RFC 9293 §3.8.4, RFC 5482
    #[tokio::test]
    async fn an_upstream_whose_link_is_cut_is_found_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        for (told, asked) in [(60, 60), (1, 4), (1 << 20, 32_767)] {
            let timeouts = Timeouts { tcp_keep_alive: Duration::from_secs(told), ..Timeouts::default() };
            let Stream::Tcp(tcp) = dialer(&url, &timeouts).dial().await.unwrap() else { panic!("no TCP") };
            let (socket, time) = (SockRef::from(&tcp), Duration::from_secs(asked));
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), time);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(asked / 4));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(time * 2));
        }
        let never = Timeouts { tcp_keep_alive: Duration::ZERO, ..Timeouts::default() };
        let Stream::Tcp(tcp) = dialer(&url, &never).dial().await.unwrap() else { panic!("no TCP") };
        assert!(!SockRef::from(&tcp).keepalive().unwrap());
    }
}
