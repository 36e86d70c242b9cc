//! Polls the tasks of a run, one at a time, in an order drawn by its seed.

use std::cmp::Reverse;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Sleep;

use crate::random::Random;
use crate::scheduler::{Scheduler, Task};

/// Milliseconds for which a run may last: nothing in it waits for longer, all its timeouts in a row included.
const MAX_TIME: u64 = 1000 * 1000;

/// Polls the tasks until the first is done, or the run has failed.
pub(crate) struct Executor {
    scheduler: Scheduler,
    random: Random,
    tasks: Vec<Option<(String, Task, Waker)>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

struct TaskWaker {
    number: usize,
    scheduler: Scheduler,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.scheduler.state().ready.insert(self.number);
        self.scheduler.wake_executor();
    }
}

impl Executor {
    pub(crate) fn new(scheduler: Scheduler, random: Random, main: impl Future<Output = ()> + Send + 'static) -> Self {
        scheduler.spawn("main", main);
        Self { scheduler, random, tasks: Vec::new(), sleep: None }
    }

    /// The names of the tasks that are left.
    fn left(&self) -> String {
        let names: Vec<_> = self.tasks.iter().flatten().map(|(name, ..)| name.as_str()).collect();
        names.join(", ")
    }

    fn take_spawned(&mut self) {
        let spawned = std::mem::take(&mut self.scheduler.state().spawned);
        for (name, task) in spawned {
            let number = self.tasks.len();
            let waker = Waker::from(Arc::new(TaskWaker { number, scheduler: self.scheduler.clone() }));
            self.scheduler.state().ready.insert(number);
            self.tasks.push(Some((name, task, waker)));
        }
    }

    /// One of the tasks that were woken or of the timers that are due, or once in a while any task at all.
    fn draw(&mut self) -> Option<Next> {
        let now = self.scheduler.now();
        let mut state = self.scheduler.state();
        let due = usize::from(state.timers.peek().is_some_and(|Reverse(timer)| timer.at <= now));
        let ready = state.ready.len();
        if ready + due == 0 {
            return None;
        }
        if self.random.one_in(64) {
            // A future may be polled at any time.
            return Some(Next::Task(self.random.below(self.tasks.len())));
        }
        let drawn = self.random.below(ready + due);
        if drawn >= ready {
            let Reverse(timer) = state.timers.pop()?;
            return Some(Next::Timer(timer.waker));
        }
        let number = *state.ready.iter().nth(drawn)?;
        state.ready.remove(&number);
        Some(Next::Task(number))
    }

    fn step(&mut self, next: Next) {
        let number = match next {
            Next::Timer(waker) => return waker.wake(),
            Next::Task(number) => number,
        };
        let Some((name, task, waker)) = &mut self.tasks[number] else { return };
        self.scheduler.idle(name);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(waker))));
        let is_done = polled.unwrap_or_else(|_| {
            self.scheduler.fail(format!("the task {name:?} panicked"));
            Poll::Ready(())
        });
        if is_done.is_ready() {
            self.tasks[number] = None;
        }
    }
}

enum Next {
    Task(usize),
    Timer(Waker),
}

impl Future for Executor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.scheduler.state().waker = Some(cx.waker().clone());
        // Between two polls of this the library's own tasks run: more steps in one poll let them find more to do at once.
        for _ in 0..this.random.pick(&[1, 1, 1, 2, 8]) {
            this.take_spawned();
            if this.scheduler.trace().has_failed() || this.tasks[0].is_none() {
                return Poll::Ready(());
            }
            let Some(next) = this.draw() else { return this.rest(cx) };
            this.step(next);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Executor {
    /// Nothing is to be done before the next timer.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.scheduler.now();
        if now >= MAX_TIME {
            let left = self.left();
            self.scheduler.fail(format!("no end: nobody does anything any more, and these wait: {left}"));
            return Poll::Ready(());
        }
        let next = self.scheduler.state().timers.peek().map_or(MAX_TIME, |Reverse(timer)| timer.at.min(MAX_TIME));
        let due = self.scheduler.start() + Duration::from_millis(next);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() != due || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            self.scheduler.progress();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
