//! What is to be done: the arguments, made ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Version;
use http::header::AUTHORIZATION;
use rustls::pki_types::ServerName;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use tokio_rustls::TlsConnector;

use super::Arguments;
use super::ledger::Phase;
use super::messages::Messages;
use super::pace::{Rate, Schedule};
use crate::tls;

/// What every thread of the load works by.
pub(super) struct Plan {
    pub(super) http: Version,
    /// Each holds so many sockets.
    pub(super) connections: usize,
    pub(super) sockets: usize,
    pub(super) threads: usize,
    pub(super) messages: Messages,
    /// Messages of a socket that may be in flight.
    pub(super) depth: u64,
    /// None in a closed loop.
    pub(super) rate: Option<Rate>,
    /// Of each step to an open socket, and of each answer.
    pub(super) timeout: Duration,
    pub(super) handshake: ClientHandshake,
    pub(super) addresses: Vec<SocketAddr>,
    /// Which of the addresses answers.
    pub(super) address: AtomicUsize,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// All times are counted from here.
    pub(super) epoch: Instant,
}

impl Plan {
    pub(super) async fn new(arguments: &Arguments) -> Result<Self> {
        let Arguments { url, handshake: options, connections, sockets, .. } = arguments;
        let http = if arguments.http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        let all = connections.checked_mul(*sockets).filter(|all| u32::try_from(*all).is_ok());
        let all = all.context("so many sockets have no numbers")?;
        // An upgraded connection of HTTP/1.1 is one socket.
        let (connections, sockets) = if arguments.http1 { (all, 1) } else { (*connections, *sockets) };
        let mut handshake = ClientHandshake::new(url.uri.clone());
        handshake.protocols = options.protocols.clone();
        handshake.headers = options.headers();
        if let Some(authorization) = &url.authorization {
            handshake.headers.entry(AUTHORIZATION).or_insert(authorization.clone());
        }
        // What cannot be sent is no failure of the server's.
        handshake.request(Carrier::Http2)?;
        let tls = if url.is_secure {
            let mut config = tls::client_config(options.insecure)?;
            config.alpn_protocols = vec![alpn(http).to_vec()];
            let name = ServerName::try_from(url.host.clone()).context("the host is no name of a certificate")?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        let place = (&*url.host, url.port);
        let found = tokio::time::timeout(arguments.timeout, tokio::net::lookup_host(place)).await;
        let found = found.context("the look-up of the host took too long")?;
        let addresses: Vec<_> = found.with_context(|| format!("cannot look {} up", url.host))?.collect();
        ensure!(!addresses.is_empty(), "{} has no address", url.host);
        Ok(Self {
            http,
            connections,
            sockets,
            threads: arguments.threads.min(connections),
            messages: Messages::new(arguments.size.clone(), arguments.text),
            depth: arguments.depth.unwrap_or(if arguments.rate.is_some() { u64::MAX } else { 1 }),
            rate: arguments.rate,
            timeout: arguments.timeout,
            handshake,
            addresses,
            address: AtomicUsize::new(0),
            tls,
            epoch: Instant::now(),
        })
    }

    /// When the messages of a connection are due; none where no clock says so.
    pub(super) fn schedule(&self, phase: Phase, connection: usize) -> Option<Schedule> {
        match (self.rate, phase) {
            (Some(rate), Phase::Running { start, .. }) => {
                Some(Schedule::new(rate, start, connection, self.connections))
            }
            _ => None,
        }
    }

    /// All sockets of all connections.
    pub(super) fn all_sockets(&self) -> u64 {
        self.connections as u64 * self.sockets as u64
    }
}

/// The name of a version in ALPN (RFC 7301).
pub(super) fn alpn(version: Version) -> &'static [u8] {
    if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" }
}
