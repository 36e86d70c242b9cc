use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Version;

use crate::engine::link::Link;
use crate::engine::registry::ConnectionStats;
use crate::engine::stream::StreamCell;

/// Where a request came from: an [extension](http::Extensions) of every request that Sockeye's own server hands to a
/// service.
///
/// ```
/// fn greet(request: &http::Request<sockeye::Body>) -> String {
///     match request.extensions().get::<sockeye::Peer>().and_then(|peer| peer.addr()) {
///         Some(addr) => format!("hello {addr}"),
///         None => "hello".to_owned(),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Peer {
    pub(crate) link: Arc<Link>,
    /// The stream that a WebSocket may take over.
    pub(crate) cell: Option<Arc<StreamCell>>,
}

impl Peer {
    /// The peer's address, where the transport has one.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.link.info.peer
    }

    /// The number of the connection among all of its server; the one in [`Connections`](crate::ConnectionStats).
    pub fn connection(&self) -> u64 {
        self.link.number
    }

    /// The connection, as it is now.
    pub fn stats(&self) -> ConnectionStats {
        ConnectionStats::of(&self.link)
    }

    /// The version of HTTP that the connection speaks.
    pub fn version(&self) -> Version {
        self.link.info.version
    }

    /// Whether the connection is encrypted by TLS.
    pub fn is_secure(&self) -> bool {
        self.link.info.secure
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("addr", &self.addr())
            .field("connection", &self.connection())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
