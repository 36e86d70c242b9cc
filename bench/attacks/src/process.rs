//! A process as /proc has it: memory, and time on a processor.

use std::fs;
use std::time::Duration;

/// Time of all processors since the system started.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    stolen: u64,
    all: u64,
}

impl Processors {
    /// Of a machine that does not tell there is none (proc_stat(5)).
    pub fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let figures: Vec<u64> =
            text.lines().next()?.split_whitespace().skip(1).map_while(|figure| figure.parse().ok()).collect();
        // A guest's time is a user's already.
        Some(Self { stolen: *figures.get(7)?, all: figures.iter().take(8).sum() })
    }

    /// What share of the time since then other machines of the same host took.
    pub fn stolen_since(before: Option<Self>) -> f64 {
        let (Some(before), Some(now)) = (before, Self::read()) else { return 0.0 };
        let all = now.all.saturating_sub(before.all).max(1);
        now.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

/// Octets that are resident.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most octets that were resident since [`forget_peak`].
pub fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// From here on the peak is what is resident now (proc_pid_clear_refs(5)).
pub fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or(0) * 1024
}

/// Time on a processor, of all threads that live: from the scheduler, which counts nanoseconds.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next().and_then(|figure| figure.parse::<u64>().ok()))
        .sum();
    Duration::from_nanos(nanoseconds)
}
