//! No wake-up is lost between a task that uses a cell and the task of its connection, whoever goes to sleep when.

use std::future::poll_fn;
use std::task::Poll;

use super::rig::{Step, Tunnel, block_on, client_close, close_by_words, flush, receive, send, signal, spawn};
use super::{check, check_to};
use crate::engine::link::{Limits, Phase};

/// The peer answers what it gets, and the application waits for the answer before it does anything else.
#[test]
fn what_is_sent_wakes_the_connection_and_what_arrives_the_receiver() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Wait(1), Step::Send(b"r".into())]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        block_on(send(&owner, "a")).unwrap();
        assert_eq!(block_on(receive(&owner, 1)), "r");
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "a.");
    });
}

/// A sender that finds the outbox full is woken once the connection has taken from it.
#[test]
fn a_sender_that_waits_for_room_is_woken() {
    check_to(3, || {
        let tunnel = Tunnel::limited(Limits { stream_send: 1, ..Limits::default() }, []);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        block_on(async {
            send(&owner, "a").await?;
            send(&owner, "b").await
        })
        .unwrap();
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "ab.");
    });
}

/// Who flushes waits for what was sent before, and is told when that is with the transport.
#[test]
fn who_flushes_is_told_once_all_is_with_the_transport() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        block_on(async {
            send(&owner, "a").await?;
            flush(&owner).await
        })
        .unwrap();
        remains.look(|got| assert_eq!(got.octets, b"a"));
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "a.");
    });
}

/// The connection tells who flushes under no lock that a sender might wait for.
#[test]
fn who_flushes_while_another_thread_sends_is_told() {
    check(|| {
        let tunnel = Tunnel::new([]);
        let (owner, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        let other = spawn(move || block_on(send(&other, "a")).unwrap());
        block_on(flush(&owner)).unwrap();
        drop(owner);
        other.join().unwrap();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "a.");
    });
}

/// A handler inside the connection's task waits for another thread by the cell's own waker.
#[test]
fn a_handler_that_another_thread_wakes_is_polled() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (asked, answered) = signal();
        let handler = async move {
            answered.wait().await;
            drop(owner);
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        asked.give();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), ".");
    });
}

/// A server that shuts down wakes the connection, which tells the socket, which says Close 1001.
#[test]
fn a_shutdown_wakes_the_connection_and_its_sockets() {
    check(|| {
        let tunnel = Tunnel::new([Step::Wait(4), Step::Send(client_close())]);
        let mut socket = tunnel.socket();
        let link = tunnel.link();
        let (connection, remains) = tunnel.run(None);
        link.enter(Phase::Draining);
        drop(link);
        assert!(block_on(socket.recv()).unwrap().is_none());
        drop(socket);
        connection.join().unwrap().unwrap();
        let frames = remains.frames();
        assert!(frames.len() == 1 && frames[0].is_close() && frames[0].payload == "\\x03\\xe9", "{frames:?}");
    });
}

/// While the handler runs the cell stands on no list, and what is sent by the cell meanwhile puts it on none: the connection
/// has to see it when the handler is done.
#[test]
fn what_another_thread_sends_while_the_handler_runs_is_seen() {
    check(|| {
        let tunnel = Tunnel::new([Step::Wait(1), Step::Send(b"r".into())]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let mut polls = 0;
        let handler = poll_fn(move |cx| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        let other = spawn(move || {
            block_on(send(&owner, "a")).unwrap();
            assert_eq!(block_on(receive(&owner, 1)), "r");
        });
        other.join().unwrap();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "a.");
    });
}
