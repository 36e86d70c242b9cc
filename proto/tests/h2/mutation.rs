//! Random and mutated octets: nothing panics, and memory stays within the bound.
//!
//! `SOCKEYE_FUZZ_ITERATIONS` says how many sessions to try; each is told apart by its seed alone.

use std::time::Duration;

use bytes::BytesMut;
use http::Response;
use sockeye_proto::h2::{Config, Connection, Event, Reason, Role, StreamId};

use crate::common::*;

/// A frame that is mostly right.
fn any_frame(random: &mut Random, role: Role) -> Vec<u8> {
    let stream_id = [0, 1, 1, 3, 3, 5, 7, 2, 9, 0x7fff_ffff][random.below(10)];
    let content = vec![b'x'; [0, 1, 5, 100, 5000, 16_384][random.below(6)]];
    let increment = [0, 1, 100, 65_535, (1 << 31) - 1][random.below(5)];
    let block = match random.below(6) {
        0 => block(&[("x", "y"), ("content-length", "5")]),
        1 => block(CONNECT_WEBSOCKET),
        2 => block(POST),
        3 => [0x3f, 0xe1, 0x1f, 0x82, 0x87, 0x84, 0x41, 3, b'a', b'.', b'b', 0xbe].to_vec(),
        _ if role == Role::Client => block(&[(":status", ["100", "200", "204", "404"][random.below(4)]), ("a", "b")]),
        _ => block(GET),
    };
    let flags = if random.one_in(8) { random.next() as u8 } else { random.below(2) as u8 };
    match random.below(16) {
        0..4 => frame(DATA, flags, stream_id, &content),
        4..8 => frame(HEADERS, flags | END_HEADERS, stream_id, &block),
        8 => frame(HEADERS, flags, stream_id, &block),
        9 => frame(CONTINUATION, flags | if random.one_in(2) { END_HEADERS } else { 0 }, stream_id, &block),
        10 => rst_stream(stream_id, Reason::new(random.below(16) as u32)),
        11 => settings(&[(random.below(10) as u16, [0, 1, 100, 20_000, increment][random.below(5)])]),
        12 => frame(SETTINGS, ACK, 0, &[]),
        13 => frame(PING, flags, 0, &[1; 8]),
        14 => window_update(stream_id, increment),
        _ => frame(random.below(12) as u8, flags, stream_id, &content[..content.len().min(9)]),
    }
}

fn any_session(random: &mut Random, role: Role) -> Vec<u8> {
    let mut session = Vec::new();
    if role == Role::Server && !random.one_in(20) {
        session.extend_from_slice(PREFACE);
    }
    if !random.one_in(20) {
        session.extend(settings(&[(4, [0, 10, 70_000, 1 << 30][random.below(4)]), (8, 1)]));
    }
    for _ in 0..random.below(40) {
        session.extend(any_frame(random, role));
    }
    let mutations = if random.one_in(2) { 0 } else { random.below(8) };
    for _ in 0..mutations {
        if session.is_empty() {
            break;
        }
        let at = random.below(session.len());
        match random.below(4) {
            0 => session[at] = random.next() as u8,
            1 => session[at] ^= 1 << random.below(8),
            2 => drop(session.drain(at..session.len().min(at + 1 + random.below(20)))),
            _ => session.insert(at, random.next() as u8),
        }
    }
    session
}

/// What an application might do, at any time.
fn any_verb(random: &mut Random, machine: &mut Connection, id: StreamId) {
    let Some(mut stream) = machine.stream(id) else { return };
    let end_stream = random.one_in(4);
    match random.below(10) {
        0..3 => drop(stream.respond(&Response::new(()), end_stream)),
        3..6 => {
            let can_write = stream.respond(&Response::new(()), false).is_ok() || stream.is_send_closed();
            if can_write {
                stream.write(&[b'y'; 20_000][..random.below(20_000)], end_stream);
            }
        }
        6 => {
            let buffer = stream.read();
            machine.recycle(buffer);
        }
        7 => drop(stream.send_trailers(&http::HeaderMap::new())),
        8 => stream.reset(Reason::CANCEL),
        _ => stream.release(),
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let role = if random.one_in(2) { Role::Client } else { Role::Server };
    let config = Config {
        max_concurrent_streams: 3,
        initial_window_size: [1000, 65_535, 70_000][random.below(3)],
        window_pool: 100_000,
        keep_alive_interval: random.one_in(2).then_some(Duration::from_secs(5)),
        max_send_buffer: 50_000,
        seed,
        ..Config::default()
    };
    // The documented bound, with a smaller window's DATA that came before the acknowledgement.
    let max_unread = 3 * 70_000 + 100_000;
    let max_output = config.max_send_buffer + (128 << 10);
    let mut now = std::time::Instant::now();
    let mut machine = Connection::new(role, config, now);
    let mut ids = Vec::new();
    if role == Role::Client {
        ids.extend(machine.open(&get("https://example.com/"), random.one_in(2)));
        ids.extend(machine.open(&get("https://example.com/"), false));
    }
    let session = any_session(&mut random, role);
    let mut rest = &session[..];
    let mut input = BytesMut::new();
    let mut output = BytesMut::new();
    let mut closed = false;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(3000)).min(rest.len()));
        rest = after;
        input.extend_from_slice(piece);
        loop {
            machine.handle_data(now, &mut input);
            machine.check();
            while let Some(event) = machine.poll_event() {
                machine.check();
                assert!(!closed, "seed {seed}: an event after the last");
                match event {
                    Event::Request { id, .. } => ids.push(id),
                    Event::Closed(_) => closed = true,
                    _ => {}
                }
            }
            for _ in 0..random.below(4) {
                if let Some(&id) = ids.get(random.below(ids.len().max(1))) {
                    any_verb(&mut random, &mut machine, id);
                    machine.check();
                }
            }
            output.clear();
            machine.poll_transmit(&mut output);
            machine.check();
            assert!(output.len() <= max_output, "seed {seed}: {} octets to send", output.len());
            if !random.one_in(2) || input.is_empty() {
                break;
            }
        }
        let unread: usize = ids.iter().filter_map(|&id| Some(machine.stream(id)?.unread())).sum();
        assert!(unread <= max_unread, "seed {seed}: {unread} octets unread");
        assert!(machine.stream_count() <= 3);
        if random.one_in(4) {
            now += Duration::from_millis(random.below(8000) as u64);
            machine.handle_timeout(now);
            machine.check();
        }
        match random.below(60) {
            0 => machine.drain(now),
            1 => machine.ping([1; 8]),
            2 => ids.extend(machine.open(&connect_websocket("https://example.com/"), false)),
            _ => {}
        }
        machine.check();
    }
    if random.one_in(2) {
        machine.handle_eof(now);
        machine.check();
        assert!(machine.is_closed());
    }
    assert!(machine.poll_timeout().is_none() || !machine.is_closed());
}

#[test]
fn mutated_sessions() {
    for seed in 0..iterations() {
        run(seed);
    }
}

/// Octets without any structure, behind a good beginning.
#[test]
fn random_octets() {
    for seed in 0..iterations() / 4 {
        let mut random = Random(!seed);
        let mut tested = if random.one_in(2) { Tested::server() } else { Tested::client() };
        let bytes: Vec<u8> = (0..random.below(500)).map(|_| (random.next() as u8) >> random.below(8)).collect();
        tested.receive(&bytes);
    }
}
