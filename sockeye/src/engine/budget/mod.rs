//! What one connection holds of messages that are not yet whole, all its sockets together.
//!
//! - Small messages, of 48 KiB or less, have an eighth of the budget beside it, and ask for nothing while that suffices.
//! - Others, and small ones that find no room there, may grow up to the budget (3 MiB), where what those that may be large were
//!   let take and have not taken yet is taken for held.
//! - From there to twice as much small and middling messages may, those of 1 MiB at most, as long as each leaves free a
//!   multiple of its size: whatever is parked here, there is room for a smaller one, and for one that comes quickly.
//! - One message goes on whatever the others hold: it has the lane, and waiting ends. The rest wait, and who needs the least
//!   room goes first; the lane goes to the oldest.
//! - While somebody waits, a message whose peer lets ten seconds pass without sending 16 KiB gives its place up: its socket
//!   fails with 1008.
//!
//! So unfinished messages hold twice the budget together and an eighth, one of them its size, and each what one read brings.
//! What they hold beyond the budget is taken from what may wait to be sent, and the other way round.

mod book;
#[cfg(test)]
mod simulation;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::engine::now;

use book::{Book, Number, Shares};

/// A bound on unfinished messages, so that many sockets that each stay within their own limit do not fill the memory.
pub(crate) struct Budget {
    max: u32,
    /// What small messages hold of their eighth.
    small: AtomicU32,
    /// Made for the first message that is large, which few connections see.
    shared: OnceLock<Arc<Shared>>,
}

/// What the watch looks after.
struct Shared {
    book: Mutex<(Book, Watch)>,
    /// Octets that messages hold beyond the budget, as of the last look into the book.
    beyond: AtomicUsize,
}

/// The task that looks after those that wait, while somebody does.
type Watch = Option<AbortHandle>;

/// What one socket holds: nothing while its messages arrive whole.
#[derive(Default)]
pub(crate) struct Ticket {
    /// In the book, once its message is not small any more, or small ones hold too much.
    number: Option<Number>,
    /// Octets of what is there for small messages.
    small: u32,
}

/// What is known of an unfinished message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Octets held of it.
    pub(crate) held: usize,
    /// Octets of memory that are taken for it besides.
    pub(crate) spare: usize,
    /// Octets that its frame under way is still to bring.
    pub(crate) announced: usize,
    /// Whether nothing comes after that frame.
    pub(crate) is_last: bool,
}

impl Message {
    /// Octets of memory that it takes.
    fn cost(self) -> usize {
        self.held.saturating_add(self.spare)
    }

    /// Whether it is small, as far as is known.
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
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self { max, small: AtomicU32::new(0), shared: OnceLock::new() }
    }

    fn shares(&self) -> Shares {
        Shares::new(self.max as usize)
    }

    /// Whether a message is to be [held](Self::hold): not where it is small, and finds room among those.
    pub(crate) fn counts(&self, ticket: &mut Ticket, message: Message) -> bool {
        let is_small = ticket.number.is_none() && message.is_small(self.shares().own);
        !is_small || !self.take_small(ticket, message.cost() as u32)
    }

    /// Takes so many octets for a small message, in place of what it had; whether they are there.
    fn take_small(&self, ticket: &mut Ticket, octets: u32) -> bool {
        let before = ticket.small;
        let exchange = |all: u32| Some(all - before + octets).filter(|all| *all <= self.max / 8 || octets <= before);
        let is_taken = self.small.fetch_update(Ordering::Relaxed, Ordering::Relaxed, exchange).is_ok();
        if is_taken {
            ticket.small = octets;
        }
        is_taken
    }

    /// Books what a socket holds, where so much waits to be sent; says whether it may take more, and otherwise wakes it when it may.
    pub(crate) fn hold(&self, cx: &Context<'_>, ticket: &mut Ticket, message: Message, backlog: usize) -> Verdict {
        let now = now();
        let shared = self.shared.get_or_init(|| Arc::new(Shared::new(self.shares())));
        let small = ticket.small as usize;
        let (verdict, wakers) = shared.look(|book, watch| {
            book.set_backlog(backlog);
            let number = *ticket.number.get_or_insert_with(|| book.enter(small, now));
            let held = book.hold(number, message, now, cx.waker());
            if matches!(held.0, Verdict::Wait | Verdict::StillWait)
                && watch.as_ref().is_none_or(AbortHandle::is_finished)
                // Outside of a runtime there are no timers: then nobody has to give up.
                && let Ok(runtime) = Handle::try_current()
            {
                *watch = Some(runtime.spawn(look_after(Arc::downgrade(shared))).abort_handle());
            }
            held
        });
        wakers.into_iter().for_each(Waker::wake);
        verdict
    }

    /// Octets that messages hold beyond the budget, as the book allows small and middling ones.
    pub(crate) fn beyond(&self) -> usize {
        self.shared.get().map_or(0, |shared| shared.beyond.load(Ordering::Relaxed))
    }

    /// The socket's message is whole, or given up.
    #[inline]
    pub(crate) fn release(&self, ticket: &mut Ticket) {
        if ticket.small > 0 {
            self.take_small(ticket, 0);
        }
        if let Some(number) = ticket.number.take()
            && let Some(shared) = self.shared.get()
        {
            let wakers = shared.look(|book, _| book.release(number));
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Shared {
    fn new(shares: Shares) -> Self {
        Self { book: Mutex::new((Book::new(shares), None)), beyond: AtomicUsize::new(0) }
    }

    /// Does something in the book, and leaves behind what messages hold beyond the budget then.
    fn look<T>(&self, act: impl FnOnce(&mut Book, &mut Watch) -> T) -> T {
        let mut guard = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (book, watch) = &mut *guard;
        let value = act(book, watch);
        self.beyond.store(book.counted.saturating_sub(book.shares.max), Ordering::Relaxed);
        value
    }

    /// One look of the watch, and when the next is due.
    fn watch(&self, now: Instant) -> Option<Instant> {
        let (due, wakers) = self.look(|book, watch| {
            let (due, wakers) = book.watch(now);
            if due.is_none() {
                *watch = None;
            }
            (due, wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
        due
    }
}

/// The watch. It holds nothing of a connection that is over.
async fn look_after(shared: Weak<Shared>) {
    while let Some(due) = shared.upgrade().and_then(|shared| shared.watch(now())) {
        tokio::time::sleep_until(due.into()).await;
    }
}
