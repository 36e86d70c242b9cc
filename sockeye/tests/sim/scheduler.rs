//! Who runs next: an executor inside the runtime that draws the order of its tasks.
//!
//! The library spawns some tasks of its own, which the runtime polls in the order in which they are woken. All other tasks
//! (the server's connections, the programs, the timers that wake either) stand here, and each step polls one of those that
//! were woken, drawn by the seed from their ordered set. So a seed says the order, whoever woke whom first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::trace::Trace;

/// Steps without an octet moved, an operation done or a moment passed, past which a run is a busy loop.
const MAX_IDLE_STEPS: u32 = 20_000;
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The executor's shared part. Clones are the same.
#[derive(Clone)]
pub(crate) struct Scheduler(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
    trace: Trace,
}

#[derive(Default)]
pub(crate) struct State {
    /// Woken, and not yet polled.
    pub(crate) ready: BTreeSet<usize>,
    pub(crate) spawned: Vec<(String, Task)>,
    pub(crate) timers: BinaryHeap<Reverse<Timer>>,
    timers_set: u64,
    /// Polls the executor.
    pub(crate) waker: Option<Waker>,
    idle_steps: u32,
}

/// Wakes somebody at a time, in milliseconds since the start.
pub(crate) struct Timer {
    pub(crate) at: u64,
    number: u64,
    pub(crate) waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Scheduler {
    /// To be called inside a runtime whose clock is paused.
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Shared { start: Instant::now(), state: Mutex::default(), trace }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self) -> Instant {
        self.0.start
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        (Instant::now() - self.0.start).as_millis() as u64
    }

    /// Writes down what happens: see [`Trace::note`].
    pub(crate) fn note(&self, what: &str, a: u64, b: u64) {
        self.0.trace.note(self.now(), what, a, b);
    }

    pub(crate) fn fail(&self, why: impl Into<String>) {
        self.0.trace.fail(self.now(), why.into());
        self.wake_executor();
    }

    /// Something went on: this is no busy loop.
    pub(crate) fn progress(&self) {
        self.state().idle_steps = 0;
    }

    /// Somebody was asked and had nothing to do. Whether that is still to be believed.
    pub(crate) fn idle(&self, who: &str) -> bool {
        let steps = {
            let mut state = self.state();
            state.idle_steps += 1;
            state.idle_steps
        };
        if steps + 40 > MAX_IDLE_STEPS {
            self.trace().tell(|| format!("in vain: {who}"));
        }
        if steps > MAX_IDLE_STEPS {
            self.fail(format!("a busy loop: {who} goes on and on, and nothing comes of it"));
        }
        steps <= MAX_IDLE_STEPS
    }

    /// Runs a future as a task of its own.
    pub(crate) fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        self.state().spawned.push((name.into(), Box::pin(task)));
        self.wake_executor();
    }

    /// The same, with a receiver of what comes of it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        self.spawn(name, async move { drop(done.send(task.await)) });
        result
    }

    /// Wakes somebody in so many milliseconds, or in a later step.
    pub(crate) fn wake_in(&self, milliseconds: u64, waker: &Waker) {
        let at = self.now() + milliseconds;
        {
            let mut state = self.state();
            state.timers_set += 1;
            let number = state.timers_set;
            state.timers.push(Reverse(Timer { at, number, waker: waker.clone() }));
        }
        self.wake_executor();
    }

    pub(crate) async fn sleep(&self, milliseconds: u64) {
        let due = self.now() + milliseconds;
        let mut waker: Option<Waker> = None;
        poll_fn(|cx| {
            let now = self.now();
            if now >= due && waker.is_some() {
                return Poll::Ready(());
            }
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                waker = Some(cx.waker().clone());
                self.wake_in(due.saturating_sub(now), cx.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Gives up after so many milliseconds.
    pub(crate) async fn within<F: Future>(&self, milliseconds: u64, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let mut sleep = std::pin::pin!(self.sleep(milliseconds));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    pub(crate) fn wake_executor(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
