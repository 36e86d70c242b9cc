//! Giving way: a task that is woken while it runs would run again before the runtime has looked at its network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::engine::driver::yield_now;

/// Polls what wakes itself when it has done enough at once, as hyper does after sixteen requests.
#[derive(Default)]
pub(super) struct Yielding(Option<Arc<Shared>>);

struct Shared {
    state: AtomicU8,
    task: Waker,
}

/// It is not polled: the task is woken at once.
const ASLEEP: u8 = 0;
/// It is polled.
const RUNNING: u8 = 1;
/// It was woken while it was polled.
const WOKEN: u8 = 2;

impl Yielding {
    /// Polls, and wakes the task once others have had their turn, where that was asked for meanwhile.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let shared = match self.0.take().filter(|shared| shared.task.will_wake(cx.waker())) {
            Some(shared) => shared,
            None => Arc::new(Shared { state: AtomicU8::new(ASLEEP), task: cx.waker().clone() }),
        };
        let shared = &*self.0.insert(shared);
        shared.state.store(RUNNING, Ordering::Release);
        let polled = poll(&mut Context::from_waker(&Waker::from(shared.clone())));
        if shared.state.swap(ASLEEP, Ordering::AcqRel) == WOKEN && polled.is_pending() {
            yield_now(cx);
        }
        polled
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(RUNNING, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(ASLEEP) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// What wakes itself lets all others run that are ready, and is polled again.
    #[tokio::test]
    async fn who_wakes_itself_gives_way() {
        let others = Arc::new(AtomicUsize::new(0));
        let counted = others.clone();
        tokio::spawn(async move {
            for _ in 0..100 {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
        let (mut yielding, mut polls) = (Yielding::default(), 0);
        poll_fn(|cx| {
            yielding.poll(cx, |cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                if polls < 50 { Poll::Pending } else { Poll::Ready(()) }
            })
        })
        .await;
        assert!(others.load(Ordering::SeqCst) >= 40, "{others:?}");
    }

    /// A wake-up from elsewhere is not lost, whenever it comes.
    #[tokio::test]
    async fn who_is_woken_from_elsewhere_is_polled() {
        let (mut yielding, mut polls) = (Yielding::default(), 0);
        poll_fn(|cx| {
            yielding.poll(cx, |cx| {
                polls += 1;
                let waker = cx.waker().clone();
                std::thread::spawn(move || waker.wake());
                if polls < 100 { Poll::Pending } else { Poll::Ready(()) }
            })
        })
        .await;
    }
}
