//! The last owner leaves, and the connection ends, in any order: a tunnel is closed once, and everything is freed.

use super::check_to;
use super::rig::{Step, Tunnel, block_on, close_by_words, flush, receive, send, spawn};

/// The owners are of different threads, and which is the last is nobody's to know.
#[test]
fn the_last_of_several_owners_closes_the_tunnel_once() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let (one, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&one);
        let (connection, remains) = tunnel.run(None);
        let other = spawn(move || drop(other));
        drop(one);
        other.join().unwrap();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), ".");
    });
}

/// The transport fails, so that the last words may go out or not.
#[test]
fn an_owner_that_leaves_as_the_connection_breaks_off_frees_all() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Send(b"r".into()), Step::Wait(0), Step::Fail]);
        let owner = tunnel.owner();
        let heard = close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        drop(owner);
        assert!(connection.join().unwrap().is_err(), "the transport failed");
        let got = remains.got();
        assert!(["", "."].contains(&&*got), "{got}");
        assert!(["", "r"].contains(&&**heard.lock().unwrap()));
    });
}

/// The peer ends its half as we end ours.
#[test]
fn an_owner_that_leaves_as_the_peer_ends_has_the_last_word() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Send(b"r".into()), Step::End]);
        let owner = tunnel.owner();
        let heard = close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), ".");
        assert_eq!(*heard.lock().unwrap(), "r");
    });
}

/// What arrives as the last owner leaves, and what it had not read, is heard in order and once.
#[test]
fn what_arrives_as_the_last_owner_leaves_is_heard_in_order() {
    check_to(3, || {
        let steps =
            [Step::Send(b"a".into()), Step::Wait(0), Step::Send(b"b".into()), Step::Wait(0), Step::Send(b"c".into())];
        let tunnel = Tunnel::new(steps);
        let owner = tunnel.owner();
        let heard = close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        let read = block_on(receive(&owner, 1));
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), ".");
        assert_eq!(format!("{read}{}", heard.lock().unwrap()), "abc");
    });
}

/// The connection's task is dropped in the midst of it, as by a runtime that shuts down: whoever waits is told.
#[test]
fn who_waits_hears_of_a_connection_that_is_dropped() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.connection(None);
        let connection = spawn(move || drop(connection));
        let flushed = block_on(async {
            send(&owner, "a").await?;
            flush(&owner).await
        });
        assert!(flushed.is_err(), "nothing was written");
        assert_eq!(block_on(receive(&owner, 1)), "");
        drop(owner);
        connection.join().unwrap();
        assert_eq!(remains.got(), "");
    });
}

/// The connection keeps who flushes, until it has told: no circle of the two is left where it ends before.
#[test]
fn who_flushes_as_the_connection_ends_is_told_and_let_go() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.connection(None);
        let connection = spawn(move || drop(connection));
        // Nothing was sent: all that was is with the transport, if the stream is not dead already.
        block_on(flush(&owner)).ok();
        drop(owner);
        connection.join().unwrap();
        assert_eq!(remains.got(), "");
    });
}
