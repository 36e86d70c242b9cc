//! What a client was told to do.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Versions;
use super::back_off::Bounds;
use super::memory::Memory;
use super::origin::{Origin, Target};
use super::tls::{ClientConfig, Tls};
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::socket::SocketOptions;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) versions: Versions,
    pub(super) limits: Limits,
    /// What each socket begins with.
    pub(super) options: SocketOptions,
    pub(super) headers: HeaderMap,
    pub(super) max_connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) back_off: Bounds,
    pub(super) connector: Option<Connector>,
    pub(super) proxy: Option<Proxy>,
    /// Shared by the clones of a builder, as they may reach the same servers.
    pub(super) memory: Arc<Memory>,
    pub(super) tls_config: Option<Arc<ClientConfig>>,
    /// Made once: to read the system's certificates takes a while.
    pub(super) tls: OnceLock<Arc<Tls>>,
}

impl Settings {
    pub(super) fn tls(&self) -> Result<Arc<Tls>> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = Arc::new(Tls::new(self.tls_config.as_deref())?);
        Ok(self.tls.get_or_init(|| tls).clone())
    }
}

/// How the caller's own transports are made.
pub(super) type Connector = Arc<dyn Fn(Uri) -> Connecting + Send + Sync>;
pub(super) type Connecting = Pin<Box<dyn Future<Output = io::Result<AnyTransport>> + Send>>;

/// An HTTP proxy that tunnels by CONNECT (RFC 9110 §9.3.6).
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) origin: Origin,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let Target { origin, authorization, .. } = Target::parse(url)?;
        if origin.secure {
            return Err(Error::invalid(format!("{url:?}: a proxy is spoken to in cleartext, by http://")));
        }
        Ok(Self { origin, authorization })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)
    }
}

/// A header field out of text.
pub(super) fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let name =
        HeaderName::try_from(name).map_err(|_| Error::invalid(format!("{name:?} is no name of a header field")))?;
    let value =
        HeaderValue::try_from(value).map_err(|_| Error::invalid(format!("not a value for the header field {name}")))?;
    Ok((name, value))
}
