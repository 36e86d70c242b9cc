//! RFC 9113 §4: frames and header blocks.

use sockeye_proto::h2::{Config, Event, Reason, Violation};

use crate::common::*;

/// §4.1: frames of unknown type are ignored and discarded, and so are unknown flags and the reserved bit.
#[test]
fn unknown_is_ignored() {
    let mut tested = Tested::server();
    tested.receive(&frame(0x16, 0xff, 0, &[0; 8])).receive(&frame(0x16, 0, 77, &[]));
    tested.assert_alive();
    tested.receive(&frame(PING, 0xfe, 0x8000_0000, &[7; 8]));
    assert_eq!(tested.sent(), [Sent::PingAck([7; 8])]);
    tested.receive(&frame(HEADERS, 0x95, 0x8000_0001, &block(GET)));
    assert_eq!(tested.request().0.value(), 1);
}

/// §4.2: "An endpoint MUST send an error code of FRAME_SIZE_ERROR if a frame exceeds the size defined in
/// SETTINGS_MAX_FRAME_SIZE". Its head is enough to tell.
#[test]
fn large_frames() {
    let mut tested = Tested::server();
    tested.accept(1, false, POST);
    tested.receive(&data(1, false, &[0; 16_384]));
    tested.assert_alive();
    tested.receive(&data(1, false, &[0; 16_385])[..9]);
    tested.assert_connection_error(Violation::FrameTooLarge);

    let mut tested = Tested::server_with(Config::default().with(|config| config.max_frame_size = 20_000));
    tested.accept(1, false, POST);
    tested.receive(&data(1, false, &[0; 20_000]));
    tested.assert_alive();
    tested.receive(&data(1, false, &[0; 20_001])[..9]);
    tested.assert_connection_error(Violation::FrameTooLarge);
}

/// §4.3: "A receiver MUST terminate the connection with a connection error of type COMPRESSION_ERROR if it does not
/// decompress a field block."
#[test]
fn broken_header_block() {
    let mut tested = Tested::server();
    // RFC 7541 §6.1: index 0.
    tested.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]));
    tested.assert_connection_error(Violation::HeaderCompression);
    assert_eq!(Violation::HeaderCompression.reason(), Reason::COMPRESSION_ERROR);
}

/// §4.3: a block is decoded even where the stream is of no interest: the table stays in step.
#[test]
fn ignored_blocks_are_decoded() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 1));
    let id = tested.accept(1, false, POST);
    // A literal with incremental indexing, in a request that is refused and in one that is malformed …
    let indexed = |value: &str| [&[0x40, 1, b'x', value.len() as u8][..], value.as_bytes()].concat();
    tested.receive(&frame(HEADERS, 5, 3, &[block(GET), indexed("refused")].concat()));
    tested.assert_reset(3, Reason::REFUSED_STREAM);
    tested.receive(&rst_stream(1, Reason::CANCEL));
    tested.events();
    tested.machine.stream(id).unwrap().release();
    let malformed = block(&[("BAD", "")]);
    tested.receive(&frame(HEADERS, 5, 5, &[malformed, indexed("malformed")].concat()));
    tested.assert_reset(5, Reason::PROTOCOL_ERROR);
    // … is there for the next: 62 is the latest, 63 the one before.
    tested.receive(&frame(HEADERS, 5, 7, &[&block(GET)[..], &[0xbe, 0xbf]].concat()));
    let (_, request) = tested.request();
    let values: Vec<_> = request.headers().get_all("x").iter().collect();
    assert_eq!(values, ["malformed", "refused"]);
}

/// §4.3: "Field blocks MUST be transmitted as a contiguous sequence of frames, with no interleaved frames of any other
/// type or from any other stream."
#[test]
fn header_blocks_are_contiguous() {
    let whole = block(POST);
    let (first, rest) = whole.split_at(7);
    let intruders = [
        ping(1),
        data(1, false, b"x"),
        headers(3, true, GET),
        frame(CONTINUATION, END_HEADERS, 3, rest),
        frame(0x16, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
    ];
    for intruder in intruders {
        let mut tested = Tested::server();
        tested.receive(&frame(HEADERS, 0, 1, first)).receive(&intruder);
        tested.assert_connection_error(Violation::ContinuationMissing);
    }
    let mut tested = Tested::server();
    tested.receive(&frame(HEADERS, END_STREAM, 1, first));
    tested.receive(&frame(CONTINUATION, 0, 1, &rest[..3]));
    assert!(tested.events().is_empty());
    tested.receive(&frame(CONTINUATION, END_HEADERS, 1, &rest[3..]));
    let events = tested.events();
    assert!(matches!(&events[..], [Event::Request { end_stream: true, .. }]), "{events:?}");
}
