//! What is to be done: the arguments, made ready.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::header::AUTHORIZATION;
use http::{Request, Version};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, RequestError};

use super::Arguments;
use super::ledger::Phase;
use super::messages::Messages;
use super::pace::{Rate, Schedule};
use super::sizes::Sizes;
use crate::dial::Tls;
use crate::reach::{Place, Route};

/// What a socket is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Its messages come back to it.
    Echo,
    /// It gets the messages of the first socket, which itself gets them too.
    Broadcast,
    /// As an echo, one message at a time, of another size and outside all figures.
    Beside,
    /// It is open, and that is all.
    Silent,
    /// It sends what its server takes, and is never read.
    Stall,
}

/// What every thread of the load works by.
pub(super) struct Plan {
    pub(super) http: Version,
    /// Each holds so many sockets for the figures.
    pub(super) connections: usize,
    pub(super) sockets: usize,
    pub(super) threads: usize,
    messages: Messages,
    pub(super) is_broadcast: bool,
    /// What one more socket on each connection echoes, if there is one.
    beside: Option<Messages>,
    /// Sockets on each connection that say nothing.
    pub(super) silent: usize,
    /// Sockets on each connection that are never read.
    pub(super) stalled: usize,
    /// Messages of a socket that may be in flight.
    pub(super) depth: u64,
    /// None in a closed loop.
    pub(super) rate: Option<Rate>,
    /// Of each step to an open socket, and of each answer.
    pub(super) timeout: Duration,
    pub(super) handshake: ClientHandshake,
    /// The handshake on a stream of HTTP/2.
    pub(super) request: Request<()>,
    pub(super) route: Route,
    pub(super) places: Vec<Place>,
    /// Which of the places answers.
    pub(super) place: AtomicUsize,
    /// Octets in a message of the server's, if a limit was given.
    pub(super) max_message_size: Option<usize>,
    /// Whether a message as it is to come may be beyond that.
    pub(super) is_limit_below_messages: bool,
    pub(super) tls: Option<Tls>,
    /// All times are counted from here.
    pub(super) epoch: Instant,
}

impl Plan {
    pub(super) async fn new(arguments: &Arguments) -> Result<Self> {
        let Arguments { url, handshake: options, reach, connections, sockets, .. } = arguments;
        let http = if arguments.http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        let others = usize::from(arguments.beside.is_some()) + arguments.silent + arguments.stall;
        let all = sockets.checked_add(others).and_then(|sockets| sockets.checked_mul(*connections));
        let all = all.filter(|all| u32::try_from(*all).is_ok()).context("so many sockets have no numbers")?;
        // An upgraded connection of HTTP/1.1 is one socket.
        let (connections, sockets) = if arguments.http1 { (all, 1) } else { (*connections, *sockets) };
        let (handshake, request) = Self::handshake(arguments)?;
        let tls = if url.is_secure {
            let tls = Tls::new(&reach.tls.client_config()?, &url.host, &[alpn(http)]);
            Some(tls.context("the host is no name of a certificate")?)
        } else {
            None
        };
        let route = reach.route(url)?;
        let found = tokio::time::timeout(arguments.timeout, route.places()).await;
        let found = found.context("the look-up of the host took too long")?;
        let places = found.with_context(|| format!("cannot look {} up", url.host))?;
        let longest = arguments.beside.iter().chain([&arguments.size]).map(Sizes::max).max().unwrap_or_default();
        Ok(Self {
            http,
            connections,
            sockets,
            threads: arguments.threads.min(connections),
            messages: Messages::new(arguments.size.clone(), arguments.text),
            is_broadcast: arguments.broadcast,
            beside: arguments.beside.clone().map(|size| Messages::new(size, arguments.text)),
            silent: arguments.silent,
            stalled: arguments.stall,
            depth: arguments.depth.unwrap_or(if arguments.rate.is_some() { u64::MAX } else { 1 }),
            rate: arguments.rate,
            timeout: arguments.timeout,
            handshake,
            request,
            route,
            places,
            place: AtomicUsize::new(0),
            max_message_size: options.max_message_size,
            is_limit_below_messages: options.max_message_size.is_some_and(|limit| limit < longest),
            tls,
            epoch: Instant::now(),
        })
    }

    /// What asks for a WebSocket, and its request over HTTP/2.
    ///
    /// # Errors
    ///
    /// The arguments ask for what cannot be sent.
    pub(super) fn handshake(arguments: &Arguments) -> Result<(ClientHandshake, Request<()>), RequestError> {
        let Arguments { url, handshake: options, .. } = arguments;
        let mut handshake = ClientHandshake::new(url.uri.clone());
        handshake.protocols = options.protocols.clone();
        handshake.headers = options.headers();
        if let Some(authorization) = &url.authorization {
            handshake.headers.entry(AUTHORIZATION).or_insert(authorization.clone());
        }
        if arguments.http1 {
            handshake.request(Carrier::Http1 { key: [0; 16] })?;
        }
        let request = handshake.request(Carrier::Http2)?;
        Ok((handshake, request))
    }

    /// When the messages of a connection are due; none where no clock says so.
    pub(super) fn schedule(&self, phase: Phase, connection: usize) -> Option<Schedule> {
        match (self.rate, phase) {
            // One socket sends them all.
            (Some(_), _) if self.is_broadcast && connection > 0 => None,
            (Some(rate), Phase::Running { start, .. }) if self.is_broadcast => Some(Schedule::new(rate, start, 0, 1)),
            (Some(rate), Phase::Running { start, .. }) => {
                Some(Schedule::new(rate, start, connection, self.connections))
            }
            _ => None,
        }
    }

    /// What sockets of this task send.
    #[inline]
    pub(super) fn messages(&self, task: Task) -> &Messages {
        match &self.beside {
            Some(messages) if task == Task::Beside => messages,
            _ => &self.messages,
        }
    }

    /// What the sockets send that are there for the figures.
    pub(super) fn task(&self) -> Task {
        if self.is_broadcast { Task::Broadcast } else { Task::Echo }
    }

    /// The number of a connection's socket, and what it is there for. Those for the figures come first, in both.
    pub(super) fn socket(&self, connection: usize, index: usize) -> (u32, Task) {
        let Some(other) = index.checked_sub(self.sockets) else {
            return ((connection * self.sockets + index) as u32, self.task());
        };
        let number = self.connections * self.sockets + connection * (self.sockets_each() - self.sockets) + other;
        let beside = usize::from(self.beside.is_some());
        let task = match other {
            other if other < beside => Task::Beside,
            other if other < beside + self.silent => Task::Silent,
            _ => Task::Stall,
        };
        (number as u32, task)
    }

    /// What one more socket on each connection echoes.
    pub(super) fn beside(&self) -> Option<&Messages> {
        self.beside.as_ref()
    }

    /// Sockets of one connection, whatever they are there for.
    pub(super) fn sockets_each(&self) -> usize {
        self.sockets + usize::from(self.beside.is_some()) + self.silent + self.stalled
    }

    /// All sockets of all connections.
    pub(super) fn all_sockets(&self) -> u64 {
        self.connections as u64 * self.sockets_each() as u64
    }
}

/// The name of a version in ALPN (RFC 7301).
pub(super) fn alpn(version: Version) -> &'static [u8] {
    if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" }
}
