//! RFC 6455 §5: data framing.

#![cfg(feature = "web-socket")]

mod ws_common;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use sockeye_proto::ws::{Event, Message, PingError, Violation};
use ws_common::*;

fn text(text: &str) -> Event {
    Event::Message(text.into())
}

fn binary(octets: &[u8]) -> Event {
    Event::Message(octets.into())
}

/// §5.1: "a server MUST close a connection upon receiving a frame that is not masked" (1002).
#[test]
fn server_fails_an_unmasked_frame() {
    fails_at_last_octet(&[FIN | TEXT, 5], Violation::Unmasked);
}

/// §5.1: "a client MUST close a connection if it detects a masked frame".
#[test]
fn client_fails_a_masked_frame() {
    assert_eq!(feed(&mut client(), &[FIN | TEXT, 0x80]), [Event::Failed(Violation::Masked)]);
}

/// §5.1: "a server MUST NOT mask any frames", "a client MUST mask all frames".
#[test]
fn masked_by_role() {
    let mut socket = server();
    socket.send(&"Hello".into()).unwrap();
    assert_eq!(sent(&mut socket), bare(FIN | TEXT, "Hello"));
    let mut socket = client();
    socket.send(&"Hello".into()).unwrap();
    socket.ping(b"Hi").unwrap();
    assert_eq!(sent(&mut socket), [frame(FIN | TEXT, "Hello"), frame(FIN | PING, "Hi")].concat());
}

/// §5.2: RSV1, RSV2, RSV3 "MUST be 0 unless an extension is negotiated".
#[test]
fn reserved_bits() {
    for bits in 1..8 {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            fails_at_last_octet(&[FIN | bits << 4 | opcode], Violation::ReservedBits);
        }
    }
}

/// §5.2: "if an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_".
#[test]
fn reserved_opcodes() {
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        for fin in [0, FIN] {
            fails_at_last_octet(&[fin | opcode], Violation::ReservedOpcode);
        }
    }
}

/// §5.2: "the minimal number of bytes MUST be used to encode the length".
#[test]
fn shortest_length() {
    fails_at_last_octet(&[FIN | BINARY, 0x80 | 126, 0, 125], Violation::LengthNotMinimal);
    fails_at_last_octet(&[FIN | BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::LengthNotMinimal);
}

/// §5.2: of a 64-bit length "the most significant bit MUST be 0".
#[test]
fn length_of_63_bits() {
    let octets = [FIN | BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 1, 0, 0];
    fails_at_last_octet(&octets, Violation::LengthOutOfRange);
}

/// §5.2: every size at the borders of the three length encodings, both ways.
#[test]
fn sizes_at_the_borders() {
    for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
        assert_eq!(events(&frame(FIN | BINARY, &payload)), [binary(&payload)], "{size} octets");
        let mut socket = client();
        socket.send(&Message::from(&payload[..])).unwrap();
        assert!(sent(&mut socket) == frame(FIN | BINARY, &payload), "{size} octets");
    }
}

/// §5.4: fragments of any size, empty ones too, make one message of the first one's type.
#[test]
fn fragments() {
    let wire = [frame(TEXT, "Hel"), frame(CONTINUATION, ""), frame(CONTINUATION, "lo"), frame(FIN | CONTINUATION, "!")];
    assert_eq!(events(&wire.concat()), [text("Hello!")]);
    let wire = [frame(BINARY, ""), frame(FIN | CONTINUATION, ""), frame(FIN | TEXT, "next")];
    assert_eq!(events(&wire.concat()), [binary(b""), text("next")]);
}

/// §5.4: "control frames MAY be injected in the middle of a fragmented message", and are answered there.
#[test]
fn control_frames_between_fragments() {
    let mut socket = server();
    let wire = [frame(TEXT, "Hel"), frame(FIN | PING, "now"), frame(FIN | PONG, "so")];
    assert_eq!(feed(&mut socket, &wire.concat()), [Event::Pong(Bytes::from_static(b"so"))]);
    assert_eq!(sent(&mut socket), bare(FIN | PONG, "now"));
    assert_eq!(feed(&mut socket, &frame(FIN | CONTINUATION, "lo")), [text("Hello")]);
}

/// §5.4: a continuation frame needs a message to continue.
#[test]
fn continuation_without_a_message() {
    fails_at_last_octet(&[CONTINUATION], Violation::UnexpectedContinuation);
    fails_at_last_octet(&[FIN | CONTINUATION], Violation::UnexpectedContinuation);
    let after_whole = [frame(FIN | TEXT, "whole"), vec![FIN | CONTINUATION]].concat();
    fails_at_last_octet(&after_whole, Violation::UnexpectedContinuation);
    let after_last = [frame(TEXT, "a"), frame(FIN | CONTINUATION, "b"), vec![CONTINUATION]].concat();
    fails_at_last_octet(&after_last, Violation::UnexpectedContinuation);
}

/// §5.4: "the fragments of one message MUST NOT be interleaved between the fragments of another message".
#[test]
fn message_inside_a_fragmented_one() {
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        fails_at_last_octet(&[frame(TEXT, "a"), vec![first]].concat(), Violation::InterleavedMessage);
    }
}

/// §5.5: control frames "MUST NOT be fragmented".
#[test]
fn control_frame_without_fin() {
    for opcode in [CLOSE, PING, PONG] {
        fails_at_last_octet(&[opcode], Violation::FragmentedControl);
    }
}

/// §5.5: control frames "MUST have a payload length of 125 bytes or less".
#[test]
fn control_frame_of_126_octets() {
    for opcode in [CLOSE, PING, PONG] {
        fails_at_last_octet(&[FIN | opcode, 0x80 | 126], Violation::ControlTooLong);
        fails_at_last_octet(&[FIN | opcode, 0x80 | 127], Violation::ControlTooLong);
    }
    assert_eq!(server().ping(&[0; 126]), Err(PingError::PayloadTooLong));
    assert_eq!(server().ping(&[0; 125]), Ok(()));
}

/// §5.5.3: a Pong "must have identical Application data" as its Ping, at most 125 octets, and any octets.
#[test]
fn pong_repeats_the_ping() {
    for payload in [&b""[..], b"x", &[0xFF; 125]] {
        let mut socket = server();
        assert_eq!(feed(&mut socket, &frame(FIN | PING, payload)), []);
        assert_eq!(sent(&mut socket), bare(FIN | PONG, payload));
        assert_eq!(sent(&mut socket), []);
    }
}

/// §5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping frame".
#[test]
fn latest_ping_is_answered() {
    let mut socket = server();
    let pings: Vec<u8> = (0..10).flat_map(|number| frame(FIN | PING, [number])).collect();
    assert_eq!(feed(&mut socket, &pings), []);
    assert_eq!(sent(&mut socket), bare(FIN | PONG, [9]));
}

/// §5.5.2: "an endpoint MUST send a Pong frame in response": to each of ten Pings that came together, where the owner has
/// room for the answers (case 2.10 of Autobahn's suite).
#[test]
fn every_ping_is_answered() {
    let mut socket = server();
    let mut input: BytesMut = (0..10).flat_map(|number| frame(FIN | PING, [number])).collect();
    let mut answers = Vec::new();
    while !input.is_empty() {
        socket.handle_data(Instant::now, &mut input);
        assert_eq!(socket.poll_event(), None);
        answers.extend(sent(&mut socket));
    }
    let expected: Vec<u8> = (0..10).flat_map(|number| bare(FIN | PONG, [number])).collect();
    assert_eq!(answers, expected);
}

/// §5.5.2: a Pong goes out "as soon as is practical": before what was queued.
#[test]
fn pong_goes_first() {
    let mut socket = server();
    socket.send(&"queued".into()).unwrap();
    feed(&mut socket, &frame(FIN | PING, "ping"));
    assert_eq!(sent(&mut socket), [bare(FIN | PONG, "ping"), bare(FIN | TEXT, "queued")].concat());
}

/// §5.5.3: an unsolicited Pong is no error.
#[test]
fn unsolicited_pong() {
    assert_eq!(events(&frame(FIN | PONG, "?")), [Event::Pong(Bytes::from_static(b"?"))]);
}

/// §5.7: the examples of the RFC.
#[test]
fn examples() {
    let masked_hello = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(events(&masked_hello), [text("Hello")]);
    let mut socket = client();
    assert_eq!(feed(&mut socket, &[0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]), [text("Hello")]);
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F];
    assert_eq!(feed(&mut socket, &fragmented), [text("Hello")]);
    assert_eq!(feed(&mut socket, &[0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]), []);
    assert_eq!(sent(&mut socket), [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
    let mut wire = vec![0x82, 0x7E, 0x01, 0x00];
    wire.extend([7; 256]);
    assert_eq!(feed(&mut socket, &wire), [binary(&[7; 256])]);
    let mut wire = vec![0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0];
    wire.extend([7; 65_536]);
    assert_eq!(feed(&mut socket, &wire), [binary(&[7; 65_536])]);
}

/// What is queued comes out in order, however it is asked for.
#[test]
fn output_appends_in_order() {
    let mut socket = server();
    let mut output = BytesMut::new();
    socket.send(&"one".into()).unwrap();
    socket.poll_transmit(&mut output);
    socket.send(&"two".into()).unwrap();
    assert!(socket.is_transmit_pending());
    socket.send_into(&"three".into(), &mut output).unwrap();
    assert!(!socket.is_transmit_pending());
    assert_eq!(output, [bare(FIN | TEXT, "one"), bare(FIN | TEXT, "two"), bare(FIN | TEXT, "three")].concat());

    let mut full = BytesMut::from(&b"before"[..]);
    socket.send(&"x".repeat(100).into()).unwrap();
    socket.poll_transmit(&mut full);
    assert_eq!(full, [&b"before"[..], &bare(FIN | TEXT, [b'x'; 100])].concat());
}
