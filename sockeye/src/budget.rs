//! What one connection holds of messages that are not yet whole, all its sockets together.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::metrics::{Counter, Metrics};

/// A bound on unfinished messages, so that many sockets that each stay within their own limit do not fill the memory.
/// Past it a socket waits before it takes more, except the one whose message began first: it is always let finish, so
/// that waiting ends.
pub(crate) struct Budget {
    max: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    held: usize,
    last: Option<NonZeroU64>,
    /// By the order in which their messages began.
    holdings: BTreeMap<NonZeroU64, Holding>,
}

#[derive(Default)]
struct Holding {
    octets: usize,
    waiting: Option<Waker>,
}

/// What one socket holds; none while its messages arrive whole.
#[derive(Default)]
pub(crate) struct Ticket(Option<NonZeroU64>);

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books that the socket holds `octets`, and waits until it may take more.
    pub(crate) fn poll_hold(
        &self,
        cx: &Context<'_>,
        metrics: &Metrics,
        ticket: &mut Ticket,
        octets: usize,
    ) -> Poll<()> {
        let mut book = self.book();
        let number = *ticket.0.get_or_insert_with(|| {
            let next = book.last.map_or(NonZeroU64::MIN, |last| last.saturating_add(1));
            *book.last.insert(next)
        });
        let before = std::mem::replace(&mut book.holdings.entry(number).or_default().octets, octets);
        book.held = book.held - before + octets;
        let oldest = book.holdings.first_key_value().is_some_and(|(first, _)| *first == number);
        if oldest || book.held <= self.max {
            return Poll::Ready(());
        }
        if let Some(holding) = book.holdings.get_mut(&number)
            && holding.waiting.replace(cx.waker().clone()).is_none()
        {
            metrics.count(Counter::UnfinishedMessagesWaited);
        }
        Poll::Pending
    }

    /// The socket's message is whole, or given up.
    pub(crate) fn release(&self, ticket: &mut Ticket) {
        let Some(number) = ticket.0.take() else { return };
        let wakers: Vec<Waker> = {
            let mut book = self.book();
            let Some(holding) = book.holdings.remove(&number) else { return };
            book.held -= holding.octets;
            let all = book.held <= self.max;
            let waiting = book.holdings.values_mut().filter_map(|holding| holding.waiting.take());
            if all { waiting.collect() } else { Vec::new() }
        };
        let oldest = || self.book().holdings.first_entry().and_then(|mut first| first.get_mut().waiting.take());
        wakers.into_iter().chain(oldest()).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Past the budget a socket waits, the oldest never does, and all go on once there is room.
    #[test]
    fn the_oldest_is_always_let_finish() {
        let budget = Budget::new(100);
        let cx = Context::from_waker(Waker::noop());
        let hold = |ticket: &mut Ticket, octets| budget.poll_hold(&cx, &Metrics::default(), ticket, octets);
        let (mut first, mut second) = (Ticket::default(), Ticket::default());
        assert_eq!(hold(&mut first, 60), Poll::Ready(()));
        assert_eq!(hold(&mut second, 40), Poll::Ready(()));
        assert_eq!(hold(&mut second, 41), Poll::Pending);
        assert_eq!(hold(&mut first, 5000), Poll::Ready(()));
        assert_eq!(hold(&mut second, 41), Poll::Pending);
        budget.release(&mut first);
        assert_eq!(hold(&mut second, 5000), Poll::Ready(()));
        budget.release(&mut second);
        assert_eq!(budget.book().held, 0);
    }
}
