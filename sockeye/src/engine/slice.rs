//! How long a connection's task runs before the other tasks of its thread have their turn.
//!
//! A slice begins with a poll of the task. Whoever works in it, the connection or a handler that it polls in place, asks
//! [`goes_on`] before the next piece of work, which says no once the time is up. Work that takes longer than most is
//! [charged](spend) where it is done, so that the clock is looked at sooner. A batch that is not done by then is broken off where
//! it is, and goes on in the next slice.
//!
//! Outside of a slice, in tasks of their own, receivers give way by tokio's own budget.

use std::cell::Cell;
#[cfg(feature = "http2")]
use std::future::{Future, poll_fn};
#[cfg(feature = "http2")]
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::task::coop;

use super::now;
#[cfg(sockeye_model)]
use crate::engine::sync::keys::CellKey as _;

/// Pieces of work between two looks at the clock. A piece is what one message, one event or one visit of a stream takes,
/// a tenth of a microsecond and more.
const LOOK: u32 = 64;
/// Pieces of work that a slice has at least, whatever the clock says: a message that a handler receives takes three of them.
const LEAST: u32 = 4;
/// Messages, outside of a slice, for one unit of tokio's budget. That has 128 units.
const OUTSIDE: u32 = 4;
/// Octets of a message that is made of others, such as by decompression, which count as one piece of work.
const OCTETS: usize = 1 << 10;
/// The longest slice: as good as none.
const LONGEST: Duration = Duration::from_secs(3600);

crate::engine::sync::thread_local! {
    /// Pieces of work until the next look at the clock.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// When a batch of the slice that runs in this thread is broken off; none outside of a slice.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A slice, which ends when this is dropped. A slice within a slice, as of a runtime that a handler runs, ends before.
pub(crate) struct Slice {
    outer: (u32, Option<Instant>),
}

impl Slice {
    /// A batch is broken off in twice the `time`: most batches take less, and go out as one.
    pub(crate) fn begin(now: Instant, time: Duration) -> Self {
        let outer = (LEFT.get(), END.get());
        LEFT.set(if time.is_zero() { LEAST } else { LOOK });
        END.set(Some(now + time.min(LONGEST) * 2));
        Self { outer }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let (left, end) = self.outer;
        LEFT.set(left);
        END.set(end);
    }
}

/// Whether there is time for one more piece of work. Outside of a slice it says no every now and then.
#[inline]
pub(crate) fn goes_on() -> bool {
    let left = LEFT.get();
    if left == 0 {
        return look();
    }
    LEFT.set(left - 1);
    true
}

#[cold]
fn look() -> bool {
    match END.get() {
        None => LEFT.set(OUTSIDE),
        Some(end) if now() < end => {
            LEFT.set(LOOK - 1);
            return true;
        }
        Some(_) => {}
    }
    false
}

/// For a receiver before it takes more: whether it may. One that may not is woken for the rest.
#[inline(always)]
pub(crate) fn poll_go_on(cx: &mut Context<'_>) -> Poll<()> {
    if goes_on() { Poll::Ready(()) } else { poll_pause(cx) }
}

/// [`poll_go_on`] once [`goes_on`] has said no.
#[cold]
pub(crate) fn poll_pause(cx: &mut Context<'_>) -> Poll<()> {
    if is_within() {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    ready!(coop::poll_proceed(cx)).made_progress();
    Poll::Ready(())
}

/// Whether a slice runs in this thread.
pub(crate) fn is_within() -> bool {
    END.get().is_some()
}

/// Polls a future in slices: a step of a connection's life that has no task of its own.
#[cfg(feature = "http2")]
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _slice = Slice::begin(now(), time);
        future.as_mut().poll(cx)
    })
    .await
}

/// So many pieces of work were done.
#[inline]
pub(crate) fn spend(pieces: u32) {
    LEFT.set(LEFT.get().saturating_sub(pieces));
}

/// Octets of a message were made. Outside of a slice they are charged to tokio's budget.
pub(crate) fn spend_octets(cx: &mut Context<'_>, octets: usize) {
    let pieces = u32::try_from(octets / OCTETS).unwrap_or(u32::MAX);
    spend(pieces);
    if !is_within() {
        for _ in 0..pieces / LOOK * OUTSIDE {
            let Poll::Ready(unit) = coop::poll_proceed(cx) else { break };
            unit.made_progress();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pieces() -> u32 {
        (0..10_000).take_while(|_| goes_on()).count() as u32
    }

    /// However little time there is, something is done; and the clock is not asked for each piece.
    #[tokio::test(start_paused = true)]
    async fn a_slice_has_its_least_and_ends_by_the_clock() {
        let none = Slice::begin(now(), Duration::ZERO);
        assert_eq!(pieces(), LEAST);
        drop(none);
        let slice = Slice::begin(now(), Duration::from_millis(1));
        assert_eq!(pieces(), 10_000);
        tokio::time::advance(Duration::from_millis(3)).await;
        assert!(pieces() <= LOOK);
        assert!(!goes_on());
        drop(slice);
    }

    /// Work that is charged brings the look at the clock nearer.
    #[tokio::test(start_paused = true)]
    async fn what_is_charged_counts() {
        let _slice = Slice::begin(now(), Duration::from_millis(1));
        tokio::time::advance(Duration::from_millis(3)).await;
        spend(LOOK - 1);
        assert_eq!(pieces(), 1);
    }

    /// A runtime in a handler leaves the handler's slice as it was.
    #[tokio::test(start_paused = true)]
    async fn a_slice_within_a_slice_ends_before() {
        let _outer = Slice::begin(now(), Duration::ZERO);
        let inner = Slice::begin(now(), Duration::from_secs(1));
        assert_eq!(pieces(), 10_000);
        drop(inner);
        assert_eq!(pieces(), LEAST);
    }

    /// A task of its own gives way by tokio's budget, and sooner where its messages are large.
    #[tokio::test]
    async fn a_task_gives_way_by_the_budget_of_its_runtime() {
        let mut counts = [0, 0];
        for (count, octets) in counts.iter_mut().zip([0, 1 << 20]) {
            tokio::task::yield_now().await;
            poll_fn(|cx| {
                while *count < 10_000 && poll_go_on(cx).is_ready() {
                    spend_octets(cx, octets);
                    *count += 1;
                }
                Poll::Ready(())
            })
            .await;
        }
        assert!((128..=128 * (OUTSIDE + 1)).contains(&counts[0]), "{counts:?}");
        assert!((1..=4).contains(&counts[1]), "{counts:?}");
    }
}
