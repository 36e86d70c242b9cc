//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Version;
#[cfg(feature = "tls")]
use rustls::pki_types::CertificateDer;

use crate::engine::link::{Link, Phase};
use crate::engine::registry::ConnectionStats;
use crate::engine::stream::StreamCell;

/// Where a request came from: an [extension](http::Extensions) of every request that Sockeye's own server hands to a
/// service. In words ([`Display`](fmt::Display)) it is the address, or what is known of a process on this machine.
///
/// ```
/// fn greet(request: &http::Request<sockeye::Body>) -> String {
///     match request.extensions().get::<sockeye::Peer>() {
///         Some(peer) => format!("hello {peer}"),
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
    /// The peer's address, where the connection came by TCP.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.link.info.addr()
    }

    /// Who connected by a Unix socket.
    pub fn credentials(&self) -> Option<Credentials> {
        self.link.info.credentials()
    }

    /// The certificates that the peer proved by TLS to be its own (RFC 8446 §4.4.2): its own one first, then those that it sent to
    /// lead to a root. None where it was not asked for one, or had none. The [verifier](rustls::server::danger::ClientCertVerifier)
    /// of the server's [configuration](crate::Server::tls) has checked them.
    #[cfg(feature = "tls")]
    pub fn certificates(&self) -> Option<Certificates> {
        self.link.certificates()
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

    /// Whether our own side cuts the connection off, as the time of a [`drain`](crate::Handle::drain) or a
    /// [`shutdown`](crate::Handle::shutdown) is over: so what answers a request can tell, as it is dropped, that its client did not
    /// leave.
    pub fn is_cut_off(&self) -> bool {
        self.link.phase() == Phase::Ending
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link.info.peer {
            Some(peer) => peer.fmt(f),
            None => write!(f, "connection {}", self.connection()),
        }
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

/// Certificates that a peer proved to be its own, shared by all that ask for them.
#[cfg(feature = "tls")]
pub type Certificates = Arc<[CertificateDer<'static>]>;

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    /// At an address of TCP.
    Tcp(SocketAddr),
    /// On this machine, at the other end of a Unix socket.
    Unix(Credentials),
}

impl PeerAddress {
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(credentials) => credentials.fmt(f),
        }
    }
}

/// Who connected by a Unix socket, as the system tells: whoever made the connection, at that moment.
///
/// In words it is such as `user 1000, process 4711`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
    /// The process's number, where the system tells it.
    pub pid: Option<i32>,
}

impl Credentials {
    #[cfg(all(unix, feature = "http2"))]
    pub(crate) fn new(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        Self { uid, gid, pid }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        match self.pid {
            Some(pid) => write!(f, ", process {pid}"),
            None => Ok(()),
        }
    }
}
