//! What an attack is told of the server that it is run against.

use std::net::SocketAddr;
use std::time::Duration;

use crate::process;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// HTTP/2 in cleartext, by prior knowledge.
    Cleartext,
    /// HTTP/2 over TLS, by ALPN.
    Tls,
    /// HTTP/1.1 in cleartext.
    Http1,
}

impl Over {
    pub fn is_tls(self) -> bool {
        self == Self::Tls
    }

    pub fn is_http1(self) -> bool {
        self == Self::Http1
    }
}

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Ours,
    Axum,
}

#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub over: Over,
    pub whose: Whose,
    /// How long a flood goes on that is not ended.
    pub time: Duration,
    /// By how much honest traffic that takes long is scaled down.
    pub scale: u64,
    /// The server's process.
    pub pid: u32,
}

impl Target {
    pub fn is_ours(&self) -> bool {
        self.whose == Whose::Ours
    }

    /// Octets that are resident now.
    pub fn resident(&self) -> u64 {
        process::resident(self.pid)
    }
}
