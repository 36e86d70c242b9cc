//! RFC 6455 §10.4: limits of an implementation, and what they let one socket make us hold.

#![cfg(feature = "web-socket")]

mod ws_common;

use std::time::{Duration, Instant};

use bytes::BytesMut;
use sockeye_proto::ws::{CloseCode, Config, Event, Violation, WebSocket};
use ws_common::*;

fn limited(max_message_size: usize) -> WebSocket {
    server_with(Config::default().with(|config| config.max_message_size = max_message_size))
}

/// A message of exactly the limit passes, in one frame and in several.
#[test]
fn message_of_the_limit() {
    let payload = vec![b'x'; 1000];
    let expected = [Event::Message(payload.clone().into())];
    assert_eq!(feed(&mut limited(1000), &frame(FIN | BINARY, &payload)), expected);
    let fragments = [frame(BINARY, &payload[..400]), frame(FIN | CONTINUATION, &payload[400..])].concat();
    assert_eq!(feed(&mut limited(1000), &fragments), expected);
}

/// One octet more fails with 1009 at the length, before the key and the payload.
#[test]
fn one_octet_more() {
    for opcode in [TEXT, BINARY] {
        let mut socket = limited(1000);
        assert_eq!(feed(&mut socket, &header(opcode, 1001)[..4]), [Event::Failed(Violation::MessageTooBig)]);
        assert_eq!(sent(&mut socket)[2..4], u16::from(CloseCode::MESSAGE_TOO_BIG).to_be_bytes());
        let mut socket = limited(1000);
        assert_eq!(feed(&mut socket, &frame(opcode, [b'x'; 400])), []);
        assert_eq!(feed(&mut socket, &header(CONTINUATION, 601)[..4]), [Event::Failed(Violation::MessageTooBig)]);
    }
    // A 64-bit length that no memory could hold.
    let huge = [FIN | BINARY, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    fails_at_last_octet(&huge, Violation::MessageTooBig);
}

/// The limit holds for each message, not for their sum.
#[test]
fn limit_is_per_message() {
    let mut socket = limited(10);
    for _ in 0..10 {
        let wire = [frame(TEXT, "12345"), frame(FIN | CONTINUATION, "67890"), frame(FIN | TEXT, "1234567890")];
        assert_eq!(feed(&mut socket, &wire.concat()).len(), 2);
    }
}

/// Control frames do not count for the message around them, nor are they limited by it.
#[test]
fn control_frames_do_not_count() {
    let mut socket = limited(4);
    let wire = [frame(TEXT, "1234"), frame(FIN | PING, [0; 125]), frame(FIN | CONTINUATION, "")];
    assert_eq!(feed(&mut socket, &wire.concat()), [Event::Message("1234".into())]);
}

/// Limits hold while data is discarded after our Close.
#[test]
fn limits_after_our_close() {
    for wire in [frame(BINARY, [0; 11]), [frame(BINARY, [0; 6]), frame(CONTINUATION, [0; 5])].concat()] {
        let mut socket = limited(10);
        socket.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(feed(&mut socket, &wire), [Event::Failed(Violation::MessageTooBig)]);
    }
    let mut socket = limited(10);
    feed(&mut socket, &frame(BINARY, [0; 6]));
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(feed(&mut socket, &frame(CONTINUATION, [0; 5])), [Event::Failed(Violation::MessageTooBig)]);

    let mut socket = server();
    socket.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(feed(&mut socket, &frame(FIN | PING, "").repeat(21)), [Event::Failed(Violation::TooManyPings)]);
}

/// As many fragments as the limit pass, empty ones too; one more fails with 1009.
#[test]
fn fragments() {
    let config = Config::default().with(|config| config.max_fragments = 5);
    let four = [frame(TEXT, ""), frame(CONTINUATION, "").repeat(3)].concat();
    let five = [four.clone(), frame(FIN | CONTINUATION, "")].concat();
    let mut socket = server_with(config);
    assert_eq!(feed(&mut socket, &five.repeat(3)), vec![Event::Message("".into()); 3]);
    let six = [four, frame(CONTINUATION, ""), header(FIN | CONTINUATION, 0)].concat();
    assert_eq!(feed(&mut socket, &six), [Event::Failed(Violation::TooManyFragments)]);
    assert_eq!(sent(&mut socket)[2..4], 1009u16.to_be_bytes());
}

/// Twenty pings at once and ten a second in the long run are answered; more fail with 1008.
#[test]
fn pings() {
    let start = Instant::now();
    let mut socket = server();
    assert_eq!(feed_at(&mut socket, start, &frame(FIN | PING, "").repeat(20)), []);
    for tenth in 1..=100 {
        let now = start + Duration::from_millis(100 * tenth);
        assert_eq!(feed_at(&mut socket, now, &frame(FIN | PING, "")), []);
    }
    let now = start + Duration::from_secs(10);
    assert_eq!(feed_at(&mut socket, now, &frame(FIN | PING, "")), [Event::Failed(Violation::TooManyPings)]);
    assert_eq!(sent(&mut socket).windows(2).filter(|octets| *octets == 1008u16.to_be_bytes()).count(), 1);
}

/// The clock is read only for a ping, and once.
#[test]
fn clock_is_read_for_pings_only() {
    let mut socket = server();
    let mut input = BytesMut::from(&[frame(FIN | TEXT, "text"), frame(FIN | PONG, "pong")].concat()[..]);
    while !input.is_empty() {
        socket.handle_data(|| unreachable!("no ping"), &mut input);
        assert!(socket.poll_event().is_some());
    }
    input.extend_from_slice(&frame(FIN | PING, "ping"));
    let mut readings = 0;
    socket.handle_data(
        || {
            readings += 1;
            Instant::now()
        },
        &mut input,
    );
    assert_eq!(readings, 1);
}

/// A peer that pings and reads nothing makes us hold one Pong.
#[test]
fn pongs_do_not_pile_up() {
    let mut socket = server();
    let start = Instant::now();
    for second in 0..1000 {
        let now = start + Duration::from_secs(second);
        assert_eq!(feed_at(&mut socket, now, &frame(FIN | PING, [7; 125]).repeat(10)), []);
    }
    assert_eq!(sent(&mut socket), bare(FIN | PONG, [7; 125]));
}

/// What is held of a message is what came of its payload, an incomplete character too, and nothing once it is whole.
#[test]
fn buffered_is_what_came() {
    for opcode in [TEXT, BINARY] {
        let mut socket = server();
        let payload = "é".repeat(300);
        let wire = frame(FIN | opcode, &payload);
        let header = wire.len() - payload.len();
        assert_eq!((feed(&mut socket, &wire[..header]), socket.buffered()), (vec![], 0));
        for (count, octet) in (1..payload.len()).zip(&wire[header..]) {
            assert_eq!((feed(&mut socket, &[*octet]), socket.buffered()), (vec![], count));
        }
        assert_eq!(feed(&mut socket, &wire[wire.len() - 1..]).len(), 1);
        assert_eq!(socket.buffered(), 0);
    }
}

/// A socket is small: a million idle ones have 1 GiB together, with all that stands around them.
#[test]
fn socket_is_small() {
    assert!(size_of::<WebSocket>() <= 168, "{}", size_of::<WebSocket>());
}

/// What is under way is a frame, its header included, or a message that is to be whole; its octets are counted while it is.
#[test]
fn progress_is_that_of_what_is_under_way() {
    let mut socket = server();
    assert!(!socket.is_midway());
    assert_eq!(feed(&mut socket, b"\x02"), []);
    assert!(socket.is_midway() && socket.progress().is_none());
    socket.watch();
    assert_eq!(feed(&mut socket, &frame(BINARY, [7; 1000])[1..500]), []);
    assert_eq!(socket.progress(), Some(492), "without its header of eight octets");
    assert_eq!(feed(&mut socket, &frame(BINARY, [7; 1000])[500..]), []);
    assert!(socket.is_midway(), "between two fragments");
    assert_eq!(feed(&mut socket, &frame(FIN | PING, "x")), []);
    sent(&mut socket);
    assert_eq!(socket.progress(), Some(1000));
    assert_eq!(feed(&mut socket, &frame(FIN | CONTINUATION, "")).len(), 1);
    assert!(!socket.is_midway() && socket.progress().is_none());
    // The next one is another.
    assert_eq!(feed(&mut socket, &frame(FIN | BINARY, [7; 10])[..12]), []);
    assert!(socket.is_midway() && socket.progress().is_none());
}

/// What does not go on is told so.
#[test]
fn no_progress() {
    let mut socket = server();
    feed(&mut socket, &frame(FIN | BINARY, [7; 10])[..12]);
    socket.time_out();
    assert_eq!(socket.poll_event(), Some(Event::Failed(Violation::NoProgress)));
    assert_eq!(sent(&mut socket)[2..4], u16::from(CloseCode::POLICY_VIOLATION).to_be_bytes());
    assert!(!socket.is_midway());
}
