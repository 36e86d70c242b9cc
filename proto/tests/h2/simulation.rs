//! Two machines, an application on each side that does whatever comes to its mind, and a wire that stutters: no octet is
//! lost or out of order, everything comes to its end, and nothing is left.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Response;
use sockeye_proto::Loan;
use sockeye_proto::h2::{Config, Connection, Event, Reason, StreamId};

use crate::common::*;

/// One side of one stream.
#[derive(Default)]
struct End {
    sent: usize,
    received: usize,
    to_send: usize,
    ended: bool,
    peer_ended: bool,
    reset: bool,
    /// A reader that takes its time.
    lazy: bool,
    writable: bool,
}

/// The octet at a place of a stream: every one can be told from its neighbours.
fn octet(stream_id: u32, from_client: bool, at: usize) -> u8 {
    ((stream_id as usize * 31 + usize::from(from_client) * 101 + at * 7 + at / 256) % 256) as u8
}

impl End {
    /// Reads what the other side sent.
    fn check<'a>(&mut self, id: StreamId, is_client: bool, octets: impl Iterator<Item = &'a u8>) {
        for byte in octets {
            assert_eq!(*byte, octet(id.value(), !is_client, self.received), "{id:?} at {}", self.received);
            self.received += 1;
        }
    }
}

/// One application.
struct Side {
    is_client: bool,
    ends: HashMap<StreamId, End>,
    /// The streams in the order they came: the map's own is not the same each time.
    ids: Vec<StreamId>,
    finished: usize,
}

impl Side {
    fn new(is_client: bool) -> Self {
        Self { is_client, ends: HashMap::new(), ids: Vec::new(), finished: 0 }
    }

    fn add(&mut self, random: &mut Random, id: StreamId) {
        let to_send = [0, 1, 100, 20_000, 150_000][random.below(5)];
        self.ends.insert(id, End { to_send, lazy: random.one_in(5), writable: true, ..End::default() });
        self.ids.push(id);
    }

    fn handle_event(&mut self, random: &mut Random, machine: &mut Connection, event: Event) {
        match event {
            Event::Request { id, .. } => {
                // Its reset may have come already.
                let _ = machine.stream(id).unwrap().respond(&Response::new(()), false);
                self.add(random, id);
            }
            Event::Finished { id, .. } => self.with(id, |end| end.peer_ended = true),
            Event::Reset { id, .. } => self.with(id, |end| end.reset = true),
            Event::Writable(id) => self.with(id, |end| end.writable = true),
            Event::Response { end_stream, .. } => assert!(!end_stream),
            Event::Readable(_) | Event::Settings | Event::Pong(_) => {}
            Event::GoAway { .. } | Event::Closed(_) => panic!("{event:?}"),
        }
    }

    fn with(&mut self, id: StreamId, change: impl FnOnce(&mut End)) {
        self.ends.get_mut(&id).map(change);
    }

    /// Does something on one stream.
    fn act(&mut self, random: &mut Random, machine: &mut Connection, id: StreamId, hurry: bool) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let mut stream = machine.stream(id).expect("held until released");
        if !end.lazy || hurry || random.one_in(50) {
            if random.one_in(2) {
                let mut loan = Loan::default();
                stream.lend(&mut loan);
                let octets = if hurry { usize::MAX } else { random.below(loan.unread().len() + 1) };
                end.check(id, self.is_client, loan.unread().iter().take(octets));
                loan.read(octets);
                let left = end.to_send - end.sent;
                if end.writable && !end.ended && !end.reset && left > 0 {
                    let offered = random.below(left.min(2 * loan.room() + 1));
                    let data = (end.sent..end.sent + offered).map(|at| octet(id.value(), self.is_client, at));
                    let fits = offered <= loan.room();
                    let ((), rest) = loan.put(|output| output.extend(data));
                    assert_eq!(rest.map(|rest| rest.len()), (!fits).then_some(offered));
                    end.sent += if fits { offered } else { 0 };
                }
                stream.settle(&mut loan);
                machine.check();
            } else {
                let mut data = stream.read();
                end.check(id, self.is_client, data.iter());
                data.clear();
                machine.recycle(data);
                machine.check();
            }
        }
        let mut stream = machine.stream(id).unwrap();
        if end.writable && !end.ended && !end.reset {
            let left = end.to_send - end.sent;
            let offered = if hurry { left.min(8000) } else { random.below(left.min(8000) + 1) };
            let data: Vec<u8> =
                (end.sent..end.sent + offered).map(|at| octet(id.value(), self.is_client, at)).collect();
            let ends = offered == left;
            let taken = stream.write(&data, ends);
            end.sent += taken;
            end.ended = ends && taken == offered;
            end.writable = taken == offered;
            machine.check();
        }
        let mut stream = machine.stream(id).unwrap();
        let done = end.reset || (end.ended && end.peer_ended && stream.unread() == 0);
        if done || (!hurry && random.one_in(2000)) {
            if !hurry && random.one_in(2) {
                stream.reset(Reason::CANCEL);
            }
            machine.stream(id).unwrap().release();
            self.ends.remove(&id);
            self.ids.retain(|other| *other != id);
            self.finished += 1;
        }
    }
}

/// Moves some octets from one buffer to the other.
fn stutter(random: &mut Random, from: &mut BytesMut, to: &mut BytesMut) {
    let octets = match random.below(4) {
        0 => 0,
        1 => random.below(20).min(from.len()),
        2 => random.below(5000).min(from.len()),
        _ => from.len(),
    };
    to.extend_from_slice(&from[..octets]);
    from.advance(octets);
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let config = |random: &mut Random| Config {
        initial_window_size: [1000, 20_000, 65_535, 200_000][random.below(4)],
        window_pool: [0, 1 << 20][random.below(2)],
        max_send_buffer: [1, 50_000, 256 << 10][random.below(3)],
        max_concurrent_streams: 20,
        seed,
        ..Config::default()
    };
    // The client's window is said to be of its full size below.
    let client = Config { max_unread: 1 << 30, ..config(&mut random) };
    let max_unread = [0, 100_000, 1 << 20, 3 << 20][random.below(4)];
    let server = Config { max_unread, ..config(&mut random) };
    let max_output = client.max_send_buffer.max(server.max_send_buffer) + (128 << 10);
    let max_unread = server.max_unread.max(65_535) as usize;
    let client_initial_window = client.initial_window_size;
    let mut pair = Pair::unacquainted(client, server);
    let (mut client_side, mut server_side) = (Side::new(true), Side::new(false));
    let (mut client_input, mut server_input) = (BytesMut::new(), BytesMut::new());
    let mut opened = 0;
    let mut round = 0;
    loop {
        round += 1;
        assert!(round < 20_000, "seed {seed}: no progress with {} streams", client_side.ids.len());
        let hurry = round > 600;
        if !hurry && random.one_in(10) {
            let request = connect_websocket("https://example.com/");
            if let Ok(id) = pair.client.open(&request, false) {
                client_side.add(&mut random, id);
                opened += 1;
            }
        }
        if !hurry && random.one_in(100) {
            pair.server.ping([5; 8]);
        }
        for (side, machine) in [(&mut client_side, &mut pair.client), (&mut server_side, &mut pair.server)] {
            while let Some(event) = machine.poll_event() {
                machine.check();
                side.handle_event(&mut random, machine, event);
                machine.check();
            }
            let actions = if hurry { side.ids.len() } else { random.below(4).min(side.ids.len()) };
            for action in 0..actions {
                let index = if hurry { actions - 1 - action } else { random.below(side.ids.len().max(1)) };
                if let Some(&id) = side.ids.get(index) {
                    side.act(&mut random, machine, id, hurry);
                    machine.check();
                }
            }
        }
        // A wire that takes nothing for a while holds the output back.
        for (machine, wire) in [(&mut pair.client, &mut pair.to_server), (&mut pair.server, &mut pair.to_client)] {
            if wire.is_empty() {
                machine.poll_transmit(wire);
                machine.check();
                assert!(wire.len() <= max_output, "seed {seed}: {} octets to send", wire.len());
            }
        }
        // Between frames of the client, its window may be said to shrink for a while.
        if !hurry && pair.to_server.is_empty() && random.one_in(50) {
            pair.to_server.extend_from_slice(&settings(&[(4, 0)]));
            pair.to_server.extend_from_slice(&settings(&[(4, client_initial_window)]));
        }
        stutter(&mut random, &mut pair.to_server, &mut server_input);
        stutter(&mut random, &mut pair.to_client, &mut client_input);
        pair.server.handle_data(pair.now, &mut server_input);
        pair.client.handle_data(pair.now, &mut client_input);
        pair.server.check();
        pair.client.check();
        let unread: usize = server_side.ids.iter().map(|id| pair.server.stream(*id).unwrap().unread()).sum();
        assert!(unread <= max_unread, "seed {seed}: {unread} octets unread");
        pair.now += Duration::from_millis(random.below(20) as u64);
        for machine in [&mut pair.client, &mut pair.server] {
            if machine.poll_timeout().is_some_and(|at| at <= pair.now) {
                machine.handle_timeout(pair.now);
                machine.check();
            }
        }
        let wires = [&pair.to_client, &pair.to_server, &client_input, &server_input];
        let is_quiet = client_side.ids.is_empty() && server_side.ids.is_empty();
        if hurry && is_quiet && wires.iter().all(|wire| wire.is_empty()) {
            break;
        }
    }
    assert_eq!(client_side.finished, opened, "seed {seed}");
    pair.exchange();
    assert!(pair.client.poll_event().is_none() && pair.server.poll_event().is_none());
    assert_eq!((pair.client.stream_count(), pair.server.stream_count()), (0, 0));
    assert_eq!((pair.client.active_stream_count(), pair.server.active_stream_count()), (0, 0));
    assert!(!pair.client.is_closed() && !pair.server.is_closed());
    // A client that has released a stream may open the next before the server has: that is refused, and no other fault.
    let counters = pair.server.counters();
    assert_eq!(counters.resets_for_faults, counters.streams_refused, "seed {seed}");
}

#[test]
fn seeds() {
    // One takes as long as a thousand mutated sessions.
    for seed in 0..(iterations() / 100).min(500) {
        run(seed);
    }
}
