//! What a topic keeps of its last messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::Message;

use crate::envelope::Source;

/// How much of its last messages a topic keeps for those that [come back](crate::Topic::follow): on each node in memory, and with a
/// [store](crate::Backplane::keeps) also there.
///
/// ```
/// use std::time::Duration;
/// use sockeye_hub::{History, Hub};
///
/// let hub = Hub::builder().history(History::new(100).age(Duration::from_secs(60))).local();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct History {
    /// Messages of a topic.
    pub messages: usize,
    /// Octets of a topic's messages.
    pub octets: usize,
    /// How long a message is kept.
    pub age: Duration,
    /// Octets of all topics' messages.
    pub total: usize,
}

impl History {
    /// So many of the last messages of each topic, as far as they have 256 KiB, for 5 minutes; of all topics 64 MiB.
    pub fn new(messages: usize) -> Self {
        Self { messages, octets: 256 << 10, age: Duration::from_secs(300), total: 64 << 20 }
    }

    /// Octets of a topic's messages, with some 80 for each. It is best less than what may [wait for a
    /// connection](sockeye::Limits::group_send_buffer): of what is more a socket that comes back misses the oldest.
    pub fn octets(mut self, octets: usize) -> Self {
        self.octets = octets;
        self
    }

    /// How long a message is kept. For as long a topic goes on to be heard whose last member has left, and the hub with it.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Octets of all topics' messages on a node. Where they have more, a topic keeps less of its own.
    pub fn total(mut self, octets: usize) -> Self {
        self.total = octets;
        self
    }

    pub(crate) fn age_micros(&self) -> u64 {
        u64::try_from(self.age.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The last messages of a topic on this node, the oldest first.
#[derive(Default)]
pub(crate) struct Kept {
    messages: VecDeque<One>,
    octets: usize,
    /// Of each source whose messages were let go, how many it had sent by then.
    gone: Vec<(Source, u64)>,
    /// Some sources had to be forgotten themselves.
    has_forgotten: bool,
}

/// A message as followers get it.
#[derive(Clone)]
pub(crate) struct One {
    pub(crate) source: Source,
    pub(crate) number: u64,
    /// In microseconds since the hub began.
    pub(crate) at: u64,
    pub(crate) message: Message,
}

/// Sources of which it is remembered how much is gone.
const MAX_GONE: usize = 256;

impl One {
    fn charge(&self) -> usize {
        self.message.len() + size_of::<Self>()
    }
}

impl Kept {
    /// Keeps a message, at the cost of the oldest. What all topics of the node have is counted in `total`.
    pub(crate) fn push(&mut self, one: One, history: &History, total: &AtomicUsize) {
        let (charge, now) = (one.charge(), one.at);
        let is_old = |oldest: &One| now.saturating_sub(oldest.at) > history.age_micros();
        while let Some(oldest) = self.messages.front()
            && (is_old(oldest)
                || self.messages.len() >= history.messages
                || self.octets + charge > history.octets
                || total.load(Ordering::Relaxed) + charge > history.total)
        {
            self.let_go(total);
        }
        let fits = charge <= history.octets && total.load(Ordering::Relaxed) + charge <= history.total;
        if history.messages == 0 || !fits {
            self.note_gone(one.source, one.number + 1);
            return;
        }
        self.octets += charge;
        total.fetch_add(charge, Ordering::Relaxed);
        self.messages.push_back(one);
    }

    /// Puts what a store had kept before what came since.
    pub(crate) fn push_front(&mut self, stored: Vec<One>, history: &History, total: &AtomicUsize) {
        let since = std::mem::take(&mut self.messages);
        total.fetch_sub(std::mem::take(&mut self.octets), Ordering::Relaxed);
        let first = |source| since.iter().find(|one| one.source == source).map(|one| one.number);
        let before = stored.into_iter().filter(|one| first(one.source).is_none_or(|first| one.number < first));
        let all: Vec<_> = before.chain(since.iter().cloned()).collect();
        all.into_iter().for_each(|one| self.push(one, history, total));
    }

    /// Lets the oldest go.
    fn let_go(&mut self, total: &AtomicUsize) {
        let Some(oldest) = self.messages.pop_front() else { return };
        self.octets -= oldest.charge();
        total.fetch_sub(oldest.charge(), Ordering::Relaxed);
        self.note_gone(oldest.source, oldest.number + 1);
    }

    fn note_gone(&mut self, source: Source, count: u64) {
        if let Some((_, gone)) = self.gone.iter_mut().find(|(known, _)| *known == source) {
            *gone = count.max(*gone);
            return;
        }
        if self.gone.len() == MAX_GONE {
            self.gone.remove(0);
            self.has_forgotten = true;
        }
        self.gone.push((source, count));
    }

    /// Lets go what is too old by now.
    pub(crate) fn let_go_old(&mut self, now: u64, history: &History, total: &AtomicUsize) {
        while self.messages.front().is_some_and(|oldest| now.saturating_sub(oldest.at) > history.age_micros()) {
            self.let_go(total);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &One> + Clone {
        self.messages.iter()
    }

    /// How many messages each source has sent, as far as can be told from what is kept and what was.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Source, u64)> {
        let kept = self.messages.iter().map(|one| (one.source, one.number + 1));
        kept.chain(self.gone.iter().copied())
    }

    /// Whether messages of a source may have been here that are not any more.
    pub(crate) fn has_lost(&self, source: Source) -> bool {
        self.has_forgotten || self.gone.iter().any(|(gone, _)| *gone == source)
    }

    /// The topic is heard no longer.
    pub(crate) fn clear(&mut self, total: &AtomicUsize) {
        total.fetch_sub(self.octets, Ordering::Relaxed);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { node: 7, life: 1 };

    fn one(source: Source, number: u64) -> One {
        One { source, number, at: number * 1_000_000, message: "x".repeat(100).into() }
    }

    fn numbers(kept: &Kept) -> Vec<u64> {
        kept.messages.iter().map(|one| one.number).collect()
    }

    /// Messages, octets and age of a topic, and octets of all: each bound lets the oldest go, and what is gone is known.
    #[test]
    fn what_is_kept_is_bounded() {
        let charge = one(SOURCE, 0).charge();
        for history in [
            History::new(3),
            History::new(100).octets(3 * charge + 1),
            History::new(100).total(3 * charge + 1),
            History::new(100).age(Duration::from_millis(2500)),
        ] {
            let (mut kept, total) = (Kept::default(), AtomicUsize::new(0));
            (0..10).for_each(|number| kept.push(one(SOURCE, number), &history, &total));
            assert_eq!(numbers(&kept), [7, 8, 9], "{history:?}");
            assert_eq!(total.load(Ordering::Relaxed), 3 * charge);
            assert!(kept.has_lost(SOURCE));
            kept.clear(&total);
            assert_eq!((total.load(Ordering::Relaxed), kept.octets), (0, 0));
        }
    }

    /// One that has no place at all is known to be gone, and costs nothing.
    #[test]
    fn what_does_not_fit_is_not_kept() {
        for history in [History::new(0), History::new(9).octets(50), History::new(9).total(50)] {
            let (mut kept, total) = (Kept::default(), AtomicUsize::new(0));
            kept.push(one(SOURCE, 4), &history, &total);
            assert!(numbers(&kept).is_empty());
            assert_eq!(kept.counts().collect::<Vec<_>>(), [(SOURCE, 5)]);
            assert_eq!(total.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn time_alone_lets_go() {
        let (mut kept, total) = (Kept::default(), AtomicUsize::new(0));
        let history = History::new(9).age(Duration::from_secs(5));
        (0..3).for_each(|number| kept.push(one(SOURCE, number), &history, &total));
        kept.let_go_old(6_500_000, &history, &total);
        assert_eq!(numbers(&kept), [2]);
        assert_eq!(kept.counts().max(), Some((SOURCE, 3)));
    }

    /// What a store has goes before, and what is there already is not taken twice.
    #[test]
    fn what_was_stored_goes_before() {
        let (mut kept, total) = (Kept::default(), AtomicUsize::new(0));
        let (history, other) = (History::new(9), Source { node: 8, life: 1 });
        kept.push(one(SOURCE, 3), &history, &total);
        kept.push_front(vec![one(SOURCE, 2), one(other, 9), one(SOURCE, 3), one(SOURCE, 4)], &history, &total);
        assert_eq!(numbers(&kept), [2, 9, 3]);
        assert_eq!(total.load(Ordering::Relaxed), kept.octets);
    }
}
