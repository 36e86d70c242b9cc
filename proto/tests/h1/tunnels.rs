//! Octets that go both ways as they are: their bounds, and how the tunnel ends.

use bytes::BytesMut;
use sockeye_proto::h1::{Connection, STREAM};
use sockeye_proto::h2::{Config, Event, OpenError, Reason, SendError};
use sockeye_proto::{Machine, MachineStream};

use crate::common::*;

const QUANTUM: usize = 16 << 10;

fn windowed(initial_window_size: u32) -> Tested {
    Tested::tunnel_with(&Config::default().with(|config| config.initial_window_size = initial_window_size))
}

/// What comes is read in order, wherever it stands, and announced when there was nothing before.
#[test]
fn what_comes_is_read_in_order() {
    let mut switched = Tested::server();
    switched.stream().respond(&switching(), false).unwrap();
    for mut tested in [Tested::tunnel(), switched] {
        tested.receive(b"one ");
        assert_eq!(tested.heard(), ["readable"]);
        tested.receive(b"two ").receive(b"");
        assert_eq!(tested.heard(), [""; 0]);
        assert_eq!(tested.stream().unread(), 8);
        assert_eq!(tested.stream().read(), "one two ");
        assert_eq!(tested.stream().read(), "");
        tested.receive(b"three");
        assert_eq!(tested.heard(), ["readable"]);
        assert_eq!(tested.stream().read(), "three");
    }
}

/// What was taken while a response was to come is the tunnel's.
#[test]
fn early_octets_are_the_tunnels() {
    let mut tested = Tested::server();
    tested.receive(b"early");
    tested.stream().respond(&switching(), false).unwrap();
    tested.receive(b" and late");
    assert_eq!(tested.heard(), ["readable"]);
    assert_eq!(tested.stream().read(), "early and late");
}

/// Past its window the connection leaves what comes, until the application has read.
#[test]
fn unread_octets_are_bounded() {
    for (split, window) in [(1, 10), (3, 10), (9, 10), (10, 10), (0, 10), (0, 6), (0, 1)] {
        let mut tested = windowed(window as u32);
        let octets = b"0123456789abcdef";
        tested.receive(&octets[..split]).receive(&octets[split..]);
        assert_eq!(tested.stream().unread(), window);
        assert_eq!(tested.stream().recv_window(), 0);
        assert_eq!(&tested.input[..], &octets[window..]);
        assert!(tested.machine.is_stopped());
        tested.receive(b"");
        assert_eq!(&tested.input[..], &octets[window..]);
        assert_eq!(&tested.stream().read()[..], &octets[..window]);
        assert!(!tested.machine.is_stopped());
        assert_eq!(tested.stream().recv_window(), window as i32);
        assert_eq!(tested.heard(), ["readable"]);
        tested.receive(b"");
        assert_eq!(tested.heard(), ["readable"]);
        assert_eq!(&tested.stream().read()[..], &octets[window..][..window.min(octets.len() - window)]);
    }
}

/// No window is too small for anything to come, and none so large that it could not be told.
#[test]
fn any_window_will_do() {
    for window in [0, 1, i32::MAX as u32, u32::MAX] {
        let mut tested = windowed(window);
        tested.receive(b"xy");
        assert_eq!(tested.stream().unread(), 2.min(window.max(1) as usize));
        assert!(tested.stream().recv_window() >= 0);
        assert_eq!(tested.heard(), ["readable"]);
    }
}

/// One quantum for each write, three for an output, and then the next after it was transmitted.
#[test]
fn a_writer_takes_turns_with_the_transport() {
    let mut tested = Tested::tunnel();
    let data: Vec<u8> = (0..200_000).map(|at: u32| at as u8 ^ (at >> 8) as u8).collect();
    let (mut written, mut sent, mut outputs) = (0, Vec::new(), 0);
    while sent.len() < data.len() {
        loop {
            let taken = tested.stream().write(&data[written..], true);
            assert!(taken <= QUANTUM);
            written += taken;
            match &tested.events()[..] {
                [] => break,
                [Event::Writable(STREAM)] => assert!(written < data.len()),
                other => panic!("{other:?}"),
            }
        }
        let output = tested.sent();
        assert!(output.len() <= 3 * QUANTUM && (output.len() == 3 * QUANTUM || written == data.len()));
        sent.extend_from_slice(&output);
        outputs += 1;
        assert_eq!(tested.heard().len(), usize::from(written < data.len()));
    }
    assert_eq!((sent, outputs), (data, 5));
    assert!(tested.machine.is_send_closed());
}

/// What waits to be transmitted is bounded.
#[test]
fn the_output_is_bounded() {
    for max_send_buffer in [0, 1, 100, 20_000, 100_000] {
        let mut tested =
            Tested::tunnel_with(&Config::default().with(|config| config.max_send_buffer = max_send_buffer));
        let mut taken = 0;
        while let octets @ 1.. = tested.stream().write(&[7; 50_000], false) {
            taken += octets;
        }
        assert_eq!(taken, max_send_buffer.max(1));
        assert_eq!(tested.heard(), [""; 0]);
        assert_eq!(tested.sent().len(), taken);
        assert_eq!(tested.heard(), ["writable"]);
    }
}

/// A write that is all taken waits for nothing.
#[test]
fn the_last_write_counts() {
    let mut tested = Tested::tunnel();
    assert_eq!(tested.stream().write(&[0; QUANTUM + 1], false), QUANTUM);
    assert_eq!(tested.stream().write(b"x", false), 1);
    tested.sent();
    assert_eq!(tested.heard(), [""; 0]);
}

/// Each half ends by itself; the end of both closes the stream, and its release the connection.
#[test]
fn both_halves_end() {
    for peer_first in [true, false] {
        let mut tested = Tested::tunnel();
        tested.receive(b"last words");
        if peer_first {
            tested.eof();
        }
        assert_eq!(tested.stream().write(b"ours", true), 4);
        assert!(tested.machine.is_send_closed() && tested.stream().is_send_closed());
        assert_eq!(tested.stream().is_closed(), peer_first);
        assert_eq!(tested.stream().write(b"more", false), 0);
        tested.eof().eof();
        assert!(tested.stream().is_closed() && !tested.machine.is_closed());
        assert_eq!(tested.heard(), ["readable", "finished"]);
        assert_eq!(tested.stream().read(), "last words");
        tested.stream().release();
        assert_eq!(tested.heard(), ["closed None"]);
        assert!(tested.machine.is_closed() && tested.machine.stream(STREAM).is_none());
        assert_eq!(tested.sent(), b"ours");
    }
}

/// An end without octets, and one that waits for all of them.
#[test]
fn our_half_ends_behind_its_octets() {
    let mut tested = Tested::tunnel();
    assert_eq!(tested.stream().write(&[0; QUANTUM + 1], true), QUANTUM);
    assert!(!tested.machine.is_send_closed());
    assert_eq!(tested.stream().write(&[], true), 0);
    assert!(tested.machine.is_send_closed());
    assert_eq!(tested.heard(), [""; 0]);
    let mut tested = Tested::server();
    tested.stream().respond(&switching(), true).unwrap();
    assert!(tested.machine.is_send_closed() && !tested.stream().is_closed());
}

/// RFC 6455 §7.1.7: to break off closes the connection at once, with what is left.
#[test]
fn to_break_off_is_to_close() {
    for by_release in [true, false] {
        for mut tested in [Tested::tunnel(), Tested::server()] {
            tested.stream().respond(&response(100, &[]), false).ok();
            tested.stream().write(b"unsent", false);
            tested.receive(b"unread");
            if by_release {
                tested.stream().release()
            } else {
                tested.stream().reset(Reason::CANCEL)
            }
            assert!(tested.machine.is_closed() && tested.machine.is_send_closed());
            let heard = tested.heard();
            assert!(heard == ["readable", "closed None"] || heard == ["closed None"], "{heard:?}");
            assert_eq!(tested.sent(), b"");
            assert_eq!(tested.machine.stream_count(), usize::from(!by_release));
            if !by_release {
                assert!(tested.stream().is_closed());
                assert_eq!(tested.stream().read(), "unread");
                tested.stream().release();
            }
            assert_eq!(tested.heard(), [""; 0]);
        }
    }
}

/// RFC 9293 §3.10.5: a reset in the middle of a tunnel is one of the transport, for as long as there is a connection; a tunnel that
/// ends otherwise, or of which our half has ended, has an end that is in order.
#[test]
fn a_reset_is_an_abort_where_our_half_is_open() {
    type Work = fn(&mut Tested);
    let rows: [(&str, Work, bool); 9] = [
        ("reset", |tested| tested.stream().reset(Reason::CANCEL), true),
        ("failed", |tested| tested.stream().reset(Reason::INTERNAL_ERROR), true),
        ("after the peer's end", |tested| tested.eof().stream().reset(Reason::CANCEL), true),
        ("for no error", |tested| tested.stream().reset(Reason::NO_ERROR), false),
        (
            "after our end",
            |tested| {
                tested.stream().write(b"ours", true);
                tested.stream().reset(Reason::CANCEL);
            },
            false,
        ),
        ("released", |tested| tested.stream().release(), false),
        ("closed", |tested| tested.machine.close(Reason::CANCEL), false),
        ("lost", |tested| tested.machine.handle_failure(tested.now), false),
        (
            "reset when closed",
            |tested| {
                tested.machine.close(Reason::CANCEL);
                tested.stream().reset(Reason::CANCEL);
            },
            false,
        ),
    ];
    for (name, work, is_aborted) in rows {
        let mut tested = Tested::tunnel();
        work(&mut tested);
        assert_eq!(tested.machine.is_aborted(), is_aborted, "{name}");
        if let Some(stream) = tested.machine.stream(STREAM) {
            stream.release();
        }
        assert_eq!(tested.machine.is_aborted(), is_aborted, "{name}, and released");
    }
    let mut tested = Tested::server();
    tested.stream().reset(Reason::CANCEL);
    assert!(!tested.machine.is_aborted(), "no tunnel");
}

/// A stream that is closed is not reset: what is left of it goes out.
#[test]
fn what_has_ended_is_not_broken_off() {
    let mut tested = Tested::tunnel();
    tested.stream().write(b"ours", true);
    tested.eof().stream().reset(Reason::CANCEL);
    assert_eq!(tested.heard(), ["finished"]);
    tested.stream().release();
    assert_eq!(tested.sent(), b"ours");
}

/// To close the connection keeps what is to be transmitted, and drops what comes.
#[test]
fn a_close_keeps_what_is_to_be_sent() {
    let mut tested = Tested::tunnel();
    tested.stream().write(&[1; QUANTUM + 1], false);
    tested.receive(b"read me");
    tested.machine.close(Reason::NO_ERROR);
    tested.machine.close(Reason::NO_ERROR);
    tested.receive(b"not me").eof();
    assert_eq!(tested.heard(), ["readable", "closed None"]);
    assert_eq!((tested.stream().write(b"more", true), tested.input.len()), (0, 0));
    assert_eq!(tested.stream().respond(&switching(), false), Err(SendError::Closed));
    assert_eq!(tested.stream().read(), "read me");
    tested.stream().release();
    assert_eq!(tested.sent().len(), QUANTUM);
    assert_eq!(tested.heard(), [""; 0]);
}

/// A transport that fails takes all with it but what came before.
#[test]
fn a_failure_closes() {
    for (mut tested, error) in [(Tested::tunnel(), "Some(Eof)"), (Tested::server(), "Some(Eof)"), (ended(), "None")] {
        tested.stream().respond(&response(100, &[]), false).ok();
        tested.stream().write(b"unsent", false);
        tested.receive(b"unread");
        tested.machine.handle_failure(tested.now);
        tested.machine.handle_failure(tested.now);
        assert_eq!(tested.heard().last(), Some(&format!("closed {error}")));
        assert!(tested.machine.is_closed() && tested.sent().is_empty());
        assert!(["", "unread"].contains(&std::str::from_utf8(&tested.stream().read()).unwrap()));
        tested.stream().release();
        assert_eq!(tested.heard(), [""; 0]);
    }
}

/// A tunnel that ended both ways.
fn ended() -> Tested {
    let mut tested = Tested::tunnel();
    tested.eof().stream().write(b"", true);
    tested
}

/// A drain takes no new stream, and there is none to take.
#[test]
fn a_drain_changes_nothing() {
    for mut tested in [Tested::tunnel(), Tested::server()] {
        let request = handshake();
        assert_eq!(tested.machine.open(&request, true), Err(OpenError::TooManyStreams));
        tested.machine.drain(tested.now);
        assert_eq!((tested.sent().len(), tested.heard().len()), (0, 0));
        assert!(!tested.machine.is_closed() && tested.machine.poll_timeout().is_none());
        assert!(tested.machine.goaway_debug_data().is_empty());
    }
}

/// An idle connection owns no buffers once they were given back, and loses nothing.
#[test]
fn shrinking_frees_buffers() {
    let mut tested = Tested::tunnel();
    let mut input = BytesMut::with_capacity(50_000);
    input.extend_from_slice(b"abc");
    tested.machine.handle_data(tested.now, &mut input);
    let batch = tested.machine.take_batch();
    assert!(batch.is_empty() && batch.capacity() == 50_000, "the buffer of the batch comes back");
    assert_eq!(tested.machine.take_batch().capacity(), 0);
    assert_eq!(tested.stream().unread(), 3);
    tested.machine.shrink();
    let read = tested.stream().read();
    assert_eq!(read, "abc");
    tested.machine.recycle(read);
    tested.stream().write(b"x", false);
    tested.machine.shrink();
    assert_eq!(tested.sent(), b"x");
    tested.machine.shrink();
    let mut output = BytesMut::new();
    tested.machine.poll_transmit(&mut output);
    assert_eq!((output.capacity(), tested.machine.take_batch().capacity()), (0, 0));
}

/// What `poll_transmit` is given is exchanged if it is empty, or else appended to.
#[test]
fn transmit_swaps_or_appends() {
    let mut tested = Tested::tunnel();
    tested.stream().write(b"one", false);
    let mut output = BytesMut::new();
    tested.machine.poll_transmit(&mut output);
    tested.stream().write(b"two", false);
    tested.machine.poll_transmit(&mut output);
    tested.machine.poll_transmit(&mut output);
    assert_eq!(output, "onetwo");
}

/// A server of many has many of these.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 80, "{}", size_of::<Connection>());
}
