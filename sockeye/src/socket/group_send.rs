//! A message on its way to a group's connections, and who waits for room there.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::engine::link::{Link, Sleeper, Wait};
use crate::engine::members::Broadcast;
use crate::engine::metrics::Counter;

/// Waits until a message that was sent to a group has room on each connection; made by [`Group::send`](crate::Group::send) and
/// its like.
///
/// The message is sent already: to drop this is not to wait.
pub struct GroupSend(Option<Box<Waiting>>);

/// A sender that waits for room.
struct Waiting {
    wait: Arc<Wait>,
    /// Where there was none.
    links: Vec<Arc<Link>>,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Connections are being told of a message.
pub(super) struct Sending {
    sleepers: Vec<Sleeper>,
    wait: Option<Arc<Wait>>,
    full: Vec<Arc<Link>>,
}

impl Sending {
    pub(super) fn new() -> Self {
        Self { sleepers: Vec::new(), wait: None, full: Vec::new() }
    }

    /// Tells a connection. Under a lock: it is woken later.
    pub(super) fn push(&mut self, link: &Arc<Link>, broadcast: Broadcast) {
        // Of a connection that has ended no member misses anything.
        let Some((sleeper, is_full)) = link.broadcast(broadcast, &mut self.wait) else { return };
        if sleeper.sleeps() {
            self.sleepers.push(sleeper);
        }
        if is_full {
            self.full.push(link.clone());
        }
    }

    /// Wakes the connections. What is returned waits for room on all of them, for this time at most.
    pub(super) fn start(mut self, time: Duration) -> GroupSend {
        mem::take(&mut self.sleepers).into_iter().for_each(Sleeper::wake);
        let Self { wait, full, .. } = self;
        let Some(wait) = wait else { return GroupSend(None) };
        let now = Instant::now();
        // A time that no clock reaches is some years.
        let deadline = now.checked_add(time).unwrap_or(now + LONGEST);
        let mut send = GroupSend(Some(Box::new(Waiting { wait, links: full, deadline, timer: None })));
        if time.is_zero() {
            send.give_up();
        }
        send
    }
}

/// Some years.
const LONGEST: Duration = Duration::from_secs(1 << 28);

impl GroupSend {
    /// Waits no more. Whoever is behind makes room.
    fn give_up(&mut self) {
        let Some(waiting) = self.0.take() else { return };
        for link in &waiting.links {
            if let Some(refused) = link.give_up_waiting(&waiting.wait) {
                let mut missed = refused.broadcast.miss();
                link.metrics().add(Counter::GroupMessagesMissed, missed.missed);
                missed.wake();
            }
        }
    }
}

impl Future for GroupSend {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.0 else { return Poll::Ready(()) };
        if waiting.wait.poll(cx).is_ready() {
            self.0 = None;
            return Poll::Ready(());
        }
        let deadline = waiting.deadline;
        let timer = waiting.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.as_mut().poll(cx).is_ready() {
            self.give_up();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for GroupSend {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl fmt::Debug for GroupSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSend").field("waits", &self.0.is_some()).finish()
    }
}
