//! The way to one server, in the steps that each command counts and times for itself: places, a connection, a proxy.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::overrides::Overrides;
use super::proxy::Proxy;
use crate::dial::{self, Stream, describe};

/// The way to one server. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Route(Arc<Way>);

#[derive(Debug)]
enum Way {
    Unix {
        goal: (String, u16),
        path: PathBuf,
    },
    Tcp {
        goal: (String, u16),
        proxy: Option<Proxy>,
        /// For a proxy that is spoken to under TLS.
        tls: Option<Box<ClientConfig>>,
        overrides: Overrides,
    },
}

/// What can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Route {
    pub(super) fn by_unix_socket(goal: (String, u16), path: PathBuf) -> Self {
        Self(Arc::new(Way::Unix { goal, path }))
    }

    pub(super) fn by_tcp(
        goal: (String, u16),
        proxy: Option<Proxy>,
        tls: Option<Box<ClientConfig>>,
        overrides: Overrides,
    ) -> Self {
        Self(Arc::new(Way::Tcp { goal, proxy, tls, overrides }))
    }

    /// Whether it is what everybody does: the addresses of this host, and TCP.
    pub(crate) fn is_usual(&self, host: &str, port: u16) -> bool {
        match &*self.0 {
            Way::Unix { .. } => false,
            Way::Tcp { proxy: Some(_), .. } => false,
            Way::Tcp { goal, overrides, .. } => {
                goal.0 == host && goal.1 == port && overrides.addresses(host, port).is_none()
            }
        }
    }

    /// What stands between this side and the server, if anything does; without what a proxy asks for.
    pub(crate) fn via(&self) -> Option<String> {
        match &*self.0 {
            Way::Unix { path, .. } => Some(format!("the socket {}", path.display())),
            Way::Tcp { proxy, .. } => proxy.as_ref().map(|proxy| format!("the proxy {proxy}")),
        }
    }

    /// What to connect to: one place at least. Names are looked up for it.
    pub(crate) async fn places(&self) -> io::Result<Vec<Place>> {
        match &*self.0 {
            Way::Unix { path, .. } => Ok(vec![Place::Unix(path.clone())]),
            Way::Tcp { goal, proxy, overrides, .. } => {
                let (host, port) = proxy.as_ref().map_or((&*goal.0, goal.1), Proxy::host_and_port);
                let found = look_up(overrides, host, port).await;
                let found = found.map_err(|error| self.explain(&error))?;
                Ok(found.into_iter().map(Place::Tcp).collect())
            }
        }
    }

    /// Connects to one of the places, by TCP from an address of this machine's if one is given.
    pub(crate) async fn connect(&self, place: &Place, source: Option<IpAddr>) -> io::Result<Stream> {
        match place {
            Place::Tcp(address) => Ok(Stream::Left(dial::connect(*address, source).await?)),
            Place::Unix(path) => connect_unix(path).await,
        }
    }

    /// Has a proxy, where there is one, connect to the server.
    ///
    /// # Errors
    ///
    /// In words, which name the proxy and where it comes from.
    pub(crate) async fn pass(&self, stream: Stream) -> io::Result<Stream> {
        let Way::Tcp { goal, proxy: Some(proxy), tls, overrides } = &*self.0 else { return Ok(stream) };
        let result = async {
            let stream = match tls {
                Some(config) => proxy.secure(stream, config).await?,
                None => stream,
            };
            let address = if proxy.takes_names() {
                None
            } else {
                let found = look_up(overrides, &goal.0, goal.1).await.map_err(|error| describe(&error))?;
                found.first().map(SocketAddr::ip)
            };
            proxy.tunnel(stream, &goal.0, goal.1, address).await
        };
        result.await.map_err(|what: String| io::Error::other(format!("{}: {what}", self.who())))
    }

    /// All of it, within a time that the look-up, the connection and the proxy share. An error names what did not answer.
    pub(crate) async fn dial(&self, time: Duration) -> io::Result<Stream> {
        let late = |what: &dyn fmt::Display| io::Error::new(io::ErrorKind::TimedOut, format!("{what} does not answer"));
        // Just before whoever waits for all of it gives up, and could not say for what.
        let end = Instant::now() + time.mul_f64(0.95);
        let places = timeout_at(end, self.places()).await.map_err(|_| late(&"the look-up of the name"))??;
        let share = time.mul_f64(0.3) / u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
        let last = places.len().saturating_sub(1);
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for (index, place) in places.into_iter().enumerate() {
            // The last one is all that is left to wait for.
            let until = if index == last { end } else { Instant::now() + share };
            match timeout_at(until, self.connect(&place, None)).await {
                Ok(Ok(stream)) => {
                    return timeout_at(end, self.pass(stream)).await.map_err(|_| late(&self.who()))?;
                }
                Ok(Err(error)) => failed = self.explain(&error),
                Err(_) => failed = late(&place),
            }
        }
        Err(failed)
    }

    /// An error of the first step, which is not the server's where there is something between.
    pub(crate) fn explain(&self, error: &io::Error) -> io::Error {
        match self.via() {
            Some(_) => io::Error::new(error.kind(), format!("{}: {}", self.who(), describe(error))),
            None => io::Error::new(error.kind(), describe(error)),
        }
    }

    fn who(&self) -> String {
        match &*self.0 {
            Way::Tcp { proxy: Some(proxy), .. } => format!("the proxy {proxy} (by {})", proxy.source()),
            Way::Tcp { goal, .. } => goal.0.clone(),
            Way::Unix { path, goal } => format!("the socket {} for {}", path.display(), goal.0),
        }
    }
}

/// All addresses of a host: one at least.
async fn look_up(overrides: &Overrides, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(given) = overrides.addresses(host, port) {
        return Ok(given);
    }
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if addresses.is_empty() { Err(io::Error::other("the host has no address")) } else { Ok(addresses) }
}

#[cfg(unix)]
async fn connect_unix(path: &std::path::Path) -> io::Result<Stream> {
    Ok(Stream::Right(Box::new(tokio::net::UnixStream::connect(path).await?)))
}

#[cfg(not(unix))]
async fn connect_unix(_: &std::path::Path) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}
