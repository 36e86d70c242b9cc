//! Connections to an upstream: TCP, TLS, Unix sockets.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::stream::Stream;
use super::target::Place;
use super::{Error, Target};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The versions of HTTP that a connection may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Any,
    Http1,
    Http2,
}

/// Makes connections to one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    target: Arc<Target>,
    tls: Option<Arc<Secure>>,
    tcp: HttpConnector,
    /// Of TCP, and of TLS behind it.
    time: Duration,
}

#[derive(Debug)]
struct Secure {
    name: ServerName<'static>,
    /// One for each choice of versions: what differs is what ALPN offers.
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Secure {
    fn new(name: ServerName<'static>, config: ClientConfig) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Self { name, any: offering(&[H2, HTTP_1_1]), http1: offering(&[HTTP_1_1]), http2: offering(&[H2]) }
    }

    fn config(&self, versions: Versions) -> Arc<ClientConfig> {
        match versions {
            Versions::Any => self.any.clone(),
            Versions::Http1 => self.http1.clone(),
            Versions::Http2 => self.http2.clone(),
        }
    }
}

impl Dialer {
    pub(super) fn new(target: Target, tls: &super::Tls, time: Duration) -> Result<Self, Error> {
        let tls = if target.is_secure() {
            let name = tls.server_name.as_deref().unwrap_or(target.host());
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| Error::invalid(format!("{name:?} is no name that a certificate could have")))?;
            Some(Arc::new(Secure::new(name, tls.config()?)))
        } else {
            None
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Ok(Self { target: Arc::new(target), tls, tcp, time })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn shared_target(&self) -> &Arc<Target> {
        &self.target
    }

    /// What TLS trusts.
    pub(super) fn tls_config(&self) -> Option<&ClientConfig> {
        Some(&self.tls.as_ref()?.any)
    }

    /// Connects, and agrees on a version of HTTP where TLS does so by ALPN.
    pub(crate) async fn dial(&self, versions: Versions) -> Result<Stream, Error> {
        match (&self.tls, self.transport().await?) {
            // Apart, for it is large: who dials without TLS does not carry it.
            (Some(secure), Stream::Tcp(tcp)) => Box::pin(self.secure(secure, tcp, versions)).await,
            (_, stream) => Ok(stream),
        }
    }

    /// Connects without TLS.
    pub(super) async fn transport(&self) -> Result<Stream, Error> {
        let target = &self.target;
        let connected = timeout(self.time, self.connect()).await;
        let connected = connected.map_err(|_| {
            let time = self.time.as_secs_f32();
            Error::timed_out(
                format!("{target} did not take a connection within {time} s: is its host up and reachable?"),
                false,
            )
        })?;
        connected.map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::ConnectionRefused => "is the server running there?",
                io::ErrorKind::NotFound => "is the server running, and is this its socket?",
                io::ErrorKind::PermissionDenied => "may this user open it?",
                _ => "is its address right?",
            };
            Error::unreached(format!("no connection to {target}: {error}; {advice}"))
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

    async fn secure(&self, secure: &Secure, tcp: TcpStream, versions: Versions) -> Result<Stream, Error> {
        let target = &self.target;
        let connecting = TlsConnector::from(secure.config(versions)).connect(secure.name.clone(), tcp);
        let connected = timeout(self.time, connecting).await.map_err(|_| {
            let time = self.time.as_secs_f32();
            Error::timed_out(
                format!("{target} did not finish TLS within {time} s: does it speak TLS on this port?"),
                false,
            )
        })?;
        let tls = connected.map_err(|error| {
            Error::unreached(format!(
                "no TLS with {target}: {error}; an upstream's certificate is verified: name its root, or its server name, if it is a private one"
            ))
        })?;
        let stream = Stream::Tls(Box::new(tls));
        if versions == Versions::Http2 && !stream.is_http2() {
            return Err(Error::unreached(format!("{target} does not speak HTTP/2: leave the choice to it, by auto")));
        }
        Ok(stream)
    }
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
pub(crate) struct Pooled {
    pub(super) dialer: Dialer,
    pub(super) versions: Versions,
}

impl Service<Uri> for Pooled {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { dialer, versions } = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dialer.dial(versions).await?)) })
    }
}
