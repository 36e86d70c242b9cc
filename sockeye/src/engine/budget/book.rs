//! Who holds how much, who waits and who goes next. The book reads no clock and wakes nobody: it says whom to wake.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::num::NonZeroU32;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{Message, Verdict};

/// A message's number, by the order in which they came to hold more than their own.
pub(super) type Number = NonZeroU32;

/// How long a message is young: one that is quick has come by then.
const YOUTH: Duration = Duration::from_secs(1);
/// A message that has not gone on by so many octets, in so much time, stalls.
const PROGRESS: usize = 16 * 1024;
pub(super) const STALL: Duration = Duration::from_secs(10);
/// How often the watch looks for those while somebody waits.
const WATCH: Duration = Duration::from_secs(1);

/// How much is whose.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    /// A message of so many octets comes here where all such together hold too much. It is also what a socket takes at a time.
    pub(super) own: usize,
    /// Up to this all may grow.
    pub(super) max: usize,
    /// Beyond `max` none but small and middling messages may grow, and up to this.
    pub(super) cap: usize,
    /// The largest message that is middling: an eighth above a third of `max`, which compression may add.
    middling: usize,
    /// What a young message of unknown size may hold while it is taken for a small one.
    small: usize,
}

impl Shares {
    pub(super) fn new(max: usize) -> Self {
        let cap = max.saturating_mul(2);
        Self { own: max / 64, max, cap, middling: max / 8 * 3, small: max / 32 }
    }
}

pub(super) struct Book {
    pub(super) shares: Shares,
    /// What all messages took since they were entered, but for the one in the lane.
    pub(super) counted: usize,
    last: Option<Number>,
    holdings: BTreeMap<Number, Holding>,
    /// Those that wait, by the room that each needs, and then by age.
    waiting: BTreeSet<(Need, Number)>,
    /// The same by age: the next for the lane.
    line: BTreeSet<Number>,
    /// The one message that goes on whatever the others hold, to any size that its socket allows.
    pub(super) lane: Option<Number>,
    /// What waits to be sent, as far as is known: it takes from what messages may hold beyond `max`.
    backlog: usize,
    /// How many were called and have not come yet: each will take its share of the room.
    called: usize,
    /// How many may take more as their peers send it.
    reading: usize,
}

/// The room that a message needs to take more: who is of the first kind goes first, and then who needs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    kind: Kind,
    octets: usize,
}

/// What is known of a message's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Its last frame has announced it, and it is small or middling.
    Known,
    /// Nothing but that it has just begun, and is small so far.
    Young,
    /// It may be large, or is.
    Large,
}

struct Holding {
    /// What it held as a small one, which is counted elsewhere.
    base: usize,
    /// Octets that it took since.
    octets: usize,
    /// What of them is counted: nothing in the lane.
    counts: usize,
    began: Instant,
    /// When it last went on by [`PROGRESS`], later by the time that it has waited for us since, and what it held then.
    mark: (Instant, usize),
    /// When it last began to wait for us.
    stopped: Instant,
    turn: Turn,
}

enum Turn {
    /// It may take more, and waits for its peer.
    Reading(Waker),
    /// It waits until so much is free.
    Waiting(Need, Waker),
    /// It was told that there is room for it.
    Called,
    /// It was told so, and its application does not come: nothing is kept free for it.
    Away,
    /// Its peer let others wait for too long: it was told to give up.
    GivingUp,
}

impl Book {
    pub(super) fn new(shares: Shares) -> Self {
        Self {
            shares,
            counted: 0,
            last: None,
            holdings: BTreeMap::new(),
            waiting: BTreeSet::new(),
            line: BTreeSet::new(),
            lane: None,
            backlog: 0,
            called: 0,
            reading: 0,
        }
    }

    /// Enters a message that is not small, of which `base` octets are counted elsewhere.
    pub(super) fn enter(&mut self, base: usize, now: Instant) -> Number {
        let after = |number: Number| number.checked_add(1).unwrap_or(Number::MIN);
        let mut number = self.last.map_or(Number::MIN, after);
        // After four thousand million messages.
        while self.holdings.contains_key(&number) {
            number = after(number);
        }
        self.last = Some(number);
        let (began, mark, stopped, turn) = (now, (now, 0), now, Turn::Away);
        self.holdings.insert(number, Holding { base, octets: 0, counts: 0, began, mark, stopped, turn });
        number
    }

    /// Books what a message holds, and says whether it may take more, whether it has begun to wait, and whom to wake.
    pub(super) fn hold(
        &mut self,
        number: Number,
        message: Message,
        now: Instant,
        waker: &Waker,
    ) -> (Verdict, Vec<Waker>) {
        let before = self.leave_turn(number);
        let Some(holding) = self.holdings.get_mut(&number) else { return (Verdict::Go, Vec::new()) };
        holding.octets = message.cost().saturating_sub(holding.base);
        let was_held_up = !matches!(before, Turn::Reading(_) | Turn::GivingUp);
        if was_held_up {
            holding.mark.0 += now.saturating_duration_since(holding.stopped);
        }
        holding.stopped = now;
        let goes_on = message.held >= holding.mark.1 + PROGRESS;
        if goes_on {
            holding.mark = (now, message.held);
        }
        let need = self.shares.need(message, holding.base, now.saturating_duration_since(holding.began) < YOUTH);
        self.recount(number);
        if matches!(before, Turn::GivingUp) && !goes_on {
            self.set_turn(number, Turn::GivingUp);
            return (Verdict::GiveUp, Vec::new());
        }
        if self.lane.is_none() && !self.has_room(need) {
            self.enter_lane(number);
        }
        if self.lane == Some(number) || self.has_room(need) {
            self.set_turn(number, Turn::Reading(waker.clone()));
            return (Verdict::Go, self.settle());
        }
        self.waiting.insert((need, number));
        self.line.insert(number);
        self.set_turn(number, Turn::Waiting(need, waker.clone()));
        let waits_anew = !was_held_up || matches!(before, Turn::Away);
        (if waits_anew { Verdict::Wait } else { Verdict::StillWait }, self.settle())
    }

    /// So much waits to be sent.
    pub(super) fn set_backlog(&mut self, octets: usize) {
        self.backlog = octets.min(self.shares.cap - self.shares.max);
    }

    /// A message is whole, or given up; says whom to wake.
    pub(super) fn release(&mut self, number: Number) -> Vec<Waker> {
        self.leave_turn(number);
        let Some(holding) = self.holdings.remove(&number) else { return Vec::new() };
        self.counted -= holding.counts;
        if self.lane == Some(number) {
            self.lane = None;
        }
        self.settle()
    }

    /// Looks after those that wait: tells messages that stall to give up, the longest first, until without them half of what
    /// all may hold is free. When to look again; `None` where nobody waits.
    pub(super) fn watch(&mut self, now: Instant) -> (Option<Instant>, Vec<Waker>) {
        if self.waiting.is_empty() {
            return (None, Vec::new());
        }
        // Who is called now tells what waits to be sent by now.
        self.backlog = 0;
        // One look ago they were called, or told to give up, and their applications have not come.
        let mut stalled = BTreeSet::new();
        for (number, holding) in &mut self.holdings {
            match holding.turn {
                Turn::Called => holding.turn = Turn::Away,
                Turn::Reading(_) if now.saturating_duration_since(holding.mark.0) >= STALL => {
                    stalled.insert((holding.mark.0, *number));
                }
                _ => {}
            }
        }
        self.called = 0;
        self.leave_lane_to_others();
        let mut left = self.counted;
        let mut wakers = Vec::new();
        for (_, number) in stalled {
            if left <= self.shares.max / 2 {
                break;
            }
            let Some(holding) = self.holdings.get_mut(&number) else { continue };
            left -= holding.counts;
            if let Turn::Reading(waker) = mem::replace(&mut holding.turn, Turn::GivingUp) {
                self.reading -= 1;
                wakers.push(waker);
            }
        }
        wakers.extend(self.settle());
        (Some(now + WATCH), wakers)
    }

    /// Calls those for whom there is room: who needs the least goes first. The oldest gets the lane.
    fn settle(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(&(need, next)) = self.waiting.first() {
            let number = if self.has_room(need) {
                next
            } else if self.lane.is_none()
                && let Some(&oldest) = self.line.first()
            {
                self.enter_lane(oldest);
                oldest
            } else {
                break;
            };
            if let Turn::Waiting(_, waker) = self.leave_turn(number) {
                wakers.push(waker);
            }
            self.called += 1;
            self.set_turn(number, Turn::Called);
        }
        wakers
    }

    /// Whether a message may take more that needs so much to be free. One of unknown size takes for held what others were let
    /// take and have not taken yet, and stops sooner: or all of them, let go on at once, would fill what is there for those of
    /// known size.
    fn has_room(&self, need: Need) -> bool {
        let Shares { max, .. } = self.shares;
        let cap = self.shares.cap - self.backlog;
        let (granted, cap) = match need.kind {
            Kind::Known => (self.called, cap),
            Kind::Young => (self.called + self.reading, cap - cap / 8),
            Kind::Large => (self.called + self.reading, cap.min(max.saturating_add(max / 4))),
        };
        let taken = self.counted.saturating_add(granted.saturating_mul(self.shares.own));
        taken <= max || taken.saturating_add(need.octets) <= cap
    }

    fn enter_lane(&mut self, number: Number) {
        debug_assert!(self.lane.is_none(), "the lane has room for one");
        self.lane = Some(number);
        self.recount(number);
    }

    /// The lane is not for a message whose application does not come, unless it holds too much to be counted with others.
    fn leave_lane_to_others(&mut self) {
        let Some(number) = self.lane else { return };
        let Some(holding) = self.holdings.get(&number) else { return };
        let is_away = matches!(holding.turn, Turn::Away | Turn::GivingUp);
        if is_away && self.counted + holding.octets <= self.shares.cap {
            self.lane = None;
            self.recount(number);
        }
    }

    /// Counts a message by what it holds, and where it goes.
    fn recount(&mut self, number: Number) {
        let Some(holding) = self.holdings.get_mut(&number) else { return };
        let counts = if self.lane == Some(number) { 0 } else { holding.octets };
        let before = mem::replace(&mut holding.counts, counts);
        self.counted = self.counted - before + holding.counts;
    }

    fn set_turn(&mut self, number: Number, turn: Turn) {
        if let Some(holding) = self.holdings.get_mut(&number) {
            self.reading += usize::from(matches!(turn, Turn::Reading(_)));
            holding.turn = turn;
        }
    }

    /// Takes a message out of whatever it waits in.
    fn leave_turn(&mut self, number: Number) -> Turn {
        let Some(holding) = self.holdings.get_mut(&number) else { return Turn::Away };
        let turn = mem::replace(&mut holding.turn, Turn::Away);
        match &turn {
            Turn::Waiting(need, _) => {
                self.waiting.remove(&(*need, number));
                self.line.remove(&number);
            }
            Turn::Called => self.called -= 1,
            Turn::Reading(_) => self.reading -= 1,
            Turn::Away | Turn::GivingUp => {}
        }
        turn
    }
}

impl Shares {
    /// What must be free, beyond `max`, for a message to take more: a multiple of its size, as far as that is known. (It is
    /// the rule by which switches share a buffer among their ports, a dynamic threshold.) So whatever number of messages
    /// stop there, they leave room for smaller ones, and for one that has just begun.
    fn need(&self, message: Message, base: usize, is_young: bool) -> Need {
        let size = message.held.saturating_add(message.announced);
        if size > self.middling {
            return Need { kind: Kind::Large, octets: usize::MAX };
        }
        let counts = size.saturating_sub(base);
        // A message without its last frame may be the beginning of a large one, unless it has just begun.
        let (kind, times) = match message.is_last {
            true => (Kind::Known, 2),
            false if is_young && counts <= self.small => (Kind::Young, 2),
            false => (Kind::Large, 16),
        };
        Need { kind, octets: counts.saturating_mul(times).saturating_add(self.own) }
    }
}

#[cfg(test)]
impl Book {
    /// What holds between any two calls.
    pub(super) fn check(&self) {
        assert_eq!(self.counted, self.holdings.values().map(|holding| holding.counts).sum::<usize>());
        let is_reading = |holding: &&Holding| matches!(holding.turn, Turn::Reading(_));
        assert_eq!(self.reading, self.holdings.values().filter(is_reading).count());
        assert_eq!(self.called, self.holdings.values().filter(|holding| matches!(holding.turn, Turn::Called)).count());
        let waiting = |(number, holding): (&Number, &Holding)| match holding.turn {
            Turn::Waiting(need, _) => Some((need, *number)),
            _ => None,
        };
        assert_eq!(self.waiting, self.holdings.iter().filter_map(waiting).collect());
        assert_eq!(self.line, self.waiting.iter().map(|(_, number)| *number).collect());
        for (number, holding) in &self.holdings {
            assert_eq!(holding.counts, if self.lane == Some(*number) { 0 } else { holding.octets });
        }
        // Nobody is left behind where there is room.
        if let Some((need, _)) = self.waiting.first() {
            assert!(!self.has_room(*need) && self.lane.is_some());
        }
    }

    /// What all messages took since they were entered.
    pub(super) fn held(&self) -> usize {
        self.holdings.values().map(|holding| holding.octets).sum()
    }
}
