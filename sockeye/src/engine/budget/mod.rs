//! What one connection holds of messages that are not yet whole, all its sockets together.
//!
//! - A message of 64 KiB or less is its socket's own business: such a socket comes here never.
//! - Up to the budget (4 MiB) all may grow, where what those that may be large were let take and have not taken yet is taken
//!   for held.
//! - From there to twice as much small and middling messages may, those of 1 MiB at most, as long as each leaves free a
//!   multiple of its size: whatever is parked here, there is room for a smaller one, and for one that comes quickly.
//! - One message goes on whatever the others hold: it has the lane, and waiting ends. The rest wait, and who needs the least
//!   room goes first; the lane goes to the oldest.
//! - While somebody waits, a message whose peer lets ten seconds pass without sending 16 KiB gives its place up: its socket
//!   fails with 1008.
//!
//! So unfinished messages hold 64 KiB and one read each, twice the budget together, and one of them its size.

mod book;
#[cfg(test)]
mod simulation;

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::engine::now;

use book::Book;

/// A bound on unfinished messages, so that many sockets that each stay within their own limit do not fill the memory.
pub(crate) struct Budget {
    /// What each message may hold without coming here.
    own: usize,
    book: Mutex<(Book, Watch)>,
}

/// The task that looks after those that wait, while somebody does.
type Watch = Option<AbortHandle>;

/// What one socket holds; none while its messages arrive whole, or are small.
#[derive(Default)]
pub(crate) struct Ticket(Option<NonZeroU64>);

/// What is known of an unfinished message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Octets held of it.
    pub(crate) held: usize,
    /// Octets that its frame under way is still to bring.
    pub(crate) announced: usize,
    /// Whether nothing comes after that frame.
    pub(crate) is_last: bool,
}

impl Message {
    /// Whether it needs to ask for nothing, as far as is known.
    fn is_small(self, own: usize) -> bool {
        self.held.saturating_add(self.announced) <= own
    }
}

/// Whether a socket may take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// From now on it waits, and is woken.
    Wait,
    /// It waits still.
    StillWait,
    /// It may take what has come already. Where that does not make it go on it gives up.
    GiveUp,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        let book = Book::new(max);
        Self { own: book.shares.own, book: Mutex::new((book, None)) }
    }

    fn book(&self) -> MutexGuard<'_, (Book, Watch)> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message is to be [held](Self::hold).
    pub(crate) fn counts(&self, message: Message) -> bool {
        !message.is_small(self.own)
    }

    /// Books what a socket holds; says whether it may take more, and otherwise wakes it when it may.
    pub(crate) fn hold(self: &Arc<Self>, cx: &Context<'_>, ticket: &mut Ticket, message: Message) -> Verdict {
        let now = now();
        let mut guard = self.book();
        let (book, watch) = &mut *guard;
        let number = *ticket.0.get_or_insert_with(|| book.enter(message.held, now));
        let (verdict, wakers) = book.hold(number, message, now, cx.waker());
        if matches!(verdict, Verdict::Wait | Verdict::StillWait)
            && watch.as_ref().is_none_or(AbortHandle::is_finished)
            // Outside of a runtime there are no timers: then nobody has to give up.
            && let Ok(runtime) = Handle::try_current()
        {
            *watch = Some(runtime.spawn(look_after(Arc::downgrade(self))).abort_handle());
        }
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        verdict
    }

    /// The socket's message is whole, or given up.
    #[inline]
    pub(crate) fn release(&self, ticket: &mut Ticket) {
        if let Some(number) = ticket.0.take() {
            let wakers = self.book().0.release(number);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// One look of the watch, and when the next is due.
    fn watch(&self, now: Instant) -> Option<Instant> {
        let mut guard = self.book();
        let (book, watch) = &mut *guard;
        let (due, wakers) = book.watch(now);
        if due.is_none() {
            *watch = None;
        }
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        due
    }
}

/// The watch. It holds nothing of a connection that is over.
async fn look_after(budget: Weak<Budget>) {
    while let Some(due) = budget.upgrade().and_then(|budget| budget.watch(now())) {
        tokio::time::sleep_until(due.into()).await;
    }
}
