//! How long `--reconnect` waits before a socket is opened again.

use std::time::{Duration, Instant};

/// The first wait, and the longest. Each is a random part of it, from a half on, so that the clients of a server that was
/// restarted do not come back in one moment.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A socket that was open for so long begins anew.
const STEADY: Duration = Duration::from_secs(10);

/// Doubles with each attempt that comes to nothing.
#[derive(Debug)]
pub(super) struct BackOff {
    failures: u32,
    opened: Instant,
}

impl BackOff {
    /// A socket has just opened, for the first time.
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, opened: now }
    }

    /// It has opened again.
    pub(super) fn succeed(&mut self, now: Instant) {
        self.opened = now;
    }

    /// It broke off.
    pub(super) fn end(&mut self, now: Instant) {
        if now.saturating_duration_since(self.opened) >= STEADY {
            self.failures = 0;
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BackOff, FIRST, LONGEST, STEADY};

    #[test]
    fn it_doubles_up_to_a_bound_and_begins_anew_after_a_steady_socket() {
        let now = Instant::now();
        let mut back_off = BackOff::new(now);
        for attempt in 0..100 {
            let whole = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
            let wait = back_off.next();
            assert!(wait >= whole / 2 && wait <= whole, "{attempt}: {wait:?}");
        }
        back_off.succeed(now);
        back_off.end(now + STEADY - Duration::from_secs(1));
        assert!(back_off.next() >= LONGEST / 2, "it broke off too soon");
        back_off.succeed(now);
        back_off.end(now + STEADY);
        assert!(back_off.next() <= FIRST);
    }
}
