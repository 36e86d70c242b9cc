//! What topics keep of their last messages.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU64;

use sockeye::Message;

use crate::envelope::Source;
use crate::history::History;

/// What all topics of a node keep, under one lock, which is taken after a topic's own.
#[derive(Default)]
pub(crate) struct Archive {
    topics: HashMap<NonZeroU64, Kept>,
    /// Octets of all.
    octets: usize,
    /// Those that have any, by the power of two that their octets have reached: a topic moves seldom, and one of those that have the
    /// most is the last.
    sizes: BTreeSet<(u32, NonZeroU64)>,
    /// How many topics have had a place.
    places: u64,
}

/// A topic's place in the archive, from its first message on.
#[derive(Default)]
pub(crate) struct Place(Option<NonZeroU64>);

impl Place {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Archive {
    pub(crate) fn of(&self, place: &Place) -> Option<&Kept> {
        self.topics.get(&place.0?)
    }

    /// Keeps a message, at the cost of the topic's oldest; and where all have too much, of those of the topic that has the most, so that
    /// one that says much pushes out nobody who says little. How many of those went.
    #[must_use = "they are counted"]
    pub(crate) fn push(&mut self, place: &mut Place, one: One, history: &History) -> u64 {
        let key = *place.0.get_or_insert_with(|| {
            self.places += 1;
            NonZeroU64::MIN.saturating_add(self.places)
        });
        let charge = one.charge();
        self.change(key, |kept| kept.make_room(&one, history));
        if history.messages == 0 || charge > history.octets.min(history.total) {
            self.change(key, |kept| kept.note_gone(one.source, one.number + 1));
            return 0;
        }
        let mut displaced = 0;
        while self.octets + charge > history.total
            && let Some(largest) = self.largest(key)
        {
            self.change(largest, Kept::let_go);
            displaced += 1;
        }
        self.change(key, |kept| kept.push(one));
        displaced
    }

    /// Puts what a store had kept before what came since. How many had to go as in [`push`](Self::push).
    #[must_use = "they are counted"]
    pub(crate) fn push_front(&mut self, place: &mut Place, stored: Vec<One>, history: &History) -> u64 {
        let since = place.0.map(|key| self.change(key, Kept::take)).unwrap_or_default();
        let first = |source| since.iter().find(|one| one.source == source).map(|one| one.number);
        let before = stored.into_iter().filter(|one| first(one.source).is_none_or(|first| one.number < first));
        let all: Vec<_> = before.chain(since.iter().cloned()).collect();
        all.into_iter().map(|one| self.push(place, one, history)).sum()
    }

    /// Lets go what is too old by now.
    pub(crate) fn let_go_old(&mut self, place: &Place, now: u64, history: &History) {
        if let Some(key) = place.0 {
            self.change(key, |kept| kept.let_go_old(now, history));
        }
    }

    /// The topic is heard no longer.
    pub(crate) fn clear(&mut self, place: &mut Place) {
        if let Some(key) = place.0.take() {
            self.change(key, Kept::take);
            self.topics.remove(&key);
        }
    }

    /// A topic that has the most, within a factor of two: this one, if it does.
    fn largest(&self, key: NonZeroU64) -> Option<NonZeroU64> {
        let &(size, largest) = self.sizes.last()?;
        Some(if self.sizes.contains(&(size, key)) { key } else { largest })
    }

    fn change<T>(&mut self, key: NonZeroU64, change: impl FnOnce(&mut Kept) -> T) -> T {
        let kept = self.topics.entry(key).or_default();
        let before = kept.octets;
        let changed = change(kept);
        let after = kept.octets;
        self.octets = self.octets - before + after;
        let (before, after) = (before.checked_ilog2(), after.checked_ilog2());
        if before != after {
            before.map(|size| self.sizes.remove(&(size, key)));
            after.map(|size| self.sizes.insert((size, key)));
        }
        changed
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
    /// Lets the oldest go until a topic that has this message as well keeps to its own bounds.
    fn make_room(&mut self, one: &One, history: &History) {
        self.let_go_old(one.at, history);
        while !self.messages.is_empty()
            && (self.messages.len() >= history.messages || self.octets + one.charge() > history.octets)
        {
            self.let_go();
        }
    }

    fn push(&mut self, one: One) {
        self.octets += one.charge();
        self.messages.push_back(one);
    }

    /// Lets the oldest go.
    fn let_go(&mut self) {
        let Some(oldest) = self.messages.pop_front() else { return };
        self.octets -= oldest.charge();
        self.note_gone(oldest.source, oldest.number + 1);
    }

    fn let_go_old(&mut self, now: u64, history: &History) {
        while self.messages.front().is_some_and(|oldest| now.saturating_sub(oldest.at) > history.age_micros()) {
            self.let_go();
        }
    }

    fn take(&mut self) -> VecDeque<One> {
        self.octets = 0;
        std::mem::take(&mut self.messages)
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOURCE: Source = Source { node: 7, life: 1 };

    fn one(source: Source, number: u64) -> One {
        One { source, number, at: number * 1_000_000, message: "x".repeat(100).into() }
    }

    fn numbers(archive: &Archive, place: &Place) -> Vec<u64> {
        archive.of(place).into_iter().flat_map(Kept::all).map(|one| one.number).collect()
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
            let (mut archive, mut place) = (Archive::default(), Place::default());
            let displaced: u64 = (0..10).map(|number| archive.push(&mut place, one(SOURCE, number), &history)).sum();
            assert_eq!(displaced, if history.total == 3 * charge + 1 { 7 } else { 0 }, "{history:?}");
            assert_eq!(numbers(&archive, &place), [7, 8, 9], "{history:?}");
            assert_eq!(archive.octets, 3 * charge);
            assert!(archive.of(&place).is_some_and(|kept| kept.has_lost(SOURCE)));
            archive.clear(&mut place);
            assert_eq!((archive.octets, archive.topics.len(), archive.sizes.len()), (0, 0, 0));
        }
    }

    /// One that has no place at all is known to be gone, and costs nothing, nor anybody else.
    #[test]
    fn what_does_not_fit_is_not_kept() {
        for history in [History::new(0), History::new(9).octets(50), History::new(9).total(50)] {
            let (mut archive, mut place, mut other) = (Archive::default(), Place::default(), Place::default());
            assert_eq!(archive.push(&mut other, one(SOURCE, 1), &History::new(9)), 0);
            let octets = archive.octets;
            assert_eq!(archive.push(&mut place, one(SOURCE, 4), &history), 0);
            assert!(numbers(&archive, &place).is_empty());
            assert_eq!(archive.of(&place).map(|kept| kept.counts().collect()), Some(vec![(SOURCE, 5)]));
            assert_eq!((archive.octets, numbers(&archive, &other)), (octets, vec![1]));
        }
    }

    /// Where all topics have too much, those that have the most give, and nobody who has less than half as much.
    #[test]
    fn a_loud_topic_pushes_out_no_quiet_one() {
        let charge = one(SOURCE, 0).charge();
        let history = History::new(1000).total(100 * charge);
        let mut archive = Archive::default();
        let mut places: Vec<_> = (0..4).map(|_| Place::default()).collect();
        let [quiet, late, loud, other] = &mut places[..] else { panic!("there are four") };
        let mut displaced = 0;
        let mut push = |place: &mut _, number| displaced += archive.push(place, one(SOURCE, number), &history);
        (0..10).for_each(|number| push(quiet, number));
        for number in 0..500 {
            push(loud, number);
            push(other, number);
        }
        (0..10).for_each(|number| push(late, number));
        assert_eq!(displaced, 10 + 2 * 500 + 10 - 100);
        assert_eq!(numbers(&archive, quiet), (0..10).collect::<Vec<_>>());
        assert_eq!(numbers(&archive, late), (0..10).collect::<Vec<_>>());
        let (loud, other) = (numbers(&archive, loud), numbers(&archive, other));
        assert!(loud.len().min(other.len()) * 2 >= loud.len().max(other.len()), "{} {}", loud.len(), other.len());
        assert_eq!((loud.last(), other.last()), (Some(&499), Some(&499)), "of each it is the oldest that go");
        assert_eq!(archive.octets, 100 * charge, "and all that may be kept is");
    }

    #[test]
    fn time_alone_lets_go() {
        let (mut archive, mut place) = (Archive::default(), Place::default());
        let history = History::new(9).age(Duration::from_secs(5));
        (0..3).for_each(|number| assert_eq!(archive.push(&mut place, one(SOURCE, number), &history), 0));
        archive.let_go_old(&place, 6_500_000, &history);
        assert_eq!(numbers(&archive, &place), [2]);
        assert_eq!(archive.of(&place).and_then(|kept| kept.counts().max()), Some((SOURCE, 3)));
    }

    /// What a store has goes before, and what is there already is not taken twice.
    #[test]
    fn what_was_stored_goes_before() {
        let (mut archive, mut place) = (Archive::default(), Place::default());
        let (history, other) = (History::new(9), Source { node: 8, life: 1 });
        assert_eq!(archive.push(&mut place, one(SOURCE, 3), &history), 0);
        let stored = vec![one(SOURCE, 2), one(other, 9), one(SOURCE, 3), one(SOURCE, 4)];
        assert_eq!(archive.push_front(&mut place, stored, &history), 0);
        assert_eq!(numbers(&archive, &place), [2, 9, 3]);
        assert_eq!(archive.octets, 3 * one(SOURCE, 0).charge());
    }
}
