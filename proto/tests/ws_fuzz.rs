//! Random and mutated octets into both roles, with verbs of the application between: no panic, memory within the bound,
//! the same outcome however the octets are cut; with and without extensions. `SOCKEYE_FUZZ_ITERATIONS` sets how many
//! inputs.
#![cfg(feature = "deflate")]

mod ws_common;

use std::time::Instant;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::ws::{CloseCode, Config, Deflate, DeflateContext, Event, Extensions, Role, State, WebSocket};
use ws_common::*;

const CONFIG: Config = Config { max_message_size: 300, max_fragments: 6, ping_burst: 5, pings_per_second: 1 };

fn iterations() -> u64 {
    std::env::var("SOCKEYE_FUZZ_ITERATIONS").map_or(20_000, |count| count.parse().expect("a number"))
}

/// Extensions in use, mostly none.
fn extensions(random: &mut Random) -> Extensions {
    let context = DeflateContext { takeover: random.below(2) == 0, window_bits: 9 };
    let deflate = Deflate { server: context, client: context, level: 1, min_size: 4 };
    Extensions { deflate: (random.below(3) == 0).then_some(deflate), no_masking: random.below(4) == 0 }
}

fn compressed(text: &str) -> Vec<u8> {
    let mut output = Vec::with_capacity(2 * text.len() + 64);
    let mut compress = Compress::new_with_window_bits(Compression::fast(), false, 9);
    compress.compress_vec(text.as_bytes(), &mut output, FlushCompress::Sync).unwrap();
    output.truncate(output.len() - 4);
    output
}

/// A session of frames that are mostly right, so that mutations reach far into it.
fn session(random: &mut Random, masked: bool, deflate: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut open = false;
    // Of a compressed message that is not finished.
    let mut rest: Option<Vec<u8>> = None;
    for _ in 0..random.below(8) {
        let mut size = [random.below(8), random.below(126), 126 + random.below(200)][random.below(3)];
        let fin = if random.below(3) > 0 { FIN } else { 0 };
        let mut first = match random.below(12) {
            0 => FIN | PING,
            1 => FIN | PONG,
            2 if random.below(3) == 0 => FIN | CLOSE,
            _ if open => fin | CONTINUATION,
            _ => fin | [TEXT, BINARY][random.below(2)],
        };
        if first & 0x8 == 0 {
            open = first & FIN == 0;
        } else {
            size = size.min(125);
        }
        let text: String = "aé€😀".chars().cycle().skip(random.below(4)).take(size).collect();
        let mut payload = text.as_bytes()[..size].to_vec();
        if deflate && matches!(first & 0xF, TEXT | BINARY) && random.below(4) > 0 {
            first |= RSV1;
            rest = Some(compressed(&text));
        }
        if first & 0x8 == 0
            && let Some(mut compressed) = rest.take()
        {
            if first & FIN == 0 {
                rest = Some(compressed.split_off(random.below(compressed.len() + 1)));
            }
            payload = compressed;
        }
        if first == FIN | CLOSE && size > 1 {
            payload[..2].copy_from_slice(&1000u16.to_be_bytes());
        }
        match masked {
            true => wire.extend(frame(first, payload)),
            false => wire.extend(bare(first, &payload[..payload.len().min(125)])),
        }
    }
    wire
}

fn mutate(random: &mut Random, wire: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(wire.len() + 1);
        match random.below(4) {
            0 => wire.truncate(at),
            1 => wire.insert(at, random.next() as u8),
            _ if at == wire.len() => {}
            2 => wire[at] ^= 1 << random.below(8),
            _ => wire[at] = random.next() as u8,
        }
    }
}

/// Feeds all of `wire`, cut at random, and checks at each step what must always hold.
fn run(socket: &mut WebSocket, now: Instant, wire: &[u8], random: &mut Random, has_verbs: bool) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut rest = wire;
    let largest = 1 + random.below(wire.len() + 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(largest)).min(rest.len()));
        rest = after;
        let mut input = BytesMut::from(piece);
        while !input.is_empty() {
            let before = input.len();
            let message = if random.below(2) == 0 {
                let (taken, message) = socket.handle_in_place(|| now, &mut input);
                input.advance(taken);
                message
            } else {
                socket.handle_data(|| now, &mut input);
                None
            };
            assert!(input.len() < before, "progress");
            let event = message.map(Event::Message).or_else(|| socket.poll_event());
            let has_work = event.is_some() || socket.is_transmit_pending();
            assert!(has_work || input.is_empty(), "with nothing to do all input is taken");
            assert_eq!(socket.poll_event(), None, "one event at a time");
            events.extend(event);
            let is_compressed = socket.extensions().deflate.is_some();
            let slack = if is_compressed { CONFIG.max_message_size / 8 + 64 } else { 0 };
            assert!(socket.buffered() <= CONFIG.max_message_size + slack);
        }
        if has_verbs {
            let was_open = socket.state() == State::Open;
            let accepted = match random.below(16) {
                0 => socket.send(&"text".repeat(random.below(8)).into()).is_ok(),
                1 => socket.ping(b"ping").is_ok(),
                2 if random.below(4) == 0 => socket.close(CloseCode::NORMAL, "").is_ok(),
                _ => was_open,
            };
            assert_eq!(accepted, was_open, "a verb is taken while the socket is open, and only then");
        }
    }
    let is_last = |event: &Event| matches!(event, Event::Close(_) | Event::Failed(_));
    let last = events.iter().position(is_last);
    assert!(last.is_none_or(|last| last + 1 == events.len()), "nothing follows the last event");
    assert_eq!(last.is_some(), socket.state() == State::Closed);
    events
}

#[test]
fn octets_of_all_kinds() {
    let now = Instant::now();
    for seed in 0..iterations() {
        let mut random = Random(seed);
        let (server, client) = (Role::Server, Role::Client { mask_key: || KEY });
        let (role, peers_role) = [(server, client), (client, server)][random.below(2)];
        let in_use = extensions(&mut random);
        let masked = matches!(role, Role::Server) && !in_use.no_masking;
        let mut wire = session(&mut random, masked, in_use.deflate.is_some());
        if random.below(8) == 0 {
            wire = (0..random.below(64)).map(|_| random.next() as u8).collect();
        }
        mutate(&mut random, &mut wire);

        let new = || WebSocket::new(role, CONFIG).with_extensions(in_use);
        let mut socket = new();
        run(&mut socket, now, &wire, &mut random, true);
        // Whatever it sent, a peer without limits finds no fault with it.
        let lenient = Config { ping_burst: 1000, ..Config::default() };
        let mut peer = WebSocket::new(peers_role, lenient).with_extensions(in_use);
        let answers = feed(&mut peer, &sent(&mut socket));
        assert!(!answers.iter().any(|event| matches!(event, Event::Failed(_))), "seed {seed}: {answers:?}");

        let whole = run(&mut new(), now, &wire, &mut Random(seed), false);
        let mut socket = new();
        assert_eq!(feed_at(&mut socket, now, &wire), whole, "seed {seed}");
        socket.handle_eof();
        assert_eq!(socket.poll_event().is_none(), matches!(whole.last(), Some(Event::Close(_) | Event::Failed(_))));
        assert_eq!(socket.buffered(), 0);
    }
}
