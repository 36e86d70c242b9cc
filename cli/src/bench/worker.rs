//! What the connections of a thread share.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::buffers::{ReadBuffer, Spares};
use super::failure::Failure;
use super::ledger::{Ledger, Phase, Published, Step};
use super::plan::Plan;
use crate::dial::Transport;

/// Connections of a thread whose sockets are being opened: a listener's queue is not to overflow, and no handshake is to wait
/// long behind others.
const DIALING: usize = 64;

/// The plan, what is counted, and who is to be woken.
pub(super) struct Worker {
    pub(super) plan: Arc<Plan>,
    ledger: RefCell<Ledger>,
    phases: watch::Receiver<Step>,
    /// Of each connection, once it has been polled.
    wakers: RefCell<Vec<Option<Waker>>>,
    ticks: Cell<u64>,
    pub(super) read_buffer: ReadBuffer,
    pub(super) spares: Spares,
    dialing: Arc<Semaphore>,
}

impl Worker {
    /// For so many connections.
    pub(super) fn new(
        plan: Arc<Plan>,
        phases: watch::Receiver<Step>,
        published: Arc<Published>,
        connections: usize,
    ) -> Self {
        Self {
            ledger: RefCell::new(Ledger::new(plan.epoch, phases.clone(), published)),
            phases,
            wakers: RefCell::new(vec![None; connections]),
            ticks: Cell::new(0),
            read_buffer: ReadBuffer::default(),
            spares: Spares::default(),
            dialing: Arc::new(Semaphore::new(DIALING)),
            plan,
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
            _ = phases.wait_for(|step| step.phase != Phase::Opening) => Err(Failure::unopened()),
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
        if number > 0 && ledger.broadcast.next(self.plan.depth).is_some() {
            self.wake(0);
        }
    }

    /// Wakes the connection that is so many-th on this thread.
    pub(super) fn wake(&self, index: usize) {
        if let Some(Some(waker)) = self.wakers.borrow().get(index) {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&self) {
        self.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// It is time to look for what takes too long.
    pub(super) fn tick(&self) {
        self.ticks.set(self.ticks.get() + 1);
        self.wake_all();
    }

    /// A number that changes when it is time to look for what takes too long.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.get()
    }
}
