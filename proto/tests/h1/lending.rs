//! The connection's own buffers, lent to its stream.

use std::time::Instant;

use sockeye_proto::h1::STREAM;
use sockeye_proto::h2::{self, Config, Event, Role};
use sockeye_proto::{Loan, Machine, MachineStream};

use crate::common::*;

/// Lends, and settles.
fn with<T>(tested: &mut Tested, loan: &mut Loan, work: impl FnOnce(&mut Loan) -> T) -> T {
    tested.stream().lend(loan);
    let value = work(loan);
    tested.stream().settle(loan);
    value
}

fn read(tested: &mut Tested, loan: &mut Loan, octets: usize) -> Vec<u8> {
    with(tested, loan, |loan| {
        let read = loan.unread().iter().take(octets).copied().collect();
        loan.read(octets);
        read
    })
}

/// Puts a number of octets; how many were handed back.
fn put(loan: &mut Loan, octets: usize) -> Option<usize> {
    let ((), rest) = loan.put(|output| output.extend_from_slice(&vec![7; octets]));
    rest.map(|rest| rest.len())
}

/// In the batch, kept of it, and both.
#[test]
fn what_was_received_is_read_in_order() {
    let mut tested = Tested::tunnel();
    let mut loan = Loan::default();
    tested.receive(b"one");
    assert_eq!(read(&mut tested, &mut loan, 2), b"on");
    assert_eq!(tested.stream().unread(), 1);
    assert_eq!(tested.stream().recv_window(), 65_534);
    tested.receive(b"two");
    assert_eq!(read(&mut tested, &mut loan, 2), b"et");
    assert_eq!(tested.machine.take_batch(), "");
    assert_eq!(read(&mut tested, &mut loan, 10), b"wo");
    assert_eq!(tested.heard(), ["readable"]);
    tested.receive(b"three");
    assert_eq!(read(&mut tested, &mut loan, 0), b"");
    assert_eq!(tested.heard(), ["readable"]);
    assert_eq!(tested.stream().read(), "three");
}

/// What is put goes out as it is, behind what was there.
#[test]
fn what_is_put_is_sent_without_a_head() {
    let mut tested = Tested::tunnel();
    let mut loan = Loan::default();
    tested.stream().write(b"before ", false);
    with(&mut tested, &mut loan, |loan| {
        assert_eq!(loan.room(), 16 << 10);
        for text in ["one ", "", "two"] {
            assert_eq!(loan.put(|output| output.extend_from_slice(text.as_bytes())).1, None);
        }
        assert_eq!(loan.room(), (16 << 10) - 7);
    });
    with(&mut tested, &mut loan, |_| ());
    assert_eq!(tested.sent(), b"before one two");
    assert_eq!(tested.sent(), b"");
}

/// What finds no room is handed back, all of it.
#[test]
fn there_is_room_for_one_quantum() {
    let mut tested = Tested::tunnel();
    with(&mut tested, &mut Loan::default(), |loan| {
        assert_eq!(put(loan, 16 << 10), None);
        assert_eq!(put(loan, 1), Some(1));
        assert_eq!(loan.room(), 0);
    });
    assert_eq!(tested.sent().len(), 16 << 10);
    let mut tested = Tested::tunnel_with(&Config::default().with(|config| config.max_send_buffer = 10));
    tested.stream().write(b"1234", false);
    with(&mut tested, &mut Loan::default(), |loan| {
        assert_eq!((put(loan, 7), put(loan, 6), put(loan, 1)), (Some(7), None, Some(1)));
    });
    assert_eq!(tested.sent().len(), 10);
}

/// Only a tunnel whose half goes on can send by a loan.
#[test]
fn there_is_room_in_tunnels_alone() {
    let answering = {
        let mut tested = Tested::server();
        tested.stream().respond(&response(200, &[]), false).unwrap();
        tested
    };
    let half_closed = {
        let mut tested = Tested::tunnel();
        tested.stream().write(b"", true);
        tested
    };
    for mut tested in [Tested::server(), answering, half_closed] {
        tested.sent();
        tested.receive(b"early");
        with(&mut tested, &mut Loan::default(), |loan| assert_eq!(put(loan, 1), Some(1)));
        assert_eq!(tested.sent(), b"");
    }
}

/// One loan serves machines of both kinds, in turn.
#[test]
fn a_loan_serves_both_versions() {
    let now = Instant::now();
    let mut client = h2::Connection::new(Role::Client, Config::default(), now);
    let mut server = h2::Connection::new(Role::Server, Config::default(), now);
    let request = http::Request::post("https://example.com/").body(()).unwrap();
    let id = client.open(&request, false).unwrap();
    let mut wire = bytes::BytesMut::new();
    let mut tested = Tested::tunnel();
    let mut loan = Loan::default();
    for _ in 0..3 {
        client.stream(id).unwrap().lend(&mut loan);
        assert_eq!(put(&mut loan, 3), None);
        client.stream(id).unwrap().settle(&mut loan);
        with(&mut tested, &mut loan, |loan| assert_eq!(put(loan, 3), None));
    }
    assert_eq!(tested.sent(), [7; 9]);
    client.poll_transmit(&mut wire);
    server.handle_data(now, &mut wire);
    assert_eq!(server.stream(id).unwrap().read(), [7; 9][..]);
    assert!(!std::iter::from_fn(|| server.poll_event()).any(|event| matches!(event, Event::Closed(_))));
    assert_eq!(tested.machine.stream(STREAM).unwrap().unread(), 0);
}
