//! A connection's own buffers, lent to one stream.

use sockeye_proto::Loan;
use sockeye_proto::h2::{Event, Reason, StreamId};

use crate::common::*;

/// Lends, and settles.
fn with<T>(tested: &mut Tested, id: StreamId, work: impl FnOnce(&mut Loan) -> T) -> T {
    let mut loan = Loan::default();
    tested.machine.stream(id).unwrap().lend(&mut loan);
    let value = work(&mut loan);
    tested.machine.stream(id).unwrap().settle(&mut loan);
    value
}

fn read(tested: &mut Tested, id: StreamId, octets: usize) -> Vec<u8> {
    with(tested, id, |loan| {
        let read = loan.unread().iter().take(octets).copied().collect();
        loan.read(octets);
        read
    })
}

/// Puts a number of octets; what was handed back.
fn put(loan: &mut Loan, octets: usize) -> Option<usize> {
    let ((), rest) = loan.put(|output| output.extend_from_slice(&vec![7; octets]));
    rest.map(|rest| rest.len())
}

/// What stands in the batch, what was kept of it, and both, in order. Padding is no part of it.
#[test]
fn what_was_received_is_read_in_order() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    let other = tested.accept(3, false, POST);
    let padded = frame(DATA, PADDED, 1, b"\x03one...");
    tested.receive(&[padded, data(3, false, b"other")].concat());
    assert_eq!(read(&mut tested, id, 2), b"on");
    assert_eq!(tested.machine.stream(id).unwrap().unread(), 1);
    // A new batch, and two frames in one.
    tested.receive(&[data(1, false, b" two"), data(1, false, b" three")].concat());
    assert_eq!(read(&mut tested, id, 6), b"e two ");
    assert_eq!(read(&mut tested, id, 100), b"three");
    assert_eq!(read(&mut tested, id, 100), b"");
    assert_eq!(read(&mut tested, other, 100), b"other");
    tested.receive(&data(3, true, b"last"));
    drop(tested.machine.take_batch());
    assert_eq!(tested.machine.stream(other).unwrap().read(), "last");
    let readable = tested.events().iter().filter(|event| matches!(event, Event::Readable(_))).count();
    assert_eq!(readable, 3, "not repeated until it has been read");
}

/// RFC 9113 §6.9: what was read gives credit back, and nothing else does.
#[test]
fn credit_follows_what_was_read() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    for _ in 0..3 {
        tested.receive(&data(1, false, &[0; 16_000]));
    }
    assert_eq!(read(&mut tested, id, 1000).len(), 1000);
    assert!(tested.sent().is_empty());
    assert_eq!(read(&mut tested, id, 40_000).len(), 40_000);
    assert!(matches!(tested.sent()[..], [Sent::WindowUpdate { id: 1, .. }]));
}

/// RFC 9113 §6.9.1: both windows have to allow it; and a frame is no longer than any peer takes.
#[test]
fn room_is_what_the_windows_allow() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, true, GET);
    let other = tested.accept_and_respond(3, true, GET);
    assert_eq!(with(&mut tested, id, |loan| loan.room()), 16_384);
    let full = with(&mut tested, id, |loan| [put(loan, 16_000), put(loan, 385), put(loan, 384), put(loan, 1)]);
    assert_eq!(full, [None, Some(385), None, Some(1)]);
    let sent = tested.sent();
    assert!(matches!(&sent[..], [Sent::Data { id: 1, data, .. }] if data.len() == 16_384), "{sent:?}");

    // 65,535 of the connection's window are to be had.
    for _ in 0..2 {
        with(&mut tested, id, |loan| put(loan, 16_384));
    }
    assert_eq!(with(&mut tested, other, |loan| loan.room()), 65_535 - 3 * 16_384);
    tested.receive(&window_update(0, 100_000)).receive(&settings(&[(4, 3 * 16_384 + 10)]));
    assert_eq!(with(&mut tested, id, |loan| loan.room()), 10);
    tested.receive(&settings(&[(4, 10)]));
    assert_eq!(with(&mut tested, id, |loan| (loan.room(), put(loan, 1))), (0, Some(1)));
    tested.sent();
    assert!(tested.events().iter().all(|event| !matches!(event, Event::Writable(_))), "nobody waits for room");
}

/// Nothing put is nothing sent, and what stood before stays.
#[test]
fn an_empty_loan_sends_nothing() {
    let mut tested = Tested::server();
    let id = tested.accept_and_respond(1, true, GET);
    tested.machine.ping([1; 8]);
    with(&mut tested, id, |_| ());
    with(&mut tested, id, |loan| put(loan, 0));
    with(&mut tested, id, |loan| put(loan, 20_000));
    assert_eq!(tested.sent(), [Sent::Ping([1; 8])]);
}

/// Before the response, after the end and after a reset there is no room.
#[test]
fn only_an_open_side_has_room() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    assert_eq!(with(&mut tested, id, |loan| loan.room()), 0);
    let ended = tested.accept_and_respond(3, false, POST);
    tested.machine.stream(ended).unwrap().write(b"", true);
    assert_eq!(with(&mut tested, ended, |loan| loan.room()), 0);
    let reset = tested.accept_and_respond(5, false, POST);
    tested.receive(&data(5, false, b"before")).receive(&rst_stream(5, Reason::CANCEL));
    assert_eq!(with(&mut tested, reset, |loan| loan.room()), 0);
    assert_eq!(read(&mut tested, reset, 100), b"before");
}

/// A peer that makes us stop again and again has the rest of its octets moved only once.
#[test]
fn what_is_left_of_the_input_stays_where_it_is() {
    let mut tested = Tested::server();
    let id = tested.accept(1, false, POST);
    let pair = [data(1, false, b"x"), ping(0)].concat();
    let mut input = bytes::BytesMut::from(&pair.repeat(1000)[..]);
    let end = input.as_ptr_range().end;
    while input.len() > 500 * pair.len() {
        tested.machine.handle_data(tested.now, &mut input);
        assert_eq!(input.as_ptr_range().end, end, "at {}", input.len());
        tested.machine.poll_transmit(&mut bytes::BytesMut::new());
    }
    // It stops at a Ping: the DATA before that was taken.
    assert_eq!(tested.machine.stream(id).unwrap().unread(), 501);
}
