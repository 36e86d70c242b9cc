//! The streams of a connection on which something has begun to come, which is given some time to go on: half a message, or
//! content.
//!
//! All are given equally long, so that a queue is enough. At the end of its time a stream is asked for once, by waking whoever
//! waits to receive: that one knows how much has come, gives up or [watches](StreamCell::watch) again. A task looks after the
//! queue while there is something in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::now;
use super::stream::StreamCell;

/// Streams that are gone leave the queue when it is twice as long as it was behind the last such look, and this longer.
const SLACK: usize = 64;

/// The queue, which few connections need.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    streams: VecDeque<(Instant, Weak<StreamCell>)>,
    /// How long it may become before those that are gone leave it.
    limit: usize,
    looked_after: bool,
}

impl Watches {
    /// Wakes whoever receives on a stream, `time` from now. A stream is to be here once at most.
    pub(crate) fn push(&self, cell: &Arc<StreamCell>, time: Duration) {
        // A time that no clock can reach never ends, and outside of a runtime there are no timers.
        let (Some(due), Ok(runtime)) = (now().checked_add(time), Handle::try_current()) else { return };
        let mut queue = lock(&self.0);
        queue.push(due, cell);
        if !queue.looked_after {
            queue.looked_after = true;
            runtime.spawn(look_after(Arc::downgrade(&self.0)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).streams.is_empty()
    }
}

impl Queue {
    fn push(&mut self, due: Instant, cell: &Arc<StreamCell>) {
        if self.streams.len() >= self.limit {
            self.streams.retain(|(_, cell)| cell.strong_count() > 0);
            self.limit = 2 * self.streams.len() + SLACK;
        }
        self.streams.push_back((due, Arc::downgrade(cell)));
    }

    /// Those whose time is over, and when the next one's is.
    fn take_due(&mut self, now: Instant) -> (Vec<Arc<StreamCell>>, Option<Instant>) {
        let mut cells = Vec::new();
        while let Some((due, cell)) = self.streams.front() {
            if *due > now {
                return (cells, Some(*due));
            }
            cells.extend(cell.upgrade());
            self.streams.pop_front();
        }
        *self = Self::default();
        (cells, None)
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after the queue until it is empty. The task holds nothing of a connection that is over.
async fn look_after(queue: Weak<Mutex<Queue>>) {
    while let Some(queue) = queue.upgrade() {
        let (cells, next) = lock(&queue).take_due(now());
        drop(queue);
        cells.iter().for_each(|cell| cell.end_watch());
        let Some(next) = next else { return };
        tokio::time::sleep_until(next.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::engine::link::{ConnectionInfo, Limits, Link, Side};

    /// A peer that begins messages on one new stream after the other has us keep no more than there are streams.
    #[test]
    fn streams_that_are_gone_leave_the_queue() {
        let info = ConnectionInfo { side: Side::Server, peer: None, version: Version::HTTP_2, secure: false };
        let link = Link::alone(Limits::default(), info);
        let mut queue = Queue::default();
        let now = now();
        let held = StreamCell::new(link.clone(), 0);
        queue.push(now, &held);
        for _ in 0..10_000 {
            queue.push(now, &StreamCell::new(link.clone(), 1));
            assert!(queue.streams.len() <= 2 + SLACK);
        }
        let (cells, next) = queue.take_due(now);
        assert!(cells.len() == 1 && Arc::ptr_eq(&cells[0], &held) && next.is_none());
    }
}
