//! What all streams of one connection share, on both sides of their cells.

mod backlog;
mod broadcast;
mod flush;
mod handed_over;
mod info;
mod limits;
mod ready;

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sockeye_proto::ws::Inflation;

use crate::engine::budget::Budget;
use crate::engine::heads::Heads;
use crate::engine::metrics::{Counter, Metrics};
#[cfg(feature = "tls")]
use crate::engine::peer::Certificates;
use crate::engine::sync::Mutex;
use crate::engine::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

#[cfg_attr(not(feature = "web-socket"), allow(unused_imports))]
pub(crate) use broadcast::{Address, Ended, Excess, Wait};
pub(crate) use flush::{End, Flush, Flusher};
pub(crate) use handed_over::HandedOver;
pub(crate) use info::ConnectionInfo;
pub use info::Side;
pub(crate) use limits::{Limits, MIN_PROGRESS, PingTimes};
pub(crate) use ready::Sleeper;
use ready::{FLUSHING, Ready, TOLD};

/// The shared part of a connection.
pub(crate) struct Link {
    ready: Mutex<Ready>,
    /// What there is under that lock, which is changed under it and read without it: the constants of `ready.rs`.
    news: AtomicU8,
    /// Octets that wait for a peer to read: in outboxes after their connection had taken what it could, and with senders who
    /// wait for room there.
    blocked: AtomicUsize,
    phase: AtomicU8,
    /// The connection's task runs, or will without being woken: it looks at what it is told before it goes to sleep.
    awake: AtomicBool,
    /// Content of a request that hyper reads was dropped before its end.
    unread: AtomicBool,
    /// Among all connections of its server or client.
    pub(crate) number: u64,
    /// Shared by all connections of the server.
    pub(crate) limits: Arc<Limits>,
    pub(crate) info: ConnectionInfo,
    /// For messages that are not yet whole.
    pub(crate) budget: Budget,
    /// Of requests, responses and trailers that came.
    pub(crate) heads: Heads,
    inflation: OnceLock<Arc<Inflation>>,
    /// WebSockets open now.
    pub(crate) sockets: AtomicU32,
    /// Handlers that run in tasks of their own and have outlived their stream.
    outliving: AtomicU32,
    /// Requests so far.
    pub(crate) requests: AtomicU64,
    listing: Arc<dyn Listing>,
}

/// A server of a million sockets over HTTP/1.1 has a million of these.
const _: () = assert!(size_of::<Link>() <= 224 || cfg!(sockeye_model));

/// Where a connection is listed, and what counts for it.
pub(crate) trait Listing: Send + Sync {
    fn metrics(&self) -> &Metrics;

    /// By when a drain that spreads its Closes has told every WebSocket; none where there is no such drain.
    fn told_by(&self) -> Option<Instant> {
        None
    }

    /// Lists the connection of this number no more.
    fn leave(&self, number: u64, info: &ConnectionInfo);
}

/// How far its end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// No new streams; those that there are go on.
    Closing,
    /// The WebSockets that there are say Close 1001, too, each at a moment of its own.
    Spreading,
    /// All WebSockets say Close 1001.
    Draining,
    /// What is left is cut off.
    Ending,
}

impl Link {
    /// A connection that is listed under its number until it [leaves](Self::leave): when its task is done, or the last stream
    /// is gone.
    pub(crate) fn new(listing: Arc<dyn Listing>, number: u64, limits: Arc<Limits>, info: ConnectionInfo) -> Self {
        let budget = Budget::new(limits.unfinished_messages);
        Self {
            ready: Mutex::default(),
            news: AtomicU8::new(0),
            blocked: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
            awake: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            number,
            limits,
            info,
            budget,
            heads: Heads::default(),
            inflation: OnceLock::new(),
            sockets: AtomicU32::new(0),
            outliving: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            listing,
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.listing.metrics()
    }

    /// The limit on what the messages of all WebSockets may decompress to.
    pub(crate) fn inflation(&self) -> Arc<Inflation> {
        self.inflation.get_or_init(|| Arc::new(Inflation::new(self.limits.inflation))).clone()
    }

    /// A place for a handler in a task of its own that outlives its stream, until it is dropped; none past the limit.
    pub(crate) fn outlive(&self) -> Option<Outliving<'_>> {
        let max = u32::try_from(self.limits.outliving_handlers).unwrap_or(u32::MAX);
        let more = |count| (count < max).then_some(count + 1);
        self.outliving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Outliving(&self.outliving))
    }

    /// By when every WebSocket is told of a drain in [`Phase::Spreading`].
    pub(crate) fn told_by(&self) -> Option<Instant> {
        self.listing.told_by()
    }

    /// Nobody reads the rest of a request's content.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether content may come still that nobody reads.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.metrics().count(Counter::Requests);
    }

    /// What the peer proved by TLS to be its own is known as the connection begins.
    #[cfg(feature = "tls")]
    pub(crate) fn set_certificates(&self, certificates: Certificates) {
        self.ready().rare().certificates = Some(certificates);
    }

    #[cfg(feature = "tls")]
    pub(crate) fn certificates(&self) -> Option<Certificates> {
        self.ready().rare.as_ref()?.certificates.clone()
    }

    /// A handler has blocked its thread.
    #[cold]
    pub(crate) fn count_block(&self, time: Duration) {
        self.metrics().count(Counter::BlockedThreads);
        let (peer, connection) = (self.info.peer, self.number);
        tracing::warn!(
            ?peer,
            connection,
            ?time,
            "a connection's task has blocked its thread: see what its handlers do"
        );
    }

    /// It is over: what still holds a stream of it finds there all that there will be. The first end counts.
    pub(crate) fn leave(&self, end: End) {
        drop(self.end(end));
        self.listing.leave(self.number, &self.info);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Closing,
            2 => Phase::Spreading,
            3 => Phase::Draining,
            _ => Phase::Ending,
        }
    }

    /// Asks the connection to enter a later phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        let sleeper = self.ready().sleeper.take();
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

/// One handler that has outlived its stream.
pub(crate) struct Outliving<'a>(&'a AtomicU32);

impl Drop for Outliving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.leave(End::Lost);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Lists nothing.
    #[derive(Default)]
    struct Nowhere(Metrics);

    impl Listing for Nowhere {
        fn metrics(&self) -> &Metrics {
            &self.0
        }

        fn leave(&self, _: u64, _: &ConnectionInfo) {}
    }

    impl Link {
        /// One that no server and no client knows of.
        pub(crate) fn alone(limits: Limits, info: ConnectionInfo) -> Arc<Self> {
            Arc::new(Self::new(Arc::<Nowhere>::default(), 1, Arc::new(limits), info))
        }
    }
}
