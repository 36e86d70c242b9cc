//! Octets of a peer into one HTTP/2 machine: however they are cut the machine says the same, what it holds and sends stays
//! within its bounds, and what it sends is what a peer may demand, whatever its application does meanwhile.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderMap, Response};
use sockeye_proto::Loan;
use sockeye_proto::h2::{Config, Connection, Counters, Event, Reason, Role, StreamId};

use super::choices::{Choices, Random};
use super::h2_common::*;
use super::sent::Judge;

/// What the machine may send beyond its limit on DATA, with what an application sends here between two outputs.
const OUTPUT_SLACK: usize = 128 << 10;

pub fn server(choices: &mut Choices<'_>) {
    check(choices, Role::Server);
}

pub fn client(choices: &mut Choices<'_>) {
    check(choices, Role::Client);
}

fn check(choices: &mut Choices<'_>, role: Role) {
    let config = Config::default().with(|config| {
        config.max_concurrent_streams = 3;
        config.max_closed_streams = Some(2);
        config.initial_window_size = choices.pick(&[1000, 65_535, 70_000]);
        config.window_pool = 100_000;
        config.keep_alive_interval = choices.one_in(2).then_some(Duration::from_secs(5));
        config.max_send_buffer = 50_000;
    });
    let beginning = beginning(choices, role);
    let mut random = choices.random();
    let session = [beginning, choices.rest(|random| any_session(random, role))].concat();
    assert_same_however_cut(role, &config, &session, &mut random);
    run_with_application(role, &config, &session, &mut random);
}

/// What goes before the session: mostly the preface, SETTINGS, and the acknowledgement of ours.
fn beginning(choices: &mut Choices<'_>, role: Role) -> Vec<u8> {
    let preface = if role == Role::Server { PREFACE.to_vec() } else { Vec::new() };
    match choices.below(20) {
        0 => Vec::new(),
        1 => preface,
        _ => {
            let window = choices.pick(&[0, 10, 65_535, 70_000, 1 << 30]);
            let is_acknowledged = choices.one_in(2);
            let ack = if is_acknowledged { frame(SETTINGS, ACK, 0, &[]) } else { Vec::new() };
            [preface, settings(&[(4, window), (8, 1)]), ack].concat()
        }
    }
}

/// Whoever hears of the session in one piece and whoever hears of it in many hear the same.
fn assert_same_however_cut(role: Role, config: &Config, session: &[u8], random: &mut Random) {
    let whole = listen(role, config, [session]);
    let cut = match random.below(4) {
        0 => listen(role, config, session.chunks(1)),
        1 => listen(role, config, session.chunks(1 + random.below(20))),
        _ => {
            let (first, second) = session.split_at(random.below(session.len() + 1));
            listen(role, config, [first, second])
        }
    };
    assert_eq!(cut, whole, "what is heard depends on where it is cut");
}

/// All that can be told of a session.
#[derive(PartialEq, Debug)]
struct Heard {
    events: Vec<String>,
    sent: Vec<u8>,
    unread: Vec<Vec<u8>>,
    counters: Counters,
    streams: usize,
}

/// What the machine says to octets in these pieces, while its application does nothing.
fn listen<'a>(role: Role, config: &Config, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let now = Instant::now();
    let mut machine = Connection::new(role, config.clone(), now);
    let mut ids = open_some(&mut machine);
    let (mut events, mut sent, mut input) = (Vec::new(), BytesMut::new(), BytesMut::new());
    // What it says before it has heard anything goes with the first piece: there may be none.
    for piece in [&[][..]].into_iter().chain(pieces) {
        input.extend_from_slice(piece);
        loop {
            machine.handle_data(now, &mut input);
            let is_stopped = machine.is_stopped();
            machine.poll_transmit(&mut sent);
            if !is_stopped {
                break;
            }
        }
        while let Some(event) = machine.poll_event() {
            if let Event::Request { id, .. } = &event {
                ids.push(*id);
            }
            events.push(format!("{event:?}"));
        }
    }
    machine.check();
    let unread = ids.iter().filter_map(|id| Some(machine.stream(*id)?.read().to_vec())).collect();
    // How often it stopped is how it was cut.
    let mut counters: Counters = *machine.counters();
    counters.stops = 0;
    Heard { events, sent: sent.to_vec(), unread, counters, streams: machine.stream_count() }
}

/// Client: what the session can be about.
fn open_some(machine: &mut Connection) -> Vec<StreamId> {
    [true, false].into_iter().filter_map(|end| machine.open(&get("https://example.com/"), end).ok()).collect()
}

/// The session in pieces, with an application that does what comes to its mind.
fn run_with_application(role: Role, config: &Config, session: &[u8], random: &mut Random) {
    let mut tested = Tested {
        role,
        now: Instant::now(),
        machine: Connection::new(role, config.clone(), Instant::now()),
        judge: Judge::new(role, session),
        ids: Vec::new(),
        input: BytesMut::new(),
        output: BytesMut::new(),
        loan: Loan::default(),
        is_closed: false,
        max_output: config.max_send_buffer + OUTPUT_SLACK,
    };
    if role == Role::Client {
        tested.ids = open_some(&mut tested.machine);
    }
    let longest = 1 + random.below(3000);
    let mut rest = session;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        rest = after;
        tested.input.extend_from_slice(piece);
        tested.go_round(random);
        tested.check_bounds(config);
    }
    if random.one_in(2) {
        tested.machine.handle_eof(tested.now);
        tested.machine.check();
        assert!(tested.machine.is_closed());
    }
    assert!(tested.machine.poll_timeout().is_none() || !tested.machine.is_closed());
}

struct Tested {
    role: Role,
    now: Instant,
    machine: Connection,
    judge: Judge,
    ids: Vec<StreamId>,
    input: BytesMut,
    output: BytesMut,
    loan: Loan,
    is_closed: bool,
    max_output: usize,
}

impl Tested {
    /// Octets in, events, verbs, octets out, and the clock.
    fn go_round(&mut self, random: &mut Random) {
        loop {
            self.machine.handle_data(self.now, &mut self.input);
            self.machine.check();
            self.hear_events();
            for _ in 0..random.below(4) {
                if let Some(&id) = self.ids.get(random.below(self.ids.len().max(1))) {
                    self.act_on_stream(random, id);
                    self.machine.check();
                }
            }
            self.output.clear();
            self.machine.poll_transmit(&mut self.output);
            self.machine.check();
            assert!(self.output.len() <= self.max_output, "{} octets to send", self.output.len());
            self.judge.hear(&self.output);
            if !random.one_in(2) || self.input.is_empty() {
                break;
            }
        }
        if random.one_in(4) {
            self.now += Duration::from_millis(random.below(8000) as u64);
            self.machine.handle_timeout(self.now);
            self.machine.check();
        }
        self.act(random);
        self.machine.check();
    }

    /// What [`Config`] documents.
    fn check_bounds(&mut self, config: &Config) {
        let Self { ids, machine, .. } = self;
        let unread: usize = ids.iter().filter_map(|&id| Some(machine.stream(id)?.unread())).sum();
        assert!(unread <= config.max_unread.max(65_535) as usize, "{unread} octets unread");
        if self.role == Role::Server {
            assert!(machine.active_stream_count() <= config.max_concurrent_streams as usize);
            assert!(machine.stream_count() <= config.max_concurrent_streams as usize + config.max_closed_streams());
        }
    }

    fn hear_events(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            self.machine.check();
            assert!(!self.is_closed, "{event:?} after the last event");
            match event {
                Event::Request { id, .. } => self.ids.push(id),
                Event::Closed(_) => self.is_closed = true,
                _ => {}
            }
        }
        assert_eq!(self.is_closed, self.machine.is_closed());
    }

    /// What an application might do with a stream, at any time.
    fn act_on_stream(&mut self, random: &mut Random, id: StreamId) {
        let Some(mut stream) = self.machine.stream(id) else { return };
        let end_stream = random.one_in(4);
        match random.below(12) {
            0..3 => drop(stream.respond(&Response::new(()), end_stream)),
            3..6 => {
                let is_responded = stream.respond(&Response::new(()), false).is_ok() || stream.is_send_closed();
                if self.role == Role::Client || is_responded {
                    stream.write(&[b'y'; 20_000][..random.below(20_000)], end_stream);
                }
            }
            6 => {
                let buffer = stream.read();
                self.machine.recycle(buffer);
            }
            7 => drop(stream.send_trailers(&HeaderMap::new())),
            8 => stream.reset(random.pick(&[Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR])),
            9 => {
                stream.lend(&mut self.loan);
                let unread = self.loan.unread().len();
                self.loan.read(random.below(unread + 1));
                if self.loan.room() > 0 {
                    let octets = random.below(self.loan.room() + 100);
                    self.loan.put(|output| output.extend_from_slice(&[b'z'; 20_000][..octets]));
                }
                stream.settle(&mut self.loan);
            }
            10 if stream.is_send_closed() => stream.dismiss(),
            _ => stream.release(),
        }
    }

    /// What an application might do with the connection.
    fn act(&mut self, random: &mut Random) {
        match random.below(80) {
            0 => self.machine.drain(self.now),
            1 => self.machine.ping([1; 8]),
            2 => self.ids.extend(self.machine.open(&connect_websocket("https://example.com/"), false)),
            3 => drop(self.machine.take_batch()),
            4 => self.machine.shrink(),
            5 if random.one_in(4) => self.machine.close(Reason::NO_ERROR),
            _ => {}
        }
    }
}

/// A frame that is mostly right.
fn any_frame(random: &mut Random, role: Role) -> Vec<u8> {
    let stream_id = random.pick(&[0, 1, 1, 3, 3, 5, 7, 2, 9, 0x7fff_ffff]);
    let content = vec![b'x'; random.pick(&[0, 1, 5, 100, 5000, 16_384])];
    let increment = random.pick(&[0, 1, 100, 65_535, (1 << 31) - 1]);
    let block = match random.below(6) {
        0 => block(&[("x", "y"), ("content-length", "5")]),
        1 => block(CONNECT_WEBSOCKET),
        2 => block(POST),
        3 => [0x3f, 0xe1, 0x1f, 0x82, 0x87, 0x84, 0x41, 3, b'a', b'.', b'b', 0xbe].to_vec(),
        _ if role == Role::Client => block(&[(":status", random.pick(&["100", "200", "204", "404"])), ("a", "b")]),
        _ => block(GET),
    };
    let flags = if random.one_in(8) { random.octet() } else { random.below(2) as u8 };
    match random.below(16) {
        0..4 => frame(DATA, flags, stream_id, &content),
        4..8 => frame(HEADERS, flags | END_HEADERS, stream_id, &block),
        8 => frame(HEADERS, flags, stream_id, &block),
        9 => frame(CONTINUATION, flags | if random.one_in(2) { END_HEADERS } else { 0 }, stream_id, &block),
        10 => rst_stream(stream_id, Reason::new(random.below(16) as u32)),
        11 => settings(&[(random.below(10) as u16, random.pick(&[0, 1, 100, 20_000, increment]))]),
        12 => frame(SETTINGS, ACK, 0, &[]),
        13 => frame(PING, flags, 0, &[1; 8]),
        14 => window_update(stream_id, increment),
        _ => frame(random.below(12) as u8, flags, stream_id, &content[..content.len().min(9)]),
    }
}

/// Frames that are mostly right, or octets without any structure.
fn any_session(random: &mut Random, role: Role) -> Vec<u8> {
    if random.one_in(5) {
        return (0..random.below(500)).map(|_| random.octet() >> random.below(8)).collect();
    }
    let mut session: Vec<u8> = (0..random.below(40)).flat_map(|_| any_frame(random, role)).collect();
    if random.one_in(2) {
        random.mutate(&mut session, &[0, 1, 4, 8, 0x7f, 0x80, 0xff]);
    }
    session
}
