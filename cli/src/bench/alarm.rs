//! Waits that end on time: the timers of tokio are a millisecond wide, in which a server echoes a thousand messages.

use std::future::pending;
use std::io;
use std::time::Instant;

/// Wakes one task.
#[cfg(target_os = "linux")]
pub(super) struct Alarm {
    timer: nix::sys::timerfd::TimerFd,
    /// The same file, as tokio waits for it: what can be read is a number, as of a pipe.
    expirations: tokio::net::unix::pipe::Receiver,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        use std::os::fd::AsFd as _;

        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use tokio::net::unix::pipe::Receiver;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let expirations = Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, expirations })
    }

    /// Waits until then, or for ever.
    pub(super) async fn until(&self, then: Option<Instant>) {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
        let Some(then) = then else { return pending().await };
        let left = then.saturating_duration_since(Instant::now());
        // Zero would never ring.
        if left.is_zero() || self.timer.set(Expiration::OneShot(left.into()), TimerSetTimeFlags::empty()).is_err() {
            return tokio::task::yield_now().await;
        }
        // To set a timer anew takes an earlier expiration back.
        while self.expirations.readable().await.is_ok() {
            if self.expirations.try_read(&mut [0; 8]).is_ok() {
                return;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits until then, or for ever.
    pub(super) async fn until(&self, then: Option<Instant>) {
        match then {
            Some(then) => tokio::time::sleep_until(then.into()).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Alarm;

    #[tokio::test]
    async fn an_alarm_is_not_early_and_rings_again() {
        let alarm = Alarm::new().unwrap();
        for microseconds in [0, 50, 2000] {
            let then = Instant::now() + Duration::from_micros(microseconds);
            alarm.until(Some(then)).await;
            assert!(Instant::now() >= then);
        }
    }

    /// A wait that was given up does not end the next one.
    #[tokio::test]
    async fn an_alarm_is_set_anew() {
        let alarm = Alarm::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            biased;
            () = alarm.until(Some(soon)) => {}
            () = std::future::ready(()) => {}
        }
        std::thread::sleep(Duration::from_millis(10));
        let later = Instant::now() + Duration::from_millis(20);
        alarm.until(Some(later)).await;
        assert!(Instant::now() >= later);
    }
}
