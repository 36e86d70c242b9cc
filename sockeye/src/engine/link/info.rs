//! What is known of a connection from its start.

use std::fmt;
use std::net::SocketAddr;

use http::Version;

use crate::engine::peer::{Credentials, PeerAddress};

/// What is known of a connection from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionInfo {
    /// What we are.
    pub(crate) side: Side,
    /// Where the peer is, where the transport tells.
    pub(crate) peer: Option<PeerAddress>,
    pub(crate) version: Version,
    pub(crate) secure: bool,
}

impl ConnectionInfo {
    /// The peer's address, where the transport has one.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match self.peer? {
            PeerAddress::Tcp(address) => Some(address),
            PeerAddress::Unix(_) => None,
        }
    }

    /// Who the peer is to the system, where it is on this machine.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        match self.peer? {
            PeerAddress::Tcp(_) => None,
            PeerAddress::Unix(credentials) => Some(credentials),
        }
    }
}

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who made the connection.
    Client,
    /// Who accepted it.
    Server,
}

impl Side {
    /// The other one.
    pub(crate) fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Server => "the server",
        })
    }
}
