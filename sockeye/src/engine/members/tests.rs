use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use sockeye_proto::ws::Message;

use super::broadcast::Delivered;
use super::*;

/// What is charged for each message.
const CHARGE: usize = 10;

/// What one member has got, and what it should.
#[derive(Default)]
struct Expected {
    /// All that was sent to it since it joined, by number.
    sent: Vec<u64>,
    got: Vec<u64>,
    /// How many more its stream has room for.
    room: usize,
}

/// Members of one group, and what a connection does for them.
struct Case {
    members: Arc<Members>,
    expected: BTreeMap<usize, Expected>,
    sent: u64,
    /// As by the link's account.
    charged: usize,
}

fn address(key: usize) -> Address {
    Address { key: key as u64 + 1, slot: key as u32 }
}

fn number(frame: &Bytes) -> u64 {
    u64::from_be_bytes(frame[2..].try_into().unwrap())
}

impl Expected {
    fn send(&mut self, frame: &Bytes) -> Sent {
        if self.room == 0 {
            return Sent::Full;
        }
        self.room -= 1;
        self.got.push(number(frame));
        Sent::Taken
    }
}

impl Case {
    fn new() -> Self {
        let members = Arc::new(Members::new(SlowMember::Close));
        Self { members, expected: BTreeMap::new(), sent: 0, charged: 0 }
    }

    fn join(&mut self) {
        let key = self.members.insert(address(self.expected.len()), self.sent, None);
        // A key is used again once its member has left, and with it its stream's address.
        assert!(self.expected.insert(key, Expected::default()).is_none());
        let Address { key: number, slot } = address(key);
        let mut list = self.members.list();
        let listed = list.members.get_mut(key).unwrap();
        (listed.key, listed.slot) = (number.try_into().unwrap(), slot);
    }

    fn leave(&mut self, key: usize) {
        self.charged -= self.members.remove(key).freed;
        self.expected.remove(&key);
    }

    fn send(&mut self, to: To) -> Delivered {
        let frame = Frame::new(&Message::from(self.sent.to_be_bytes().to_vec()));
        let broadcast = Broadcast { members: self.members.clone(), number: self.sent, to, frame };
        self.sent += 1;
        for (_, expected) in self.expected.iter_mut().filter(|(key, _)| to.has(**key)) {
            expected.sent.push(broadcast.number);
        }
        let expected = &mut self.expected;
        let delivered = broadcast.deliver(CHARGE, |to, frame| expected.get_mut(&to.slot()).unwrap().send(frame));
        self.charged += if delivered.is_held { CHARGE } else { 0 };
        delivered
    }

    fn catch_up(&mut self, key: usize, room: usize) -> Rest {
        let Some(expected) = self.expected.get_mut(&key) else { return Rest::None };
        expected.room = room;
        let CaughtUp { freed, rest } = self.members.catch_up(key, address(key), |frame| expected.send(frame));
        self.charged -= freed;
        rest
    }

    fn make_room(&mut self, needed: usize, patience: Patience) -> Evicted {
        let evicted = self.members.make_room(needed, patience);
        self.charged -= evicted.freed;
        evicted
    }

    /// Each member got what was sent to it, in its order, but for what it has missed and what waits for it.
    fn check(&self) {
        assert_eq!(self.members.charged(), self.charged);
        let mut waiting = 0;
        let paces = self.members.list().paces;
        let count = |is: fn(Pace) -> bool| {
            self.members.list().members.iter_mut().filter(|(_, member)| is(member.pace())).count() as u32
        };
        assert_eq!(paces.behind, count(|pace| matches!(pace, Pace::Behind(_))));
        assert_eq!(paces.late, count(|pace| matches!(pace, Pace::Late(_))));
        for (&key, expected) in &self.expected {
            let missed = self.members.missed(key) as usize;
            let left = expected.sent.len() - expected.got.len() - missed;
            waiting += left;
            let mut sent = expected.sent.iter();
            assert!(
                expected.got.iter().all(|got| sent.any(|sent| sent == got)),
                "in order, each once: {:?}",
                expected.got
            );
            // What waits is the last of it.
            let next = expected.sent[expected.sent.len() - left..].first();
            assert!(next.is_none_or(|next| expected.got.last() < Some(next)));
        }
        assert_eq!(waiting == 0, self.charged == 0, "what nobody waits for is not kept: {waiting}, {}", self.charged);
    }
}

/// Whatever members do, each message is got in its order, missed and counted, or waits; and what waits for nobody is gone.
#[test]
fn every_message_is_got_or_missed_or_waits() {
    for seed in 1..300_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |n: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 20) as usize % n
        };
        let mut case = Case::new();
        for _ in 0..400 {
            let keys: Vec<_> = case.expected.keys().copied().collect();
            let key = keys.get(below(keys.len().max(1))).copied();
            match (below(12), key) {
                (0, _) if keys.len() < 5 => case.join(),
                (1, Some(key)) if below(4) == 0 => case.leave(key),
                (2, Some(key)) => drop(case.send(To::Only(key))),
                (3, Some(key)) => drop(case.send(To::AllBut(key))),
                (4..=6, Some(key)) => drop(case.catch_up(key, below(6))),
                (7, _) => drop(case.make_room(CHARGE * below(3), Patience::Kept)),
                (8, _) if below(3) == 0 => drop(case.make_room(CHARGE * below(3), Patience::Over)),
                (9, Some(key)) => case.expected.get_mut(&key).unwrap().room += below(3),
                _ => drop(case.send(To::All)),
            }
            case.check();
        }
        for key in case.expected.keys().copied().collect::<Vec<_>>() {
            while case.catch_up(key, 100) != Rest::None {}
            assert!(case.members.list().members.get(key).unwrap().pace() == Pace::Current);
        }
        case.check();
        assert_eq!(case.charged, 0);
    }
}

/// What only those hold that nobody waits for makes room, oldest first; what others wait for does not, until their patience is
/// over.
#[test]
fn who_was_waited_for_in_vain_makes_room_first() {
    let mut case = Case::new();
    case.join();
    case.join();
    for _ in 0..4 {
        case.send(To::All);
    }
    assert_eq!(case.catch_up(1, 2), Rest::Full);
    assert_eq!(case.make_room(CHARGE, Patience::Kept).freed, 0);
    let evicted = case.make_room(CHARGE, Patience::Over);
    assert_eq!((evicted.freed, evicted.missed, evicted.to_close.len()), (CHARGE, 1, 1));
    // The other one has got the second, but not the third.
    let evicted = case.make_room(3 * CHARGE, Patience::Kept);
    assert_eq!((evicted.freed, evicted.missed, evicted.to_close.len()), (CHARGE, 1, 0));
    assert_eq!((case.members.missed(0), case.members.missed(1)), (2, 0));
    // Once it has caught up it is waited for as before.
    assert_eq!(case.catch_up(0, 2), Rest::None);
    case.send(To::All);
    assert_eq!(case.make_room(3 * CHARGE, Patience::Kept).freed, 0);
    case.check();
}

/// A stream that has much to get lets others go before now and then.
#[test]
fn nobody_catches_up_at_once_with_all() {
    let mut case = Case::new();
    case.join();
    let frame = Frame::new(&Message::from(vec![0; AT_ONCE]));
    for number in 0..3 {
        let (members, frame) = (case.members.clone(), frame.clone());
        drop(Broadcast { members, number, to: To::All, frame }.deliver(CHARGE, |_, _| Sent::Full));
    }
    for rest in [Rest::HadItsTurn, Rest::HadItsTurn, Rest::None] {
        assert_eq!(case.members.catch_up(0, address(0), |_| Sent::Taken).rest, rest);
    }
}

/// Who is told of what it has missed is told once.
#[test]
fn who_has_missed_some_is_told_how_many() {
    let mut case = Case::new();
    case.join();
    let waker = Waker::noop();
    let cx = Context::from_waker(waker);
    assert!(case.members.poll_lagged(0, &cx).is_pending());
    case.send(To::All);
    case.send(To::All);
    assert_eq!(case.make_room(2 * CHARGE, Patience::Over).wakers.len(), 1);
    assert_eq!(case.members.poll_lagged(0, &cx), Poll::Ready(2));
    assert!(case.members.poll_lagged(0, &cx).is_pending());
}

/// What takes long to compress is compressed before the lock is taken, for those alone that get it: who is behind has its turn with
/// it, and nothing before it in that turn.
#[cfg(feature = "deflate")]
#[test]
fn a_large_message_is_compressed_without_the_lock() {
    use sockeye_proto::ws::{Config, Deflate, DeflateContext, Extensions, Role, WebSocket};

    let deflate = |context| {
        let in_use = Extensions { deflate: Some(Deflate::new().server(context)), no_masking: false };
        WebSocket::new(Role::Server, Config::default()).with_extensions(in_use).shared_deflate()
    };
    let (all, few) = (deflate(DeflateContext::new()), deflate(DeflateContext::new().window_bits(9)));
    let members = Arc::new(Members::new(SlowMember::Skip));
    for (key, deflate) in [all, few, all, None].into_iter().enumerate() {
        members.insert(address(key), 0, deflate);
    }
    let send = |number, payload: usize, room: fn(Address) -> Sent| {
        let frame = Frame::new(&Message::from(vec![0; payload]));
        drop(Broadcast { members: members.clone(), number, to: To::All, frame }.deliver(CHARGE, |to, _| room(to)));
    };
    assert_eq!(members.deflates(0, To::All), [all.unwrap(), few.unwrap()]);
    assert_eq!(members.deflates(0, To::Only(2)), [all.unwrap()]);
    send(0, 100, |to| if to == address(1) { Sent::Full } else { Sent::Taken });
    send(1, AT_ONCE, |_| Sent::Taken);
    assert_eq!(members.deflates(2, To::All), [all.unwrap()], "who is behind does not get it at once");
    assert!(members.next_large(1, address(1)).is_none(), "what comes first is small");
    assert_eq!(members.catch_up(1, address(1), |_| Sent::Taken).rest, Rest::HadItsTurn);
    let (frame, deflate) = members.next_large(1, address(1)).expect("it comes next");
    assert_eq!(deflate, few);
    let mut got = Bytes::new();
    members.catch_up(1, address(1), |frame| {
        got = frame.clone();
        Sent::Taken
    });
    assert_eq!(got.as_ptr(), frame.of(few).as_ptr());
    assert!(members.next_large(0, address(0)).is_none(), "it has all");
}
