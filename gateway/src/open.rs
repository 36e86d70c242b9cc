//! The WebSockets that are open, for whoever looks.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::observe::Told;

/// The open sockets of a gateway, in the order in which they opened.
#[derive(Debug, Default)]
pub(crate) struct OpenSockets(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    by_number: BTreeMap<u64, Arc<Told>>,
    /// Of the one that opened last.
    last: u64,
}

/// Which of the open sockets come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those that moved the most octets.
    Busiest,
    Oldest,
    Newest,
}

/// Sockets that are taken from the list at once.
const BATCH: usize = 256;

impl Order {
    /// The socket whose key is the least comes first.
    fn key(self, number: u64, told: &Told) -> (u64, u64) {
        match self {
            Self::Busiest => (u64::MAX - told.octets(), number),
            Self::Oldest => (0, number),
            Self::Newest => (0, u64::MAX - number),
        }
    }
}

impl OpenSockets {
    /// The number by which it is listed: one more than that of the one before.
    pub(crate) fn add(&self, told: &Arc<Told>) -> u64 {
        let mut listed = self.lock();
        listed.last += 1;
        let number = listed.last;
        listed.by_number.insert(number, told.clone());
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        // Dropped without the lock.
        let _told = self.lock().by_number.remove(&number);
    }

    pub(crate) fn len(&self) -> u64 {
        self.lock().by_number.len() as u64
    }

    /// The first so many with their numbers, after `each` was shown every one of them that was open as it began to look, but for those
    /// that closed meanwhile. However many there are, others wait for no more of it than for a [`BATCH`].
    pub(crate) fn first(&self, most: usize, order: Order, mut each: impl FnMut(&Told)) -> Vec<(u64, Arc<Told>)> {
        let last = self.lock().last;
        let (mut first, mut seen) = (Vec::new(), 0);
        loop {
            let batch: Vec<_> = {
                let listed = self.lock();
                let behind = listed.by_number.range((Excluded(seen), Included(last))).take(BATCH);
                behind.map(|(&number, told)| (number, told.clone())).collect()
            };
            let Some((number, _)) = batch.last() else { break };
            seen = *number;
            batch.iter().for_each(|(_, told)| each(told));
            first.extend(batch.into_iter().map(|(number, told)| (order.key(number, &told), number, told)));
            first.sort_unstable_by_key(|(key, ..)| *key);
            first.truncate(most);
        }
        first.into_iter().map(|(_, number, told)| (number, told)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::Config;
    use crate::live::Live;
    use crate::observe::Exchange;

    fn paths(live: &Live, most: usize, order: Order) -> (usize, Vec<String>) {
        let mut seen = 0;
        let first = live.counts().open_sockets().first(most, order, |_| seen += 1);
        (seen, first.iter().map(|(_, told)| told.path.to_string()).collect())
    }

    #[test]
    fn the_oldest_the_newest_or_the_busiest_come_first_and_no_more_than_asked_for() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        let open = |path: &str, octets| {
            let mut exchange = Exchange::begin(&Request::get(path).body(()).unwrap(), &live);
            exchange.upgraded();
            exchange.sent(octets);
            exchange
        };
        let (_a, b, _c, _d) = (open("/a", 3), open("/b", 9), open("/c", 5), open("/d", 5));
        assert_eq!(paths(&live, 2, Order::Oldest), (4, vec!["/a".into(), "/b".into()]));
        assert_eq!(paths(&live, 2, Order::Newest), (4, vec!["/d".into(), "/c".into()]));
        assert_eq!(paths(&live, 3, Order::Busiest), (4, vec!["/b".into(), "/c".into(), "/d".into()]));
        assert_eq!(paths(&live, 9, Order::Busiest).1, ["/b", "/c", "/d", "/a"]);
        drop(b);
        assert_eq!(paths(&live, 1, Order::Busiest), (3, vec!["/c".into()]), "what has ended is not open");
        let _more: Vec<_> = (0..2 * BATCH).map(|number| open(&format!("/more/{number}"), 4)).collect();
        let (seen, busiest) = paths(&live, 4, Order::Busiest);
        assert_eq!((seen, busiest), (2 * BATCH + 3, ["/c", "/d", "/more/0", "/more/1"].map(Into::into).into()));
        assert_eq!(paths(&live, 1, Order::Newest).1, [format!("/more/{}", 2 * BATCH - 1)]);
    }

    /// Whoever is shown a socket holds no other up, and looks at none that opened since.
    #[test]
    fn sockets_open_and_close_while_it_is_looked() {
        let live = Live::new(&Config::to("http://a:1")).unwrap();
        let open = || {
            let mut exchange = Exchange::begin(&Request::get("/").body(()).unwrap(), &live);
            exchange.upgraded();
            exchange
        };
        let mut held: Vec<_> = (0..BATCH + 2).map(|_| open()).collect();
        let mut seen = 0;
        live.counts().open_sockets().first(1, Order::Oldest, |_| {
            seen += 1;
            held.push(open());
            drop(held.swap_remove(BATCH + 1));
        });
        assert_eq!(seen, BATCH + 1, "one that closed is not among them");
    }
}
