//! The connections of one server, and what it counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::{Notify, watch};

use crate::engine::link::{ConnectionInfo, Limits, Link, Listing, Phase};
use crate::engine::metrics::{Counter, Metrics};
use crate::engine::now;

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
}

impl Default for Book {
    fn default() -> Self {
        Self { next: 1, phase: Phase::Running, connections: BTreeMap::new(), arriving: 0 }
    }
}

impl Registry {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a connection under a number of its own.
    pub(crate) fn enter(self: &Arc<Self>, limits: Arc<Limits>, info: ConnectionInfo) -> Arc<Link> {
        self.metrics.count(Counter::Connections);
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        let link = Arc::new(Link::new(self.clone(), number, limits, info));
        book.connections.insert(number, Arc::downgrade(&link));
        let phase = book.phase;
        drop(book);
        link.enter(phase);
        link
    }

    /// Knows of a connection that is to be [entered](Self::enter) once its handshake has told what it speaks.
    pub(crate) fn expect(self: &Arc<Self>) -> Arrival {
        self.book().arriving += 1;
        Arrival(self.clone())
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

    fn leave(&self, number: u64) {
        let mut book = self.book();
        book.connections.remove(&number);
        self.tell_if_empty(&book);
    }
}

impl Book {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.arriving == 0
    }
}

/// A connection whose handshake is under way: its server waits for it until this is dropped.
pub(crate) struct Arrival(Arc<Registry>);

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut book = self.0.book();
        book.arriving -= 1;
        self.0.tell_if_empty(&book);
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
    /// - After `time` what is left has [`shutdown_timeout`](crate::Server::shutdown_timeout) to end. Then it is cut off.
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
        f.debug_struct("Handle").field("connections", &self.0.book().connections.len()).finish_non_exhaustive()
    }
}

/// One connection, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its number among all of its server, from 1.
    pub id: u64,
    /// Its address, where the transport has one.
    pub peer: Option<SocketAddr>,
    /// What it speaks.
    pub version: Version,
    /// WebSockets open.
    pub sockets: usize,
    /// Requests so far, WebSocket handshakes included.
    pub requests: u64,
}

impl ConnectionStats {
    fn of(link: &Link) -> Self {
        Self {
            id: link.number,
            peer: link.info.peer,
            version: link.info.version,
            sockets: link.sockets.load(Ordering::Relaxed) as usize,
            requests: link.requests.load(Ordering::Relaxed),
        }
    }
}
