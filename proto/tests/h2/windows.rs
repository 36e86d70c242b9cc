//! How the windows of many streams share what a connection may hold of DATA that nobody reads (RFC 9113 §5.2, §6.9).

use std::time::Duration;

use sockeye_proto::h2::{Config, Reason, StreamId, Violation};

use crate::common::*;

/// A POST for each stream of the first `count`, none of which is read.
fn open(tested: &mut Tested, count: u32) -> Vec<StreamId> {
    (0..count).map(|index| tested.accept(2 * index + 1, false, POST)).collect()
}

fn many() -> Tested {
    Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = 100_000))
}

/// §6.9: what nobody reads takes room in the connection's window, whichever stream it is of, and gives it back as it is read.
#[test]
fn the_connection_holds_so_much_and_no_more() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_unread = 100_000));
    let ids = open(&mut tested, 2);
    tested.receive(&data(1, false, &[0; 10_000]).repeat(5)).receive(&data(3, false, &[0; 10_000]).repeat(5));
    tested.sent();
    assert_eq!(tested.machine.stream(ids[0]).unwrap().read().len(), 50_000);
    let credit = |id, increment| Sent::WindowUpdate { id, increment };
    assert_eq!(tested.sent()[0], credit(0, 50_000), "half of the window has gathered");
    tested.receive(&data(1, false, &[0; 10_000]).repeat(5));
    assert!(!tested.machine.is_closed());
    tested.receive(&data(3, false, b"x"));
    tested.assert_connection_error(Violation::ConnectionWindowExceeded);
}

/// What was received of a stream that is let go of unread, of none that there is, or as padding, is given back.
#[test]
fn what_is_dropped_gives_its_room_back() {
    let mut tested = Tested::server_with(Config::default().with(|config| config.max_unread = 0));
    for round in 0..20 {
        let id = tested.accept(2 * round + 1, false, POST);
        tested.receive(&data(2 * round + 1, false, &[0; 10_000]));
        tested.receive(&frame(DATA, PADDED, 2 * round + 1, &[&[255][..], &[0; 255]].concat()));
        tested.machine.stream(id).unwrap().release();
        // The peer may not know that it is.
        tested.receive(&data(2 * round + 1, false, &[0; 10_000]));
        tested.after(Duration::from_secs(1));
    }
    assert!(!tested.machine.is_closed());
}

/// A thousand streams that nobody reads, each with all that its window takes, stop no other.
#[test]
fn the_windows_of_all_streams_fit() {
    for count in [10, 100, 1024, 30_000] {
        let mut tested = Tested::server_with(Config::default().with(|config| config.max_concurrent_streams = count));
        let ids = open(&mut tested, count.min(1024));
        let window = tested.machine.stream(ids[0]).unwrap().recv_window();
        assert_eq!(
            window,
            [65_535, 17_694, 1728, 64][[10, 100, 1024, 30_000].iter().position(|n| *n == count).unwrap()]
        );
        for index in 1..ids.len() as u32 {
            for octets in vec![0; window as usize].chunks(16_384) {
                tested.receive(&data(2 * index + 1, false, octets));
            }
        }
        for _ in 0..1000 {
            tested.receive(&data(1, false, b"a message"));
            assert_eq!(tested.machine.stream(ids[0]).unwrap().read(), "a message");
        }
        tested.sent();
        tested.assert_alive();
    }
}

/// §5.2.1: what is taken, to be read elsewhere, holds back its own stream until it was read, and no other.
#[test]
fn what_is_taken_holds_back_its_stream_until_it_is_read() {
    let limits = |config: &mut Config| (config.max_concurrent_streams, config.max_unread) = (100_000, 65_535);
    let mut tested = Tested::server_with(Config::default().with(limits));
    let ids = open(&mut tested, 2000);
    let windows = |tested: &mut Tested| [0, 1].map(|at| tested.machine.stream(ids[at]).unwrap().recv_window());
    // Together twice the connection's window.
    for id in &ids {
        tested.receive(&data(id.value(), false, &[0; 64]));
        assert_eq!(tested.machine.stream(*id).unwrap().take().len(), 64);
        assert_eq!(tested.machine.stream(*id).unwrap().unread(), 0);
    }
    assert_eq!(windows(&mut tested), [0, 0]);
    tested.machine.stream(ids[0]).unwrap().credit(64);
    let [read, unread] = windows(&mut tested);
    assert!(read >= 64 && unread == 0, "{read}, {unread}");
    tested.sent();
    tested.assert_alive();
}

/// A reader that keeps up gets a larger window beside however many that nobody reads, also over a slow path.
#[test]
fn a_small_window_grows() {
    for round_trip in [1, 600] {
        let mut tested = many();
        let ids = open(&mut tested, 1024);
        let window = |tested: &mut Tested| tested.machine.stream(ids[0]).unwrap().recv_window();
        assert_eq!(window(&mut tested), 64);
        for _ in 0..40 {
            for octets in vec![0; window(&mut tested) as usize].chunks(16_384) {
                tested.receive(&data(1, false, octets));
            }
            tested.machine.stream(ids[0]).unwrap().read();
            tested.after(Duration::from_millis(round_trip));
        }
        assert!(window(&mut tested) >= 65_535, "{}", window(&mut tested));
        tested.sent();
        tested.assert_alive();
    }
}

/// A simple peer takes every window for 65,535 octets, which have room in the connection's, on as many streams as that is so for. Beyond
/// that it is at fault (§6.9.1), and where one of them is over another may.
#[test]
fn a_peer_that_knows_of_no_smaller_window_goes_on() {
    let mut tested = many();
    let ids = open(&mut tested, 60);
    for round in 0..5 {
        for (index, id) in ids.iter().enumerate().take(37) {
            tested.receive(&data(2 * index as u32 + 1, false, &[0; 16_000]).repeat(4));
            assert_eq!(tested.machine.stream(*id).unwrap().read().len(), 64_000, "{round}");
        }
    }
    tested.sent();
    tested.receive(&data(119, false, &[0; 16_000]));
    tested.assert_reset(119, Reason::FLOW_CONTROL_ERROR);
    tested.machine.stream(ids[0]).unwrap().reset(Reason::CANCEL);
    tested.machine.stream(ids[0]).unwrap().release();
    tested.sent();
    tested.receive(&data(117, false, &[0; 16_000]).repeat(4));
    assert_eq!(tested.machine.stream(ids[58]).unwrap().read().len(), 64_000);
    tested.receive(&data(3, false, &[0; 16_384]).repeat(5));
    tested.assert_reset(3, Reason::FLOW_CONTROL_ERROR);
}
