//! The rules that every row is held to.

use std::time::Duration;

use crate::attack::{Attack, Run, wanted};
use crate::options::Options;
use crate::wire::Seen;

const MIB: u64 = 1 << 20;
/// Bystanders may wait for so long, or for twice as long as before if that is more.
const P99: Duration = Duration::from_millis(5);
/// What may be resident in the end, beside one and a half times what was before.
const LEFT: u64 = 16 * MIB;
/// Growth in the last quarter of an attack that counts as growing on.
const GROWING: u64 = 2 * MIB;

/// The share of the processors' time, given to others by the host, beyond which no time says anything.
const STOLEN: f64 = 0.005;

/// What came of an attack on one server.
#[derive(Default)]
pub struct Figures {
    pub seen: Seen,
    /// Octets resident before, the most above that, and what is above it in the end.
    pub start: u64,
    pub growth: u64,
    pub left: u64,
    /// Octets of growth in the last quarter of the attack.
    pub late_growth: u64,
    /// Seconds on a processor for each second.
    pub cpu: f64,
    pub seconds: f64,
    pub p99_before: Option<Duration>,
    pub p99_during: Option<Duration>,
    /// The share of the processors' time that the host gave to others.
    pub stolen: f64,
    /// Bystanders were cut off, or have waited for too long.
    pub are_lost: bool,
    /// Whether the process is there, and serves a new connection.
    pub is_alive: bool,
    pub answers: bool,
    pub log: String,
}

impl Figures {
    /// Whether what took how long says more about the host than about the server.
    pub fn is_disturbed(&self) -> bool {
        self.stolen > STOLEN
    }
}

/// The rules that were broken, in words.
pub fn broken(attack: &Attack, figures: &Figures, options: &Options) -> Vec<String> {
    let mut failures = figures.seen.failures.clone();
    // Each shot is judged by itself.
    let is_one_act = matches!(attack.run, Run::Act(_));
    if is_one_act && !attack.expected.iter().any(|expected| expected.is_met(&figures.seen)) {
        failures.push(format!("wanted {}", wanted(attack.expected)));
    }
    memory(attack, figures, &mut failures);
    let tells_times = !options.without_times && !figures.is_disturbed();
    if let (Some(before), Some(during), true) = (figures.p99_before, figures.p99_during, tells_times)
        && during > P99.max(before * 2)
    {
        failures.push(format!("bystanders wait {:.1} ms", during.as_secs_f64() * 1e3));
    }
    if figures.are_lost {
        failures.push("bystanders were cut off, or waited for 10 s".to_owned());
    }
    if let Some(line) = figures.log.lines().find(|line| line.contains("panicked")) {
        failures.push(format!("a panic: {line}"));
    }
    if !figures.is_alive {
        failures.push("the server is gone".to_owned());
    } else if !figures.answers {
        failures.push("no answer to a new connection afterwards".to_owned());
    }
    failures
}

fn memory(attack: &Attack, figures: &Figures, failures: &mut Vec<String>) {
    let allowed = attack.setting.growth * MIB;
    let Figures { start, growth, left, late_growth, seconds, .. } = *figures;
    if growth > allowed {
        failures.push(format!("grew by {} MiB of {}", growth / MIB, allowed / MIB));
    }
    // What opens thousands of connections grows with them.
    let is_one = allowed <= 16 * MIB;
    if is_one && seconds > 2.0 && late_growth > GROWING && growth > allowed / 4 {
        failures.push(format!("still grew by {} MiB in its last quarter", late_growth / MIB));
    }
    if left > start / 2 + LEFT {
        failures.push(format!("{} MiB are left", left / MIB));
    }
}
