//! What is to happen in a run, drawn from its seed before anything does.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::Limits;

use crate::random::Random;
use crate::transport::Manners;
use crate::wire::SERVER;

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) version: Version,
    pub(crate) manners: Manners,
    pub(crate) window: u32,
    pub(crate) max_streams: u32,
    pub(crate) max_connections: usize,
    pub(crate) stream_send: usize,
    pub(crate) connection_send: usize,
    pub(crate) unfinished: usize,
    pub(crate) pings: Option<(Duration, Duration)>,
    pub(crate) keep_alive: Option<(Duration, Duration)>,
    pub(crate) groups: usize,
    pub(crate) group_send: usize,
    /// How long who sends to a group waits for members.
    pub(crate) patience: Duration,
    pub(crate) deflate: bool,
    /// The server is the low-level one.
    pub(crate) is_low_level: bool,
    /// A client of another kind comes along.
    pub(crate) has_stranger: bool,
    /// Connections give way at every step.
    pub(crate) gives_way: bool,
    pub(crate) chaos: Vec<(u64, Chaos)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// What comes from outside, at a time in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chaos {
    Lose(crate::transport::Loss),
    DrainServer,
    /// The same, with the Closes spread over so many milliseconds.
    SpreadServer(u64),
    CloseClient,
    SendToGroup,
}

/// One request that opens no socket.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) seed: u64,
    /// Milliseconds until it is made.
    pub(crate) start: u64,
    /// Of its content.
    pub(crate) pieces: usize,
    pub(crate) is_large: bool,
    pub(crate) has_trailers: bool,
    pub(crate) cut: Cut,
    /// Milliseconds between pieces, at most.
    pub(crate) laziness: u64,
    /// The answer is given up after so many milliseconds, unless it has begun.
    pub(crate) impatience: Option<u64>,
    /// Somewhere within the answer it is given up.
    pub(crate) gives_up: bool,
}

/// What ends the content of a request before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    Error,
    Panic,
}

/// One socket: who does what.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Milliseconds until it is opened.
    pub(crate) start: u64,
    pub(crate) answer: Answer,
    pub(crate) sides: [Side; 2],
    /// The opening is given up after so many milliseconds.
    pub(crate) impatience: Option<u64>,
}

/// How the server answers the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A handler in the connection's task.
    InPlace,
    /// A handler that gives the socket to another task and is done.
    HandedOver,
    /// A handler that waits for the task to which it gave the socket.
    Spawned,
    /// `Upgrade::take`, over HTTP/2.
    Taken,
    Refused,
    /// The service panics.
    Panic,
}

/// What one side does with its socket.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) seed: u64,
    /// Messages and other operations before the end.
    pub(crate) operations: usize,
    pub(crate) is_large: bool,
    pub(crate) style: Style,
    /// Milliseconds between operations, at most.
    pub(crate) laziness: u64,
    pub(crate) finish: Finish,
    /// Gives up what it waits for now and then.
    pub(crate) is_fickle: bool,
    /// Joins the groups there are.
    pub(crate) joins: bool,
    /// Waits for the answers to its Pings: be they to later ones, as the peer answers the last of several (RFC 6455 §5.5.3).
    pub(crate) awaits_pongs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Whole,
    /// Halves, in two tasks.
    Split,
    /// By `Sink` and `Stream`.
    Traits,
}

/// What comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Receives until the peer has closed.
    Await,
    Close,
    CloseWith(u16),
    /// The handler returns while the socket is open.
    Ok,
    Err,
    Panic,
    /// The socket is dropped, and the handler goes on.
    Drop,
    /// The socket is closed, and the handler goes on for ever: it is for its connection to end it.
    Stay,
}

impl Settings {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let version = if random.one_in(4) { Version::Http1 } else { Version::Http2 };
        let seconds = |random: &mut Random, choices: &[u64]| Duration::from_secs(random.pick(choices));
        let both = |random: &mut Random, n| {
            random.one_in(n).then(|| (seconds(random, &[1, 4, 20]), seconds(random, &[5, 20])))
        };
        let pings = both(random, 4);
        let keep_alive = both(random, 4);
        Self {
            version,
            manners: Manners::draw(random),
            window: random.pick(&[100, 2000, 65_535, 65_535, 1 << 20]),
            max_streams: random.pick(&[1, 2, 5, 100, 100, 100]),
            max_connections: random.pick(&[1, 1, 2, 32]),
            stream_send: random.pick(&[1, 1000, 64 << 10, 64 << 10]),
            connection_send: random.pick(&[1000, 100_000, 1 << 20, 1 << 20]),
            unfinished: random.pick(&[100_000, 4 << 20, 4 << 20]),
            pings,
            keep_alive,
            groups: random.pick(&[0, 1, 2]),
            group_send: random.pick(&[1, 3000, 100_000, 2 << 20, 2 << 20]),
            patience: seconds(random, &[0, 1, 5, 60]),
            deflate: random.one_in(4),
            is_low_level: version == Version::Http2 && random.one_in(6),
            has_stranger: random.one_in(4),
            gives_way: random.one_in(3),
            chaos: chaos(random),
        }
        .fitting()
    }

    /// What cannot be together, or where nobody would see why a socket ended, is left out.
    fn fitting(mut self) -> Self {
        if self.is_low_level {
            // Its connections have no handle: nobody sees whether somebody took too long.
            self.manners = Manners { capacity: 64 << 10, latency: 1, stalls: 0, chunk: 1 << 20, ..self.manners };
            self.chaos.retain(|(_, chaos)| !matches!(chaos, Chaos::DrainServer | Chaos::SpreadServer(_)));
            // A group wakes its connections in the order of their addresses, which here are the runtime's own tasks.
            self.groups = 0;
        }
        self.has_stranger &= self.version == Version::Http2 && !self.is_low_level;
        self
    }

    /// The server's limit on streams is the one that counts.
    pub(crate) fn limits_of_client(&self) -> Limits {
        self.limits().max_concurrent_streams(u32::MAX).max_unread(2304 << 10).window_pool(576 << 10)
    }

    pub(crate) fn limits_of_http2(&self) -> Limits {
        Limits::new()
            .initial_window_size(self.window)
            .max_concurrent_streams(self.max_streams)
            // The time in the responses is of the same length, compressed, in each run.
            .date(|| *b"Sun, 06 Nov 1994 08:49:37 GMT")
    }

    pub(crate) fn limits(&self) -> Limits {
        let limits = self
            .limits_of_http2()
            .stream_send_buffer(self.stream_send)
            .connection_send_buffer(self.connection_send)
            .group_send_buffer(self.group_send)
            .unfinished_messages(self.unfinished);
        if self.gives_way { limits.time_slice(Duration::ZERO) } else { limits }
    }
}

fn chaos(random: &mut Random) -> Vec<(u64, Chaos)> {
    use crate::transport::Loss::{Abrupt, Orderly, Silent};
    let mut chaos = Vec::new();
    let moment = |random: &mut Random| random.pick(&[10, 100, 1000, 10_000]);
    for (odds, what) in [
        (8, Chaos::Lose(Abrupt)),
        (12, Chaos::Lose(Orderly)),
        (12, Chaos::Lose(Silent)),
        (6, Chaos::DrainServer),
        (6, Chaos::SpreadServer(random.pick(&[0, 10, 1000, 20_000]))),
        (8, Chaos::CloseClient),
    ] {
        if random.one_in(odds) {
            let most = moment(random);
            chaos.push((random.between(0, most), what));
        }
    }
    for _ in 0..random.pick(&[0, 3, 30]) {
        let most = moment(random);
        chaos.push((random.between(0, most), Chaos::SendToGroup));
    }
    chaos.sort_by_key(|(time, _)| *time);
    chaos
}

/// The sockets of a run, by their numbers.
pub(crate) fn plans(random: &mut Random, settings: &Settings) -> BTreeMap<u32, Plan> {
    let sockets = random.pick(&[1, 1, 2, 3, 5, 8, 12]);
    let mut plans: BTreeMap<u32, Plan> = (1..=sockets).map(|socket| (socket, Plan::draw(random, settings))).collect();
    if settings.version == Version::Http1 {
        // Here each member has a connection, a task of the runtime's own, and a group wakes them in the order of their addresses,
        // which no seed knows. One has no order.
        let joining = plans.values_mut().filter(|plan| plan.sides[SERVER].joins);
        joining.skip(1).for_each(|plan| plan.sides[SERVER].joins = false);
    }
    plans
}

/// The requests beside them, which go over HTTP/2 alone.
pub(crate) fn calls(random: &mut Random, settings: &Settings) -> Vec<Call> {
    let is_possible = settings.version == Version::Http2 && !settings.is_low_level;
    let calls = if is_possible { random.pick(&[0, 0, 1, 2, 6]) } else { 0 };
    (0..calls).map(|_| Call::draw(random)).collect()
}

impl Call {
    fn draw(random: &mut Random) -> Self {
        let most = random.pick(&[0, 50, 3000]);
        Self {
            seed: random.next(),
            start: random.between(0, most),
            pieces: random.pick(&[0, 1, 3, 10]),
            is_large: random.one_in(4),
            has_trailers: random.one_in(3),
            cut: random.weighted(&[(8, Cut::Never), (1, Cut::Error), (1, Cut::Panic)]),
            laziness: random.pick(&[0, 0, 5, 200]),
            impatience: random.one_in(6).then(|| random.pick(&[0, 1, 20, 500])),
            gives_up: random.one_in(6),
        }
    }
}

impl Plan {
    fn draw(random: &mut Random, settings: &Settings) -> Self {
        use Answer::{HandedOver, InPlace, Panic, Refused, Spawned, Taken};
        let answers = [(10, InPlace), (4, HandedOver), (3, Spawned), (3, Taken), (1, Refused), (1, Panic)];
        let mut answer = random.weighted(&answers);
        if settings.version == Version::Http1 && answer == Taken || settings.is_low_level && answer == Panic {
            answer = InPlace;
        }
        let most = random.pick(&[0, 50, 3000]);
        let mut sides = [Side::draw(random, false), Side::draw(random, true)];
        // Only what a connection runs is its to end.
        if sides[1].finish == Finish::Stay && (answer != InPlace || settings.is_low_level) {
            sides[1].finish = Finish::Ok;
        }
        // Somebody has to end it: one of the two, or who shuts down.
        let shuts_down = |(_, chaos): &(u64, Chaos)| {
            matches!(chaos, Chaos::DrainServer | Chaos::SpreadServer(_) | Chaos::CloseClient)
        };
        let is_ended = settings.chaos.iter().any(shuts_down);
        if !is_ended && sides[0].finish == Finish::Await && sides[1].finish == Finish::Await {
            sides[0].finish = Finish::Close;
        }
        if settings.is_low_level {
            sides.iter_mut().for_each(|side| side.laziness = 0);
        }
        let impatience = random.one_in(12).then(|| random.pick(&[0, 1, 20, 500]));
        Self { start: random.between(0, most), answer, sides, impatience }
    }
}

impl Side {
    fn draw(random: &mut Random, is_server: bool) -> Self {
        use Finish::{Await, Close, CloseWith, Drop, Err, Ok, Panic, Stay};
        let finishes: &[(u32, Finish)] = if is_server {
            &[(8, Await), (3, Close), (1, CloseWith(4000)), (3, Ok), (2, Err), (1, Panic), (2, Drop), (1, Stay)]
        } else {
            &[(8, Await), (4, Close), (1, CloseWith(3000)), (4, Drop)]
        };
        Self {
            seed: random.next(),
            operations: random.pick(&[0, 1, 3, 10, 30]),
            is_large: random.one_in(5),
            style: random.weighted(&[(4, Style::Whole), (2, Style::Split), (1, Style::Traits)]),
            laziness: random.pick(&[0, 0, 0, 5, 200]),
            finish: random.weighted(finishes),
            is_fickle: random.one_in(2),
            joins: is_server && random.one_in(2),
            awaits_pongs: random.one_in(2),
        }
    }
}
