//! One thread of the load: a runtime of its own, and every so many-th connection.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Version;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use super::alarm::Alarm;
use super::failure::Failures;
use super::ledger::{Phase, Published, Step};
use super::measured::Measured;
use super::pace::Schedule;
use super::plan::Plan;
use super::worker::Worker;
use super::{http1, http2};

/// How often every connection looks for what takes too long, at most and at least, within the time that it may take.
const TICK: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
const TICKS_PER_TIMEOUT: u32 = 8;

/// Runs the share of one thread to its end.
pub(super) fn run(
    plan: Arc<Plan>,
    index: usize,
    phases: watch::Receiver<Step>,
    published: Arc<Published>,
) -> Result<(Measured, Failures)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let numbers: Vec<usize> = (index..plan.connections).step_by(plan.threads).collect();
    let worker = Rc::new(Worker::new(plan, phases.clone(), published, numbers.len()));
    LocalSet::new().block_on(&runtime, drive(worker.clone(), &numbers, phases))?;
    let mut ledger = worker.ledger();
    Ok((std::mem::replace(&mut ledger.measured, Measured::new()), std::mem::take(&mut ledger.failures)))
}

/// Works the connections of these numbers, and wakes them when there is something to do.
async fn drive(worker: Rc<Worker>, numbers: &[usize], mut phases: watch::Receiver<Step>) -> Result<()> {
    let plan = worker.plan.clone();
    let mut tasks = JoinSet::new();
    for number in numbers {
        match plan.http {
            Version::HTTP_2 => tasks.spawn_local(http2::run(worker.clone(), *number)),
            _ => tasks.spawn_local(http1::run(worker.clone(), *number)),
        };
    }
    let mut tick = tokio::time::interval((plan.timeout / TICKS_PER_TIMEOUT).clamp(TICK[0], TICK[1]));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let alarm = Alarm::new().context("cannot make a timer")?;
    let mut pacer: Option<Pacer> = None;
    loop {
        let due = pacer.as_ref().map(|pacer| plan.epoch + Duration::from_nanos(pacer.next()));
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
                worker.ledger().begin_batch();
                worker.ledger().publish();
                // It goes on when measuring begins.
                pacer = pacer.filter(|_| is_running(phase)).or_else(|| Pacer::new(&plan, phase, numbers));
                worker.wake_all();
            }
            _ = tick.tick() => worker.tick(),
            () = alarm.until(due) => {
                if let Some(pacer) = &mut pacer {
                    pacer.wake(&worker);
                }
            }
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
        while self.shares[self.turn].take(now).is_some() {
            worker.wake(self.turn);
            self.turn = (self.turn + 1) % self.shares.len();
        }
    }
}
