//! The connections of one server, and what it counts.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::engine::admission::{Admission, Doors, Place, Refused};
use crate::engine::link::{ConnectionInfo, Limits, Link, Listing, Phase};
use crate::engine::metrics::{Counter, Metrics};
use crate::engine::now;
use crate::engine::peer::{Credentials, PeerAddress};

/// A year.
const LONGEST_DRAIN: Duration = Duration::from_secs(1 << 25);

/// Every connection of a server, from the moment it is accepted to the end of its last stream.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) metrics: Metrics,
    book: Mutex<Book>,
    /// Signals that the last connection has left.
    emptied: Notify,
    /// Whether the server is to end, and how.
    ending: watch::Sender<Ending>,
}

/// How the whole of a server or a client ends. A later variant goes further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    #[default]
    No,
    /// Nothing new comes; WebSockets are told by this moment, and handshakes that are under way are finished.
    Drain { until: Instant },
    /// Nothing new comes, and handshakes that are under way end at once.
    Shutdown,
}

struct Book {
    /// The number of the next connection.
    next: u64,
    phase: Phase,
    connections: BTreeMap<u64, Weak<Link>>,
    /// Those that have not said yet what they speak.
    arriving: usize,
    /// Of the connections, those of HTTP/2.
    http2: usize,
    /// As many connections as there may be; none where nothing limits them.
    max: Option<usize>,
    admission: Admission,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            next: 1,
            phase: Phase::Running,
            connections: BTreeMap::new(),
            arriving: 0,
            http2: 0,
            max: None,
            admission: Admission::default(),
        }
    }
}

impl Registry {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a connection under a number of its own.
    pub(crate) fn enter(self: &Arc<Self>, limits: Arc<Limits>, info: ConnectionInfo) -> Arc<Link> {
        self.enter_from(None, limits, info)
    }

    /// The same of one that has [arrived](Self::admit).
    pub(crate) fn enter_from(
        self: &Arc<Self>,
        arrival: Option<Arrival>,
        limits: Arc<Limits>,
        info: ConnectionInfo,
    ) -> Arc<Link> {
        self.metrics.count(Counter::Connections);
        let mut book = self.book();
        if let Some(mut arrival) = arrival {
            // From here on it is counted as one that is listed.
            arrival.registry = None;
            book.arriving -= 1;
        }
        book.http2 += usize::from(info.version == Version::HTTP_2);
        let number = book.next;
        book.next += 1;
        let link = Arc::new(Link::new(self.clone(), number, limits, info));
        book.connections.insert(number, Arc::downgrade(&link));
        let phase = book.phase;
        drop(book);
        link.enter(phase);
        link
    }

    /// Takes a connection that is to be [entered](Self::enter_from) once its handshake has told what it speaks, or counts that it
    /// was not taken.
    pub(crate) fn admit(self: &Arc<Self>, doors: &Doors, peer: Option<IpAddr>) -> Result<Arrival, Refused> {
        let mut book = self.book();
        book.max = Some(doors.max);
        let open = book.open();
        let admitted = book.admission.admit(doors, open, peer);
        book.arriving += usize::from(admitted.is_ok());
        drop(book);
        match admitted {
            Ok((place, displaced)) => {
                if let Some(task) = displaced {
                    self.metrics.count(Counter::ConnectionsDisplaced);
                    task.abort();
                }
                Ok(Arrival { registry: Some(self.clone()), peer, place })
            }
            Err(refused) => {
                self.metrics.count(match refused {
                    Refused::Full => Counter::ConnectionsRefused,
                    Refused::ByAddress => Counter::ConnectionsRefusedByAddress,
                });
                Err(refused)
            }
        }
    }

    /// The task of a connection that stands in a kept place, which it is to leave when a later one needs that.
    pub(crate) fn keep(&self, task: AbortHandle) {
        self.book().admission.keep(task);
    }

    /// Connections that there are.
    #[cfg(feature = "prometheus")]
    pub(crate) fn population(&self) -> Population {
        let book = self.book();
        let Book { http2, arriving, max, .. } = *book;
        Population { http1: book.connections.len() - http2, http2, arriving, max }
    }

    fn tell_if_empty(&self, book: &Book) {
        if book.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Takes all connections, and those to come, to a later phase.
    pub(crate) fn advance(&self, phase: Phase) {
        let links: Vec<_> = {
            let mut book = self.book();
            book.phase = book.phase.max(phase);
            book.connections.values().filter_map(Weak::upgrade).collect()
        };
        for link in links {
            link.enter(phase);
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn wait_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.book().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        *self.ending.borrow()
    }

    /// Waits until nothing new is to come.
    pub(crate) async fn wait_ending(&self) {
        // The sender is ours: it does not go away.
        self.ending.subscribe().wait_for(|ending| *ending != Ending::No).await.ok();
    }

    /// Waits until handshakes are to end at once.
    pub(crate) async fn wait_shutdown(&self) {
        self.ending.subscribe().wait_for(|ending| *ending == Ending::Shutdown).await.ok();
    }

    /// Ends all, or goes further in that.
    fn end(&self, ending: Ending) {
        self.ending.send_if_modified(|current| {
            let goes_further =
                ending > *current && !matches!((*current, ending), (Ending::Drain { .. }, Ending::Drain { .. }));
            if goes_further {
                *current = ending;
            }
            goes_further
        });
    }
}

impl Listing for Registry {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn told_by(&self) -> Option<Instant> {
        match self.ending() {
            Ending::Drain { until } => Some(until),
            Ending::No | Ending::Shutdown => None,
        }
    }

    fn leave(&self, number: u64, info: &ConnectionInfo) {
        let mut book = self.book();
        if book.connections.remove(&number).is_some() {
            book.http2 -= usize::from(info.version == Version::HTTP_2);
            book.admission.leave(info.peer.and_then(PeerAddress::ip));
        }
        self.tell_if_empty(&book);
    }
}

impl Book {
    fn is_empty(&self) -> bool {
        self.open() == 0
    }

    /// All that take a place.
    fn open(&self) -> usize {
        self.connections.len() + self.arriving
    }
}

/// How many connections there are now.
#[cfg(feature = "prometheus")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) http1: usize,
    pub(crate) http2: usize,
    /// Those whose handshake is under way.
    pub(crate) arriving: usize,
    /// As many as there may be in all; none of a client.
    pub(crate) max: Option<usize>,
}

/// A connection whose handshake is under way: its server waits for it until this is dropped.
pub(crate) struct Arrival {
    /// None once it is listed as a connection.
    registry: Option<Arc<Registry>>,
    peer: Option<IpAddr>,
    place: Place,
}

impl Arrival {
    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let Some(registry) = &self.registry else { return };
        let mut book = registry.book();
        book.arriving -= 1;
        book.admission.leave(self.peer);
        registry.tell_if_empty(&book);
    }
}

/// A view of a running server, or of a client: what is open, what was counted, and the way to end it. Clones see the same.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Registry>);

impl Handle {
    /// Begins a graceful shutdown: GOAWAY and Close 1001 on the connections that there are. A server takes no new ones, and
    /// its `serve` returns once all have ended, or their time is up. A client is better ended by its `close`.
    ///
    /// All are told in one moment, and all may come back in one moment: a server with many sockets is better ended by
    /// [`drain`](Self::drain). Handshakes that are under way end without an answer. A drain that is under way is cut short.
    pub fn shutdown(&self) {
        self.0.end(Ending::Shutdown);
        self.0.advance(Phase::Draining);
    }

    /// Begins a graceful shutdown that spreads its Closes over a time, so that the clients do not come back in one moment, and
    /// that breaks off no handshake: what a server does before another takes its place.
    ///
    /// - A server takes no new connections, but for those that the system has accepted already and that wait for it. A connection
    ///   whose handshake is under way goes on to its end.
    /// - Each connection of HTTP/2 gets its GOAWAY at once, in two steps: no stream is lost that its client opens before it
    ///   knows (RFC 9113 §6.8). HTTP/1.1 ends with the response that is under way.
    /// - Each WebSocket gets its Close 1001 at a moment of its own within `time`. Until then it goes on as ever. The moments are
    ///   spread evenly over all the sockets of a connection and over all connections; nothing about them is random.
    /// - After `time` what is left has [`shutdown_timeout`](crate::Limits::shutdown_timeout) to end. Then it is cut off.
    /// - A WebSocket says its Close while it is being received from. One that nobody receives from goes on until it is cut off: with
    ///   1001 where its handler has it, and without a Close (1006) where it was given to another task.
    ///
    /// A server's `serve` returns once all have ended, or their time is up. With a `time` of zero all WebSockets are told at once.
    /// A second `drain` changes nothing; [`shutdown`](Self::shutdown) tells all that are left at once. A client that is drained
    /// opens nothing any more.
    ///
    #[cfg_attr(feature = "http2", doc = "```no_run")]
    #[cfg_attr(not(feature = "http2"), doc = "```ignore")]
    /// use std::time::Duration;
    ///
    /// # async fn run(server: sockeye::Server, listener: tokio::net::TcpListener, app: axum::Router) -> sockeye::Result {
    /// let handle = server.handle();
    /// tokio::spawn(async move {
    ///     tokio::signal::ctrl_c().await.ok();
    ///     handle.drain(Duration::from_secs(30));
    ///     tokio::signal::ctrl_c().await.ok();
    ///     handle.shutdown();
    /// });
    /// server.serve(listener, app).await
    /// # }
    /// ```
    pub fn drain(&self, time: Duration) {
        let now = now();
        // A time too long to count is a year.
        let until = now.checked_add(time).unwrap_or(now + LONGEST_DRAIN);
        self.0.end(Ending::Drain { until });
        self.0.advance(Phase::Spreading);
    }

    /// Waits until [`shutdown`](Self::shutdown) or [`drain`](Self::drain) is called, and is ready at once after that: so that an
    /// open stream of events, which would end by itself never, ends with its server. Cancel safe.
    ///
    #[cfg_attr(feature = "http2", doc = "```")]
    #[cfg_attr(not(feature = "http2"), doc = "```ignore")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let server = sockeye::Server::new();
    /// let handle = server.handle();
    /// let ending = tokio::spawn(handle.ending());
    /// handle.shutdown();
    /// ending.await.unwrap();
    /// # }
    /// ```
    pub fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        let registry = self.0.clone();
        async move { registry.wait_ending().await }
    }

    /// Begins a graceful end of one connection, by the number that [`connections`](Self::connections) and
    /// [`Peer::connection`](crate::Peer::connection) have for it: GOAWAY over HTTP/2, and Close 1001 on each of its WebSockets. What
    /// has not ended within the connection's [`shutdown_timeout`](crate::Limits::shutdown_timeout) is cut off. False where there is
    /// no such connection, or none any more.
    pub fn close_connection(&self, id: u64) -> bool {
        let link = self.0.book().connections.get(&id).and_then(Weak::upgrade);
        link.inspect(|link| link.enter(Phase::Draining)).is_some()
    }

    /// How often something was counted.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.metrics.get(counter)
    }

    /// The connections that are open, in the order in which they came. Those whose handshake is under way are not among them
    /// yet.
    pub fn connections(&self) -> Vec<ConnectionStats> {
        let links: Vec<_> = self.0.book().connections.values().filter_map(Weak::upgrade).collect();
        links.iter().map(|link| ConnectionStats::of(link)).collect()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (connections, max) = {
            let book = self.0.book();
            (book.connections.len(), book.max)
        };
        f.debug_struct("Handle").field("connections", &connections).field("max", &max).finish_non_exhaustive()
    }
}

/// One connection, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its number among all of its server, from 1.
    pub id: u64,
    /// Its address, where it came by TCP.
    pub peer: Option<SocketAddr>,
    /// Who made it, where it came by a Unix socket.
    pub credentials: Option<Credentials>,
    /// What it speaks.
    pub version: Version,
    /// WebSockets open.
    pub sockets: usize,
    /// Requests so far, WebSocket handshakes included.
    pub requests: u64,
}

impl ConnectionStats {
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            id: link.number,
            peer: link.info.addr(),
            credentials: link.info.credentials(),
            version: link.info.version,
            sockets: link.sockets.load(Ordering::Relaxed) as usize,
            requests: link.requests.load(Ordering::Relaxed),
        }
    }
}
