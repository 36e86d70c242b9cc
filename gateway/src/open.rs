//! The WebSockets that are open, for whoever looks.

use std::collections::BTreeMap;
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

    /// The first so many with their numbers, after `each` was shown every one of them: while it looks, no socket opens or closes.
    pub(crate) fn first(&self, most: usize, order: Order, mut each: impl FnMut(&Told)) -> Vec<(u64, Arc<Told>)> {
        let listed = self.lock();
        listed.by_number.values().for_each(|told| each(told));
        let sockets = listed.by_number.iter().map(|(&number, told)| (number, told.clone()));
        match order {
            Order::Oldest => sockets.take(most).collect(),
            Order::Newest => sockets.rev().take(most).collect(),
            Order::Busiest => {
                let mut all: Vec<_> = listed.by_number.iter().map(|(&number, told)| (told.octets(), number)).collect();
                let busier = |a: &(u64, u64), b: &(u64, u64)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
                if most < all.len() {
                    all.select_nth_unstable_by(most, busier);
                    all.truncate(most);
                }
                all.sort_unstable_by(busier);
                all.iter().filter_map(|(_, number)| Some((*number, listed.by_number.get(number)?.clone()))).collect()
            }
        }
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
    }
}
