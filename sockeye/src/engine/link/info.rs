//! What is known of a connection from its start.

use std::fmt;
use std::net::SocketAddr;

use http::Version;

/// What is known of a connection from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionInfo {
    /// What we are.
    pub(crate) side: Side,
    /// The peer's address, where the transport has one.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) version: Version,
    pub(crate) secure: bool,
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
