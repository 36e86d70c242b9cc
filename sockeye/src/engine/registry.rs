//! The connections of one server, and what it counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Version;
use tokio::sync::{Notify, watch};

use crate::engine::link::{ConnectionInfo, Limits, Link, Listing, Phase};
use crate::engine::metrics::{Counter, Metrics};

/// Every connection of a server, from the moment it is accepted to the end of its last stream.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) metrics: Metrics,
    book: Mutex<Book>,
    /// Signals that the last connection has left.
    emptied: Notify,
    /// Whether the server is to shut down.
    shutdown: watch::Sender<bool>,
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

    pub(crate) fn is_shut_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    pub(crate) async fn wait_shutdown(&self) {
        // The sender is ours: it does not go away.
        self.shutdown.subscribe().wait_for(|shutdown| *shutdown).await.ok();
    }
}

impl Listing for Registry {
    fn metrics(&self) -> &Metrics {
        &self.metrics
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
    pub fn shutdown(&self) {
        self.0.shutdown.send_replace(true);
        self.0.advance(Phase::Draining);
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
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            id: link.number,
            peer: link.info.peer,
            version: link.info.version,
            sockets: link.sockets.load(Ordering::Relaxed) as usize,
            requests: link.requests.load(Ordering::Relaxed),
        }
    }
}
