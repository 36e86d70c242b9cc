//! Runs of a client and a server over a wire that stutters: what goes in at one end comes out at the other, within
//! the bounds, and both come to their end.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use sockeye_proto::h1::{Connection, Head, HeadReader, STREAM};
use sockeye_proto::h2::{Config, Event, Role};
use sockeye_proto::{Loan, Machine, MachineStream};

use super::choices::Choices;
use super::h1_common::{HANDSHAKE, switching};

pub fn check(choices: &mut Choices<'_>) {
    let mut now = Instant::now();
    let config = |choices: &mut Choices<'_>| {
        Config::default().with(|config| {
            config.initial_window_size = [1, 1000, 20_000, 65_535][choices.below(4)];
            config.max_send_buffer = [1, 500, 50_000, 256 << 10][choices.below(4)];
        })
    };
    let (mut to_server, mut to_client) = (Wire::default(), Wire::default());
    let (ours, theirs) = (config(choices), config(choices));
    let machine = Connection::tunnel(Role::Client, &ours, now);
    let mut client = End::new(choices, machine, true, [&ours, &theirs]);
    // A client may be faster than the handshake.
    client.write(choices);
    client.machine.poll_transmit(&mut to_server.octets);
    to_server.ended = client.machine.is_send_closed();
    let machine = if choices.one_in(2) {
        Connection::tunnel(Role::Server, &theirs, now)
    } else {
        shake_hands(choices, &theirs, now, &mut to_server)
    };
    let mut server = End::new(choices, machine, false, [&theirs, &ours]);
    let mut round = 0;
    while !(client.closed && server.closed) {
        round += 1;
        assert!(round < 20_000, "no progress");
        for _ in 0..choices.below(3) {
            client.act(choices);
            server.act(choices);
        }
        client.drive(choices, now, &mut to_client, &mut to_server);
        server.drive(choices, now, &mut to_server, &mut to_client);
        client.handle_events();
        server.handle_events();
        now += Duration::from_millis(choices.below(20) as u64);
        assert!(client.machine.poll_timeout().or(server.machine.poll_timeout()).is_none());
    }
    for (end, peer) in [(&client, &server), (&server, &client)] {
        assert_eq!((end.received, end.sent), (peer.sent, end.to_send));
        assert!(end.machine.is_closed() && end.machine.stream_count() == 0 && end.peer_ended);
    }
}

/// The octet that one side sends at one place.
fn octet(is_client: bool, at: usize) -> u8 {
    (at ^ (at >> 8) ^ usize::from(is_client) << 4) as u8
}

/// An end of the tunnel, and its application.
struct End {
    machine: Connection,
    is_client: bool,
    window: usize,
    max_output: usize,
    to_send: usize,
    sent: usize,
    received: usize,
    input: BytesMut,
    loan: Loan,
    readable: bool,
    writable: bool,
    ended: bool,
    peer_ended: bool,
    closed: bool,
}

impl End {
    fn new(choices: &mut Choices<'_>, machine: Connection, is_client: bool, configs: [&Config; 2]) -> Self {
        let [config, peer] = configs;
        // What goes octet by octet takes its time.
        let smallest = config.max_send_buffer.min(peer.initial_window_size as usize);
        Self {
            machine,
            is_client,
            window: config.initial_window_size as usize,
            max_output: config.max_send_buffer,
            to_send: [0, 10, 3000, 40_000][choices.below(4)].min(200 * smallest),
            sent: 0,
            received: 0,
            input: BytesMut::new(),
            loan: Loan::default(),
            readable: false,
            writable: true,
            ended: false,
            peer_ended: false,
            closed: false,
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            assert!(!self.closed, "nothing follows the last event");
            match event {
                Event::Request { .. } => {}
                Event::Readable(STREAM) => {
                    assert!(!std::mem::replace(&mut self.readable, true), "it is said once");
                }
                Event::Writable(STREAM) => {
                    assert!(!std::mem::replace(&mut self.writable, true), "only who waits is told");
                }
                Event::Finished { id: STREAM, trailers: None } => {
                    assert!(!std::mem::replace(&mut self.peer_ended, true), "it ends once");
                }
                Event::Closed(None) => self.closed = true,
                other => panic!("{other:?}"),
            }
        }
    }

    fn act(&mut self, choices: &mut Choices<'_>) {
        let Some(stream) = self.machine.stream(STREAM) else { return };
        assert_eq!(self.readable, stream.unread() > 0);
        match choices.below(4) {
            0 => self.act_on_loan(choices),
            1 => self.read(),
            2 => self.write(choices),
            _ if choices.one_in(3) => self.machine.shrink(),
            _ => drop(self.machine.take_batch()),
        }
        let stream = self.machine.stream(STREAM).unwrap();
        assert!(stream.unread() <= self.window);
        self.readable = stream.unread() > 0;
        if stream.is_closed() && stream.unread() == 0 {
            stream.release();
        }
    }

    fn check(&mut self, octets: &[u8]) {
        let expected = (self.received..).map(|at| octet(!self.is_client, at));
        assert!(octets.iter().copied().eq(expected.take(octets.len())), "octets come as they were sent");
        self.received += octets.len();
    }

    fn read(&mut self) {
        let data = self.machine.stream(STREAM).unwrap().read();
        self.check(&data);
        self.machine.recycle(data);
    }

    fn act_on_loan(&mut self, choices: &mut Choices<'_>) {
        self.machine.stream(STREAM).unwrap().lend(&mut self.loan);
        let octets = choices.below(self.loan.unread().len() + 1);
        let read = self.loan.unread()[..octets].to_vec();
        self.loan.read(octets);
        let left = self.to_send - self.sent;
        if self.writable && !self.ended && left > 0 {
            let offered = choices.below(left.min(2 * self.loan.room() + 1)) + 1;
            let (from, is_client) = (self.sent, self.is_client);
            let fits = offered <= self.loan.room();
            let put = |output: &mut BytesMut| output.extend((from..from + offered).map(|at| octet(is_client, at)));
            let ((), rest) = self.loan.put(put);
            assert_eq!(rest.map(|rest| rest.len()), (!fits).then_some(offered));
            self.sent += if fits { offered } else { 0 };
        }
        self.machine.stream(STREAM).unwrap().settle(&mut self.loan);
        self.check(&read);
    }

    fn write(&mut self, choices: &mut Choices<'_>) {
        if self.ended || !self.writable {
            return;
        }
        let left = self.to_send - self.sent;
        let offered = choices.below(left.min(40_000) + 1);
        let data: Vec<u8> = (self.sent..self.sent + offered).map(|at| octet(self.is_client, at)).collect();
        let ends = offered == left;
        let taken = self.machine.stream(STREAM).unwrap().write(&data, ends);
        self.sent += taken;
        self.writable = taken == offered;
        self.ended = ends && self.writable;
        assert_eq!(self.machine.is_send_closed(), self.ended);
    }

    /// The transport: what goes out, and what comes in.
    fn drive(&mut self, choices: &mut Choices<'_>, now: Instant, from: &mut Wire, to: &mut Wire) {
        if to.octets.is_empty() || choices.one_in(4) {
            let before = to.octets.len();
            self.machine.poll_transmit(&mut to.octets);
            assert!(to.octets.len() - before <= self.max_output.max(200), "the output is bounded");
            to.ended |= self.machine.is_send_closed();
        }
        if self.machine.is_stopped() {
            assert!(self.machine.stream(STREAM).unwrap().unread() == self.window, "it stops at its window");
            return;
        }
        let octets = match choices.below(3) {
            0 => choices.below(20).min(from.octets.len()),
            1 => choices.below(30_000).min(from.octets.len()),
            _ => from.octets.len(),
        };
        self.input.extend_from_slice(&from.octets[..octets]);
        from.octets.advance(octets);
        self.machine.handle_data(now, &mut self.input);
        assert!(self.input.is_empty() || self.machine.is_stopped(), "only what finds no room is left");
        if from.octets.is_empty() && self.input.is_empty() && from.ended && !from.heard {
            from.heard = true;
            self.machine.handle_eof(now);
        }
    }
}

/// One direction of the transport.
#[derive(Default)]
struct Wire {
    octets: BytesMut,
    ended: bool,
    heard: bool,
}

/// A server that read its client's head, with the first octets of the tunnel behind it, and answered with a 101 that is taken
/// off the wire again.
fn shake_hands(choices: &mut Choices<'_>, config: &Config, now: Instant, wire: &mut Wire) -> Connection {
    let octets = [HANDSHAKE.as_bytes(), &wire.octets[..]].concat();
    let mut reader = HeadReader::new(config);
    let mut end = 0;
    let (request, length) = loop {
        end = (end + choices.below(100)).min(octets.len());
        match reader.read(&octets[..end]) {
            Head::Partial => {}
            Head::WebSocket { request, length } => break (request, length),
            Head::Other(reason) => panic!("{reason:?}"),
        }
    };
    assert_eq!(length, HANDSHAKE.len());
    let mut machine = Connection::server(request, config, now);
    assert!(matches!(machine.poll_event(), Some(Event::Request { id: STREAM, .. })));
    machine.stream(STREAM).unwrap().respond(&switching(), false).unwrap();
    let mut output = BytesMut::new();
    machine.poll_transmit(&mut output);
    assert!(output.ends_with(b"\r\n\r\n"));
    machine
}
