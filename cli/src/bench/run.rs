//! The course of a run: which phase follows when, and what is measured at its ends.

use std::future::pending;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::Arguments;
use super::failure::Failures;
use super::ledger::{Phase, Published, Step, Totals};
use super::load;
use super::measured::Measured;
use super::plan::Plan;
use super::process::Process;
use super::progress::Progress;
use crate::signals::Signals;

/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Beyond the time that a step may take, for it to be noticed by the thread concerned.
const GRACE: Duration = Duration::from_secs(1);
/// How long sockets may take to close.
const CLOSING: Duration = Duration::from_secs(2);
/// The exit status of who does not wait.
const INTERRUPTED: i32 = 130;

/// The threads, and what watches them.
pub(super) struct Run {
    plan: Arc<Plan>,
    server: Option<Process>,
    own: Option<Process>,
    phases: watch::Sender<Step>,
    threads: Vec<JoinHandle<Result<(Measured, Failures)>>>,
    published: Vec<Arc<Published>>,
    progress: Progress,
    /// None after one of them.
    signals: Option<Signals>,
    /// Resident octets of the server at the start.
    memory: Option<u64>,
}

/// Everything that is reported.
pub(super) struct Outcome {
    pub(super) totals: Totals,
    pub(super) opening: Opening,
    /// None with --idle, and where nothing was opened.
    pub(super) load: Option<Load>,
    pub(super) idle: Option<Idle>,
    pub(super) failures: Failures,
    /// Resident octets of the server: at the start, and at the end of what was measured.
    pub(super) memory: Option<(u64, u64)>,
    pub(super) is_interrupted: bool,
}

pub(super) struct Opening {
    /// From the first connection to the last socket.
    pub(super) seconds: f64,
    pub(super) cpu: Used,
}

pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) measured: Measured,
    pub(super) cpu: Used,
}

/// Processor time, where it is known.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) server: Option<Duration>,
    pub(super) own: Option<Duration>,
}

/// What --idle found.
pub(super) struct Idle {
    /// How long the sockets were held.
    pub(super) seconds: f64,
    pub(super) exchange_seconds: f64,
    /// Sockets that answered before and after that.
    pub(super) answered: u64,
    pub(super) answered_after: u64,
}

impl Used {
    fn since(self, before: Self) -> Self {
        let since = |now: Option<Duration>, before| Some(now?.saturating_sub(before?));
        Self { server: since(self.server, before.server), own: since(self.own, before.own) }
    }
}

impl Run {
    /// Starts the threads, which begin to open sockets.
    pub(super) fn start(plan: Arc<Plan>, server: Option<Process>) -> Result<Self> {
        let (phases, seen) = watch::channel(Step { number: 0, phase: Phase::Opening });
        let mut run = Self {
            signals: Some(Signals::new()?),
            own: Process::own(),
            phases,
            threads: Vec::new(),
            published: Vec::new(),
            progress: Progress::new(),
            memory: server.and_then(|server| server.resident().ok()),
            server,
            plan,
        };
        for index in 0..run.plan.threads {
            let published = Arc::new(Published::default());
            run.published.push(published.clone());
            let (plan, phases) = (run.plan.clone(), seen.clone());
            let work = move || load::run(plan, index, phases, published);
            let thread = thread::Builder::new().name(format!("load {index}")).spawn(work);
            run.threads.push(thread.context("cannot start a thread")?);
        }
        Ok(run)
    }

    /// Goes through all phases.
    pub(super) async fn finish(mut self, arguments: &Arguments) -> Result<Outcome> {
        let before = self.used();
        self.open().await;
        let cpu = self.used().since(before);
        let is_opening_interrupted = self.is_interrupted();
        let (mut load, mut idle) = (None, None);
        if self.totals().live() > 0 && !is_opening_interrupted {
            if arguments.idle {
                idle = Some(self.hold(arguments.duration).await);
            } else {
                load = Some(self.load(arguments).await);
            }
        }
        let after = self.server.and_then(|server| server.resident().ok());
        let memory = self.memory.zip(after);
        if idle.is_some() {
            // All that was held so long has to be in order still.
            let (answered_after, _) = self.exchange(2).await;
            idle = idle.map(|idle| Idle { answered_after, ..idle });
        }
        self.drain().await;
        self.close().await;
        self.progress.clear();
        let (totals, is_interrupted) = (self.totals(), self.is_interrupted());
        let (measured, mut failures) = self.join()?;
        if is_opening_interrupted {
            failures.interrupt_opening();
        }
        let load = load.map(|load| Load { measured, ..load });
        let opening = Opening { seconds: totals.last_opened as f64 / 1e9, cpu };
        Ok(Outcome { totals, opening, load, idle, failures, memory, is_interrupted })
    }

    /// Waits until each socket was opened or has failed, or nothing has happened for too long.
    async fn open(&mut self) {
        let all = self.plan.all_sockets();
        let patience = self.plan.timeout + GRACE;
        let (mut done, mut progressed) = (0, Instant::now());
        self.wait(None, |totals, progress| {
            progress.opened(totals.opened, totals.unopened, all);
            let now_done = totals.opened + totals.unopened;
            if now_done > done {
                (done, progressed) = (now_done, Instant::now());
            }
            done == all || progressed.elapsed() > patience
        })
        .await;
    }

    /// Sends messages, and measures after the warm-up.
    async fn load(&mut self, arguments: &Arguments) -> Load {
        let start = self.plan.epoch.elapsed().as_nanos() as u64;
        self.enter(Phase::Running { start, is_measured: false });
        self.work("warming up", arguments.warm_up).await;
        let before = self.used();
        let began = Instant::now();
        self.enter(Phase::Running { start, is_measured: true });
        self.work("measuring", arguments.duration).await;
        self.enter(Phase::Draining);
        let seconds = began.elapsed().as_secs_f64();
        Load { seconds, measured: Measured::new(), cpu: self.used().since(before) }
    }

    /// The processor time used so far. A server that has ended has used nothing that could be known.
    fn used(&self) -> Used {
        let used = |process: Option<Process>| process.and_then(|process| process.cpu().ok());
        Used { server: used(self.server), own: used(self.own) }
    }

    /// Lets messages go to and fro for a time, while there are sockets.
    async fn work(&mut self, step: &'static str, time: Duration) {
        let began = Instant::now();
        self.wait(Some(began + time), |totals, progress| {
            progress.show(step, began.elapsed().as_millis() as u64, time.as_millis() as u64);
            progress.answered(totals.answered, totals.lost + totals.unopened);
            totals.live() == 0
        })
        .await;
    }

    /// Holds all sockets open without a word, once each has answered.
    async fn hold(&mut self, time: Duration) -> Idle {
        let (answered, exchange_seconds) = self.exchange(1).await;
        self.enter(Phase::Hold);
        let began = Instant::now();
        self.wait(Some(began + time), |totals, progress| {
            progress.show("holding", began.elapsed().as_millis() as u64, time.as_millis() as u64);
            totals.live() == 0
        })
        .await;
        Idle { seconds: began.elapsed().as_secs_f64(), exchange_seconds, answered, answered_after: 0 }
    }

    /// One message on each socket: how many came back, and in how many seconds.
    async fn exchange(&mut self, number: u8) -> (u64, f64) {
        let before = self.totals().answered;
        let began = Instant::now();
        self.enter(Phase::Exchange(number));
        let limit = began + self.plan.timeout + GRACE;
        self.wait(Some(limit), |totals, progress| {
            let answered = totals.answered - before;
            progress.show("exchanging", answered, totals.live());
            answered >= totals.live()
        })
        .await;
        (self.totals().answered - before, began.elapsed().as_secs_f64())
    }

    /// Waits for the answers to what was sent.
    async fn drain(&mut self) {
        let step = self.enter(Phase::Draining);
        let limit = Instant::now() + self.plan.timeout + GRACE;
        self.wait(Some(limit), |totals, progress| {
            progress.answered(totals.answered, totals.lost + totals.unopened);
            totals.live() == 0 || totals.step >= step && totals.in_flight == 0
        })
        .await;
    }

    /// Closes all sockets. A server that does not is left alone.
    async fn close(&mut self) {
        self.enter(Phase::Closing);
        let limit = Instant::now() + CLOSING;
        while Instant::now() < limit && !self.threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What all threads have to say.
    fn join(self) -> Result<(Measured, Failures)> {
        // The end of the phases ends the threads.
        drop(self.phases);
        let (mut measured, mut failures) = (Measured::new(), Failures::default());
        for thread in self.threads {
            let (more, others) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            measured.merge(more);
            failures.merge(others);
        }
        Ok((measured, failures))
    }

    /// Begins a phase; its number.
    fn enter(&mut self, phase: Phase) -> u64 {
        let mut number = 0;
        self.phases.send_modify(|step| {
            if step.phase != phase {
                *step = Step { number: step.number + 1, phase };
            }
            number = step.number;
        });
        number
    }

    /// Waits until it is reached, until the limit, until the threads have ended, or for a signal.
    async fn wait(&mut self, limit: Option<Instant>, mut is_reached: impl FnMut(&Totals, &mut Progress) -> bool) {
        loop {
            let totals = self.totals();
            let are_done = self.threads.iter().all(JoinHandle::is_finished);
            let Some(signals) = &mut self.signals else { return };
            if is_reached(&totals, &mut self.progress) || are_done {
                return;
            }
            tokio::select! {
                biased;
                _ = signals.next() => self.interrupt(),
                () = sleep_until(limit) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Nothing is waited for any more, and the next signal ends the program.
    fn interrupt(&mut self) {
        if let Some(mut signals) = self.signals.take() {
            tokio::spawn(async move {
                signals.next().await;
                process::exit(INTERRUPTED);
            });
        }
    }

    fn is_interrupted(&self) -> bool {
        self.signals.is_none()
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals { step: u64::MAX, ..Totals::default() };
        for totals in self.published.iter().map(|published| published.totals()) {
            sum.connected += totals.connected;
            sum.opened += totals.opened;
            sum.lost += totals.lost;
            sum.unopened += totals.unopened;
            sum.answered += totals.answered;
            sum.in_flight += totals.in_flight;
            sum.last_opened = sum.last_opened.max(totals.last_opened);
            sum.step = sum.step.min(totals.step);
        }
        sum
    }
}

async fn sleep_until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit.into()).await,
        None => pending().await,
    }
}
