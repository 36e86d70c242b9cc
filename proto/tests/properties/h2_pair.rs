//! Two machines, an application on each side that does whatever comes to its mind, and a wire that stutters: no octet is
//! lost or out of order, everything comes to its end, and nothing is left.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{Request, Response};
use sockeye_proto::Loan;
use sockeye_proto::h2::{Config, Connection, Event, Rate, Reason, StreamId};

use super::choices::Choices;
use super::h2_common::{Pair, connect_websocket, settings};

/// Rounds of a seed in which something begins.
const ROUNDS: usize = 600;
/// Rounds within which all comes to its end.
const MAX_ROUNDS: usize = 20_000;

pub fn check(choices: &mut Choices<'_>) {
    let mut run = Run::new(choices);
    let mut round = 0;
    loop {
        round += 1;
        assert!(round < MAX_ROUNDS, "no progress with {} streams", run.client.ids.len());
        let hurry = choices.is_over(ROUNDS.saturating_sub(round));
        if !hurry {
            run.begin(choices);
        }
        let was_quiet = run.is_quiet();
        let heard = run.act(choices, hurry);
        let sent = run.transmit();
        if !hurry {
            run.shrink_window(choices);
        }
        run.deliver(choices);
        // A wire that was not empty has taken nothing of what there is to send, and what it brought is heard in the next round.
        if hurry && was_quiet && !heard && !sent && run.is_quiet() {
            break;
        }
    }
    run.check_end();
}

/// The two machines, the applications on both sides, and the wire between them.
struct Run {
    pair: Pair,
    client: Side,
    server: Side,
    client_input: BytesMut,
    server_input: BytesMut,
    client_initial_window: u32,
    max_output: usize,
    /// Octets that the server may hold.
    max_unread: usize,
    opened: usize,
}

impl Run {
    fn new(choices: &mut Choices<'_>) -> Self {
        // The client's window is said to be of its full size below.
        let client = any_config(choices).with(|config| config.max_unread = 1 << 30);
        let max_unread = choices.pick(&[0, 100_000, 1 << 20, 3 << 20]);
        let server = any_config(choices).with(|config| config.max_unread = max_unread);
        Self {
            client: Side::new(true),
            server: Side::new(false),
            client_input: BytesMut::new(),
            server_input: BytesMut::new(),
            client_initial_window: client.initial_window_size,
            max_output: client.max_send_buffer.max(server.max_send_buffer) + (128 << 10),
            max_unread: server.max_unread.max(65_535) as usize,
            opened: 0,
            pair: Pair::unacquainted(client, server),
        }
    }

    /// Something new.
    fn begin(&mut self, choices: &mut Choices<'_>) {
        if choices.one_in(10) {
            let uri = "https://example.com/";
            let is_tunnel = !choices.one_in(4);
            let request = if is_tunnel { connect_websocket(uri) } else { Request::post(uri).body(()).unwrap() };
            if let Ok(id) = self.pair.client.open(&request, false) {
                self.client.add(choices, id);
                self.opened += 1;
            }
        }
        if choices.one_in(100) {
            self.pair.server.ping([5; 8]);
        }
    }

    /// Between frames of the client, its window may be said to shrink for a while.
    fn shrink_window(&mut self, choices: &mut Choices<'_>) {
        if self.pair.to_server.is_empty() && choices.one_in(50) {
            self.pair.to_server.extend_from_slice(&settings(&[(4, 0)]));
            self.pair.to_server.extend_from_slice(&settings(&[(4, self.client_initial_window)]));
        }
    }

    /// The applications: each hears what happened, and does something. Whether there was anything to hear.
    fn act(&mut self, choices: &mut Choices<'_>, hurry: bool) -> bool {
        let Self { pair, client, server, .. } = self;
        let mut heard = false;
        for (side, machine) in [(client, &mut pair.client), (server, &mut pair.server)] {
            while let Some(event) = machine.poll_event() {
                heard = true;
                machine.check();
                side.handle_event(choices, machine, event);
                machine.check();
            }
            let actions = if hurry { side.ids.len() } else { choices.below(4).min(side.ids.len()) };
            for action in 0..actions {
                let index = if hurry { actions - 1 - action } else { choices.below(side.ids.len().max(1)) };
                if let Some(&id) = side.ids.get(index) {
                    side.act(choices, machine, id, hurry);
                    machine.check();
                }
            }
        }
        heard
    }

    /// A wire that takes nothing for a while holds the output back. Whether it took anything.
    fn transmit(&mut self) -> bool {
        let mut sent = false;
        let Pair { client, server, to_client, to_server, .. } = &mut self.pair;
        for (machine, wire) in [(client, to_server), (server, to_client)] {
            if wire.is_empty() {
                machine.poll_transmit(wire);
                machine.check();
                assert!(wire.len() <= self.max_output, "{} octets to send", wire.len());
                sent |= !wire.is_empty();
            }
        }
        sent
    }

    fn deliver(&mut self, choices: &mut Choices<'_>) {
        let pair = &mut self.pair;
        stutter(choices, &mut pair.to_server, &mut self.server_input);
        stutter(choices, &mut pair.to_client, &mut self.client_input);
        pair.server.handle_data(pair.now, &mut self.server_input);
        pair.client.handle_data(pair.now, &mut self.client_input);
        pair.server.check();
        pair.client.check();
        let unread: usize = self.server.ids.iter().map(|id| pair.server.stream(*id).unwrap().unread()).sum();
        assert!(unread <= self.max_unread, "{unread} octets unread");
        pair.now += Duration::from_millis(choices.below(20) as u64);
        for machine in [&mut pair.client, &mut pair.server] {
            if machine.poll_timeout().is_some_and(|at| at <= pair.now) {
                machine.handle_timeout(pair.now);
                machine.check();
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let wires = [&self.pair.to_client, &self.pair.to_server, &self.client_input, &self.server_input];
        self.client.ids.is_empty() && self.server.ids.is_empty() && wires.iter().all(|wire| wire.is_empty())
    }

    fn check_end(mut self) {
        let pair = &mut self.pair;
        assert_eq!(self.client.finished, self.opened);
        pair.exchange();
        for machine in [&mut pair.client, &mut pair.server] {
            while let Some(event) = machine.poll_event() {
                assert!(matches!(event, Event::Settings | Event::Pong(_)), "{event:?} of what is over");
            }
        }
        assert_eq!((pair.client.stream_count(), pair.server.stream_count()), (0, 0));
        assert_eq!((pair.client.active_stream_count(), pair.server.active_stream_count()), (0, 0));
        assert!(!pair.client.is_closed() && !pair.server.is_closed());
        // A client that has released a stream may open the next before the server has: that is refused, and no other fault.
        let counters = pair.server.counters();
        assert_eq!(counters.resets_for_faults, counters.streams_refused);
    }
}

fn any_config(choices: &mut Choices<'_>) -> Config {
    // How often one may do what costs the other is not what this is about.
    let unlimited = Rate { burst: u32::MAX, per_second: 1 };
    Config::default().with(|config| {
        config.initial_window_size = choices.pick(&[1000, 20_000, 65_535, 200_000]);
        config.window_pool = choices.pick(&[0, 1 << 20]);
        config.max_send_buffer = choices.pick(&[1, 50_000, 256 << 10]);
        config.max_concurrent_streams = 20;
        config.resets = unlimited;
        config.settings = unlimited;
        config.glitches = unlimited;
    })
}

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
    (stream_id as usize * 31 + usize::from(from_client) * 101 + at * 7 + (at >> 8)) as u8
}

impl End {
    /// Reads what the other side sent.
    fn check(&mut self, id: StreamId, is_client: bool, octets: &[u8]) {
        let expected = (self.received..).map(|at| octet(id.value(), !is_client, at));
        assert!(octets.iter().copied().eq(expected.take(octets.len())), "octets of {id:?} from {} on", self.received);
        self.received += octets.len();
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

    fn add(&mut self, choices: &mut Choices<'_>, id: StreamId) {
        // More than any window of a stream takes its time.
        let to_send = if choices.one_in(16) { 150_000 } else { choices.pick(&[0, 1, 100, 3000, 20_000]) };
        self.ends.insert(id, End { to_send, lazy: choices.one_in(5), writable: true, ..End::default() });
        self.ids.push(id);
    }

    fn handle_event(&mut self, choices: &mut Choices<'_>, machine: &mut Connection, event: Event) {
        match event {
            Event::Request { id, .. } => {
                // Its reset may have come already.
                let _ = machine.stream(id).unwrap().respond(&Response::new(()), false);
                self.add(choices, id);
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
    fn act(&mut self, choices: &mut Choices<'_>, machine: &mut Connection, id: StreamId, hurry: bool) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let mut stream = machine.stream(id).expect("held until released");
        if !end.lazy || hurry || choices.one_in(50) {
            if choices.one_in(2) {
                let mut loan = Loan::default();
                stream.lend(&mut loan);
                let unread = loan.unread();
                let octets = if hurry { unread.len() } else { choices.below(unread.len() + 1) };
                end.check(id, self.is_client, &unread[..octets]);
                loan.read(octets);
                let left = end.to_send - end.sent;
                if end.writable && !end.ended && !end.reset && left > 0 {
                    let offered = choices.below(left.min(2 * loan.room() + 1));
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
                end.check(id, self.is_client, &data);
                data.clear();
                machine.recycle(data);
                machine.check();
            }
        }
        let mut stream = machine.stream(id).unwrap();
        if end.writable && !end.ended && !end.reset {
            let left = end.to_send - end.sent;
            let offered = if hurry { left.min(8000) } else { choices.below(left.min(8000) + 1) };
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
        if done || (!hurry && choices.one_in(2000)) {
            if !hurry && choices.one_in(2) {
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
fn stutter(choices: &mut Choices<'_>, from: &mut BytesMut, to: &mut BytesMut) {
    let octets = match choices.below(4) {
        0 => 0,
        1 => choices.below(20).min(from.len()),
        2 => choices.below(5000).min(from.len()),
        _ => from.len(),
    };
    to.extend_from_slice(&from[..octets]);
    from.advance(octets);
}
