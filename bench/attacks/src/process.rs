//! A process as /proc has it: memory, and time on a processor.

use std::fs;
use std::time::Duration;

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
