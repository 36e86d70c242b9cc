//! The HTTP/2 connections of one client, and the streams that they have room for.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sockeye_proto::h2::ConnectionError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::http2::Connection;
use crate::engine::driver::connection_error;
use crate::engine::link::Side;
use crate::error::{Error, Result};

pub(super) struct Pool {
    connections: Mutex<Vec<Arc<Connection>>>,
    max_links: usize,
    /// Somebody makes a connection: others wait, and find room on it.
    connecting: AtomicBool,
    /// Signals that a stream became free, or a connection came or went.
    changed: Arc<Notify>,
}

impl Pool {
    pub(super) fn new(max_links: usize) -> Self {
        Self { connections: Mutex::default(), max_links, connecting: AtomicBool::new(false), changed: Arc::default() }
    }

    /// Adds a connection, and has everybody who waits look again.
    pub(super) fn add(&self, connection: Arc<Connection>) {
        self.connections().push(connection);
        self.changed.notify_waiters();
    }

    /// Lets go of the connections, which end with their last streams, and has everybody who waits look again.
    pub(super) fn clear(&self) {
        self.connections().clear();
        self.changed.notify_waiters();
    }

    pub(super) fn occupancy(&self) -> Arc<Occupancy> {
        Arc::new(Occupancy {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            heard: AtomicUsize::new(0),
            error: OnceLock::new(),
            changed: self.changed.clone(),
        })
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a stream, on another connection than `avoided` where there can be one.
    fn find(&self, avoided: Option<&Arc<Connection>>) -> Option<(Arc<Connection>, Permit)> {
        let mut connections = self.connections();
        connections.retain(|connection| !connection.occupancy().is_gone());
        let is_full = connections.len() >= self.max_links;
        let others =
            connections.iter().filter(|connection| avoided.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)));
        others
            .chain(avoided.filter(|_| is_full))
            .find_map(|connection| Some((connection.clone(), connection.occupancy().clone().take()?)))
    }

    /// The right to make a connection, where there is a place for one and nobody else does. A server that takes no streams
    /// at all on one that nobody uses will take none on the next: there it is to be waited for.
    fn begin_connecting(&self, avoided: Option<&Arc<Connection>>) -> Option<Turn<'_>> {
        let connections = self.connections();
        let mut others =
            connections.iter().filter(|connection| avoided.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)));
        let has_place =
            connections.len() < self.max_links && !others.any(|connection| connection.occupancy().is_unused());
        // Not before it is had: a turn that is dropped ends somebody's.
        (has_place && !self.connecting.swap(true, Ordering::Acquire)).then(|| Turn(self))
    }
}

impl Shared {
    /// Waits for room for a stream, on another connection than `avoided` where there can be one, and makes a connection if
    /// need be; `None` where HTTP/1.1 is to be used.
    pub(super) async fn reserve(&self, avoided: Option<&Arc<Connection>>) -> Result<Option<(Arc<Connection>, Permit)>> {
        let pool = &self.pool;
        // A time too long to count has no end.
        let deadline = Instant::now().checked_add(self.settings.connect_timeout);
        loop {
            // Whoever connects does not stand among those who wait: it would be woken in the place of one that needs it.
            let _turn = {
                let mut changed = pin!(pool.changed.notified());
                // From here on no change is missed.
                changed.as_mut().enable();
                if self.registry.is_shut_down() {
                    return Err(Error::Closed);
                }
                if self.speaks_http1() {
                    return Ok(None);
                }
                if let Some(found) = pool.find(avoided) {
                    return Ok(Some(found));
                }
                match (pool.begin_connecting(avoided), deadline) {
                    (Some(turn), _) => turn,
                    (None, Some(deadline)) => {
                        timeout_at(deadline, changed).await.map_err(|_| Error::Timeout("a free stream"))?;
                        continue;
                    }
                    (None, None) => {
                        changed.await;
                        continue;
                    }
                }
            };
            let Some(connection) = self.make_link().await? else { return Ok(None) };
            pool.add(connection);
        }
    }
}

/// The right to make a connection; whoever waits for it is woken at its end.
struct Turn<'a>(&'a Pool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.connecting.store(false, Ordering::Release);
        self.0.changed.notify_one();
    }
}

/// The streams of one connection, counted by the client: what it gives out is never more than the server allows.
pub(super) struct Occupancy {
    open: AtomicUsize,
    max: AtomicUsize,
    gone: AtomicBool,
    /// Batches that came from the server, so that a time shows in which none did.
    heard: AtomicUsize,
    /// What ended the connection otherwise than cleanly, and the debug data of its GOAWAY.
    error: OnceLock<(ConnectionError, Box<[u8]>)>,
    changed: Arc<Notify>,
}

impl Occupancy {
    /// The connection takes so many streams now.
    pub(super) fn allow(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The connection takes no new streams any more.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The connection ended by this.
    pub(super) fn fail(&self, error: ConnectionError, debug_data: &[u8]) {
        self.error.get_or_init(|| (error, debug_data.into()));
    }

    /// What a stream that went with its connection ended by.
    pub(super) fn error(&self) -> Error {
        let error = self.error.get();
        error.map_or(Error::Disconnected, |(error, debug)| connection_error(*error, debug, Side::Server))
    }

    pub(super) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn is_unused(&self) -> bool {
        !self.is_gone() && self.open.load(Ordering::Relaxed) == 0
    }

    fn take(self: Arc<Self>) -> Option<Permit> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |open| (open < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit(self))
    }
}

/// Room for one stream, until it is gone from the connection.
pub(crate) struct Permit(Arc<Occupancy>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}
