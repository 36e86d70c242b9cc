//! What the application writes: windows, turns, and the bound of the output.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::h2::{Config, Event, Reason, StreamId, Violation};

use crate::common::*;

fn data_lengths(sent: &[Sent]) -> Vec<(u32, usize)> {
    let lengths = sent.iter().map(|sent| match sent {
        Sent::Data { id, data, .. } => (*id, data.len()),
        sent => panic!("{sent:?}"),
    });
    lengths.collect()
}

fn write(tested: &mut Tested, id: StreamId, octets: usize) -> usize {
    tested.machine.stream(id).unwrap().write(&vec![0; octets], false)
}

#[track_caller]
fn assert_writable(tested: &mut Tested, ids: &[StreamId]) {
    let events = tested.events();
    let writable: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Writable(id) => *id,
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(writable, ids);
}

/// RFC 9113 §6.9.1: "The sender MUST NOT send a flow-controlled frame with a length that exceeds the space available in
/// either of the flow-control windows advertised by the receiver."
#[test]
fn both_windows_hold() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 10)]));
    tested.events();
    let (first, second) = (tested.accept_and_respond(1, true, GET), tested.accept_and_respond(3, true, GET));
    assert_eq!(write(&mut tested, first, 11), 10);
    assert_eq!(write(&mut tested, first, 1), 0);
    assert_eq!(data_lengths(&tested.sent()), [(1, 10)]);
    assert!(tested.events().is_empty());
    tested.receive(&window_update(1, 3));
    assert_writable(&mut tested, &[first]);
    assert_eq!(write(&mut tested, first, 3), 3);
    tested.receive(&window_update(3, 100_000)).receive(&window_update(1, 10));
    assert!(tested.events().is_empty(), "the first stream had nothing more");
    let mut taken = 0;
    while taken < 65_535 - 13 {
        taken += write(&mut tested, second, 100_000 - taken);
    }
    assert_eq!(write(&mut tested, second, 1), 0);
    assert_eq!(write(&mut tested, first, 1), 0);
    assert!(tested.events().is_empty());
    tested.receive(&window_update(0, 1));
    // One octet: the first in the queue takes it, and nobody else is told.
    assert!(matches!(tested.machine.poll_event(), Some(Event::Writable(id)) if id == second));
    assert_eq!(write(&mut tested, second, 1), 1);
    assert!(tested.events().is_empty());
    tested.sent();
    // Both wait for the connection, in turn.
    assert_eq!(write(&mut tested, second, 1), 0);
    tested.receive(&window_update(0, 20_000));
    assert_writable(&mut tested, &[first, second]);
}

/// §6.9: "Frames that are exempt": an empty DATA frame with END_STREAM needs no window.
#[test]
fn ending_needs_no_window() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 0)]));
    let id = tested.accept_and_respond(1, true, GET);
    assert_eq!(tested.machine.stream(id).unwrap().write(b"x", true), 0);
    assert_eq!(tested.machine.stream(id).unwrap().write(b"", true), 0);
    assert_eq!(tested.sent(), [Sent::Data { id: 1, data: vec![], end_stream: true }]);
    assert!(tested.machine.stream(id).unwrap().is_closed());
}

/// END_STREAM goes with the last octet, and only there.
#[test]
fn end_goes_with_the_last_octet() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 4)]));
    tested.events();
    let id = tested.accept_and_respond(1, true, GET);
    assert_eq!(tested.machine.stream(id).unwrap().write(b"hello", true), 4);
    tested.receive(&window_update(1, 1));
    assert_writable(&mut tested, &[id]);
    assert_eq!(tested.machine.stream(id).unwrap().write(b"o", true), 1);
    let ends: Vec<_> =
        tested.sent().into_iter().map(|sent| matches!(sent, Sent::Data { end_stream: true, .. })).collect();
    assert_eq!(ends, [false, true]);
}

/// §6.9.2: a change of the initial window applies to open streams, below zero as well, and wakes those that waited.
#[test]
fn initial_window_changes() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, true, GET);
    assert_eq!(write(&mut tested, id, 16_384), 16_384);
    tested.receive(&settings(&[(4, 16_000)]));
    assert_eq!(write(&mut tested, id, 1), 0);
    tested.sent();
    tested.events();
    tested.receive(&window_update(1, 384));
    assert!(tested.events().is_empty());
    tested.receive(&settings(&[(4, 16_001)]));
    let events = tested.events();
    assert!(matches!(events[..], [Event::Settings, Event::Writable(writable)] if writable == id), "{events:?}");
    assert_eq!(write(&mut tested, id, 5), 1);
}

/// §6.9.2: of the streams that wait for their window, a change wakes those that it reaches, whatever else moved them.
#[test]
fn initial_window_growth_wakes_whom_it_reaches() {
    let mut tested = Tested::server();
    let ids: Vec<_> = (0..4).map(|index| tested.accept_and_respond(1 + 2 * index, true, GET)).collect();
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(write(&mut tested, *id, 1000 * (1 + index)), 1000 * (1 + index));
    }
    tested.receive(&settings(&[(4, 0)]));
    for id in &ids {
        assert_eq!(write(&mut tested, *id, 1), 0);
    }
    tested.sent();
    tested.events();
    let grown = |tested: &mut Tested, window: u32| -> Vec<StreamId> {
        tested.receive(&settings(&[(4, window)]));
        let writable = |event| if let Event::Writable(id) = event { Some(id) } else { None };
        tested.events().into_iter().filter_map(writable).collect()
    };
    assert_eq!(grown(&mut tested, 1000), []);
    assert_eq!(grown(&mut tested, 2001), [ids[0], ids[1]]);
    assert_eq!(grown(&mut tested, 3000), [], "those two do not wait any more");
    // Credit that is not enough by itself counts with the change.
    tested.receive(&window_update(7, 999));
    assert_eq!(grown(&mut tested, 3002), [ids[2], ids[3]]);
    assert_eq!(write(&mut tested, ids[3], 5), 1);
    assert_eq!(grown(&mut tested, 3003), [ids[3]]);
}

/// The least room for what is to be transmitted lets octets pass, and so does the largest.
#[test]
fn the_output_may_have_any_bound() {
    for max_send_buffer in [0, 1, usize::MAX] {
        let mut tested = Tested::server_with(Config::default().with(|config| config.max_send_buffer = max_send_buffer));
        tested.receive(&settings(&[(4, 1 << 30)])).receive(&window_update(0, 1 << 30));
        tested.events();
        let id = tested.accept_and_respond(1, false, POST);
        let mut left = 50_000;
        for _ in 0..4 {
            tested.receive(&ping(7)).sent();
            tested.events();
            left -= write(&mut tested, id, left);
        }
        assert_eq!(left, 0, "{max_send_buffer}");
    }
}

/// One stream does not keep others waiting: each gets a frame of 16 KiB in its turn.
#[test]
fn waiting_streams_take_turns() {
    let config = Config::default().with(|config| config.max_send_buffer = 64 << 10);
    let mut tested = Tested::server_with(config);
    tested.receive(&settings(&[(4, 1 << 30)])).receive(&window_update(0, 1 << 30));
    tested.events();
    let ids: Vec<_> = (0..10).map(|index| tested.accept_and_respond(1 + 2 * index, true, GET)).collect();
    for id in &ids {
        write(&mut tested, *id, 1 << 20);
    }
    let mut order = Vec::new();
    for _ in 0..20 {
        let sent = data_lengths(&tested.sent());
        assert!(sent.len() <= 4 && sent.iter().all(|(_, length)| *length == 16_384));
        order.extend(sent.into_iter().map(|(id, _)| id));
        while let Some(event) = tested.machine.poll_event() {
            let Event::Writable(id) = event else { panic!("{event:?}") };
            write(&mut tested, id, 1 << 20);
        }
    }
    // After the first rush every stream comes round in the same order.
    let tail = &order[order.len() - 50..];
    assert!((10..50).all(|index| tail[index] == tail[index - 10]), "{tail:?}");
    let mut round = tail[..10].to_vec();
    round.sort_unstable();
    round.dedup();
    assert_eq!(round.len(), 10);
}

/// However much is to be sent, turns put three full frames of it into a batch: large messages go out evenly.
#[test]
fn turns_fill_a_batch() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 1 << 30)])).receive(&window_update(0, 1 << 30));
    tested.events();
    let ids = [1, 3].map(|id| tested.accept_and_respond(id, false, POST));
    tested.sent();
    for id in ids {
        write(&mut tested, id, 1 << 20);
    }
    // What was written without a turn.
    assert_eq!(data_lengths(&tested.sent()), [1, 3].map(|id| (id, 16_384)));
    for batch in 0..10 {
        while let Some(Event::Writable(id)) = tested.machine.poll_event() {
            write(&mut tested, id, 1 << 20);
        }
        let order = if batch % 2 == 0 { [1, 3, 1] } else { [3, 1, 3] };
        assert_eq!(data_lengths(&tested.sent()), order.map(|id| (id, 16_384)));
    }
}

/// A stream that waits gets its turn in every batch, though others fill more than that with what need not wait.
#[test]
fn others_take_no_turns() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 1 << 30)])).receive(&window_update(0, 1 << 30));
    tested.events();
    let [waiting, talker] = [1, 3].map(|id| tested.accept_and_respond(id, false, POST));
    tested.sent();
    write(&mut tested, waiting, 1 << 20);
    tested.sent();
    for _ in 0..10 {
        for _ in 0..100 {
            write(&mut tested, talker, 1000);
        }
        while let Some(Event::Writable(id)) = tested.machine.poll_event() {
            assert_eq!(id, waiting);
            write(&mut tested, id, 1 << 20);
        }
        let lengths = data_lengths(&tested.sent());
        assert_eq!(lengths[100..], [(1, 16_384); 3]);
    }
}

/// What waits for the transport is bounded, and control frames do not wait behind the bound.
#[test]
fn output_is_bounded() {
    let mut tested = Tested::server();
    tested.receive(&settings(&[(4, 1 << 30)])).receive(&window_update(0, 1 << 30));
    let id = tested.accept_and_respond(1, false, POST);
    tested.events();
    let mut taken = 0;
    loop {
        match write(&mut tested, id, 1 << 20) {
            0 => break,
            octets => taken += octets,
        }
    }
    assert_eq!(taken, 256 << 10);
    let mut input = BytesMut::from(&ping(7)[..]);
    tested.machine.handle_data(tested.now, &mut input);
    assert!(input.is_empty());
    assert!(matches!(tested.sent().last(), Some(Sent::PingAck(_))));
    assert_writable(&mut tested, &[id]);
}

/// A full output stops reading as well, so that answers cannot pile up.
#[test]
fn answers_are_bounded() {
    let mut tested = Tested::server();
    let refused = headers(1, true, &[(":method", "GET")]);
    let mut input = BytesMut::new();
    for index in 0..150 {
        let mut request = refused.clone();
        request[5..9].copy_from_slice(&(1 + 2 * index as u32).to_be_bytes());
        input.extend_from_slice(&request);
    }
    tested.machine.handle_data(tested.now, &mut input);
    assert!(input.is_empty() && !tested.machine.is_closed());
    assert_eq!(tested.sent().len(), 150);
}

/// A stream that is blocked for 60 s without 16 KiB going is reset; one that has nothing to send is not.
#[test]
fn blocked_streams_are_reset() {
    let mut tested = Tested::server();
    let (idle, trickle, blocked) = (
        tested.accept_and_respond(1, true, GET),
        tested.accept_and_respond(3, true, GET),
        tested.accept_and_respond(5, true, GET),
    );
    tested.receive(&settings(&[(4, 1000)]));
    tested.events();
    assert_eq!(write(&mut tested, idle, 1000), 1000);
    assert_eq!(write(&mut tested, trickle, 100_000), 1000);
    assert_eq!(write(&mut tested, blocked, 100_000), 1000);
    // The verbs bring no time along: the clock is asked for at once.
    assert_eq!(tested.machine.poll_timeout(), Some(tested.now));
    tested.after(Duration::ZERO);
    tested.sent();
    for second in 0..59 {
        tested.after(Duration::from_secs(1)).receive(&window_update(3, 300));
        if second % 20 == 0 {
            tested.receive(&window_update(5, 10));
        }
        for event in tested.events() {
            let Event::Writable(id) = event else { panic!("{second}: {event:?}") };
            write(&mut tested, id, 100_000);
        }
    }
    tested.sent();
    tested.after(Duration::from_secs(1));
    let events = tested.events();
    assert!(
        matches!(events[..], [Event::Reset { id, reason: Reason::CANCEL, remote: false, violation: Some(Violation::NoProgress) }] if id == blocked),
        "{events:?}"
    );
    assert_eq!(tested.sent(), [Sent::RstStream { id: 5, reason: Reason::CANCEL }]);
    assert_eq!(tested.machine.counters().streams_without_progress, 1);
    tested.after(Duration::from_secs(3600));
    assert_eq!(tested.sent(), [Sent::RstStream { id: 3, reason: Reason::CANCEL }]);
    assert!(!tested.machine.stream(idle).unwrap().is_closed());
}

/// `poll_transmit` hands its buffer over where it can, and appends where it must.
#[test]
fn transmit_swaps_or_appends() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, true, GET);
    write(&mut tested, id, 5);
    let mut output = BytesMut::with_capacity(1000);
    tested.machine.poll_transmit(&mut output);
    assert_eq!(output.len(), 14);
    write(&mut tested, id, 6);
    tested.machine.poll_transmit(&mut output);
    assert_eq!(output.len(), 29);
    tested.machine.poll_transmit(&mut output);
    assert_eq!(output.len(), 29);
}

/// A buffer given back carries the next data.
#[test]
fn buffers_are_reused() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    tested.receive(&data(1, false, b"one"));
    let buffer = tested.machine.stream(id).unwrap().read();
    let address = buffer.as_ptr();
    tested.machine.recycle(buffer);
    tested.receive(&data(1, false, b"two"));
    let buffer = tested.machine.stream(id).unwrap().read();
    assert_eq!((&buffer[..], buffer.as_ptr()), (&b"two"[..], address));
}

/// A large buffer is not kept, nor one that has nothing, nor one that looks small since most of it was read: a connection
/// that echoed large messages held each of them.
#[test]
fn large_buffers_are_not_kept() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    let mut read = BytesMut::from(&[0; 1 << 20][..]);
    read.advance((1 << 20) - 10);
    for buffer in [BytesMut::with_capacity(5000), read, BytesMut::new()] {
        tested.machine.recycle(buffer);
        tested.receive(&data(1, false, b"more"));
        let mut buffer = tested.machine.stream(id).unwrap().read();
        buffer.clear();
        assert!(!buffer.try_reclaim(5000));
    }
}

/// A quiet connection gives up its buffers and its room, and nothing that it holds.
#[test]
fn shrinking_frees_what_is_not_used() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 2000));
    let ids: Vec<_> = (0..1000).map(|index| tested.accept_and_respond(1 + 2 * index, false, POST)).collect();
    tested.receive(&data(1, false, b"unread")).receive(&settings(&[(4, 0)]));
    assert_eq!(write(&mut tested, ids[1], 1), 0);
    for id in &ids[3..] {
        tested.machine.stream(*id).unwrap().release();
    }
    tested.sent();
    tested.machine.recycle(BytesMut::with_capacity(256));
    let mut emptied = BytesMut::with_capacity(4096);
    tested.machine.poll_transmit(&mut emptied);
    tested.machine.ping([3; 8]);

    tested.machine.shrink();
    assert_eq!(tested.sent(), [Sent::Ping([3; 8])], "what waits to be sent is kept");
    tested.machine.poll_transmit(&mut BytesMut::with_capacity(4096));
    tested.machine.shrink();
    let mut output = BytesMut::new();
    tested.machine.poll_transmit(&mut output);
    assert_eq!(output.capacity(), 0);
    tested.receive(&data(5, false, b"next"));
    let buffer = tested.machine.stream(ids[2]).unwrap().read();
    assert_eq!(&buffer[..], b"next");
    assert!(buffer.capacity() < 4096, "the spare is gone");

    assert_eq!(tested.machine.stream_count(), 3);
    assert_eq!(tested.machine.stream(ids[0]).unwrap().read(), "unread");
    assert!(tested.machine.stream(ids[3]).is_none());
    tested.events();
    tested.receive(&window_update(3, 1));
    assert_writable(&mut tested, &[ids[1]]);
    let ids: Vec<_> = (1000..1500).map(|index| tested.accept(1 + 2 * index, true, GET)).collect();
    let mut slots: Vec<_> = ids.iter().map(|id| id.slot()).collect();
    slots.sort_unstable();
    assert_eq!(slots, (3..503).collect::<Vec<_>>());
}
