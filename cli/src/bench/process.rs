//! What a process on this machine costs, from Linux's /proc.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A process that is looked at while it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(u32);

impl Process {
    /// # Errors
    ///
    /// There is no such process, or the system tells nothing of it.
    pub(super) fn new(id: u32) -> Result<Self> {
        if !cfg!(target_os = "linux") {
            bail!("--pid reads /proc, which only Linux has");
        }
        let process = Self(id);
        process.cpu()?;
        Ok(process)
    }

    /// This program, where the system tells of it.
    pub(super) fn own() -> Option<Self> {
        Self::new(std::process::id()).ok()
    }

    /// The processor time of all threads that it has now. What ended threads have used is not in it.
    pub(super) fn cpu(self) -> Result<Duration> {
        let folder = format!("/proc/{}/task", self.0);
        let threads = std::fs::read_dir(&folder).with_context(|| format!("there is no process {}", self.0))?;
        let mut nanoseconds = 0;
        for thread in threads {
            // A thread may end in the meantime.
            let Ok(path) = thread.map(|thread| thread.path().join("schedstat")) else { continue };
            match std::fs::read_to_string(&path) {
                Ok(text) => nanoseconds += parse_schedstat(&text).context("this kernel's schedstat is unknown")?,
                Err(_) if !path.exists() && path.with_file_name("stat").exists() => {
                    bail!("this kernel keeps no schedstat (CONFIG_SCHED_INFO), which --pid reads")
                }
                Err(_) => {}
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Octets that are resident.
    pub(super) fn resident(self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))
            .with_context(|| format!("process {} has ended", self.0))?;
        parse_resident(&status).with_context(|| format!("process {} has no memory", self.0))
    }
}

/// The first number of `/proc/PID/task/TID/schedstat`: nanoseconds on a processor.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// `VmRSS` of `/proc/PID/status`, which is in KiB.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::{Process, parse_resident, parse_schedstat};

    #[test]
    fn numbers_are_found() {
        assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_resident("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_resident("Name:\tkthreadd\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_uses_time_and_memory() {
        let own = Process::own().unwrap();
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        for number in 0..20_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(own.cpu().unwrap() > before);
        assert!(own.resident().unwrap() > 100_000);
        assert!(Process::new(u32::MAX).is_err());
    }
}
