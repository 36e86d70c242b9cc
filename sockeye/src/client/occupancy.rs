//! How many streams a connection has, by the client's own count.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use sockeye_proto::h2::{ConnectionError, Reason};
use tokio::sync::Notify;

use crate::engine::driver::connection_error;
use crate::engine::link::Side;
use crate::error::Error;

/// The streams of one connection, counted by the client: what it gives out is never more than the server allows.
pub(super) struct Occupancy {
    open: AtomicUsize,
    max: AtomicUsize,
    gone: AtomicBool,
    /// Whether anything was answered.
    proven: AtomicBool,
    /// Batches that came from the server, so that a time shows in which none did.
    heard: AtomicUsize,
    /// What ended the connection otherwise than cleanly, and the debug data of its GOAWAY.
    error: OnceLock<(ConnectionError, Box<[u8]>)>,
    changed: Arc<Notify>,
}

impl Occupancy {
    /// Nothing is open and nothing allowed; `changed` is told of what changes.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            heard: AtomicUsize::new(0),
            error: OnceLock::new(),
            changed,
        }
    }

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

    /// Something was answered.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
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

    /// Whether the connection ended otherwise than cleanly, with streams on it.
    pub(super) fn is_lost(&self) -> bool {
        self.is_gone() && self.error.get().is_some_and(|(error, _)| *error != ConnectionError::GoAway(Reason::NO_ERROR))
    }

    pub(super) fn is_unused(&self) -> bool {
        !self.is_gone() && self.open.load(Ordering::Relaxed) == 0
    }

    /// Room for a stream, if there is any.
    pub(super) fn take(self: Arc<Self>) -> Option<Permit> {
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
