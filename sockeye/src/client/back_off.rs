//! How long a client waits before it connects again where that has gone wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Between which bounds the time to wait is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The longest wait after one failure; it doubles with each that follows.
    pub(super) first: Duration,
    /// The longest wait at all.
    pub(super) most: Duration,
}

impl Default for Bounds {
    /// A tenth of a second spreads the clients of a server that fell over, and nobody sees it; five seconds are less than most
    /// servers take to start.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

/// What went wrong since a socket last opened.
#[derive(Debug, Default)]
pub(super) struct BackOff(AtomicU32);

impl BackOff {
    /// A connection was lost, or could not be made.
    pub(super) fn fail(&self) {
        // More of them change nothing.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| failures.checked_add(1)).ok();
    }

    /// A socket has opened.
    pub(super) fn succeed(&self) {
        // Most of the time there is nothing to forget, and a store would be seen by all.
        if self.0.load(Ordering::Relaxed) > 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// Waits before the next connection: for any time at all up to a bound, so that the clients of one server do not come back in
    /// one moment. Not at all where nothing went wrong.
    pub(super) async fn wait(&self, bounds: Bounds) {
        let time = time(self.0.load(Ordering::Relaxed), bounds, rand::random());
        if !time.is_zero() {
            tracing::debug!(?time, "a connection was lost or not made; the next one waits");
            tokio::time::sleep(time).await;
        }
    }
}

/// `share` is how much of the bound to wait, of 2³².
fn time(failures: u32, Bounds { first, most }: Bounds, share: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let bound = first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(most);
    bound.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let bounds = Bounds::default();
        let longest = |failures| time(failures, bounds, u32::MAX).as_millis();
        assert_eq!([0, 1, 2, 3, 6, 7, 40, u32::MAX].map(longest), [0, 100, 200, 400, 3200, 5000, 5000, 5000]);
        assert_eq!(time(5, bounds, 0), Duration::ZERO);
        assert_eq!(time(1, bounds, u32::MAX / 2).as_millis(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_where_nothing_went_wrong() {
        let back_off = BackOff::default();
        let start = tokio::time::Instant::now();
        back_off.wait(Bounds::default()).await;
        back_off.fail();
        back_off.succeed();
        back_off.wait(Bounds::default()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
