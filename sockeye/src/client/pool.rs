//! The HTTP/2 connections of one client, and the streams that they have room for.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::back_off::BackOff;
use super::http2::{Connection, Purpose};
use super::occupancy::{Occupancy, Permit};
use crate::engine::registry::Ending;
use crate::error::{Error, Result, Step};

pub(super) struct Pool {
    connections: Mutex<Vec<Arc<Connection>>>,
    max_connections: usize,
    /// Somebody makes a connection: others wait, and find room on it.
    connecting: AtomicBool,
    /// How often a connection turned out to be of HTTP/1.1.
    found_http1: AtomicUsize,
    /// Signals that a stream became free, or a connection came or went.
    changed: Arc<Notify>,
}

impl Pool {
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            connections: Mutex::default(),
            max_connections,
            connecting: AtomicBool::new(false),
            found_http1: AtomicUsize::new(0),
            changed: Arc::default(),
        }
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

    /// A connection turned out to be of HTTP/1.1, which those who waited for it need not find out as well.
    pub(super) fn find_http1(&self) {
        self.found_http1.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(super) fn occupancy(&self) -> Arc<Occupancy> {
        Arc::new(Occupancy::new(self.changed.clone()))
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a stream, on another connection than `avoided` where there can be one. What became of those that are gone is told
    /// to `back_off`.
    fn find(
        &self,
        avoided: Option<&Arc<Connection>>,
        purpose: Purpose,
        back_off: &BackOff,
    ) -> Option<(Arc<Connection>, Permit)> {
        let mut connections = self.connections();
        connections.retain(|connection| {
            if connection.occupancy().is_lost() {
                back_off.fail();
            }
            !connection.occupancy().is_gone()
        });
        let is_full = connections.len() >= self.max_connections;
        let others =
            connections.iter().filter(|connection| avoided.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)));
        others
            .chain(avoided.filter(|_| is_full))
            .filter(|connection| connection.serves(purpose))
            .find_map(|connection| Some((connection.clone(), connection.occupancy().clone().take()?)))
    }

    /// Whether there is a connection for this, however many streams it has.
    fn serves(&self, purpose: Purpose) -> bool {
        let connections = self.connections();
        connections.iter().any(|connection| connection.serves(purpose) && !connection.occupancy().is_gone())
    }

    /// The right to make a connection, where there is a place for one and nobody else does. A server that takes no streams
    /// at all on one that nobody uses will take none on the next: there it is to be waited for. Connections that do not serve this
    /// count for nothing: a next one that does not either is not kept.
    fn begin_connecting(&self, avoided: Option<&Arc<Connection>>, purpose: Purpose) -> Option<Turn<'_>> {
        let connections = self.connections();
        let serving = || connections.iter().filter(|connection| connection.serves(purpose));
        let mut others = serving().filter(|connection| avoided.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)));
        let has_place =
            serving().count() < self.max_connections && !others.any(|connection| connection.occupancy().is_unused());
        // Not before it is had: a turn that is dropped ends somebody's.
        (has_place && !self.connecting.swap(true, Ordering::Acquire)).then(|| Turn(self))
    }
}

impl Shared {
    /// Waits for room for a stream, on another connection than `avoided` where there can be one, and makes a connection if
    /// need be; `None` where HTTP/1.1 is to be used.
    pub(super) async fn reserve(
        &self,
        avoided: Option<&Arc<Connection>>,
        purpose: Purpose,
    ) -> Result<Option<(Arc<Connection>, Permit)>> {
        self.find(avoided, purpose, || self.pool.find(avoided, purpose, &self.back_off)).await
    }

    /// Whether there is a connection of HTTP/2 for this, full as it may be, and makes one if need be.
    pub(super) async fn offers_http2(&self, purpose: Purpose) -> Result<bool> {
        let found = self.find(None, purpose, || self.pool.serves(purpose).then_some(())).await?;
        Ok(found.is_some())
    }

    async fn find<T>(
        &self,
        avoided: Option<&Arc<Connection>>,
        purpose: Purpose,
        find: impl Fn() -> Option<T>,
    ) -> Result<Option<T>> {
        let pool = &self.pool;
        let found_http1 = pool.found_http1.load(Ordering::Relaxed);
        // A time too long to count has no end.
        let deadline = Instant::now().checked_add(self.settings.connect_timeout);
        loop {
            // Whoever connects does not stand among those who wait: it would be woken in the place of one that needs it.
            let _turn = {
                let mut changed = pin!(pool.changed.notified());
                // From here on no change is missed.
                changed.as_mut().enable();
                if self.registry.ending() != Ending::No {
                    return Err(Error::Closed);
                }
                if self.speaks_http1(purpose) || pool.found_http1.load(Ordering::Relaxed) != found_http1 {
                    return Ok(None);
                }
                if let Some(found) = find() {
                    return Ok(Some(found));
                }
                match (pool.begin_connecting(avoided, purpose), deadline) {
                    (Some(turn), _) => turn,
                    (None, Some(deadline)) => {
                        timeout_at(deadline, changed).await.map_err(|_| Error::Timeout(Step::FreeStream))?;
                        continue;
                    }
                    (None, None) => {
                        changed.await;
                        continue;
                    }
                }
            };
            self.back_off.wait(self.settings.back_off).await;
            // Apart, for it is large: those who wait for no more than an answer on a connection that is there do not carry it.
            let Some(connection) = Box::pin(self.make_connection(purpose)).await? else { return Ok(None) };
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
