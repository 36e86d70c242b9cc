//! What a topic has heard of each source, by which a hole is seen.

use crate::envelope::Source;

/// Sources that a topic remembers. There is one for each node that sends to it, and one for each time that a node began anew and could
/// not say so; a service has fewer machines than this.
const MAX_SOURCES: usize = 1024;

/// Microseconds for which a life that seems to have begun after our subscription may have begun before it: an age is taken on its
/// way, and a message that is late makes it look younger. Beyond a slow network's delay.
const SLACK: u64 = 250_000;

/// Sorted by source.
#[derive(Default)]
pub(crate) struct Sources {
    heard: Vec<Heard>,
    /// Some had to be forgotten, so that one that is not known may be an old one.
    has_forgotten: bool,
}

struct Heard {
    source: Source,
    /// The number of the next message.
    next: u64,
    /// When it was heard last, in microseconds since the hub began.
    at: u64,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next message, and how many before it are lost.
    New { missed: u64 },
    /// One that was here before.
    Double,
}

/// A moment, in microseconds since the hub began, and since when the topic is subscribed to.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) now: u64,
    pub(crate) since: u64,
}

impl Sources {
    /// A message of this number has come.
    pub(crate) fn message(&mut self, source: Source, number: u64, age: u64, when: When) -> Arrival {
        let heard = self.entry(source, number, age, when);
        if number < heard.next {
            return Arrival::Double;
        }
        let missed = number - heard.next;
        heard.next = number.saturating_add(1);
        Arrival::New { missed }
    }

    /// The source has sent as many messages so far; how many of them are lost.
    pub(crate) fn position(&mut self, source: Source, sent: u64, age: u64, when: When) -> u64 {
        let heard = self.entry(source, sent, age, when);
        let missed = sent.saturating_sub(heard.next);
        heard.next = heard.next.max(sent);
        missed
    }

    /// A store knows that the source has sent so many messages. What it sends now counts for more.
    pub(crate) fn stored(&mut self, source: Source, sent: u64, now: u64) {
        if self.place(source).is_err() {
            // It is older than all: it owes nothing of before.
            self.entry(source, sent, now, When { now, since: 0 });
        }
    }

    /// How many messages each source has sent.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Source, u64)> {
        self.heard.iter().map(|heard| (heard.source, heard.next))
    }

    /// The source sends no more.
    pub(crate) fn end(&mut self, source: Source) {
        if let Ok(at) = self.place(source) {
            self.heard.remove(at);
        }
        if self.heard.is_empty() {
            self.heard = Vec::new();
        }
    }

    fn place(&self, source: Source) -> Result<usize, usize> {
        self.heard.binary_search_by_key(&source, |heard| heard.source)
    }

    /// One that is heard for the first time owes us all of its life, where that began after our subscription; else what comes from
    /// now on.
    fn entry(&mut self, source: Source, number: u64, age: u64, when: When) -> &mut Heard {
        let at = match self.place(source) {
            Ok(at) => at,
            Err(_) => {
                let began = when.now.saturating_sub(age);
                let is_ours = began > when.since.saturating_add(SLACK) && !self.has_forgotten;
                self.make_room();
                let at = self.heard.partition_point(|heard| heard.source < source);
                self.heard.insert(at, Heard { source, next: if is_ours { 0 } else { number }, at: when.now });
                at
            }
        };
        let heard = &mut self.heard[at];
        heard.at = when.now;
        heard
    }

    fn make_room(&mut self) {
        if self.heard.is_empty() {
            self.heard.reserve_exact(1);
        }
        if self.heard.len() < MAX_SOURCES {
            return;
        }
        let oldest = self.heard.iter().enumerate().min_by_key(|(_, heard)| heard.at).map(|(at, _)| at);
        if let Some(oldest) = oldest {
            self.heard.remove(oldest);
            self.has_forgotten = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Source = Source { node: 5, life: 1 };
    const WHEN: When = When { now: 10_000_000, since: 1_000_000 };
    /// Of a life that is older than our subscription.
    const OLD: u64 = 9_500_000;
    const YOUNG: u64 = 1_000_000;

    /// Numbers that are left out are missed, those that come twice are doubles, each once.
    #[test]
    fn holes_are_counted_exactly() {
        let mut sources = Sources::default();
        let mut hear = |number| sources.message(OURS, number, OLD, WHEN);
        assert_eq!(hear(7), Arrival::New { missed: 0 });
        assert_eq!(hear(8), Arrival::New { missed: 0 });
        assert_eq!(hear(12), Arrival::New { missed: 3 });
        assert_eq!(hear(12), Arrival::Double);
        assert_eq!(hear(9), Arrival::Double);
        assert_eq!(sources.position(OURS, 13, OLD, WHEN), 0);
        assert_eq!(sources.position(OURS, 15, OLD, WHEN), 2);
        assert_eq!(sources.position(OURS, 15, OLD, WHEN), 0);
        assert_eq!(sources.message(OURS, 15, OLD, WHEN), Arrival::New { missed: 0 });
    }

    /// Whose life began after our subscription owes us its first messages; whose did not, nothing of before.
    #[test]
    fn first_messages_are_missed_where_the_source_is_younger() {
        for (age, missed) in [(OLD, 0), (YOUNG, 4), (WHEN.now - WHEN.since - SLACK, 0)] {
            assert_eq!(Sources::default().message(OURS, 4, age, WHEN), Arrival::New { missed });
            assert_eq!(Sources::default().position(OURS, 4, age, WHEN), missed);
        }
        let other = Source { life: 2, ..OURS };
        let mut sources = Sources::default();
        sources.message(OURS, 0, YOUNG, WHEN);
        assert_eq!(sources.message(other, 1, YOUNG, WHEN), Arrival::New { missed: 1 });
        assert_eq!(sources.message(OURS, 1, YOUNG, WHEN), Arrival::New { missed: 0 });
    }

    /// There are so many at most: the one that was silent for longest goes, and from then on none that is new owes anything.
    #[test]
    fn sources_are_bounded() {
        let mut sources = Sources::default();
        for node in 0..=MAX_SOURCES as u64 {
            let when = When { now: WHEN.now + node, ..WHEN };
            sources.message(Source { node, life: 1 }, 3, OLD, when);
        }
        assert_eq!(sources.heard.len(), MAX_SOURCES);
        assert_eq!(sources.message(Source { node: 0, life: 1 }, 9, YOUNG, WHEN), Arrival::New { missed: 0 });
        sources.end(Source { node: 5, life: 1 });
        assert_eq!(sources.heard.len(), MAX_SOURCES - 1);
    }
}
