//! Keep-alive by WebSocket Ping (RFC 6455 §5.5.2): a socket that is silent is asked, and given up if it stays so.
//!
//! The connection's task does it for all of its sockets, whoever holds them. A million of them share one timer: at its end
//! the hand goes round the slots, a slice at a time, and finds out when it has to go round again. What came last is a
//! [`Stamp`] in each cell, which costs one store when it comes.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::engine::link::PingTimes;
use crate::engine::stream::StreamCell;
use bytes::Bytes;

/// What the Pings of the keep-alive carry: it tells their Pongs from others, and those that are sent while a socket awaits a
/// Pong of its own from those before, since a peer may answer only the last Ping that it has seen (RFC 6455 §5.5.3).
const PAYLOADS: [(&[u8], Mark); 3] =
    [(b"keep-alive@sockeye", Mark::None), (b"keep-alive@sockeye 0", Mark::Even), (b"keep-alive@sockeye 1", Mark::Odd)];

/// The round trip that a socket awaits while a Ping of the keep-alive is sent. Pongs come in the order of their Pings, so that
/// one that answers an earlier round trip's time is told from this one's by a single bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// None.
    #[default]
    None,
    /// One of an even number.
    Even,
    /// One of an odd number.
    Odd,
}

impl Mark {
    /// As flags of a cell.
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Even => 32,
            Self::Odd => 64,
        }
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        [Self::Even, Self::Odd].into_iter().find(|mark| mark.bits() == bits).unwrap_or_default()
    }
}

/// Whether a Pong answers the keep-alive, and which round trip was awaited when that asked.
pub(crate) fn answered(payload: &[u8]) -> Option<Mark> {
    PAYLOADS.iter().find(|(sent, _)| *sent == payload).map(|&(_, mark)| mark)
}

/// A Ping for a socket. That of a client is masked, with a key of its own (RFC 6455 §5.3).
#[cfg(feature = "web-socket")]
pub(crate) fn ping_frame(cell: &StreamCell) -> Bytes {
    let mark = cell.round_trip();
    let (payload, _) = PAYLOADS.iter().find(|(_, sent)| *sent == mark).unwrap_or(&PAYLOADS[0]);
    sockeye_proto::ws::encode_ping(payload, cell.is_masking().then(rand::random))
}

/// Where there are no WebSockets, nobody asks for Pings.
#[cfg(not(feature = "web-socket"))]
fn ping_frame(_: &StreamCell) -> Bytes {
    Bytes::new()
}

/// When something last came for a stream, or when its peer was asked since: 15 bits of the connection's ticks, and which
/// of both it is. Ages are right up to 2¹⁵ ticks, and the hand is back long before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) u16);

impl Stamp {
    const ASKED: u16 = 1 << 15;

    fn new(tick: u64) -> Self {
        Self(tick as u16 & !Self::ASKED)
    }

    fn asked(self) -> Self {
        Self(self.0 | Self::ASKED)
    }

    /// As if something had come when its peer was asked.
    fn heard(self) -> Self {
        Self(self.0 & !Self::ASKED)
    }

    fn is_asked(self) -> bool {
        self.0 & Self::ASKED != 0
    }

    /// Ticks from this one to another.
    fn age(self, now: Self) -> u32 {
        (now.0.wrapping_sub(self.0) & !Self::ASKED).into()
    }
}

/// Slots that the hand passes in one turn of the connection's task.
const SLICE: usize = 512;
/// Ticks in the shorter of both times: as much too late a Ping may be.
const TICKS: u32 = 64;
/// Ticks in both times together at most, far below those that a [`Stamp`] counts.
const MAX_TICKS: u32 = 1 << 13;
/// Ticks between two rounds of the hand where it needs several slices: each costs as much as there are slots.
const LARGE_GAP: u32 = 8;

/// The clock of one HTTP/2 connection's sockets.
pub(crate) struct Pulse {
    start: Instant,
    tick: Duration,
    /// In ticks; one more than in time, since a stamp is the beginning of its tick.
    interval: u32,
    timeout: u32,
    now: Instant,
    /// Where the hand stands in its round; 0 between two.
    hand: usize,
    /// When the next round begins, or goes on.
    due: Option<Instant>,
    /// When the next one is to begin, as far as is known in this one.
    next: Option<Instant>,
    /// When the transport last went on after it had taken nothing.
    unblocked: Option<Instant>,
    /// By slot: what was received and not read when the peer was asked, if anything was. Boxed, since that is rare.
    #[expect(
        clippy::box_collection,
        reason = "nearly every connection has none, and pays one word for it instead of six"
    )]
    unread: Option<Box<HashMap<usize, usize>>>,
}

/// A server of a million sockets over HTTP/1.1 has a million of these.
const _: () = assert!(size_of::<Pulse>() <= 120);

/// What a stream has received of its peer and not read, and how much more may come.
pub(crate) struct Backlog {
    pub(crate) unread: usize,
    pub(crate) window: i32,
}

/// Whether the connection would know if something had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// All that has come was read.
    Sharp,
    /// More may be there to be read.
    Behind,
    /// What we have to say does not go out.
    Blocked,
}

impl Pulse {
    pub(crate) fn new(times: PingTimes, now: Instant) -> Self {
        let PingTimes { interval, timeout } = times;
        // The clock of timers has milliseconds.
        let tick = (interval.min(timeout) / TICKS).max((interval + timeout) / MAX_TICKS).max(Duration::from_millis(1));
        let ticks = |time: Duration| time.as_nanos().div_ceil(tick.as_nanos()) as u32 + 1;
        let (interval, timeout) = (ticks(interval), ticks(timeout));
        let due = now.checked_add(tick * interval);
        Self { start: now, tick, interval, timeout, now, hand: 0, due, next: due, unblocked: None, unread: None }
    }

    /// What a cell is stamped with for which something comes now.
    #[inline]
    pub(crate) fn stamp(&self, now: Instant) -> Stamp {
        let since = now.saturating_duration_since(self.start).as_nanos() as u64;
        Stamp::new(since / self.tick.as_nanos() as u64)
    }

    /// When the hand has to move.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The transport goes on after it had taken nothing.
    pub(crate) fn unblock(&mut self, now: Instant) {
        self.unblocked = Some(now);
    }

    /// The slots to [look at](Self::look) now, after which [`rest`](Self::rest) follows.
    pub(crate) fn advance(&mut self, now: Instant, slots: usize) -> Range<usize> {
        self.now = now;
        if self.hand == 0 {
            // What is heard of behind the hand is silent again this much later, at the earliest.
            self.next = now.checked_add(self.tick * self.interval);
        }
        let start = self.hand.min(slots);
        let end = slots.min(start + SLICE);
        self.hand = if end < slots { end } else { 0 };
        start..end
    }

    /// Sets the time of the next slice, or of the next round.
    pub(crate) fn rest(&mut self, slots: usize) {
        if self.hand > 0 {
            return;
        }
        let gap = self.tick * if slots > SLICE { LARGE_GAP } else { 1 };
        self.due = self.next.max(self.now.checked_add(gap));
        self.unread.take_if(|unread| unread.is_empty());
    }

    fn wait(&mut self, ticks: u32) -> bool {
        let then = self.now.checked_add(self.tick * ticks);
        self.next = self.next.into_iter().chain(then).min();
        false
    }

    /// Looks at one socket, and asks its peer if that was silent for long enough. Whether the socket is to be given up.
    pub(crate) fn look(
        &mut self,
        slot: usize,
        cell: &StreamCell,
        hearing: Hearing,
        backlog: impl FnOnce() -> Backlog,
    ) -> bool {
        let (stamp, now) = (cell.stamp(), self.stamp(self.now));
        let (age, limit) = (stamp.age(now), if stamp.is_asked() { self.timeout } else { self.interval });
        if age < limit {
            return self.wait(limit - age);
        }
        if hearing == Hearing::Behind {
            return self.wait(1);
        }
        let unread_before = self.unread.as_mut().and_then(|unread| unread.remove(&slot)).unwrap_or_default();
        // Before the tunnel is open and once it closes others see to it; where our octets find no way out, what takes none
        // of them is in charge.
        if hearing == Hearing::Sharp && cell.takes_ping() {
            let backlog = backlog();
            if !stamp.is_asked() {
                if backlog.unread > 0 {
                    self.unread.get_or_insert_default().insert(slot, backlog.unread);
                }
                cell.append_frame_with(|| ping_frame(cell));
                cell.set_stamp(now.asked());
                return self.wait(self.timeout);
            }
            // What comes behind something that nobody reads is not stamped: it may have come as soon as the Ping was sent.
            if backlog.unread != unread_before {
                cell.set_stamp(stamp.heard());
                return self.wait(self.interval.saturating_sub(age).max(1));
            }
            // A peer may be silent since nobody here reads what it has sent.
            let may_send = backlog.window > 0 && backlog.unread <= backlog.window as usize;
            let was_blocked = self.unblocked.is_some_and(|at| at + self.tick * age > self.now);
            if may_send && !was_blocked {
                return true;
            }
        }
        cell.set_stamp(now);
        self.wait(self.interval)
    }
}

#[cfg(all(test, feature = "web-socket"))]
mod tests {
    use std::sync::Arc;

    use http::Version;

    use super::*;
    use crate::engine::link::{ConnectionInfo, Limits, Link, Side};
    use crate::engine::now;
    use crate::engine::stream::StreamHandle;

    const TIMES: PingTimes = PingTimes { interval: Duration::from_secs(25), timeout: Duration::from_secs(20) };

    fn link() -> Arc<Link> {
        let info = ConnectionInfo { side: Side::Server, peer: None, version: Version::HTTP_2, secure: false };
        Link::alone(Limits::default(), info)
    }

    fn nothing() -> Backlog {
        Backlog { unread: 0, window: 65_535 }
    }

    /// However many slots there are, one turn looks at few of them, and a round at each once.
    #[test]
    fn a_turn_looks_at_few_of_many_slots() {
        const SLOTS: usize = 100_000;
        let link = link();
        let cells: Vec<_> = (0..SLOTS).map(|slot| StreamCell::new(link.clone(), slot as u32)).collect();
        let start = now();
        let mut pulse = Pulse::new(TIMES, start);
        let due = pulse.due().unwrap();
        assert!((TIMES.interval..TIMES.interval * 21 / 20).contains(&(due - start)));
        let (mut next, mut turns) = (0, 0);
        while pulse.due() == Some(due) {
            let slots = pulse.advance(due, SLOTS);
            assert!(slots.start == next && slots.len() <= SLICE);
            next = slots.end;
            for slot in slots {
                assert!(!pulse.look(slot, &cells[slot], Hearing::Sharp, nothing));
            }
            pulse.rest(SLOTS);
            turns += 1;
        }
        assert_eq!((next, turns), (SLOTS, SLOTS.div_ceil(SLICE)));
    }

    /// The time of a Ping and of its timeout, whatever both are, and however long the connection has lived.
    #[test]
    fn silence_is_measured_by_any_times() {
        let times = [1, 10, 1000, 25_000, 3_600_000, 40_000_000_000].map(Duration::from_millis);
        for (interval, timeout) in times.into_iter().flat_map(|interval| times.map(|timeout| (interval, timeout))) {
            let times = PingTimes::new(interval, timeout).unwrap();
            let link = link();
            let cell = StreamCell::new_tunnel(link);
            let _owner = StreamHandle::new(&cell);
            let start = now();
            let mut pulse = Pulse::new(times, start);
            let slack = pulse.tick * 3;
            for age in [0, 1, 100_000].map(|ticks| pulse.tick * ticks) {
                let mut at = pulse.now + age;
                cell.set_stamp(pulse.stamp(at));
                let heard = at;
                let mut asked = None;
                // As the connection's task would: whenever it is due.
                let gone = loop {
                    at = at.max(pulse.due().unwrap());
                    let slots = pulse.advance(at, 1);
                    assert_eq!(slots, 0..1);
                    let gone = pulse.look(0, &cell, Hearing::Sharp, nothing);
                    pulse.rest(1);
                    if cell.stamp().is_asked() && asked.is_none() {
                        asked = Some(at);
                        // The connection sends it.
                        cell.lock().sent_all();
                    }
                    if gone {
                        break at;
                    }
                };
                let asked = asked.unwrap();
                let (silent, waited) = (asked - heard, gone - asked);
                assert!((times.interval..=times.interval + slack).contains(&silent), "{times:?}: {silent:?}");
                assert!((times.timeout..=times.timeout + slack).contains(&waited), "{times:?}: {waited:?}");
            }
        }
    }

    /// While we cannot know of an answer, or a Ping of ours may not have left, nobody is given up.
    #[test]
    fn who_cannot_be_heard_is_not_given_up() {
        let cell = StreamCell::new_tunnel(link());
        let _owner = StreamHandle::new(&cell);
        let start = now();
        let mut pulse = Pulse::new(TIMES, start);
        let (ask, give_up) = (start + TIMES.interval * 2, start + TIMES.interval * 2 + TIMES.timeout * 2);
        let mut look = |at, hearing, backlog: Backlog| {
            pulse.advance(at, 1);
            let gone = pulse.look(0, &cell, hearing, || backlog);
            pulse.rest(1);
            cell.lock().sent_all();
            gone
        };
        let asked = pulse_asked(&mut look, &cell, ask);
        assert!(!look(give_up, Hearing::Behind, nothing()));
        assert_eq!(cell.stamp(), asked, "it is looked at again");
        assert!(!look(give_up, Hearing::Blocked, nothing()));
        pulse_asked(&mut look, &cell, ask);
        assert!(!look(give_up, Hearing::Sharp, Backlog { unread: 10, window: 65_525 }), "it has answered");
        pulse_asked(&mut look, &cell, ask);
        for window in [-1, 0] {
            assert!(!look(give_up, Hearing::Sharp, Backlog { unread: 0, window }), "it may not answer");
            pulse_asked(&mut look, &cell, ask);
        }
        assert!(look(give_up, Hearing::Sharp, nothing()));
    }

    fn pulse_asked(look: &mut impl FnMut(Instant, Hearing, Backlog) -> bool, cell: &StreamCell, at: Instant) -> Stamp {
        cell.set_stamp(Stamp::default());
        assert!(!look(at, Hearing::Sharp, nothing()));
        assert!(cell.stamp().is_asked());
        cell.stamp()
    }
}
