//! The connections of one server, and what it counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Version;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::engine::admission::{Admission, Doors, Place, Refused};
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

    fn leave(&self, number: u64, info: &ConnectionInfo) {
        let mut book = self.book();
        if book.connections.remove(&number).is_some() {
            book.http2 -= usize::from(info.version == Version::HTTP_2);
            book.admission.leave(info.peer.map(|peer| peer.ip()));
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
