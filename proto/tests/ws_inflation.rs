//! How much more than what came messages may decompress to: each test holds one side of the limit.
#![cfg(feature = "deflate")]

mod ws_common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::Rate;
use sockeye_proto::ws::{
    CloseCode, Config, Deflate, Event, Extensions, Inflation, LimitPassed, Piece, Violation, WebSocket,
};
use ws_common::*;

const MIB: usize = 1 << 20;

fn socket(limit: &Arc<Inflation>) -> WebSocket {
    let in_use = Extensions { deflate: Some(Deflate::default()), ..Extensions::default() };
    server_with(Config::default()).with_extensions(in_use).with_inflation(limit.clone())
}

/// A client's compressed message.
fn message(octets: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(octets.len() + 100);
    Compress::new(Compression::best(), false).compress_vec(octets, &mut payload, FlushCompress::Sync).unwrap();
    frame(FIN | RSV1 | BINARY, payload.strip_suffix(&[0x00, 0x00, 0xFF, 0xFF]).unwrap())
}

/// How many messages come through before the limit; at most `max` are sent.
fn passed(socket: &mut WebSocket, now: Instant, message: &[u8], max: usize) -> usize {
    for count in 0..max {
        match &feed_at(socket, now, message)[..] {
            [Event::Message(_)] => {}
            [Event::Failed(Violation::InflatedTooMuch)] => return count,
            events => panic!("{events:?}"),
        }
    }
    max
}

/// A peer that sends nothing but zeros is told 1008 when the bucket is empty, and so are the other sockets of its connection.
#[test]
fn zeros_without_end_fail() {
    let (limit, now) = (Arc::new(Inflation::default()), Instant::now());
    let zeros = message(&[0; MIB]);
    let (mut one, mut other) = (socket(&limit), socket(&limit));
    let count = passed(&mut one, now, &zeros, 1000);
    // Each is a megabyte but for 64 times what came.
    assert!((64..70).contains(&count), "{count}");
    assert_eq!(sent(&mut one)[2..4], u16::from(CloseCode::POLICY_VIOLATION).to_be_bytes());
    assert_eq!(one.limit_passed(Violation::InflatedTooMuch), Some(LimitPassed::Inflation(64 << 20, 16 << 20)));
    assert_eq!(passed(&mut other, now, &zeros, 1000), 0);
    let count = passed(&mut socket(&limit), now + Duration::from_secs(1), &zeros, 1000);
    assert!((15..18).contains(&count), "{count} a second later");
}

/// What fails has cost as much: a message that is too big, or broken at its end, is counted.
#[test]
fn what_fails_is_counted() {
    let (limit, now) = (Arc::new(Inflation::new(Rate { burst: 5 << 20, per_second: 1 })), Instant::now());
    let bomb = message(&[0; 2 * MIB]);
    for _ in 0..5 {
        assert_eq!(feed_at(&mut socket(&limit), now, &bomb), [Event::Failed(Violation::MessageTooBig)]);
    }
    assert_eq!(feed_at(&mut socket(&limit), now, &bomb), [Event::Failed(Violation::InflatedTooMuch)]);
    // What needs nothing of the bucket comes through.
    assert_eq!(passed(&mut socket(&limit), now, &message(b"hello"), 1), 1);
}

/// JSON comes to some 20 times its octets, and may for as long as it likes.
#[test]
fn what_json_comes_to_is_free() {
    let (limit, now) = (Arc::new(Inflation::new(Rate { burst: 0, per_second: 0 })), Instant::now());
    // A kilobyte of noise, and 28 times the same.
    let noise: Vec<u8> = (0..1000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let octets = noise.repeat(28);
    let message = message(&octets);
    assert!(octets.len() > 20 * message.len(), "{} to {}", octets.len(), message.len());
    assert_eq!(passed(&mut socket(&limit), now, &message, 1000), 1000);
}

/// A megabyte of zeros now and then is nobody's fault, however long the connection lives.
#[test]
fn a_megabyte_of_zeros_now_and_then() {
    let (limit, start) = (Arc::new(Inflation::default()), Instant::now());
    let zeros = message(&[0; MIB]);
    let mut socket = socket(&limit);
    for tenth in 0..200 {
        assert_eq!(passed(&mut socket, start + tenth * Duration::from_millis(100), &zeros, 1), 1, "{tenth}");
    }
}

/// A message that is taken in pieces is counted as it comes.
#[test]
fn pieces_are_counted() {
    let (limit, now) = (Arc::new(Inflation::new(Rate { burst: 8 << 20, per_second: 1 })), Instant::now());
    let mut socket = socket(&limit);
    let message = message(&vec![0; 24 * MIB]);
    let mut input = BytesMut::from(&message[..]);
    socket.receive_in_pieces();
    let mut received = 0;
    while !input.is_empty() {
        socket.handle_data(|| now, &mut input);
        while let Some(piece) = socket.poll_piece() {
            if let Piece::Payload(payload) = piece {
                received += payload.len();
            }
        }
        if let Some(event) = socket.poll_event() {
            assert_eq!(event, Event::Failed(Violation::InflatedTooMuch));
            // As much as the limit, and what one step makes.
            assert!((8 * MIB..13 * MIB).contains(&received), "{received}");
            return;
        }
    }
    panic!("{received} octets came through");
}
