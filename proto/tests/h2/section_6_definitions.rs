//! RFC 9113 §6: the frame types.

use std::time::Duration;

use sockeye_proto::h2::{Config, Event, OpenError, Reason, Role, Violation};

use crate::common::*;

/// §6: frames of a stream name one, frames of the connection name none.
#[test]
fn stream_zero() {
    for kind in [DATA, HEADERS, PRIORITY, RST_STREAM] {
        let mut tested = Tested::server();
        tested.receive(&frame(kind, END_HEADERS, 0, &[0; 4]));
        tested.assert_connection_error(Violation::StreamIdZero);
    }
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8]), (GOAWAY, &[0; 8])] {
        let mut tested = Tested::server();
        tested.receive(&frame(kind, 0, 1, payload));
        tested.assert_connection_error(Violation::StreamIdNotZero);
    }
    let mut tested = Tested::server();
    tested.receive(&frame(CONTINUATION, END_HEADERS, 0, &[]));
    tested.assert_connection_error(Violation::ContinuationUnexpected);
}

/// §6: fixed lengths.
#[test]
fn lengths() {
    let frames = [
        frame(RST_STREAM, 0, 1, &[0; 3]),
        frame(RST_STREAM, 0, 1, &[0; 5]),
        frame(PING, 0, 0, &[0; 6]),
        frame(PING, ACK, 0, &[0; 9]),
        frame(GOAWAY, 0, 0, &[0; 7]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        frame(WINDOW_UPDATE, 0, 1, &[0; 5]),
        frame(DATA, PADDED, 1, &[]),
        frame(HEADERS, PADDED | END_HEADERS, 3, &[]),
        frame(HEADERS, PRIORITY_FLAG | END_HEADERS, 3, &[0; 4]),
    ];
    for frame in frames {
        let mut tested = Tested::server();
        tested.accept(1, false, POST);
        tested.receive(&frame);
        tested.assert_connection_error(Violation::FrameLength);
    }
    for length in [4, 6] {
        let mut tested = Tested::server();
        tested.accept(1, false, POST);
        tested.receive(&frame(PRIORITY, 0, 1, &vec![0x80; length]));
        tested.assert_reset(1, Reason::FRAME_SIZE_ERROR);
    }
}

/// §6.1, §6.2: padding is dropped, up to all of the rest; more is a connection error.
#[test]
fn padding() {
    let mut tested = Tested::server();
    tested.receive(&frame(HEADERS, PADDED | END_HEADERS, 1, &[&[3][..], &block(POST), &[0; 3]].concat()));
    let (id, _) = tested.request();
    tested.receive(&frame(DATA, PADDED, 1, b"\x02hello\0\0")).receive(&frame(DATA, PADDED, 1, &[2, 0, 0]));
    assert_eq!(tested.machine.stream(id).unwrap().read(), "hello");
    tested.receive(&frame(DATA, PADDED, 1, &[3, 0, 0]));
    tested.assert_connection_error(Violation::Padding);
    let mut tested = Tested::server();
    tested.receive(&frame(HEADERS, PADDED | END_HEADERS, 1, &[200, 0x82]));
    tested.assert_connection_error(Violation::Padding);
}

/// §6.5: SETTINGS are acknowledged, in order, and unknown ones ignored.
#[test]
fn settings_are_acknowledged() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(0xff, 1), (4, 7), (4, 9), (1, 0), (3, 5), (5, 20_000), (6, 1)]));
    assert_eq!(tested.sent(), [Sent::SettingsAck]);
    assert!(matches!(tested.events()[..], [Event::Settings]));
    let settings = tested.machine.peer_settings().unwrap();
    assert_eq!((settings.initial_window_size, settings.max_concurrent_streams), (9, Some(5)));
    assert_eq!((settings.max_frame_size, settings.max_header_list_size), (20_000, Some(1)));
    assert!(!tested.machine.extended_connect_allowed());
}

/// §6.5: lengths of SETTINGS.
#[test]
fn settings_lengths() {
    let mut tested = Tested::server();
    tested.receive(&frame(SETTINGS, 0, 0, &[0; 5]));
    tested.assert_connection_error(Violation::SettingsLength);
    let mut tested = Tested::server();
    tested.receive(&frame(SETTINGS, ACK, 0, &[0; 6]));
    tested.assert_connection_error(Violation::SettingsAckLength);
}

/// §6.5.2, RFC 8441 §3, RFC 9218 §2.1: values.
#[test]
fn settings_values() {
    type Case = (Role, &'static [(u16, u32)], Violation);
    let cases: &[Case] = &[
        (Role::Server, &[(2, 2)], Violation::SettingEnablePush),
        (Role::Client, &[(2, 1)], Violation::SettingEnablePush),
        (Role::Server, &[(4, 1 << 31)], Violation::SettingInitialWindowSize),
        (Role::Server, &[(5, (1 << 14) - 1)], Violation::SettingMaxFrameSize),
        (Role::Server, &[(5, 1 << 24)], Violation::SettingMaxFrameSize),
        (Role::Client, &[(8, 2)], Violation::SettingEnableConnectProtocol),
        (Role::Client, &[(8, 0)], Violation::SettingEnableConnectProtocol),
        (Role::Server, &[(9, 2)], Violation::SettingNoRfc7540Priorities),
        (Role::Server, &[(9, 1), (9, 0)], Violation::SettingNoRfc7540Priorities),
    ];
    for (role, values, violation) in cases {
        let mut tested = if *role == Role::Server { Tested::server() } else { Tested::client() };
        tested.receive(&settings(values));
        tested.assert_connection_error(*violation);
    }
    let mut tested = Tested::server();
    tested.receive(&settings(&[(2, 1), (4, (1 << 31) - 1), (5, (1 << 24) - 1), (8, 1), (9, 1), (9, 1)]));
    assert_eq!(tested.sent(), [Sent::SettingsAck]);
}

/// §6.5.3: "If the sender of a SETTINGS frame does not receive an acknowledgment within a reasonable amount of time, it
/// MAY issue a connection error of type SETTINGS_TIMEOUT."
#[test]
fn settings_have_to_be_acknowledged_in_time() {
    let mut tested = Tested::new(Role::Server, Config::default());
    tested.receive(PREFACE).receive(&settings(&[])).after(Duration::from_secs(9));
    assert!(!tested.machine.is_closed());
    tested.after(Duration::from_secs(1));
    tested.assert_connection_error(Violation::SettingsTimeout);
}

/// §6.6, §8.4: nobody may push to us.
#[test]
fn push_promise() {
    for mut tested in [Tested::server(), Tested::client()] {
        tested.receive(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]));
        tested.assert_connection_error(Violation::PushPromise);
    }
}

/// §6.7: PING is answered with its payload; an answer that nobody asked for is ignored.
#[test]
fn pings() {
    let mut tested = Tested::server();
    tested.receive(&frame(PING, ACK, 0, &[9; 8]));
    tested.assert_alive();
    tested.machine.ping([1; 8]);
    assert_eq!(tested.sent(), [Sent::Ping([1; 8])]);
    tested.receive(&frame(PING, ACK, 0, &[1; 8]));
    assert!(matches!(tested.events()[..], [Event::Pong([1, ..])]));
}

/// One answer of a kind waits at most: then nothing more is read until it was sent.
#[test]
fn reading_stops_until_answers_are_sent() {
    for flood in [ping(1), settings(&[])] {
        let mut tested = Tested::server();
        let mut input = bytes::BytesMut::from(&flood.repeat(10)[..]);
        for round in 0..10 {
            tested.machine.handle_data(tested.now, &mut input);
            assert_eq!(tested.machine.is_stopped(), round < 9);
            assert_eq!(input.len(), (9 - round) * flood.len());
            assert_eq!(tested.sent().len(), 1);
        }
        assert_eq!(tested.machine.counters().stops, 9);
    }
}

/// §6.8: streams above the last one may be tried again; no new ones are opened.
#[test]
fn goaway_of_the_server() {
    let mut tested = Tested::client();
    let request = get("https://example.com/");
    let (first, second) = (tested.open(&request, true), tested.open(&request, true));
    tested.receive(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    assert!(matches!(tested.events()[..], [Event::GoAway { last: 0x7fff_ffff, reason: Reason::NO_ERROR }]));
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::GoingAway));
    tested.receive(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    let events = tested.events();
    let [
        Event::GoAway { last: 1, .. },
        Event::Reset { id, reason: Reason::REFUSED_STREAM, remote: true, violation: None },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(id, second);
    tested.machine.stream(second).unwrap().release();
    tested.receive(&headers(1, true, &[(":status", "200")]));
    tested.events();
    tested.machine.stream(first).unwrap().release();
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));
    assert_eq!(tested.sent(), [Sent::GoAway { last: 0, reason: Reason::NO_ERROR }]);
}

/// §6.8, §8.7: REFUSED_STREAM says that nothing was done. What was answered is told the error, and is not to be tried again.
#[test]
fn a_stream_that_was_answered_ends_by_the_error_of_the_goaway() {
    let mut tested = Tested::client();
    let request = get("https://example.com/");
    let (answered, waiting) = (tested.open(&request, true), tested.open(&request, true));
    tested.receive(&headers(answered.value(), false, &[(":status", "200")]));
    tested.events();
    tested.receive(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]));
    let ends: Vec<_> = tested
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Reset { id, reason, remote: true, violation: None } => Some((id, reason)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(answered, Reason::ENHANCE_YOUR_CALM), (waiting, Reason::REFUSED_STREAM)]);
}

/// §6.8: a peer may lower the last stream, but not for ever; a server has no streams that it would name.
#[test]
fn goaway_flood() {
    for mut tested in [Tested::server(), Tested::client()] {
        if tested.machine.extended_connect_allowed() {
            tested.open(&get("https://example.com/"), true);
        } else {
            tested.accept(1, false, POST);
        }
        let goaway = |last: u32| frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0; 4]].concat());
        for index in 0..=1000 {
            assert!(!tested.machine.is_closed(), "{index}");
            tested.receive(&goaway(0x7fff_ffff - index));
        }
        assert!(tested.events().iter().all(|event| matches!(event, Event::GoAway { .. })));
        assert_eq!(tested.machine.counters().glitches, 1000);
        tested.receive(&goaway(1));
        tested.assert_connection_error(Violation::TooManyGlitches);
    }
}

/// §6.8: a graceful shutdown: "an initial GOAWAY frame with the last stream identifier set to 2^31-1", "After allowing
/// time for any in-flight stream creation (at least one round-trip time), the server MAY send another GOAWAY frame".
#[test]
fn drain() {
    let mut tested = Tested::server();
    let first = tested.accept(1, true, GET);
    tested.machine.drain(tested.now);
    tested.machine.drain(tested.now);
    let sent = tested.sent();
    let [Sent::GoAway { last: 0x7fff_ffff, reason: Reason::NO_ERROR }, Sent::Ping(payload)] = sent[..] else {
        panic!("{sent:?}")
    };
    // On its way already: it is served.
    let second = tested.accept(3, true, GET);
    tested.receive(&frame(PING, ACK, 0, &payload));
    assert_eq!(tested.sent(), [Sent::GoAway { last: 3, reason: Reason::NO_ERROR }]);
    // Too late: as if it had not come.
    tested.receive(&headers(5, false, POST)).receive(&data(5, true, b"x"));
    assert!(tested.events().is_empty());
    assert_eq!(tested.sent(), []);
    for id in [first, second] {
        let mut stream = tested.machine.stream(id).unwrap();
        stream.respond(&http::Response::new(()), true).unwrap();
        assert!(!tested.machine.is_closed());
        tested.machine.stream(id).unwrap().release();
    }
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));
}

/// §6.8: a GOAWAY has "the last peer-initiated stream" in it, and a client has no peer that initiates any: until its own
/// streams have ended there is nothing to say, and some servers take a GOAWAY for the end of the connection.
#[test]
fn drain_of_a_client() {
    let mut tested = Tested::client();
    let request = get("https://example.com/");
    let id = tested.open(&request, true);
    tested.sent();
    tested.machine.drain(tested.now);
    assert_eq!(tested.machine.open(&request, true), Err(OpenError::GoingAway));
    tested.receive(&headers(1, true, &[(":status", "200")]));
    assert_eq!(tested.sent(), []);
    tested.events();
    tested.machine.stream(id).unwrap().release();
    assert_eq!(tested.sent(), [Sent::GoAway { last: 0, reason: Reason::NO_ERROR }]);
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));
}

/// A peer that does not answer the PING is not waited for.
#[test]
fn drain_in_time() {
    let mut tested = Tested::server();
    tested.machine.drain(tested.now);
    tested.after(Duration::from_secs(1));
    assert!(!tested.machine.is_closed());
    tested.after(Duration::from_secs(1));
    assert!(matches!(tested.events()[..], [Event::Closed(None)]));
    assert_eq!(tested.sent().last(), Some(&Sent::GoAway { last: 0, reason: Reason::NO_ERROR }));
}

/// §6.9: an increment of 0 is an error of what it is for.
#[test]
fn window_update_of_zero() {
    let mut tested = Tested::server();
    tested.accept(1, false, POST);
    tested.receive(&window_update(1, 0));
    tested.assert_reset(1, Reason::PROTOCOL_ERROR);
    tested.receive(&window_update(0, 0x8000_0000));
    tested.assert_connection_error(Violation::ConnectionWindowUpdateZero);
}

/// §6.9.1: "A sender MUST NOT allow a flow-control window to exceed 2^31-1 octets."
#[test]
fn window_overflow() {
    let mut tested = Tested::server();
    tested.accept(1, false, POST);
    tested.receive(&window_update(1, (1 << 31) - 1 - 65_535));
    tested.assert_alive();
    tested.receive(&window_update(1, 1));
    tested.assert_reset(1, Reason::FLOW_CONTROL_ERROR);
    tested.receive(&window_update(0, (1 << 31) - 1 - 65_535)).receive(&window_update(0, 1));
    tested.assert_connection_error(Violation::ConnectionWindowOverflow);
}

/// §6.9.2: "An endpoint MUST treat a change to SETTINGS_INITIAL_WINDOW_SIZE that causes any flow-control window to exceed
/// the maximum size as a connection error of type FLOW_CONTROL_ERROR."
#[test]
fn initial_window_overflow() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    tested.receive(&window_update(1, 1000)).receive(&settings(&[(4, (1 << 31) - 1 - 1000)]));
    tested.assert_ack();
    // A stream that is gone does not count.
    tested.machine.stream(id).unwrap().release();
    tested.receive(&settings(&[(4, (1 << 31) - 1)]));
    tested.sent();
    tested.receive(&settings(&[(4, 10)]));
    tested.sent();
    tested.accept(3, false, POST);
    tested.receive(&window_update(3, 1)).receive(&settings(&[(4, (1 << 31) - 1)]));
    tested.assert_connection_error(Violation::InitialWindowOverflow);
}

impl Tested {
    #[track_caller]
    fn assert_ack(&mut self) {
        assert_eq!(self.sent(), [Sent::SettingsAck]);
    }
}

/// §6.9: "The receiver of a flow-controlled frame … MUST treat it as … FLOW_CONTROL_ERROR if it is unable to accept it":
/// the stream's window is the one that can be exceeded.
#[test]
fn stream_window_is_enforced() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    tested.receive(&data(1, false, &[0; 16_384]).repeat(3)).receive(&data(1, false, &[0; 16_383]));
    tested.assert_alive();
    tested.receive(&data(1, false, &[0]));
    tested.assert_reset(1, Reason::FLOW_CONTROL_ERROR);
    assert_eq!(tested.machine.stream(id).unwrap().unread(), 65_535);
}

/// §6.9: credit comes back with the reading, half a window at a time, and padding counts as read.
#[test]
fn reading_gives_credit() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 10));
    let id = tested.accept(1, false, POST);
    tested.after(Duration::from_secs(1));
    tested.receive(&data(1, false, &[0; 16_384]));
    tested.machine.stream(id).unwrap().read();
    assert_eq!(tested.sent(), []);
    tested.receive(&data(1, false, &[0; 16_382]));
    tested.machine.stream(id).unwrap().read();
    assert_eq!(tested.sent(), []);
    tested.receive(&frame(DATA, PADDED, 1, &[0, 7]));
    assert_eq!(tested.sent(), [Sent::WindowUpdate { id: 1, increment: 32_767 }]);
    tested.machine.stream(id).unwrap().read();
    assert_eq!(tested.sent(), []);
}

/// The window of a reader that keeps up doubles, from a pool, up to the largest size; the pool gets it back.
#[test]
fn windows_grow_for_fast_readers() {
    let window = 65_536;
    let config = Config::default().with(|config| {
        config.initial_window_size = window;
        config.max_window_size = 4 * window;
        config.window_pool = 4 * window;
        // Of which no credit comes back here.
        config.max_unread = 1 << 30;
    });
    let mut tested = Tested::server_with(config);
    let grown = |tested: &mut Tested, stream_id: u32, rounds: usize| {
        let id = tested.accept(stream_id, false, POST);
        let mut extra = 0;
        for _ in 0..rounds {
            tested.receive(&data(stream_id, false, &[0; 16_384]));
            tested.machine.stream(id).unwrap().read();
            for sent in tested.sent() {
                let Sent::WindowUpdate { increment, .. } = sent else { panic!("{sent:?}") };
                extra += increment as i64;
            }
            extra -= 16_384;
        }
        (id, extra)
    };
    let (first, _) = grown(&mut tested, 1, 100);
    let (second, extra) = grown(&mut tested, 3, 66);
    assert_eq!(extra, i64::from(window), "the pool had room for one doubling more");
    tested.machine.stream(first).unwrap().release();
    tested.machine.stream(second).unwrap().release();
    tested.sent();
    let (_, extra) = grown(&mut tested, 5, 70);
    assert_eq!(extra, 3 * i64::from(window));
}

/// §6.5.3, §6.9.2: a window below the default holds only after the peer has acknowledged it.
#[test]
fn small_windows_hold_after_the_acknowledgement() {
    let config = Config::default().with(|config| {
        config.initial_window_size = 100;
        config.window_pool = 0;
    });
    let mut tested = Tested::new(Role::Server, config);
    tested.receive(PREFACE).receive(&settings(&[])).receive(&headers(1, false, POST));
    tested.receive(&data(1, false, &[0; 1000]));
    let id = tested.request().0;
    assert_eq!(tested.machine.stream(id).unwrap().read().len(), 1000);
    tested.receive(&frame(SETTINGS, ACK, 0, &[]));
    tested.sent();
    tested.receive(&data(1, false, &[0; 100]));
    tested.assert_alive();
    tested.receive(&data(1, false, &[0; 1]));
    tested.assert_reset(1, Reason::FLOW_CONTROL_ERROR);
}
