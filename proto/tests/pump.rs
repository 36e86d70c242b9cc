//! The rules of the loop around a machine: what is read, written, heard and ended, and in which order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use http::{Request, Response};
use sockeye_proto::h1::{self, STREAM};
use sockeye_proto::h2::{self, Config, ConnectionError, Event, PREFACE, Role, Violation};
use sockeye_proto::{Machine, MachineStream as _, Protocol, Pump, Step};

const PING: u8 = 6;
const ACK: u8 = 1;

/// A PING of this number (RFC 9113 §6.7).
fn ping(flags: u8, number: u64) -> Vec<u8> {
    [&[0, 0, 8, PING, flags, 0, 0, 0, 0][..], &number.to_be_bytes()].concat()
}

fn h2_server(config: Config) -> Pump<h2::Connection> {
    let now = Instant::now();
    let mut pump = Pump::new(h2::Connection::new(Role::Server, config, now));
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let settings_ack = [0, 0, 0, 4, ACK, 0, 0, 0, 0];
    receive(&mut pump, &[&PREFACE[..], &settings, &settings_ack].concat());
    drain(&mut pump);
    pump
}

fn tunnel(window: u32) -> Pump<h1::Connection> {
    let config = Config::default().with(|config| config.initial_window_size = window);
    Pump::new(h1::Connection::tunnel(Role::Client, &config, Instant::now()))
}

fn receive<M: Machine>(pump: &mut Pump<M>, octets: &[u8]) {
    pump.input().extend_from_slice(octets);
    pump.handle_input(Instant::now());
}

/// Takes all steps there are, and writes all; the names of the events, what was written, and the last step.
fn drain<M: Machine>(pump: &mut Pump<M>) -> (Vec<String>, Vec<u8>, Step) {
    let (mut heard, mut written) = (Vec::new(), Vec::new());
    loop {
        match pump.step(Instant::now()) {
            Step::Event(event) => heard.push(name(&event)),
            Step::Write => {
                written.extend_from_slice(pump.output());
                pump.handle_written(pump.output().len());
            }
            step => return (heard, written, step),
        }
    }
}

fn name(event: &Event) -> String {
    let text = format!("{event:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn what_a_machine_left_is_handed_over_before_more_is_read() {
    let mut server = h2_server(Config::default());
    receive(&mut server, &(0..50_000).flat_map(|number| ping(0, number)).collect::<Vec<_>>());
    assert!(!server.wants_input() && !server.input().is_empty(), "so many answers do not wait at once");
    let (_, written, step) = drain(&mut server);
    assert!(matches!(step, Step::Await));
    assert!(server.wants_input() && server.input().is_empty());
    assert!(
        written == (0..50_000).flat_map(|number| ping(ACK, number)).collect::<Vec<_>>(),
        "each is answered, in order"
    );
}

/// RFC 9113 §10.5: answers are not gathered for who does not take them.
#[test]
fn a_peer_that_does_not_read_stops_itself() {
    let mut server = h2_server(Config::default());
    let mut reads = 0;
    let mut output = 0;
    while server.wants_input() && reads < 100_000 {
        reads += 1;
        receive(&mut server, &ping(0, reads));
        assert!(matches!(server.step(Instant::now()), Step::Write));
        output = server.output().len();
    }
    assert!(!server.wants_input(), "{reads} answers wait");
    for _ in 0..10 {
        assert!(matches!(server.step(Instant::now()), Step::Write));
        assert_eq!(server.output().len(), output, "the machine is not asked for more");
    }
    drain(&mut server);
    assert!(server.wants_input());
}

/// A machine may stop though it has nothing to say: here, since nobody has heard of the first requests.
#[test]
fn a_stop_without_output_ends_too() {
    let config = Config::default().with(|config| config.max_concurrent_streams = 1000);
    let mut server = h2_server(config.clone());
    let mut client = h2::Connection::new(Role::Client, config, Instant::now());
    let mut requests = BytesMut::new();
    client.poll_transmit(&mut requests);
    requests.clear();
    for _ in 0..100 {
        client.open(&Request::get("https://example.com/").body(()).unwrap(), true).unwrap();
    }
    client.poll_transmit(&mut requests);
    receive(&mut server, &requests);
    assert!(!server.wants_input() && !server.input().is_empty());
    let (heard, written, step) = drain(&mut server);
    assert_eq!(heard, ["Request"; 100]);
    assert!(written.is_empty() && matches!(step, Step::Await) && server.wants_input());
}

#[test]
fn a_machine_that_stopped_goes_on_when_the_application_has_read() {
    let mut client = tunnel(4);
    receive(&mut client, b"hello!");
    assert!(matches!(drain(&mut client), (heard, _, Step::Await) if heard == ["Readable"]));
    assert!(!client.wants_input());
    assert_eq!(client.machine().stream(STREAM).unwrap().read(), "hell");
    assert!(matches!(drain(&mut client), (heard, _, Step::Await) if heard == ["Readable"]));
    assert!(client.wants_input());
    assert_eq!(client.machine().stream(STREAM).unwrap().read(), "o!");
}

#[test]
fn the_end_comes_behind_what_was_left() {
    let mut client = tunnel(4);
    client.input().extend_from_slice(b"hello!");
    client.handle_eof(Instant::now());
    assert_eq!(drain(&mut client).0, ["Readable"]);
    assert!(!client.wants_input());
    assert_eq!(client.machine().stream(STREAM).unwrap().read(), "hell");
    assert_eq!(drain(&mut client).0, ["Readable", "Finished"]);
    assert_eq!(client.machine().stream(STREAM).unwrap().read(), "o!");
    assert!(!client.wants_input(), "nothing is read behind the end");
    receive(&mut client, b"late");
    client.handle_eof(Instant::now());
    assert!(matches!(drain(&mut client), (heard, _, Step::Await) if heard.is_empty()));
    assert!(client.input().is_empty());
}

#[test]
fn our_half_is_shut_down_once_behind_what_is_written() {
    let mut client = tunnel(100);
    client.machine().stream(STREAM).unwrap().write(b"bye", true);
    assert!(matches!(client.step(Instant::now()), Step::Write));
    assert_eq!(client.output(), b"bye");
    client.handle_written(2);
    assert!(matches!(client.step(Instant::now()), Step::Write));
    assert_eq!(client.output(), b"e");
    client.handle_written(1);
    assert!(matches!(client.step(Instant::now()), Step::Shutdown));
    assert!(matches!(client.step(Instant::now()), Step::Await));
    assert!(client.wants_input(), "the peer may go on");
    client.handle_eof(Instant::now());
    assert!(matches!(drain(&mut client), (heard, _, Step::Await) if heard == ["Finished"]));
    client.machine().stream(STREAM).unwrap().release();
    assert!(matches!(drain(&mut client), (heard, _, Step::Closed) if heard == ["Closed"]));
}

/// What a connection says last goes out, and then it is over.
#[test]
fn a_connection_is_over_once_its_last_words_are_written() {
    let mut server = h2_server(Config::default());
    receive(&mut server, &[0, 0, 0, PING, 0, 0, 0, 0, 1]);
    assert!(!server.wants_input(), "not an octet more is read");
    let (heard, written, step) = drain(&mut server);
    assert_eq!((heard, written[3]), (vec!["Closed".to_owned()], 7), "GOAWAY");
    assert!(matches!(step, Step::Closed));
}

#[test]
fn what_failed_has_nothing_more_to_say() {
    for is_before in [true, false] {
        let mut server = h2_server(Config::default());
        receive(&mut server, &ping(0, 1));
        if is_before {
            assert!(matches!(server.step(Instant::now()), Step::Write));
        }
        server.handle_failure(Instant::now());
        let (heard, written, step) = drain(&mut server);
        assert!(heard == ["Closed"] && written.is_empty() && matches!(step, Step::Closed));
        assert!(!server.wants_input());
    }
    // What had come is still heard.
    let mut client = tunnel(100);
    client.input().extend_from_slice(b"last words");
    client.handle_failure(Instant::now());
    assert_eq!(drain(&mut client).0, ["Readable", "Closed"]);
    assert_eq!(client.machine().stream(STREAM).unwrap().read(), "last words");
}

#[test]
fn what_is_due_is_seen_to_in_its_time() {
    let now = Instant::now();
    let config = Config::default().with(|config| config.preface_timeout = Duration::from_secs(3));
    let mut client = Pump::new(h2::Connection::new(Role::Client, config, now));
    drain(&mut client);
    let due = client.poll_timeout().unwrap();
    assert_eq!(due, now + Duration::from_secs(3));
    client.handle_timeout(due - Duration::from_millis(1));
    assert!(matches!(client.step(now), Step::Await));
    client.handle_timeout(due);
    let timeout = ConnectionError::Violation(Violation::PrefaceTimeout);
    assert!(matches!(client.step(now), Step::Event(Event::Closed(Some(error))) if error == timeout));
    assert!(client.poll_timeout().is_none());
}

/// Whatever the pieces are in which a transport takes and gives octets, and whichever machine it is, all arrive.
#[test]
fn octets_go_in_any_pieces() {
    for seed in 0..300 {
        let now = Instant::now();
        let (mut client, mut server) = acquainted(seed);
        let request = Request::connect("https://example.com/").extension(Protocol::websocket()).body(()).unwrap();
        let id = client.machine().open(&request, false).unwrap();
        let mut random = Random(seed);
        exchange(&mut random, Echo::new(client, id, 5_000, seed), server_side(&mut server, id));

        let config = Config::default().with(|config| config.initial_window_size = 1 + (seed as u32 * 37) % 5000);
        let client = Pump::new(h1::Connection::tunnel(Role::Client, &config, now));
        let server = Pump::new(h1::Connection::tunnel(Role::Server, &config, now));
        exchange(&mut random, Echo::new(client, STREAM, 5_000, seed), Echo::new(server, STREAM, 0, seed));
    }
}

/// Two machines of HTTP/2 that know each other's SETTINGS.
fn acquainted(seed: u64) -> (Pump<h2::Connection>, Pump<h2::Connection>) {
    let now = Instant::now();
    let config = Config::default().with(|config| config.initial_window_size = 1 + (seed as u32 * 37) % 5000);
    let mut client = Pump::new(h2::Connection::new(Role::Client, config.clone(), now));
    let mut server = Pump::new(h2::Connection::new(Role::Server, config, now));
    for _ in 0..3 {
        receive(&mut server, &drain(&mut client).1);
        receive(&mut client, &drain(&mut server).1);
    }
    (client, server)
}

/// The server has heard of the stream and answers.
fn server_side(server: &mut Pump<h2::Connection>, id: h2::StreamId) -> Echo<h2::Connection> {
    let placeholder = Pump::new(h2::Connection::new(Role::Server, Config::default(), Instant::now()));
    Echo::new(std::mem::replace(server, placeholder), id, 0, 0)
}

/// One side of a tunnel: it says so much of its own, and sends back what it gets where that is nothing.
struct Echo<M> {
    pump: Pump<M>,
    id: h2::StreamId,
    own: usize,
    unsent: VecDeque<u8>,
    received: Vec<u8>,
    has_finished: bool,
    has_ended: bool,
}

impl<M: Machine> Echo<M> {
    fn new(pump: Pump<M>, id: h2::StreamId, own: usize, seed: u64) -> Self {
        let unsent = (0..own).map(|place| (place as u64 * 31 + seed) as u8).collect();
        Self { pump, id, own, unsent, received: Vec::new(), has_finished: false, has_ended: false }
    }

    fn handle(&mut self, event: &Event) {
        match event {
            Event::Request { id, .. } => {
                self.id = *id;
                self.pump.machine().stream(*id).unwrap().respond(&Response::new(()), false).unwrap();
            }
            Event::Finished { .. } => self.has_finished = true,
            Event::Reset { .. } | Event::Closed(_) => panic!("{event:?}"),
            _ => {}
        }
        self.speak();
    }

    fn speak(&mut self) {
        let Some(mut stream) = self.pump.machine().stream(self.id) else { return };
        let octets = stream.read();
        self.received.extend_from_slice(&octets);
        if self.own == 0 {
            self.unsent.extend(octets);
        }
        let octets = self.unsent.make_contiguous();
        let taken = stream.write(octets, false);
        self.unsent.drain(..taken);
        let is_all = if self.own > 0 { self.unsent.is_empty() } else { self.has_finished && self.unsent.is_empty() };
        if is_all && !self.has_ended {
            self.has_ended = true;
            stream.write(&[], true);
        }
    }
}

/// Works both until each has heard the other's end.
fn exchange<A: Machine, B: Machine>(random: &mut Random, mut one: Echo<A>, mut other: Echo<B>) {
    let (mut to_one, mut to_other) = (Wire::default(), Wire::default());
    one.speak();
    for _ in 0..100_000 {
        work(&mut one, &mut to_one, &mut to_other, random);
        work(&mut other, &mut to_other, &mut to_one, random);
        if one.has_finished && other.has_finished {
            assert_eq!(one.received.len(), one.own);
            assert_eq!(one.received, other.received);
            return;
        }
    }
    panic!("{} of {} octets came back", one.received.len(), one.own);
}

#[derive(Default)]
struct Wire {
    octets: BytesMut,
    has_ended: bool,
}

/// One step of one side, with a transport that takes and gives what it likes.
fn work<M: Machine>(side: &mut Echo<M>, from: &mut Wire, to: &mut Wire, random: &mut Random) {
    let now = Instant::now();
    match side.pump.step(now) {
        Step::Event(event) => side.handle(&event),
        Step::Write => {
            let size = random.below(side.pump.output().len() + 1);
            to.octets.extend_from_slice(&side.pump.output()[..size]);
            side.pump.handle_written(size);
        }
        Step::Shutdown => to.has_ended = true,
        Step::Await => side.speak(),
        Step::Closed => {}
    }
    if side.pump.wants_input() && random.below(2) == 0 {
        let size = random.below(from.octets.len() + 1);
        side.pump.input().extend_from_slice(&from.octets[..size]);
        from.octets.advance(size);
        if from.octets.is_empty() && from.has_ended {
            side.pump.handle_eof(now);
        } else if size > 0 {
            side.pump.handle_input(now);
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
