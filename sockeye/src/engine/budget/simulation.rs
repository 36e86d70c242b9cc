//! Many sockets that share a book, in virtual time: each peer sends at its own pace, some stop, some go, and some
//! applications do not come. The same seed gives the same course.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::book::{Book, Number, STALL, Shares};
use super::{Message, Verdict};

/// The default of the budget. Who passes whom is a matter of proportions, so sizes are parts of it here: it has 4096 "KiB".
const MAX: usize = 3 << 20;
const KIB: usize = MAX / 4096;
const MIB: usize = 1024 * KIB;
/// What a peer may send before it is read.
const WINDOW: usize = 64 * KIB;

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((number ^ (number >> 31)) % end as u64) as usize
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Waiting,
    /// Its message came, after so many milliseconds.
    Whole(u64),
    /// It was told to give its place up.
    GaveUp,
}

/// One socket and its peer.
struct Socket {
    size: usize,
    /// Octets in a millisecond.
    pace: usize,
    /// Where the peer stops for good: its size where it does not.
    stops_at: usize,
    /// Whether the message is one frame, so that its size is known.
    is_one_frame: bool,
    /// When its application comes no more.
    away_at: Duration,
    began: Duration,
    sent: usize,
    held: usize,
    number: Option<Number>,
    state: State,
    waits: usize,
    woken: Arc<Flag>,
}

struct Simulation {
    book: Book,
    start: Instant,
    time: Duration,
    step: Duration,
    watch: Option<Duration>,
    /// What waits to be sent.
    backlog: usize,
    sockets: Vec<Socket>,
}

impl Simulation {
    fn new() -> Self {
        let (start, time) = (Instant::now(), Duration::ZERO);
        let step = Duration::from_millis(1);
        Self { book: Book::new(Shares::new(MAX)), start, time, step, watch: None, backlog: 0, sockets: Vec::new() }
    }

    /// A message that comes whole at this pace, in octets a millisecond; its index.
    fn add(&mut self, size: usize, pace: usize, is_one_frame: bool) -> usize {
        self.sockets.push(Socket {
            size,
            pace,
            stops_at: size,
            is_one_frame,
            away_at: Duration::MAX,
            began: self.time,
            sent: 0,
            held: 0,
            number: None,
            state: State::Reading,
            waits: 0,
            woken: Arc::new(Flag(AtomicBool::new(false))),
        });
        self.sockets.len() - 1
    }

    fn run(&mut self, time: Duration) {
        let end = self.time + time;
        while self.time < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.time += self.step;
        if self.watch.is_some_and(|due| due <= self.time) {
            let (due, wakers) = self.book.watch(self.start + self.time);
            self.watch = due.map(|due| due - self.start);
            wakers.into_iter().for_each(Waker::wake);
        }
        for index in 0..self.sockets.len() {
            let socket = &mut self.sockets[index];
            let pace = socket.pace * self.step.as_millis() as usize;
            let more = pace.min(socket.stops_at - socket.sent).min(WINDOW - (socket.sent - socket.held));
            socket.sent += more;
            let is_woken = socket.woken.0.swap(false, Ordering::Relaxed);
            let has_input = socket.state == State::Reading && socket.sent > socket.held;
            if (is_woken || has_input) && self.time < socket.away_at {
                self.poll(index);
            }
        }
        self.check();
    }

    /// As a socket does it: it asks, takes what is there, and asks again.
    fn poll(&mut self, index: usize) {
        loop {
            let verdict = self.hold(index);
            let socket = &mut self.sockets[index];
            match verdict {
                Verdict::Wait | Verdict::StillWait => {
                    socket.waits += usize::from(verdict == Verdict::Wait);
                    socket.state = State::Waiting;
                    self.watch.get_or_insert(self.time);
                    return;
                }
                Verdict::GiveUp if socket.sent == socket.held => {
                    socket.state = State::GaveUp;
                    return self.release(index);
                }
                Verdict::Go if socket.sent == socket.held => {
                    socket.state = State::Reading;
                    return;
                }
                Verdict::Go | Verdict::GiveUp => socket.held = socket.sent,
            }
            if socket.held == socket.size {
                socket.state = State::Whole((self.time - socket.began).as_millis() as u64);
                return self.release(index);
            }
        }
    }

    fn hold(&mut self, index: usize) -> Verdict {
        let socket = &mut self.sockets[index];
        let announced = if socket.is_one_frame { socket.size - socket.held } else { 0 };
        let message = Message { held: socket.held, spare: 0, announced, is_last: socket.is_one_frame };
        if socket.held == 0 || message.is_small(self.book.shares.own) {
            return Verdict::Go;
        }
        let now = self.start + self.time;
        let number = *socket.number.get_or_insert_with(|| self.book.enter(socket.held, now));
        self.book.set_backlog(self.backlog);
        let (verdict, wakers) = self.book.hold(number, message, now, &Waker::from(socket.woken.clone()));
        wakers.into_iter().for_each(Waker::wake);
        verdict
    }

    fn release(&mut self, index: usize) {
        if let Some(number) = self.sockets[index].number.take() {
            self.book.release(number).into_iter().for_each(Waker::wake);
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        self.book.check();
        let shares = self.book.shares;
        assert!(self.book.counted <= shares.cap + shares.own, "{} are counted", self.book.counted);
        let largest = self.sockets.iter().map(|socket| socket.held).max().unwrap_or(0);
        assert!(self.book.held() <= shares.cap + shares.own + largest);
        let unfinished = self.sockets.iter().filter(|socket| matches!(socket.state, State::Reading | State::Waiting));
        let (count, held) = unfinished.fold((0, 0), |(count, held), socket| (count + 1, held + socket.held));
        assert!(
            held <= count * (shares.own + WINDOW) + shares.cap + shares.own + largest,
            "{held} are held by {count}"
        );
    }

    fn state(&self, index: usize) -> State {
        self.sockets[index].state
    }

    /// A message that comes while others are there must not wait.
    #[track_caller]
    fn passes(&mut self, size: usize, pace: usize, is_one_frame: bool) {
        let index = self.add(size, pace, is_one_frame);
        let alone = size.div_ceil(pace.min(WINDOW)) as u64;
        self.run(Duration::from_millis(2 * alone + 2));
        let State::Whole(time) = self.state(index) else {
            panic!("{size} octets are {:?} at {}", self.state(index), self.sockets[index].held)
        };
        assert!(time <= alone + 1, "{size} octets took {time} ms and not {alone}");
        assert_eq!(self.sockets[index].waits, 0);
    }
}

/// Beside any number of messages that were announced and are parked, and beside some tens that grow without a word of
/// their size, small and middling ones pass at once.
#[test]
fn siblings_pass_parked_messages() {
    for (count, size, parked_at, is_one_frame) in [
        (6, MIB, 4400 * KIB / 6, true),
        (6, 2 * MIB, 4400 * KIB / 6, false),
        (6, 15 * MIB, 4400 * KIB / 6, true),
        (20, MIB, 900 * KIB, true),
        (20, MIB, 900 * KIB, false),
        (30, MIB, 900 * KIB, false),
        (40, MIB, MIB - 1, true),
        (40, MIB, MIB - 1, false),
        (100, MIB, MIB - 1, true),
        (100, 15 * MIB, 3 * MIB, true),
        (1000, 15 * MIB, 256 * KIB, true),
        (1000, MIB, 512 * KIB, true),
    ] {
        // Bit by bit, or as much at once as there is a window for: forty of unknown size then leave too little.
        let paces: &[usize] = if (count, is_one_frame) == (40, false) { &[8 * KIB] } else { &[8 * KIB, WINDOW] };
        for &pace in paces {
            let mut simulation = Simulation::new();
            for _ in 0..count {
                let index = simulation.add(size, pace, is_one_frame);
                simulation.sockets[index].stops_at = parked_at;
            }
            simulation.run(Duration::from_millis(400));
            println!("{count} of {size} in one frame: {is_one_frame}; {} counted", simulation.book.counted);
            simulation.passes(60 * KIB, 10 * KIB, true);
            simulation.passes(200 * KIB, 10 * KIB, true);
            simulation.passes(180 * KIB, 10 * KIB, false);
            for _ in 0..5 {
                simulation.add(200 * KIB, 10 * KIB, true);
            }
            simulation.passes(200 * KIB, 10 * KIB, true);
        }
    }
}

/// What waits to be sent leaves messages less beyond the budget; small ones pass all the same.
#[test]
fn what_waits_to_be_sent_leaves_messages_less() {
    let held = [0, MAX / 2, 2 * MAX].map(|backlog| {
        let mut simulation = Simulation::new();
        simulation.backlog = backlog;
        for _ in 0..40 {
            let index = simulation.add(MIB, WINDOW, true);
            simulation.sockets[index].stops_at = MIB - 1;
        }
        simulation.run(Duration::from_millis(400));
        simulation.passes(60 * KIB, 10 * KIB, true);
        simulation.book.counted
    });
    assert!(held[0] > held[1] && held[1] > held[2], "{held:?}");
    assert!(held[2] <= MAX + MAX / 64, "{held:?}");
}

/// Beside slow uploads of 15 MiB, in one frame and in many, siblings pass at once; one of 1 MiB too that is as slow.
#[test]
fn siblings_pass_slow_uploads() {
    for is_one_frame in [true, false] {
        for pace in [50, 200, 1000, 5000] {
            let mut simulation = Simulation::new();
            for _ in 0..20 {
                simulation.add(15 * MIB, pace, is_one_frame);
            }
            for _ in 0..5 {
                simulation.step = Duration::from_millis(10);
                simulation.run(Duration::from_secs(2));
                simulation.step = Duration::from_millis(1);
                simulation.passes(200 * KIB, 10 * KIB, true);
                simulation.passes(200 * KIB, 10 * KIB, false);
            }
            simulation.passes(MIB, 100, true);
        }
    }
}

/// A large message beside quiet ones takes the lane at once; the next one waits for those that are quiet, and no longer
/// than they are given.
#[test]
fn who_stalls_gives_its_place_up() {
    let mut simulation = Simulation::new();
    let quiet: Vec<_> = (0..6)
        .map(|_| {
            let index = simulation.add(2 * MIB, 8 * KIB, false);
            simulation.sockets[index].stops_at = 640 * KIB;
            index
        })
        .collect();
    simulation.run(Duration::from_secs(1));
    let slow = simulation.add(15 * MIB, 200, true);
    simulation.run(Duration::from_secs(2));
    let large = simulation.add(3 * MIB, 8 * KIB, true);
    simulation.run(STALL - Duration::from_millis(3500));
    assert!(quiet.iter().all(|index| simulation.state(*index) != State::GaveUp), "not before their time");
    assert_eq!(simulation.state(large), State::Waiting);
    simulation.run(Duration::from_secs(3));
    assert!(matches!(simulation.state(large), State::Whole(_)), "{:?}", simulation.state(large));
    assert!(quiet.iter().any(|index| simulation.state(*index) == State::GaveUp));
    assert_eq!((simulation.state(slow), simulation.sockets[slow].waits), (State::Reading, 0));
}

/// Without anybody who waits nobody has to give up, however long it takes.
#[test]
fn who_disturbs_nobody_keeps_its_place() {
    let mut simulation = Simulation::new();
    for _ in 0..4 {
        let index = simulation.add(2 * MIB, 8 * KIB, false);
        simulation.sockets[index].stops_at = 720 * KIB;
    }
    simulation.step = Duration::from_millis(100);
    simulation.run(3 * STALL);
    assert!(simulation.sockets.iter().all(|socket| socket.state == State::Reading));
    assert_eq!(simulation.watch, None);
}

/// A drip of single octets is no progress: none of them keeps the lane for longer than it is given.
#[test]
fn a_drip_is_no_progress() {
    let mut simulation = Simulation::new();
    for _ in 0..6 {
        let index = simulation.add(2 * MIB, 8 * KIB, true);
        simulation.sockets[index].stops_at = 720 * KIB;
    }
    simulation.run(Duration::from_secs(1));
    for socket in &mut simulation.sockets {
        socket.pace = 1;
        socket.stops_at = socket.size;
    }
    let large: Vec<_> = (0..3).map(|_| simulation.add(3 * MIB, 8 * KIB, true)).collect();
    simulation.step = Duration::from_millis(100);
    simulation.run(STALL * 12);
    for index in large {
        assert!(matches!(simulation.state(index), State::Whole(_)), "{:?}", simulation.state(index));
    }
}

/// Whatever comes: the bound holds, nobody is left behind where there is room, who sends is never told to give up, and at
/// the end all that were sent have come.
#[test]
fn seeded_courses() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut simulation = Simulation::new();
        simulation.step = Duration::from_millis(20);
        for _ in 0..(5 + random.below(60)) {
            let size = (64 * KIB + random.below(64 * KIB)) << random.below(7);
            let index = simulation.add(size, 100 << random.below(9), random.below(2) == 0);
            let socket = &mut simulation.sockets[index];
            match random.below(10) {
                0 | 1 => socket.stops_at = random.below(size),
                2 if size <= MIB => socket.away_at = Duration::from_millis(random.below(3000) as u64),
                _ => {}
            }
            simulation.run(Duration::from_millis(random.below(200) as u64));
            if random.below(20) == 0 {
                // One goes: its stream is reset.
                let gone = random.below(simulation.sockets.len());
                if matches!(simulation.state(gone), State::Reading | State::Waiting) {
                    simulation.sockets[gone].state = State::GaveUp;
                    simulation.sockets[gone].stops_at = simulation.sockets[gone].sent;
                    simulation.release(gone);
                    simulation.check();
                }
            }
        }
        let is_honest = |socket: &Socket| socket.stops_at == socket.size && socket.away_at == Duration::MAX;
        let mut seconds = 0;
        while simulation.sockets.iter().any(|socket| is_honest(socket) && !matches!(socket.state, State::Whole(_))) {
            simulation.run(Duration::from_secs(1));
            seconds += 1;
            for socket in simulation.sockets.iter().filter(|socket| is_honest(socket)) {
                assert_ne!(socket.state, State::GaveUp, "seed {seed}: of {} octets at {}", socket.size, socket.held);
            }
            assert!(seconds < 3000, "seed {seed}: one is left behind");
        }
    }
}
