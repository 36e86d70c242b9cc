//! RFC 6455 §5.4 and §10.4: how many frames a message may come in, by its size.

#![cfg(feature = "web-socket")]

mod ws_common;

use sockeye_proto::ws::{CloseCode, Config, Event, Violation, WebSocket};
use ws_common::*;

/// A server for messages of 16 MiB, and the default for fragments.
fn roomy() -> WebSocket {
    server_with(Config::default().with(|config| config.max_message_size = 16 << 20))
}

/// A message of `total` octets in fragments of `size`, but for its last.
fn fragments(total: usize, size: usize) -> Vec<u8> {
    let payload = vec![b'x'; total];
    let mut wire = Vec::new();
    let count = total.div_ceil(size);
    for (index, piece) in payload.chunks(size).enumerate() {
        let opcode = if index == 0 { BINARY } else { CONTINUATION };
        let fin = if index + 1 == count { FIN } else { 0 };
        wire.extend(frame(fin | opcode, piece));
    }
    wire
}

/// The fragment, counted from one, at which a message of endless fragments with this payload fails.
fn fails_at(socket: &mut WebSocket, payload: &[u8]) -> usize {
    let mut opcode = BINARY;
    for number in 1..100_000 {
        match &feed(socket, &frame(opcode, payload))[..] {
            [] => opcode = CONTINUATION,
            [Event::Failed(Violation::TooManyFragments)] => return number,
            events => panic!("{events:?}"),
        }
    }
    panic!("all of them passed");
}

/// A large message may have as many fragments as its size explains: what servers write in pieces of 4 KiB passes, and
/// pieces of 256 octets still do.
#[test]
fn large_messages_may_have_many_fragments() {
    for (total, size) in
        [(6 << 20, 4096), (16 << 20, 4096), (16 << 20, 4000), (16 << 20, 1024), (1 << 20, 1024), (4 << 20, 256)]
    {
        let mut socket = roomy();
        let mut events = feed(&mut socket, &fragments(total, size)).into_iter();
        let Some(Event::Message(message)) = events.next() else { panic!("{total} octets in {size} failed") };
        assert_eq!((message.len(), events.next()), (total, None));
    }
}

/// The default limit of a message's size, in pieces of 1,000 octets: 1,049 of them.
#[test]
fn one_mebibyte_in_a_thousand_octets() {
    assert_eq!(feed(&mut server(), &fragments(1 << 20, 1000)).len(), 1);
}

/// 1,024 fragments of any size pass, however small; one more needs octets that explain it.
#[test]
fn tiny_fragments_without_end_fail() {
    assert_eq!(fails_at(&mut roomy(), b""), 1025);
    assert_eq!(fails_at(&mut roomy(), b"1"), 1025);
    assert_eq!(fails_at(&mut roomy(), &[b'x'; 255]), 1025);
    assert_eq!(feed(&mut roomy(), &fragments(1024, 1)).len(), 1);
    let mut socket = roomy();
    fails_at(&mut socket, b"1");
    assert_eq!(sent(&mut socket)[2..4], u16::from(CloseCode::MESSAGE_TOO_BIG).to_be_bytes());
}

/// A large message pays for some small fragments, not for small ones without end.
#[test]
fn large_fragments_pay_for_small_ones() {
    let mut socket = roomy();
    assert_eq!(feed(&mut socket, &frame(BINARY, vec![b'x'; 1 << 20])), []);
    for _ in 1..4096 {
        assert_eq!(feed(&mut socket, &frame(CONTINUATION, "")), []);
    }
    assert_eq!(feed(&mut socket, &frame(CONTINUATION, "")), []);
    assert_eq!(feed(&mut socket, &frame(CONTINUATION, "")), [Event::Failed(Violation::TooManyFragments)]);
}

/// The count is one message's.
#[test]
fn fragments_are_counted_anew_for_each_message() {
    let mut socket = roomy();
    for _ in 0..3 {
        assert_eq!(feed(&mut socket, &fragments(1024, 1)).len(), 1);
    }
}

/// After our Close, when the message is discarded, its octets still explain its fragments.
#[test]
fn discarded_messages_count_as_others() {
    for (size, fails) in [(4096, false), (1, true)] {
        let mut socket = roomy();
        assert_eq!(feed(&mut socket, &frame(BINARY, "")), []);
        socket.close(CloseCode::NORMAL, "").unwrap();
        let wire = frame(CONTINUATION, vec![b'x'; size]).repeat(2000);
        let expected: &[Event] = if fails { &[Event::Failed(Violation::TooManyFragments)] } else { &[] };
        assert_eq!(feed(&mut socket, &wire), expected, "{size}");
    }
}

/// Who asks for another number gets it: a lower one, and one that nothing passes.
#[test]
fn the_number_of_any_size_is_a_setting() {
    let limited = |max_fragments| {
        server_with(Config::default().with(|config| {
            config.max_fragments = max_fragments;
            config.max_message_size = 16 << 20;
        }))
    };
    assert_eq!(fails_at(&mut limited(2), b"1"), 3);
    assert_eq!(fails_at(&mut limited(1 << 16), b""), (1 << 16) + 1);
    assert_eq!(feed(&mut limited(1), &fragments(1 << 20, 256)).len(), 1);
    assert_eq!(feed(&mut limited(u32::MAX), &fragments(70_000, 1)).len(), 1);
}
