//! What a group sends, against all that its members do.

use std::time::Duration;

use super::rig::{Frame, Step, Tunnel, block_on, client_close, client_frame, flush, spawn};
use super::{check, check_to};
use crate::engine::link::Limits;
use crate::socket::Group;
use sockeye_proto::ws::{CloseCode, MessageKind};

/// How many messages of the group the peer got, if nothing followed a Close.
fn count(frames: &[Frame]) -> usize {
    let closes = frames.iter().filter(|frame| frame.is_close()).count();
    assert!(closes == 1 && frames.last().is_some_and(Frame::is_close), "nothing follows the one Close: {frames:?}");
    frames.iter().filter(|frame| frame.head == 0x81 && frame.payload == "m").count()
}

/// The connection sleeps, or is about to.
#[test]
fn a_groups_message_wakes_the_connection() {
    check_to(3, || {
        let tunnel = Tunnel::new([
            Step::Wait(3),
            Step::Send(client_frame(0x81, b"r")),
            Step::Wait(7),
            Step::Send(client_close()),
        ]);
        let mut socket = tunnel.socket();
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let (connection, remains) = tunnel.run(None);
        group.send("m");
        assert_eq!(block_on(socket.recv()).unwrap().unwrap(), "r".into());
        drop((socket, member, group));
        connection.join().unwrap().unwrap();
        assert_eq!(count(&remains.frames()), 1);
    });
}

/// Another thread closes the socket: the message goes before the Close, or nowhere.
#[test]
fn nothing_follows_a_close_that_another_thread_sends() {
    check(|| {
        let tunnel = Tunnel::new([Step::Wait(4), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let (connection, remains) = tunnel.run(None);
        let closing = spawn(move || {
            socket.start_close(CloseCode::NORMAL, "").unwrap();
            drop(socket);
        });
        group.send("m");
        closing.join().unwrap();
        drop((group, member));
        connection.join().unwrap().unwrap();
        assert!(count(&remains.frames()) <= 1);
    });
}

/// The handler closes the socket in place.
#[test]
fn nothing_follows_a_close_that_the_handler_sends() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Send(client_frame(0x81, b"x")), Step::Wait(4), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let handler = async move {
            socket.recv().await.unwrap();
            socket.start_close(CloseCode::NORMAL, "").unwrap();
            drop((socket, member));
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        group.send("m");
        drop(group);
        connection.join().unwrap().unwrap();
        assert!(count(&remains.frames()) <= 1);
    });
}

/// Fragments of a message come one behind the other (RFC 6455 §5.4): what a group sends goes before them or behind, or is
/// missed.
#[test]
fn nothing_comes_between_the_fragments_of_a_message() {
    check(|| {
        let tunnel = Tunnel::new([Step::Wait(9), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let (connection, remains) = tunnel.run(None);
        let sending = spawn(move || {
            let mut writer = socket.send_stream(MessageKind::Text);
            block_on(writer.write("1")).unwrap();
            block_on(writer.finish()).unwrap();
            drop(socket);
        });
        group.send("m");
        sending.join().unwrap();
        let missed = member.missed();
        drop((group, member));
        connection.join().unwrap().unwrap();
        let frames = remains.frames();
        let heads: Vec<_> = frames.iter().map(|frame| frame.head).collect();
        let first = heads.iter().position(|head| *head == 0x01).unwrap();
        assert_eq!(heads[first + 1], 0x80, "{frames:?}");
        let got = count(&frames);
        assert!(got <= 1 && (got == 0 || missed == 0), "{frames:?}, {missed} missed");
    });
}

/// A member leaves, messages are sent, somebody flushes and the connection ends, in three threads: whatever locks they hold
/// they take in one order, or this would stand still.
#[test]
fn locks_are_taken_in_one_order() {
    // Two by two they are tried elsewhere.
    check_to(1, || {
        let tunnel = Tunnel::new([Step::Wait(3), Step::Send(client_close())]);
        let (socket, owner) = (tunnel.socket(), tunnel.owner());
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let (mut sender, mut receiver) = socket.split();
        let handler = async move {
            receiver.recv().await.ok();
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        let sending = spawn(move || {
            block_on(sender.send("a")).ok();
            drop((sender, member));
        });
        group.send("m");
        block_on(flush(&owner)).ok();
        drop((group, owner));
        sending.join().unwrap();
        connection.join().unwrap().unwrap();
        assert!(count(&remains.frames()) <= 1);
    });
}

/// Room for one message at a time.
fn tight() -> Limits {
    Limits { group_send: 1, ..Limits::default() }
}

/// Who waits for room goes on once there is some, whoever is quicker.
#[test]
fn who_waits_for_room_is_woken() {
    check_to(1, || {
        let tunnel = Tunnel::limited(tight(), [Step::Wait(6), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let group = Group::builder().wait(Duration::MAX).build();
        let member = group.join(&socket).unwrap();
        let (connection, remains) = tunnel.run(None);
        block_on(group.send("m"));
        block_on(group.send("m"));
        assert_eq!(member.missed(), 0);
        block_on(socket.recv()).unwrap();
        drop((socket, member, group));
        connection.join().unwrap().unwrap();
        assert_eq!(count(&remains.frames()), 2);
    });
}

/// A message waits for the last piece of another, and for nothing else: then it goes out, though nothing wakes the connection
/// but the piece.
#[test]
fn what_waits_for_the_last_piece_goes_out_behind_it() {
    check_to(1, || {
        let tunnel = Tunnel::new([Step::Wait(8), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let group = Group::new();
        let member = group.join(&socket).unwrap();
        let (connection, remains) = tunnel.run(None);
        let sending = spawn(move || {
            let mut writer = socket.send_stream(MessageKind::Text);
            block_on(writer.write("1")).unwrap();
            block_on(writer.finish()).unwrap();
            block_on(socket.recv()).unwrap();
        });
        group.send("m");
        sending.join().unwrap();
        drop((group, member));
        connection.join().unwrap().unwrap();
        assert_eq!(count(&remains.frames()), 1);
    });
}

/// A sender that waits goes on when the member that it waits for leaves, and when its connection ends.
#[test]
fn a_wait_ends_with_the_member() {
    for leaves in [true, false] {
        check_to(1, move || {
            let tunnel = Tunnel::limited(tight(), [Step::Wait(1), Step::Send(client_close())]);
            let mut socket = tunnel.socket();
            let group = Group::builder().wait(Duration::MAX).build();
            let member = group.join(&socket).unwrap();
            // Behind the first piece of a message that does not end, nothing goes out.
            let mut writer = socket.send_stream(MessageKind::Text);
            block_on(writer.write("1")).unwrap();
            std::mem::forget(writer);
            group.send("m");
            let sent = group.send("n");
            let (connection, remains) = tunnel.run(None);
            let leaving = spawn(move || {
                if leaves {
                    drop(member);
                    block_on(socket.recv()).unwrap();
                } else {
                    block_on(socket.recv()).unwrap();
                    drop(socket);
                    drop(member);
                }
            });
            block_on(sent);
            leaving.join().unwrap();
            drop(group);
            connection.join().unwrap().unwrap();
            assert_eq!(count(&remains.frames()), 0);
        });
    }
}
