//! One thread of the load: a runtime of its own, and every so many-th connection.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use http::Version;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use super::alarm::Alarm;
use super::dial::Transport;
use super::failure::{Failure, Failures};
use super::ledger::{Ledger, Phase, Published, Step};
use super::measured::Measured;
use super::pace::Schedule;
use super::plan::Plan;
use super::{http1, http2};

/// Connections of a thread whose sockets are being opened: a listener's queue is not to overflow, and no handshake is to wait
/// long behind others.
const DIALING: usize = 64;
/// Octets of one read.
const READ_SIZE: usize = 256 << 10;
/// How often every connection looks for what takes too long, at most and at least, within the time that it may take.
const TICK: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
const TICKS_PER_TIMEOUT: u32 = 8;
/// Buffers that are kept for the next message.
const MAX_SPARES: usize = 16;

/// What the connections of a thread share.
pub(super) struct Worker {
    pub(super) plan: Arc<Plan>,
    index: usize,
    ledger: RefCell<Ledger>,
    phases: watch::Receiver<Step>,
    /// Of each connection, once it has been polled.
    wakers: RefCell<Vec<Option<Waker>>>,
    ticks: Cell<u64>,
    input: RefCell<BytesMut>,
    pub(super) spares: Spares,
    dialing: Arc<Semaphore>,
}

/// Buffers for messages that windows hold back.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they go to and from streams, which have room for a pointer only")]
pub(super) struct Spares(RefCell<Vec<Box<BytesMut>>>);

impl Spares {
    /// An empty one.
    pub(super) fn take(&self) -> Box<BytesMut> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut buffer: Box<BytesMut>) {
        let mut buffers = self.0.borrow_mut();
        if buffers.len() < MAX_SPARES {
            buffer.clear();
            // What was sent off its front is room again.
            let _ = buffer.try_reclaim(1);
            buffers.push(buffer);
        }
    }
}

/// Runs the share of one thread to its end.
pub(super) fn run(
    plan: Arc<Plan>,
    index: usize,
    phases: watch::Receiver<Step>,
    published: Arc<Published>,
) -> Result<(Measured, Failures)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let worker = Rc::new(Worker {
        ledger: RefCell::new(Ledger::new(plan.epoch, phases.clone(), published)),
        phases,
        index,
        wakers: RefCell::default(),
        ticks: Cell::new(0),
        input: RefCell::default(),
        spares: Spares::default(),
        dialing: Arc::new(Semaphore::new(DIALING)),
        plan,
    });
    LocalSet::new().block_on(&runtime, worker.clone().drive())?;
    let mut ledger = worker.ledger();
    Ok((std::mem::replace(&mut ledger.measured, Measured::new()), std::mem::take(&mut ledger.failures)))
}

impl Worker {
    async fn drive(self: Rc<Self>) -> Result<()> {
        let mut tasks = JoinSet::new();
        let numbers: Vec<usize> = (self.index..self.plan.connections).step_by(self.plan.threads).collect();
        self.wakers.borrow_mut().resize(numbers.len(), None);
        for number in &numbers {
            match self.plan.http {
                Version::HTTP_2 => tasks.spawn_local(http2::run(self.clone(), *number)),
                _ => tasks.spawn_local(http1::run(self.clone(), *number)),
            };
        }
        let mut phases = self.phases.clone();
        let mut tick = tokio::time::interval((self.plan.timeout / TICKS_PER_TIMEOUT).clamp(TICK[0], TICK[1]));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let alarm = Alarm::new().context("cannot make a timer")?;
        let mut pacer: Option<Pacer> = None;
        loop {
            let due = pacer.as_ref().map(|pacer| self.plan.epoch + Duration::from_nanos(pacer.next()));
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                    None => return Ok(()),
                },
                changed = phases.changed() => {
                    // Nobody waits for the rest.
                    if changed.is_err() {
                        return Ok(());
                    }
                    let phase = phases.borrow_and_update().phase;
                    self.ledger().begin_batch();
                    self.ledger().publish();
                    // It goes on when measuring begins.
                    pacer = pacer.filter(|_| is_running(phase)).or_else(|| Pacer::new(&self.plan, phase, &numbers));
                    self.wake_all();
                }
                _ = tick.tick() => {
                    self.ticks.set(self.ticks.get() + 1);
                    self.wake_all();
                }
                () = alarm.until(due) => {
                    if let Some(pacer) = &mut pacer {
                        pacer.wake(&self);
                    }
                }
            }
        }
    }

    pub(super) fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// Makes the connection of this number when it is its turn. The next one has it when what comes along is dropped.
    pub(super) async fn dial(&self, number: usize) -> Result<(Transport, Option<OwnedSemaphorePermit>), Failure> {
        let permit = self.dialing.clone().acquire_owned().await;
        Ok((self.plan.dial(number).await?, permit.ok()))
    }

    /// Runs a step towards an open socket, unless the opening was given up.
    pub(super) async fn while_opening<T>(&self, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut phases = self.phases.clone();
        tokio::select! {
            biased;
            _ = phases.wait_for(|step| step.phase != Phase::Opening) => Err(Failure::timeout("the opening")),
            result = step => result,
        }
    }

    /// Counts a socket that is open from now on.
    pub(super) fn count_opened(&self) {
        let mut ledger = self.ledger();
        ledger.begin_batch();
        ledger.count_opened();
        ledger.publish();
    }

    /// Counts sockets that could not be opened.
    pub(super) fn give_up(&self, failure: Failure, sockets: usize) {
        let mut ledger = self.ledger();
        ledger.count_unopened(failure, sockets);
        ledger.publish();
    }

    /// From now on the task of this connection is woken for ticks, phases and messages that are due.
    pub(super) fn register(&self, number: usize, cx: &Context<'_>) {
        let waker = &mut self.wakers.borrow_mut()[number / self.plan.threads];
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the connection whose socket has a message for all of them, unless that is the one that knows already.
    pub(super) fn wake_sender(&self, ledger: &Ledger, number: usize) {
        if number > 0
            && ledger.broadcast.next(self.plan.depth).is_some()
            && let Some(Some(waker)) = self.wakers.borrow().first()
        {
            waker.wake_by_ref();
        }
    }

    fn wake_all(&self) {
        self.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// A number that changes when it is time to look for what takes too long.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.get()
    }

    /// A buffer with room for one read, which begins with `rest`. To be given back.
    pub(super) fn lend(&self, rest: &[u8]) -> BytesMut {
        let mut input = self.input.take();
        input.clear();
        if !input.try_reclaim(rest.len() + READ_SIZE) {
            input = BytesMut::with_capacity(rest.len() + READ_SIZE);
        }
        input.extend_from_slice(rest);
        input
    }

    /// The larger of two is kept.
    pub(super) fn take_back(&self, input: BytesMut) {
        let mut kept = self.input.borrow_mut();
        if input.capacity() >= kept.capacity() {
            *kept = input;
        }
    }
}

fn is_running(phase: Phase) -> bool {
    matches!(phase, Phase::Running { .. })
}

/// Wakes the connections of a thread when a message of theirs is due.
struct Pacer {
    shares: Vec<Schedule>,
    /// The share whose message is due first: they take turns.
    turn: usize,
}

impl Pacer {
    /// None in a closed loop, and where nothing is sent.
    fn new(plan: &Plan, phase: Phase, numbers: &[usize]) -> Option<Self> {
        let shares: Vec<_> = numbers.iter().map_while(|number| plan.schedule(phase, *number)).collect();
        (!shares.is_empty()).then_some(Self { shares, turn: 0 })
    }

    fn next(&self) -> u64 {
        self.shares[self.turn].next()
    }

    fn wake(&mut self, worker: &Worker) {
        let now = worker.plan.epoch.elapsed().as_nanos() as u64;
        let wakers = worker.wakers.borrow();
        while self.shares[self.turn].take(now).is_some() {
            if let Some(waker) = &wakers[self.turn] {
                waker.wake_by_ref();
            }
            self.turn = (self.turn + 1) % self.shares.len();
        }
    }
}
