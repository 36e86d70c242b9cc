//! One row against one server: before, during, and what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{getpriority_process, setpriority_process};
use serde::Serialize;

use crate::attack::{Attack, Pace, Run, Shot, wanted};
use crate::bystander::Bystanders;
use crate::options::Options;
use crate::process::{self, Processors};
use crate::rules::{Figures, broken};
use crate::server::{Programs, Server};
use crate::target::{Over, Target, Whose};
use crate::wire::frames::error_name;
use crate::wire::{Connection, Seen};

const MIB: u64 = 1 << 20;
/// Time that the server gets to give back what it holds: handlers may live for five seconds more.
const SETTLING: Duration = Duration::from_secs(8);
/// By how much an attacker is less urgent than bystanders, who share its processor.
const LESS_URGENT: i32 = 10;
/// How long all of them may take.
const LONGEST_SHOTS: Duration = Duration::from_secs(20);
/// How often a row is measured whose times the host disturbs, and how long it is left alone before each time.
const TRIES: usize = 3;
const CALM: Duration = Duration::from_secs(3);
/// How often each shot is fired.
const SHOTS: usize = 40;
const SHOTS_QUICK: usize = 5;

/// What came of a row on one server.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// What the attacker saw.
    pub seen: String,
    /// Octets resident before.
    pub start: u64,
    /// Octets that the server grew by at most.
    pub growth: u64,
    /// Octets more than at the start, once all is over.
    pub left: i64,
    /// Seconds on a processor for each second of the attack.
    pub cpu: f64,
    /// Seconds that the attack took.
    pub seconds: f64,
    /// Milliseconds.
    pub p99_before: Option<f64>,
    pub p99_during: Option<f64>,
    /// The host took so much of the processors' time away that no time says anything.
    pub is_disturbed: bool,
    /// The rules that were broken.
    pub failures: Vec<String>,
}

/// Runs a row against one server.
pub fn measure(attack: &Attack, whose: Whose, programs: &Programs, options: &Options) -> Measured {
    let has_times = attack.setting.pace == Pace::Busy && !options.without_times;
    for _ in 1..if has_times { TRIES } else { 1 } {
        match try_to_measure(attack, whose, programs, options) {
            Ok(measured) if measured.is_disturbed => sleep(CALM),
            outcome => return told(outcome),
        }
    }
    told(try_to_measure(attack, whose, programs, options))
}

fn told(outcome: Result<Measured>) -> Measured {
    outcome.unwrap_or_else(|error| Measured {
        failures: vec![format!("not measured: {error:#}")],
        ..Measured::default()
    })
}

fn try_to_measure(attack: &Attack, whose: Whose, programs: &Programs, options: &Options) -> Result<Measured> {
    let mut server = Server::start(programs, whose, &attack.setting)?;
    let target = Target {
        address: server.address,
        over: attack.setting.over,
        whose,
        time: options.time(),
        scale: options.scale,
        pid: server.pid(),
    };
    // Those of HTTP/1.1 rows speak HTTP/2: they are bystanders of the server.
    let over = if target.over.is_tls() { Over::Tls } else { Over::Cleartext };
    let neighbour = Target { over, ..target };
    let bystanders = if attack.setting.pace == Pace::Busy {
        Some(Bystanders::start(&neighbour).context("no bystanders")?)
    } else {
        warm_up(&neighbour);
        None
    };
    sleep(options.before());
    let mut figures = attack_it(attack, &target, options, bystanders.as_ref())?;
    figures.is_alive = server.is_alive();
    figures.answers = figures.is_alive && answers(&neighbour);
    figures.log = server.log();
    Ok(Measured {
        // The rules are ours.
        failures: if whose == Whose::Ours { broken(attack, &figures, options) } else { Vec::new() },
        seen: figures.seen.text(),
        start: figures.start,
        growth: figures.growth,
        left: figures.left as i64,
        cpu: figures.cpu,
        seconds: figures.seconds,
        is_disturbed: figures.is_disturbed(),
        p99_before: figures.p99_before.filter(|_| !options.without_times).map(milliseconds),
        p99_during: figures.p99_during.filter(|_| !options.without_times).map(milliseconds),
    })
}

/// The attack, what it costs, and what it leaves.
fn attack_it(attack: &Attack, target: &Target, options: &Options, bystanders: Option<&Bystanders>) -> Result<Figures> {
    let p99_before = bystanders.and_then(Bystanders::p99);
    let start = target.resident();
    process::forget_peak(target.pid);
    let growing = Sampler::start(target.pid);
    let (processors, cpu, clock) = (Processors::read(), process::cpu(target.pid), Instant::now());
    let outcome = run(attack, target, options);
    let stolen = Processors::stolen_since(processors);
    let seconds = clock.elapsed().as_secs_f64();
    let cpu = process::cpu(target.pid).saturating_sub(cpu).as_secs_f64() / seconds;
    let growth = process::peak(target.pid).saturating_sub(start);
    let late_growth = growing.stop();
    let p99_during = bystanders.and_then(Bystanders::p99);
    Ok(Figures {
        start,
        growth,
        late_growth,
        cpu,
        seconds,
        p99_before,
        p99_during,
        stolen,
        left: settle(target, start),
        seen: outcome?,
        are_lost: bystanders.is_some_and(Bystanders::are_lost),
        ..Figures::default()
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn run(attack: &Attack, target: &Target, options: &Options) -> Result<Seen> {
    match &attack.run {
        Run::Act(act) => {
            let target = *target;
            let act = *act;
            // A thread of its own, which is less urgent than the bystanders'.
            let thread = thread::Builder::new().stack_size(4 << 20).spawn(move || {
                let priority = getpriority_process(None).unwrap_or(0);
                let _ = setpriority_process(None, (priority + LESS_URGENT).min(19));
                act(&target)
            })?;
            thread.join().map_err(|_| anyhow::anyhow!("the attacker panicked"))?
        }
        Run::Shots(shots) => Ok(fire(shots, target, if options.quick { SHOTS_QUICK } else { SHOTS })),
    }
}

/// All shots, as often as asked for; what is not as expected is said with the shot's title.
fn fire(shots: &[Shot], target: &Target, times: usize) -> Seen {
    let mut seen = Seen::default();
    let clock = Instant::now();
    for _ in 0..times {
        for shot in shots {
            // One that answers nothing is not waited for again and again.
            if clock.elapsed() > LONGEST_SHOTS {
                return seen;
            }
            match (shot.act)(target) {
                Ok(one) => {
                    if target.is_ours() && !shot.expected.iter().any(|expected| expected.is_met(&one)) {
                        let text = one.text();
                        let text = if text.is_empty() { "nothing" } else { &text };
                        seen.fail(format!("{}: {text}, wanted {}", shot.title, wanted(shot.expected)));
                    }
                    add_shot(&mut seen, one);
                }
                Err(error) if target.is_ours() => seen.fail(format!("{}: {error:#}", shot.title)),
                Err(_) => {}
            }
        }
    }
    seen
}

/// A connection error of one shot is not that of all: it is counted.
fn add_shot(seen: &mut Seen, mut one: Seen) {
    let said_nothing = one.resets.is_empty() && one.statuses.is_empty() && one.closes.is_empty();
    if let Some((code, _)) = one.goaway.take() {
        seen.tally(format!("GOAWAY {}", error_name(code)));
    } else if one.ended.is_some() && said_nothing {
        seen.tally("closed".to_owned());
    } else if one.answered && said_nothing {
        seen.tally("goes on".to_owned());
    }
    one.ended = None;
    one.answered = false;
    seen.merge(one);
}

/// A server that has answered nothing yet grows by its first answer.
fn warm_up(target: &Target) {
    for _ in 0..4 {
        answers(target);
    }
}

/// Whether a new connection is served: within ten seconds, since a processor may be busy with what others have left.
fn answers(target: &Target) -> bool {
    (0..3).any(|_| Connection::start(target, &[]).and_then(|mut connection| connection.open(1, &[])).is_ok())
}

/// Waits for what is resident to come back to where it was; what is above it.
fn settle(target: &Target, start: u64) -> u64 {
    let clock = Instant::now();
    let mut left = target.resident().saturating_sub(start);
    // What is little need not be waited for: an allocator keeps some.
    while left > MIB / 4 && clock.elapsed() < if left < 4 * MIB { SETTLING / 8 } else { SETTLING } {
        sleep(Duration::from_millis(100));
        left = target.resident().saturating_sub(start);
    }
    left
}

/// Looks at what is resident while an attack goes on.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<u64>>,
}

impl Sampler {
    fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut samples = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    samples.push(process::resident(pid));
                    sleep(Duration::from_millis(20));
                }
                samples
            }
        });
        Self { stop, thread }
    }

    /// Octets by which the peak of the last quarter is above that of the time before.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().unwrap_or_default();
        let (before, last) = samples.split_at(samples.len() * 3 / 4);
        let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
        most(last).saturating_sub(most(before))
    }
}
