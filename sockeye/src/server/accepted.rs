//! A connection as its listener gives it.

use std::io;
use std::net::IpAddr;

use crate::engine::peer::PeerAddress;
use crate::engine::transport::{AnyTransport, KeepAlive};

/// A connection as its listener gives it, and who is at the other end.
pub(super) struct Accepted {
    pub(super) transport: AnyTransport,
    pub(super) peer: Option<PeerAddress>,
}

impl Accepted {
    pub(super) fn new(transport: impl Into<AnyTransport>, peer: Option<PeerAddress>) -> Self {
        Self { transport: transport.into(), peer }
    }

    /// What connections are counted by.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.peer.and_then(PeerAddress::ip)
    }

    /// What TCP is asked for before it is used; a Unix socket has neither silence nor delay.
    pub(super) fn prepare(&self, keep_alive: Option<KeepAlive>) -> io::Result<()> {
        let AnyTransport::Tcp(stream) = &self.transport else { return Ok(()) };
        keep_alive.map_or(Ok(()), |keep_alive| keep_alive.set(stream))?;
        stream.set_nodelay(true)
    }

    /// Has the end of TCP be a reset.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        let AnyTransport::Tcp(stream) = &self.transport else { return Ok(()) };
        stream.set_zero_linger()
    }
}
