//! What is measured, as lines of `name value`, and where it comes from.

use std::fs;
use std::time::Duration;

use common::Result;

pub fn line(name: &str, value: f64) {
    println!("{name} {value}");
}

/// Microseconds at the median and at the 99th percentile.
pub fn percentiles(mut times: Vec<Duration>) {
    times.sort_unstable();
    for (name, part) in [("p50_us", 50), ("p99_us", 99)] {
        if let Some(time) = times.get((times.len() * part / 100).min(times.len().saturating_sub(1))) {
            line(name, time.as_secs_f64() * 1e6);
        }
    }
}

/// What all threads of a process have had of a CPU so far, in the kernel and out of it.
pub fn cpu(process: &str) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += times.split_whitespace().next().ok_or("no time in schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident octets of a process that are its own: what it has of files is the program.
pub fn resident(process: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(anonymous.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Octets that went over the loopback interface so far, with all their headers.
pub fn loopback() -> Result<u64> {
    let devices = fs::read_to_string("/proc/net/dev")?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).ok_or("no loopback")?;
    Ok(line.split_whitespace().next().ok_or("no octets")?.parse()?)
}
