//! Octets come out once each and in their order, whoever puts them in; a cell stands on the ready list once.

use super::rig::{Step, Tunnel, block_on, close_by_words, only, receive, send, spawn};
use super::{check, check_to};
use crate::engine::link::Limits;

/// Between owners there is no order, and what each sends keeps its own.
#[test]
fn what_several_owners_send_comes_out_once_each_in_order() {
    // The threads are three.
    check_to(1, || {
        let tunnel = Tunnel::new([]);
        let (one, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&one);
        let (connection, remains) = tunnel.run(None);
        let other = spawn(move || block_on(send(&other, "1")).unwrap());
        block_on(send(&one, "a")).unwrap();
        block_on(send(&one, "b")).unwrap();
        drop(one);
        other.join().unwrap();
        connection.join().unwrap().unwrap();
        let got = remains.got();
        assert_eq!((got.len(), only(&got, "ab"), only(&got, "1")), (4, "ab".into(), "1".into()), "{got}");
        assert!(got.ends_with('.'), "{got}");
    });
}

/// The connection holds back what finds the inbox in use, and gives it once that is empty.
#[test]
fn what_arrives_is_received_once_each_in_order() {
    check(|| {
        let steps =
            [Step::Send(b"a".into()), Step::Wait(0), Step::Send(b"b".into()), Step::Wait(0), Step::Send(b"c".into())];
        let tunnel = Tunnel::new(steps);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        assert_eq!(block_on(receive(&owner, 3)), "abc");
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), ".");
    });
}

/// However little room there is, and whoever waits for it.
#[test]
fn senders_that_wait_keep_their_order() {
    check(|| {
        let tunnel = Tunnel::limited(Limits { stream_send: 1, ..Limits::default() }, []);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (connection, remains) = tunnel.run(None);
        for octet in ["a", "b", "c"] {
            block_on(send(&owner, octet)).unwrap();
        }
        drop(owner);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "abc.");
    });
}
