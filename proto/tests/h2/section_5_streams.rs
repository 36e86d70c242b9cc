//! RFC 9113 §5: streams and multiplexing. Every state against every frame is in `exhaustive`.

use bytes::BytesMut;
use http::Response;
use sockeye_proto::h2::{Config, Event, OpenError, Reason, Violation};

use crate::common::*;

/// §5.1.1: "Streams initiated by a client MUST use odd-numbered stream identifiers".
#[test]
fn stream_of_the_wrong_side() {
    let mut tested = Tested::server();
    tested.receive(&headers(2, true, GET));
    tested.assert_connection_error(Violation::StreamIdParity);
    let mut tested = Tested::client();
    tested.receive(&headers(2, true, &[(":status", "200")]));
    tested.assert_connection_error(Violation::StreamIdle);
}

/// §5.1.1: "The identifier of a newly established stream MUST be numerically greater than all streams that the
/// initiating endpoint has opened".
#[test]
fn stream_numbers_grow() {
    let mut tested = Tested::server();
    tested.receive(&headers(5, true, GET)).receive(&headers(3, true, GET));
    tested.assert_connection_error(Violation::StreamIdDecreased);
}

/// §5.1.2: past the limit it is a stream error; REFUSED_STREAM says that it may be tried again.
#[test]
fn too_many_streams_are_refused() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 2));
    let first = tested.accept(1, true, GET);
    tested.accept(3, true, GET);
    tested.receive(&headers(5, true, GET));
    tested.assert_reset(5, Reason::REFUSED_STREAM);
    assert_eq!(tested.machine.counters().streams_refused, 1);
    assert!(tested.events().is_empty());
    // A reset frees the place, and only the release frees the slot: a handler may still be at work.
    tested.receive(&rst_stream(1, Reason::CANCEL));
    let second = tested.accept(7, true, GET);
    assert_ne!(second.slot(), first.slot());
    tested.receive(&headers(9, true, GET));
    tested.assert_reset(9, Reason::REFUSED_STREAM);
    assert_eq!((tested.machine.stream_count(), tested.machine.active_stream_count()), (3, 2));
    tested.machine.stream(first).unwrap().release();
    tested.receive(&rst_stream(3, Reason::CANCEL));
    let next = tested.accept(11, true, GET);
    assert_eq!(next.slot(), first.slot(), "slots are dense");
    assert!(tested.machine.stream(first).is_none(), "the old stream is not taken for the new one");
}

/// §5.1.2: "Streams in either of the "open" or half-closed states count toward the maximum", and no others: however many
/// requests a client gives up, the next one is taken. What bounds those that the application has not let go of is a limit
/// of our own, and a refusal for that is no fault of the peer.
#[test]
fn closed_streams_do_not_count() {
    let config = Config::default().with(|config| {
        config.max_concurrent_streams = 1;
        config.max_closed_streams = Some(300);
    });
    let mut tested = Tested::server_with(config);
    let mut ids = Vec::new();
    for number in 0..300 {
        // The answer has begun, so the reset is an ordinary end and no attack.
        ids.push(tested.accept_and_respond(2 * number + 1, true, GET));
        tested.receive(&rst_stream(2 * number + 1, Reason::CANCEL));
    }
    assert_eq!((tested.machine.stream_count(), tested.machine.active_stream_count()), (300, 0));
    tested.events();
    for number in 300..1000 {
        tested.receive(&headers(2 * number + 1, true, GET));
        tested.assert_reset(2 * number + 1, Reason::REFUSED_STREAM);
    }
    tested.assert_alive();
    assert_eq!((tested.machine.counters().streams_refused, tested.machine.counters().resets_for_faults), (700, 0));
    tested.machine.stream(ids[0]).unwrap().release();
    tested.accept(2001, true, GET);
}

/// §5.1.2, §8.1: a stream of which we await only the peer's end makes place for a new one, and is told so by NO_ERROR. There
/// are peers that never end their half.
#[test]
fn a_dismissed_stream_makes_place() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 2));
    let mut ids = Vec::new();
    for stream_id in [1, 3] {
        let id = tested.accept_and_respond(stream_id, false, CONNECT_WEBSOCKET);
        tested.machine.stream(id).unwrap().write(b"bye", true);
        tested.machine.stream(id).unwrap().dismiss();
        ids.push(id);
    }
    tested.sent();
    // The first has ended by itself since, and is not reset.
    tested.receive(&data(1, true, b""));
    tested.accept(5, true, GET);
    assert!(tested.sent().is_empty());
    tested.receive(&headers(7, true, GET));
    assert_eq!(tested.sent(), [Sent::RstStream { id: 3, reason: Reason::NO_ERROR }]);
    let events = tested.events();
    assert!(
        events.iter().any(|event| matches!(event,
            Event::Reset { id, reason: Reason::NO_ERROR, remote: false, violation: None } if *id == ids[1])),
        "{events:?}"
    );
    assert!(events.iter().any(|event| matches!(event, Event::Request { .. })));
    assert_eq!((tested.machine.counters().streams_refused, tested.machine.counters().resets_for_faults), (0, 0));
    // What the peer still sends there crosses our reset.
    tested.receive(&data(3, true, b"late"));
    tested.assert_alive();
    tested.receive(&headers(9, true, GET));
    tested.assert_reset(9, Reason::REFUSED_STREAM);
}

/// §5.1.2: streams that are closed do not count, also where a new one comes in the same octets.
#[test]
fn a_stream_may_take_the_place_of_one_that_has_just_ended() {
    for end in [rst_stream(3, Reason::CANCEL), data(3, true, b"")] {
        for max_closed_streams in [None, Some(2)] {
            let config = Config::default().with(|config| {
                config.max_concurrent_streams = 1;
                config.max_closed_streams = max_closed_streams;
            });
            let mut tested = Tested::server_with(config);
            // One is closed already, and held.
            tested.accept_and_respond(1, true, GET);
            tested.receive(&rst_stream(1, Reason::CANCEL));
            tested.events();
            let first = tested.accept(3, false, GET);
            tested.machine.stream(first).unwrap().respond(&Response::new(()), true).unwrap();
            let mut input = BytesMut::from(&[&end[..], &headers(5, true, GET)].concat()[..]);
            tested.machine.handle_data(tested.now, &mut input);
            if max_closed_streams.is_some() {
                // The application hears of the end before the new stream is judged.
                assert!(tested.machine.is_stopped() && !input.is_empty());
                assert!(matches!(tested.events()[..], [Event::Reset { .. } | Event::Finished { .. }]));
                tested.machine.stream(first).unwrap().release();
                tested.sent();
                tested.machine.handle_data(tested.now, &mut input);
            }
            assert!(matches!(tested.events()[..], [.., Event::Request { .. }]));
            assert_eq!(
                (tested.machine.is_stopped(), input.len(), tested.machine.counters().streams_refused),
                (false, 0, 0)
            );
        }
    }
}

/// §5.1.2: a client keeps to the server's limit, and to its own.
#[test]
fn client_keeps_to_the_limit() {
    let mut tested = Tested::client();
    tested.receive(&settings(&[(3, 1)]));
    let request = get("https://example.com/");
    let id = tested.open(&request, true);
    assert_eq!(id.value(), 1);
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::TooManyStreams));
    tested.receive(&headers(1, true, &[(":status", "200")]));
    assert_eq!(tested.open(&request, true).value(), 3);
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::TooManyStreams));
    tested.machine.stream(id).unwrap().release();
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::TooManyStreams));
}

/// §5.1: frames that cross our RST_STREAM are ignored, for flow control and for compression they count.
#[test]
fn frames_that_cross_our_reset() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    tested.machine.stream(id).unwrap().release();
    assert_eq!(tested.sent(), [Sent::RstStream { id: 1, reason: Reason::CANCEL }]);
    let trailers = headers(1, true, &[("x", "y")]);
    tested.receive(&[data(1, false, b"late"), window_update(1, 5), trailers, rst_stream(1, Reason::CANCEL)].concat());
    tested.assert_alive();
    assert!(tested.events().is_empty());
}

/// §8.1: "A server MAY request that the client abort transmission of a request without error by sending a RST_STREAM
/// with an error code of NO_ERROR after sending a complete response". A tunnel has no such end.
#[test]
fn release_says_why() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.respond(&Response::new(()), true).unwrap();
    assert!(stream.is_send_closed() && !stream.is_recv_closed() && !stream.is_closed());
    stream.release();
    assert_eq!(tested.sent().last(), Some(&Sent::RstStream { id: 1, reason: Reason::NO_ERROR }));

    let id = tested.accept_and_respond(3, false, CONNECT_WEBSOCKET);
    let mut stream = tested.machine.stream(id).unwrap();
    stream.write(&[], true);
    stream.release();
    assert_eq!(tested.sent().last(), Some(&Sent::RstStream { id: 3, reason: Reason::CANCEL }));

    let id = tested.accept_and_respond(5, true, GET);
    let mut stream = tested.machine.stream(id).unwrap();
    assert_eq!(stream.write(b"all", true), 3);
    assert!(stream.is_closed());
    stream.release();
    assert_eq!(tested.sent(), [Sent::Data { id: 5, data: b"all".to_vec(), end_stream: true }]);
}

/// §5.4.2: a reset of ours; what had arrived stays readable until the release.
#[test]
fn reset_keeps_what_arrived() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    tested.receive(&data(1, false, b"before")).receive(&rst_stream(1, Reason::CANCEL));
    let events = tested.events();
    assert!(
        matches!(events[..], [Event::Readable(a), Event::Reset { id: b, reason: Reason::CANCEL, remote: true, violation: None }] if a == id && b == id),
        "{events:?}"
    );
    let mut stream = tested.machine.stream(id).unwrap();
    assert!(stream.is_closed());
    assert_eq!(stream.write(b"x", false), 0);
    stream.reset(Reason::CANCEL);
    assert_eq!(stream.read(), "before");
    stream.release();
    assert_eq!(tested.sent(), []);
}

/// RFC 7540 §5.3.1: "A stream cannot depend on itself."
#[test]
fn self_dependency() {
    let mut tested = Tested::server();
    let priority = [0, 0, 0, 1, 255];
    tested.receive(&frame(
        HEADERS,
        END_HEADERS | END_STREAM | PRIORITY_FLAG,
        1,
        &[&priority[..], &block(GET)].concat(),
    ));
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    // An idle stream cannot be reset.
    tested.receive(&frame(PRIORITY, 0, 3, &[0x80, 0, 0, 3, 0]));
    tested.assert_connection_error(Violation::SelfDependency);
    let mut tested = Tested::server();
    tested.accept(1, true, GET);
    tested.receive(&frame(PRIORITY, 0, 1, &priority));
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
}

/// §5.3.2: PRIORITY may come for any stream, idle ones and closed ones included, and opens none.
#[test]
fn priority_in_any_state() {
    let mut tested = Tested::server();
    tested.receive(&frame(PRIORITY, 0, 3, &[0x80, 0, 0, 1, 255]));
    tested.assert_alive();
    let id = tested.accept_and_respond(1, true, GET);
    tested.machine.stream(id).unwrap().write(&[], true);
    tested.machine.stream(id).unwrap().release();
    tested.sent();
    tested.receive(&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]));
    tested.assert_alive();
}

/// §5.4.1: GOAWAY carries "the stream identifier of the last stream that it successfully received from its peer".
#[test]
fn goaway_names_the_last_stream() {
    let mut tested = Tested::server();
    tested.accept(7, true, GET);
    tested.receive(&frame(PING, 0, 3, &[0; 8]));
    assert_eq!(tested.sent(), [Sent::GoAway { last: 7, reason: Reason::PROTOCOL_ERROR }]);
}
