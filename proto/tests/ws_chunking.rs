//! Any split of the octets of a session gives the same events and the same answers: frames and reads have nothing to do
//! with each other (RFC 6455 §5.4; over HTTP/2, RFC 8441 §5).

#![cfg(feature = "web-socket")]

mod ws_common;

use sockeye_proto::ws::{Event, State};
use ws_common::*;

/// What a session shows: its events, what it sends, how it ends.
type Outcome = (Vec<Event>, Vec<u8>, State);

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut socket = server();
    let events = pieces.into_iter().flat_map(|piece| feed(&mut socket, piece)).collect();
    let sent = sent(&mut socket);
    (events, sent, socket.state())
}

/// The same, with whole messages taken where they stand.
fn run_in_place<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut socket = server();
    let events = pieces.into_iter().flat_map(|piece| feed_in_place(&mut socket, piece)).collect();
    let sent = sent(&mut socket);
    (events, sent, socket.state())
}

/// Sessions of all kinds of frames, and of each way to end.
fn sessions() -> Vec<Vec<u8>> {
    let start = [frame(FIN | TEXT, "é"), frame(FIN | PING, "p"), frame(BINARY, "ab")].concat();
    let ends = [
        frame(FIN | CLOSE, close_body(1000, "ü")),
        frame(FIN | CONTINUATION, "c"),
        [frame(FIN | CONTINUATION, ""), frame(FIN | PONG, "")].concat(),
        frame(FIN | CLOSE, [3]),
        frame(FIN | CLOSE, close_body(1005, "")),
        frame(TEXT, "interleaved"),
        [frame(CONTINUATION, ""), vec![FIN | CLOSE, 0xFE]].concat(),
        [frame(FIN | CONTINUATION, ""), frame(TEXT, b"\xF0\x9F"), frame(FIN | CONTINUATION, b"\x98\x80")].concat(),
        [frame(FIN | CONTINUATION, ""), frame(TEXT, b"\xF0\x9F"), frame(FIN | CONTINUATION, b"\x98\x40")].concat(),
        [frame(FIN | CONTINUATION, ""), frame(FIN | TEXT, b"\xFF")].concat(),
        vec![FIN | BINARY | 0x40],
    ];
    ends.iter().map(|end| [&start[..], end, &frame(FIN | TEXT, "after")].concat()).collect()
}

/// Every split of a short session into three pieces, and into single octets.
#[test]
fn every_split_of_short_sessions() {
    for session in sessions() {
        let whole = run([&session[..]]);
        assert_eq!(run(session.chunks(1)), whole);
        assert_eq!(run_in_place(session.chunks(1)), whole);
        for first in 0..session.len() {
            for second in first..session.len() {
                let pieces = [&session[..first], &session[first..second], &session[second..]];
                assert_eq!(run(pieces), whole, "{session:x?} at {first} and {second}");
                assert_eq!(run_in_place(pieces), whole, "{session:x?} at {first} and {second}, in place");
            }
        }
    }
}

/// Seeded splits of a long session whose frames have every length encoding.
#[test]
fn random_splits_of_a_long_session() {
    let mut random = Random(7);
    let mut session = Vec::new();
    for _ in 0..60 {
        let size = [0, 5, 125, 126, 5000, 65_535, 65_536][random.below(7)];
        let text: String = "aé😀".chars().cycle().skip(random.below(3)).take(size).collect();
        match random.below(4) {
            0 => session.extend(frame(FIN | TEXT, &text)),
            1 => session.extend(frame(FIN | BINARY, &text.as_bytes()[..size])),
            2 => session.extend(frame(FIN | PONG, &text.as_bytes()[..size.min(125)])),
            _ => {
                let (first, rest) = text.as_bytes().split_at(random.below(size + 1));
                session.extend([frame(TEXT, first), frame(FIN | PING, ""), frame(FIN | CONTINUATION, rest)].concat());
            }
        }
        if random.below(20) == 0 {
            session.extend(frame(FIN | PING, "ping"));
        }
    }
    session.extend(frame(FIN | CLOSE, close_body(1000, "")));
    let whole = run([&session[..]]);
    assert!(matches!(whole.0.last(), Some(Event::Close(_))));
    for largest in [3, 100, 16_384, 1 << 20] {
        let mut pieces = Vec::new();
        let mut rest = &session[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + random.below(largest)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        assert!(run_in_place(pieces.iter().copied()) == whole, "pieces of up to {largest} octets, in place");
        assert!(run(pieces) == whole, "pieces of up to {largest} octets");
    }
}
