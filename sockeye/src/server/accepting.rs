//! From a listener to connections: what is taken, what is turned away, and how long a listener is left alone that fails.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::engine::admission::Refused;
use crate::engine::metrics::Metrics;
use crate::server::accepted::Accepted;
use crate::server::listener::Queues;

/// Connections that are accepted between two looks at the network, and for each thread of the runtime as many as may have
/// been accepted and not begun.
const TURNS: usize = 8;

/// Whose turn it is to begin. A thousand connections that arrive at once would all stand in the runtime's queue, and every
/// other task would wait for all of them; so they wait in the listener's, and some are taken from there at a time.
pub(super) struct Turns {
    left: Arc<Semaphore>,
    accepted: usize,
}

/// The turn of one connection, until its task is polled.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    pub(super) fn new() -> Self {
        let threads = Handle::current().metrics().num_workers();
        Self { left: Arc::new(Semaphore::new(TURNS * threads)), accepted: 0 }
    }

    /// The next connection of any listener, however long it takes, and its turn. Cancel safe.
    pub(super) async fn accept(&mut self, queues: &mut Queues, metrics: &Metrics) -> (Option<Turn>, Accepted) {
        if self.accepted == TURNS {
            self.accepted = 0;
            // The runtime looks at the network before it comes back here.
            tokio::task::yield_now().await;
        }
        // It is never closed.
        let turn = self.left.clone().acquire_owned().await.ok();
        let accepted = poll_fn(|cx| queues.poll_accept(cx, metrics)).await;
        self.accepted += 1;
        (turn, accepted)
    }
}

/// A listener fails for one connection's sake, which is no matter, or for want of something, which may pass.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Closes a connection that there is no place for, by a reset: so nothing is left of it on this side, not even an address in
/// TIME_WAIT (RFC 9293 §3.6.1).
pub(super) fn turn_away(accepted: Accepted, refused: Refused) {
    let peer = accepted.peer.map(tracing::field::display);
    tracing::debug!(peer, ?refused, "a connection was refused");
    // One that is closed without stays for a minute in the system's tables, and is closed all the same.
    accepted.set_zero_linger().ok();
}

/// The failures of a listener, which is left alone for longer after each of them.
#[derive(Debug, Default)]
pub(super) struct Setbacks {
    /// How long it was left alone last, if nothing has come since.
    wait: Duration,
    /// When it failed last.
    last: Option<Instant>,
}

/// Time that a listener is left alone after its first failure: some descriptor is free again soon.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// The same at last. Clients wait for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Failures no further apart belong together, and are told of once.
const EPISODE: Duration = Duration::from_secs(60);

impl Setbacks {
    pub(super) fn succeed(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// Time to leave the listener alone.
    pub(super) fn fail(&mut self, error: &io::Error, now: Instant) -> Duration {
        let is_told = self.last.replace(now).is_some_and(|last| now.duration_since(last) < EPISODE);
        if is_told {
            tracing::debug!(%error, "no connection can be accepted");
        } else {
            tracing::warn!(%error, "no connection can be accepted; trying again until one can");
        }
        self.wait = (2 * self.wait).clamp(FIRST_WAIT, LONGEST_WAIT);
        // Between half of it and all: servers that share what is wanting do not come back for it together.
        let random = RandomState::new().hash_one(0_u8) as u32;
        self.wait / 2 + self.wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::server::listener::Listeners;

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_is_left_alone_for_longer_and_longer() {
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        let mut setbacks = Setbacks::default();
        for _ in 0..2 {
            let mut expected = FIRST_WAIT;
            for _ in 0..20 {
                let wait = setbacks.fail(&error, Instant::now());
                assert!(wait >= expected / 2 && wait <= expected, "{wait:?} and not {expected:?}");
                expected = (2 * expected).min(LONGEST_WAIT);
            }
            setbacks.succeed();
        }
    }

    /// Other tasks would wait for all that have arrived at once.
    #[tokio::test]
    async fn few_connections_are_accepted_that_have_not_begun() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut turns, metrics) = (Turns::new(), Metrics::default());
        let mut queues = Listeners::from(listener).queues().unwrap();
        let mut peers = Vec::new();
        for _ in 0..3 * TURNS {
            peers.push(TcpStream::connect(address).await.unwrap());
        }
        let mut begun = Vec::new();
        for _ in 0..TURNS {
            begun.push(turns.accept(&mut queues, &metrics).await.0.unwrap());
        }
        for _ in 0..TURNS {
            // Not for a look at the network.
            turns.accepted = 0;
            let mut next = pin!(turns.accept(&mut queues, &metrics));
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "none has begun");
            drop(begun.remove(0));
            begun.push(next.await.0.unwrap());
        }
    }

    /// Or servers on one machine would all come back at the same moment.
    #[tokio::test(start_paused = true)]
    async fn no_two_wait_for_equally_long() {
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        let waits = [(); 8].map(|()| Setbacks::default().fail(&error, Instant::now()));
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
