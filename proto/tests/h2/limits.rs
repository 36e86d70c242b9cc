//! Our own limits (RFC 9113 §10.5): each holds, and none is met by honest traffic.

use std::time::Duration;

use http::Response;
use sockeye_proto::h2::{Config, Event, Reason, Role, Violation};

use crate::common::*;

fn with_field(octets: usize) -> Vec<(&'static str, String)> {
    let mut fields: Vec<_> = GET.iter().map(|(name, value)| (*name, value.to_string())).collect();
    fields.push(("x", "a".repeat(octets)));
    fields
}

fn request(stream_id: u32, end_stream: bool, fields: &[(&str, String)]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
    let block = block(&fields);
    let mut frames = Vec::new();
    let last = block.len().div_ceil(16_000) - 1;
    for (index, fragment) in block.chunks(16_000).enumerate() {
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let flags = if index == 0 { u8::from(end_stream) } else { 0 } | if index == last { END_HEADERS } else { 0 };
        frames.extend(frame(kind, flags, stream_id, fragment));
    }
    frames
}

/// RFC 6585 §5: past the soft limit a request gets its 431, and the connection goes on.
#[test]
fn large_header_list_gets_431() {
    let fits = (16 << 10) - (GET.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() + 1 + 32);
    let mut tested = Tested::server();
    tested.receive(&request(1, true, &with_field(fits)));
    assert!(matches!(tested.events()[..], [Event::Request { .. }]));
    for (stream_id, end_stream) in [(3, true), (5, false)] {
        tested.receive(&request(stream_id, end_stream, &with_field(fits + 1)));
        let sent = tested.sent();
        let Some(Sent::Headers { id, fields, end_stream: true }) = sent.first() else { panic!("{sent:?}") };
        assert_eq!((*id, &fields[0].1[..]), (stream_id, "431"));
        let reset = Sent::RstStream { id: stream_id, reason: Reason::NO_ERROR };
        assert_eq!(sent.contains(&reset), !end_stream);
    }
    // Nor is what follows on such a stream anybody's fault.
    tested.receive(&data(5, true, b"content"));
    tested.assert_alive();
    assert!(tested.events().is_empty());
    assert_eq!(tested.machine.counters().header_lists_refused, 2);
    let many: Vec<_> = GET.iter().copied().chain((0..97).map(|_| ("a", ""))).collect();
    tested.receive(&headers(7, true, &many));
    assert!(matches!(tested.sent()[..], [Sent::Headers { id: 7, .. }]));
}

/// Past four times the limit the connection ends.
#[test]
fn huge_header_list_ends_the_connection() {
    let mut tested = Tested::server();
    tested.receive(&request(1, true, &with_field(60_000)));
    assert!(matches!(tested.sent()[..], [Sent::Headers { .. }]));
    tested.receive(&request(3, true, &with_field(66_000)));
    tested.assert_connection_error(Violation::HeaderListFarTooLarge);
    let many: Vec<_> = GET.iter().copied().chain((0..400).map(|_| ("a", ""))).collect();
    let mut tested = Tested::server();
    tested.receive(&headers(1, true, &many));
    tested.assert_connection_error(Violation::HeaderListFarTooLarge);
}

/// CONTINUATION frames are counted, even empty ones, and do not take for ever.
#[test]
fn continuations() {
    let mut tested = Tested::server();
    tested.receive(&frame(HEADERS, END_STREAM, 1, &block(GET)));
    tested.receive(&frame(CONTINUATION, 0, 1, &[]).repeat(7));
    tested.receive(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    assert!(matches!(tested.events()[..], [Event::Request { .. }]));
    tested.receive(&frame(HEADERS, END_STREAM, 3, &block(GET)));
    tested.receive(&frame(CONTINUATION, 0, 3, &[]).repeat(9));
    tested.assert_connection_error(Violation::TooManyContinuations);

    let mut tested = Tested::server();
    tested.receive(&frame(HEADERS, END_STREAM, 1, &block(GET))).after(Duration::from_secs(9));
    tested.receive(&frame(CONTINUATION, 0, 1, &[])).after(Duration::from_secs(1));
    tested.assert_connection_error(Violation::HeaderTimeout);
}

/// However many requests come at once, a few stand in memory until the application has heard of them. It is no fault.
#[test]
fn requests_are_heard_a_few_at_a_time() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 1000));
    let mut input: bytes::BytesMut = (0..1000).flat_map(|index| headers(1 + 2 * index, true, GET)).collect();
    let mut heard = 0;
    while heard < 1000 {
        tested.machine.handle_data(tested.now, &mut input);
        assert_eq!(tested.machine.is_stopped(), !input.is_empty());
        let events = tested.events();
        assert!((1..=64).contains(&events.len()));
        heard += events.len();
        tested.sent();
    }
    assert!(input.is_empty());
    assert_eq!(tested.machine.counters().stops, 0);
}

/// A flood of requests that are reset at once ends the connection.
#[test]
fn reset_flood() {
    let mut tested = Tested::server();
    for index in 0..=200 {
        assert!(!tested.machine.is_closed());
        let id = tested.accept(1 + 2 * index, true, GET);
        tested.receive(&rst_stream(id.value(), Reason::CANCEL));
        tested.machine.stream(id).unwrap().release();
    }
    tested.assert_connection_error(Violation::TooManyResets);
}

/// Making us reset streams is no way round that.
#[test]
fn fault_flood() {
    let mut tested = Tested::server();
    for index in 0..=200 {
        assert!(!tested.machine.is_closed());
        tested.receive(&headers(1 + 2 * index, true, &[(":method", "GET")]));
    }
    tested.assert_connection_error(Violation::TooManyResets);
    assert_eq!(tested.machine.counters().resets_for_faults, 201);
}

/// Tunnels whose protocol the peer broke, whoever found that out.
#[test]
fn failed_tunnel_flood() {
    for mut tested in [Tested::server(), Tested::client()] {
        for _ in 0..200 {
            tested.machine.blame(tested.now);
            tested.assert_alive();
        }
        tested.machine.blame(tested.now);
        tested.assert_connection_error(Violation::TooManyFailedTunnels);
        // Who finds out later changes nothing.
        tested.machine.blame(tested.now);
        assert_eq!(tested.sent(), []);
    }
}

/// All hundred sockets of a page fail once, and again when it has opened them anew, every two seconds.
#[test]
fn a_page_whose_sockets_all_fail_is_no_flood() {
    let mut tested = Tested::server();
    let mut stream_id = 1;
    for _ in 0..60 {
        for _ in 0..100 {
            let id = tested.accept_and_respond(stream_id, false, CONNECT_WEBSOCKET);
            stream_id += 2;
            tested.receive(&data(id.value(), true, b"no frame"));
            let mut stream = tested.machine.stream(id).unwrap();
            stream.read();
            stream.write(b"a Close", true);
            stream.release();
            tested.machine.blame(tested.now);
        }
        tested.events();
        tested.after(Duration::from_secs(2));
    }
    assert!(!tested.machine.is_closed());
    assert_eq!(tested.machine.counters().connection_errors, 0);
}

/// RFC 9110 §15.2: interim responses without end are of no use to a client.
#[test]
fn interim_response_flood() {
    let mut tested = Tested::client();
    let id = tested.open(&get("https://example.com/"), true);
    let interim = headers(id.value(), false, &[(":status", "103")]);
    tested.receive(&interim.repeat(1000));
    assert!(!tested.machine.is_closed());
    tested.receive(&interim);
    tested.assert_connection_error(Violation::TooManyGlitches);
}

/// A server that tells for an hour that it is at work, and hints early at each of thousands of responses.
#[test]
fn honest_interim_responses_are_no_flood() {
    let mut tested = Tested::client();
    let slow = tested.open(&get("https://example.com/slow"), true);
    for _ in 0..1200 {
        tested.after(Duration::from_secs(3)).receive(&headers(slow.value(), false, &[(":status", "102")]));
    }
    for _ in 0..5000 {
        let id = tested.open(&get("https://example.com/"), true);
        tested.receive(&headers(id.value(), false, &[(":status", "100")]));
        tested.receive(&headers(id.value(), false, &[(":status", "103")]));
        tested.receive(&headers(id.value(), true, &[(":status", "204")]));
        tested.machine.stream(id).unwrap().release();
        tested.events();
    }
    assert!(!tested.machine.is_closed());
}

/// Streams past the limit: not the peer's fault before it can know the limit, and a fault after.
#[test]
fn refusals_before_and_after_the_acknowledgement() {
    let config = Config::default().with(|config| config.max_concurrent_streams = 0);
    let mut tested = Tested::new(Role::Server, config);
    tested.receive(PREFACE).receive(&settings(&[]));
    for index in 0..500 {
        tested.receive(&headers(1 + 2 * index, true, GET));
    }
    assert!(!tested.machine.is_closed());
    tested.receive(&frame(SETTINGS, ACK, 0, &[]));
    for index in 500..701 {
        tested.receive(&headers(1 + 2 * index, true, GET));
    }
    tested.assert_connection_error(Violation::TooManyResets);
}

/// Frames that do nothing.
#[test]
fn glitch_flood() {
    let priority = frame(PRIORITY, 0, 1, &[0; 5]);
    let unknown = frame(0xee, 0, 0, &[]);
    for flood in [priority, unknown, data(1, false, b""), frame(PING, ACK, 0, &[0; 8])] {
        let mut tested = Tested::server();
        tested.accept(1, false, POST);
        tested.receive(&flood.repeat(900));
        assert!(!tested.machine.is_closed());
        // They are forgiven in time.
        tested.after(Duration::from_secs(60)).receive(&flood.repeat(1000));
        assert!(!tested.machine.is_closed());
        tested.receive(&flood);
        tested.assert_connection_error(Violation::TooManyGlitches);
    }
}

/// SETTINGS have a limit of their own: nothing that we send makes up for them.
#[test]
fn settings_flood() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, false, CONNECT_WEBSOCKET);
    let flips = [settings(&[(4, 60_000)]), settings(&[(4, 60_001)])];
    for _ in 0..60 {
        for flip in flips.iter().cycle().take(10) {
            assert_eq!(tested.machine.stream(id).unwrap().write(b"x", false), 1);
            tested.receive(flip);
        }
        tested.after(Duration::from_secs(1));
    }
    for flip in flips.iter().cycle().take(100) {
        tested.receive(flip);
    }
    assert!(!tested.machine.is_closed());
    assert_eq!(tested.machine.stream(id).unwrap().write(&[b'x'; 200], false), 200);
    tested.receive(&flips[0]);
    tested.assert_connection_error(Violation::TooManySettings);
    assert_eq!(tested.machine.counters().settings_changes, 701);
}

/// Octets that carry nothing: padding, here.
#[test]
fn overhead_flood() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    let padded = frame(DATA, PADDED, 1, &[&[255, b'x'][..], &[0; 255]].concat());
    let mut frames = 0;
    while !tested.machine.is_closed() {
        tested.receive(&padded);
        tested.machine.stream(id).unwrap().read();
        frames += 1;
        assert!(frames < 100_000);
    }
    assert!(frames > 40_000, "{frames}");
    let events = tested.events();
    assert!(matches!(events.last(), Some(Event::Closed(Some(_)))));
}

/// A peer that falls silent is asked, and then given up.
#[test]
fn keep_alive() {
    let config = Config::default().with(|config| config.keep_alive_interval = Some(Duration::from_secs(30)));
    let mut tested = Tested::server_with(config.clone());
    tested.after(Duration::from_secs(29)).receive(&ping(1));
    tested.sent();
    tested.after(Duration::from_secs(29));
    assert_eq!(tested.sent(), []);
    tested.after(Duration::from_secs(1));
    let sent = tested.sent();
    let [Sent::Ping(payload)] = sent[..] else { panic!("{sent:?}") };
    tested.after(Duration::from_secs(19)).receive(&frame(PING, ACK, 0, &payload));
    assert!(tested.events().is_empty());
    tested.after(Duration::from_secs(30));
    assert_eq!(tested.sent(), [Sent::Ping(payload)]);
    tested.after(Duration::from_secs(20));
    tested.assert_connection_error(Violation::KeepAliveTimeout);
}

/// A frame that takes longer to come than the peer may be silent: each of its octets says that the peer is there, and its
/// Pong cannot overtake the frame.
#[test]
fn any_octet_keeps_alive() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let config = Config::default().with(|config| {
        config.keep_alive_interval = seconds(5);
        config.keep_alive_timeout = Duration::from_secs(5);
    });
    let mut tested = Tested::server_with(config);
    tested.accept(1, false, POST);
    for octet in data(1, false, &[0; 20]) {
        tested.after(Duration::from_secs(4)).receive(&[octet]);
    }
    tested.assert_alive();
    assert!(!tested.sent().iter().any(|sent| matches!(sent, Sent::Ping { .. })), "nobody was silent");
    tested.receive(&data(1, false, &[0; 20])[..15]).after(Duration::from_secs(6)).receive(&[]);
    tested.after(Duration::from_secs(5));
    tested.assert_connection_error(Violation::KeepAliveTimeout);
}

/// A connection without a stream drains, in one to two times the time after the last was released; one with a stream never does.
#[test]
fn idle_connections_drain() {
    let config = Config::default().with(|config| config.idle_timeout = Some(Duration::from_secs(60)));
    let is_draining = |tested: &mut Tested| tested.sent().iter().any(|sent| matches!(sent, Sent::GoAway { .. }));
    let mut tested = Tested::server_with(config.clone());
    tested.after(Duration::from_secs(59));
    assert!(!is_draining(&mut tested));
    tested.after(Duration::from_secs(2));
    assert!(is_draining(&mut tested));
    assert_eq!((tested.machine.counters().idle_timeouts, tested.machine.counters().connection_errors), (1, 0));

    let mut tested = Tested::server_with(config);
    let id = tested.accept_and_respond(1, false, CONNECT_WEBSOCKET);
    for _ in 0..100 {
        tested.after(Duration::from_secs(50));
    }
    assert!(!is_draining(&mut tested), "a silent socket is no idle connection");
    tested.machine.stream(id).unwrap().release();
    for _ in 0..5 {
        tested.after(Duration::from_secs(11));
    }
    assert!(!is_draining(&mut tested), "it was released less than a minute ago");
    let id = tested.accept_and_respond(3, false, CONNECT_WEBSOCKET);
    tested.after(Duration::from_secs(20));
    tested.machine.stream(id).unwrap().release();
    tested.after(Duration::from_secs(50));
    assert!(!is_draining(&mut tested));
    tested.after(Duration::from_secs(10)).after(Duration::from_secs(61));
    assert!(is_draining(&mut tested));
}

/// A time may be as long as can be: it is not limited then.
#[test]
fn endless_times() {
    let endless = Config::default().with(|config| {
        config.preface_timeout = Duration::MAX;
        config.settings_timeout = Duration::MAX;
        config.header_timeout = Duration::MAX;
        config.progress_timeout = Duration::MAX;
        config.idle_timeout = Some(Duration::MAX);
        config.keep_alive_interval = Some(Duration::MAX);
        config.keep_alive_timeout = Duration::MAX;
        config.drain_timeout = Duration::MAX;
    });
    let year = Duration::from_secs(365 * 24 * 3600);
    let asking = endless.clone().with(|config| config.keep_alive_interval = Some(Duration::from_secs(30)));
    for config in [endless, asking] {
        let asks = config.keep_alive_interval != Some(Duration::MAX);
        let mut tested = Tested::new(Role::Server, config);
        tested.receive(PREFACE).after(year);
        tested.receive(&settings(&[(4, 0)])).after(year);
        let id = tested.accept_and_respond(1, false, POST);
        assert_eq!(tested.machine.stream(id).unwrap().write(b"x", false), 0);
        tested.after(year).receive(&frame(HEADERS, END_STREAM, 3, &block(GET)));
        tested.after(year).receive(&frame(CONTINUATION, END_HEADERS, 3, &[]));
        tested.machine.drain(tested.now);
        tested.after(year);
        assert_eq!(tested.machine.poll_timeout(), None);
        assert!(!tested.machine.is_closed() && !tested.machine.stream(id).unwrap().is_closed());
        let pings =
            tested.sent().iter().filter(|sent| matches!(sent, Sent::Ping(payload) if payload == b"sockeye?")).count();
        assert_eq!(pings > 0, asks);
    }
}

/// What honest peers do, for long, meets no limit.
#[test]
fn honest_traffic_meets_no_limit() {
    // Messages of one octet, which nobody answers.
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, false, CONNECT_WEBSOCKET);
    let batch = data(1, false, b"x").repeat(1000);
    for _ in 0..1000 {
        tested.receive(&batch);
        assert_eq!(tested.machine.stream(id).unwrap().read().len(), 1000);
    }
    // A subscriber that gives credit for each message of one octet, on an even cheaper connection.
    for _ in 0..200_000 {
        assert_eq!(tested.machine.stream(id).unwrap().write(b"x", false), 1);
        tested.receive(&[window_update(0, 1), window_update(1, 1)].concat());
    }
    assert!(!tested.machine.is_closed());
    assert_eq!(tested.machine.counters().glitches, 0);
    // A page that closes a hundred sockets at once, again and again, and cancels fifty requests each second.
    let mut stream_id = 3;
    for _ in 0..60 {
        let ids: Vec<_> =
            (0..99).map(|index| tested.accept_and_respond(stream_id + 2 * index, false, CONNECT_WEBSOCKET)).collect();
        stream_id += 2 * 99;
        for id in ids {
            tested.receive(&rst_stream(id.value(), Reason::CANCEL));
            tested.machine.stream(id).unwrap().release();
        }
        for _ in 0..50 {
            let id = tested.accept(stream_id, true, GET);
            stream_id += 2;
            tested.receive(&rst_stream(id.value(), Reason::CANCEL));
            tested.machine.stream(id).unwrap().release();
        }
        tested.after(Duration::from_secs(1));
    }
    // A download whose credit comes when it has been sent whole.
    for _ in 0..200 {
        let id = tested.accept(stream_id, true, GET);
        tested.machine.stream(id).unwrap().respond(&Response::new(()), false).unwrap();
        for last in [false, false, false, true] {
            assert_eq!(tested.machine.stream(id).unwrap().write(&[0; 10_000], last), 10_000);
            tested.receive(&window_update(0, 10_000));
        }
        tested.machine.stream(id).unwrap().release();
        tested.receive(&window_update(stream_id, 10_000).repeat(4));
        stream_id += 2;
    }
    assert!(!tested.machine.is_closed());
    assert_eq!(tested.machine.counters().connection_errors, 0);
}
