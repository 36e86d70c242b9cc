//! A visit lays the connection's buffers on the desk of one thread: whoever uses the cell in another goes through the lock, and
//! nothing is lost or doubled.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;

use super::rig::{Step, Tunnel, block_on, close_by_words, only, receive, send, signal, spawn};
use super::{check, check_to};
use crate::engine::stream::StreamHandle;

fn append_in_place(owner: &StreamHandle, octets: &'static str) -> bool {
    owner.append_in_place(octets.len(), |output| (output.extend_from_slice(octets.as_bytes()), None)).is_ok()
}

/// The handler reads and sends in place while another thread sends by the cell.
#[test]
fn another_thread_that_sends_during_a_visit_goes_through_the_lock() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Send(b"x".into()), Step::Wait(0), Step::Send(b"y".into())]);
        let (own, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&own);
        let handler = async move {
            assert_eq!(receive(&own, 1).await, "x");
            send(&own, "a").await.unwrap();
            assert_eq!(receive(&own, 1).await, "y");
            send(&own, "b").await.unwrap();
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        block_on(send(&other, "1")).unwrap();
        assert!(!append_in_place(&other, "2"), "the desk is of another thread");
        block_on(send(&other, "2")).unwrap();
        drop(other);
        connection.join().unwrap().unwrap();
        let got = remains.got();
        assert_eq!((got.len(), only(&got, "ab"), only(&got, "12")), (5, "ab".into(), "12".into()), "{got}");
        assert!(got.ends_with('.'), "{got}");
    });
}

/// What another thread has sent by the cell, before it told the handler so, stays before what the handler sends in place.
#[test]
fn nothing_overtakes_what_waits_in_the_cell() {
    check_to(3, || {
        let tunnel = Tunnel::new([]);
        let (own, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&own);
        let (sent, waits) = signal();
        let handler = async move {
            // From the second time on the handler is polled in visits.
            tokio::task::yield_now().await;
            waits.wait().await;
            send(&own, "2").await.unwrap();
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        block_on(send(&other, "1")).unwrap();
        drop(other);
        sent.give();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "12.");
    });
}

/// The handler was the receiver, and another thread becomes it: what the next visits lay on the desk, and leave there, is
/// received by that thread, in order.
#[test]
fn what_a_visit_leaves_is_received_by_another_thread() {
    check(|| {
        let steps = [
            Step::Wait(1),
            Step::Send(b"a".into()),
            Step::Wait(0),
            Step::Send(b"b".into()),
            Step::Wait(0),
            Step::Send(b"c".into()),
        ];
        let tunnel = Tunnel::new(steps);
        let owner = tunnel.owner();
        close_by_words(&owner);
        let (listening, listens) = signal();
        let (done, ends) = signal();
        let share = owner.share();
        let handler = async move {
            // Waits for octets, so that the cell listens, and gives that up at once.
            poll_fn(|cx| {
                assert!(share.poll_read(cx, &mut BytesMut::new()).is_pending(), "nothing has come");
                Poll::Ready(())
            })
            .await;
            listening.give();
            ends.wait().await;
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        block_on(listens.wait());
        block_on(send(&owner, "s")).unwrap();
        assert_eq!(block_on(receive(&owner, 3)), "abc");
        drop(owner);
        done.give();
        connection.join().unwrap().unwrap();
        assert_eq!(remains.got(), "s.");
    });
}

/// A handler drives a connection of its own while octets lie on its desk, and other threads use the cells of both.
#[test]
fn visits_nest_while_other_threads_use_both_cells() {
    // The threads are four.
    check_to(1, || {
        // What comes later finds the handlers waiting for it, the inner in a visit of the outer.
        let outer = Tunnel::new([Step::Wait(0), Step::Send(b"x".into())]);
        let inner = Tunnel::new([Step::Wait(0), Step::Wait(0), Step::Send(b"y".into())]);
        let (outer_own, outer_other) = (outer.owner(), outer.owner());
        let (inner_own, inner_other) = (inner.owner(), inner.owner());
        close_by_words(&outer_own);
        close_by_words(&inner_own);
        let inner_handler = async move {
            assert_eq!(receive(&inner_own, 1).await, "y");
            send(&inner_own, "i").await.unwrap();
            None
        };
        let (inner_connection, inner_remains) = inner.connection(Some(Box::pin(inner_handler)));
        let outer_handler = async move {
            {
                let received = receive(&outer_own, 1);
                let (inner, received) = both(inner_connection, received).await;
                assert!(inner.is_ok() && received == "x");
            }
            send(&outer_own, "o").await.unwrap();
            None
        };
        let (connection, remains) = outer.run(Some(Box::pin(outer_handler)));
        let other = spawn(move || block_on(send(&inner_other, "1")).unwrap());
        block_on(send(&outer_other, "2")).unwrap();
        drop(outer_other);
        other.join().unwrap();
        connection.join().unwrap().unwrap();
        let (outer, inner) = (remains.got(), inner_remains.got());
        assert!(["o2.", "2o."].contains(&&*outer), "{outer}");
        assert!(["i1.", "1i."].contains(&&*inner), "{inner}");
    });
}

/// Polls both each time, the first before the second.
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(|cx| {
        if one.is_none() {
            one = ready(first.as_mut().poll(cx));
        }
        if other.is_none() {
            other = ready(second.as_mut().poll(cx));
        }
        match (one.take(), other.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            waiting => {
                (one, other) = waiting;
                Poll::Pending
            }
        }
    })
    .await
}

fn ready<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A handler that panics has said what it said, and nobody else loses anything by it.
#[test]
fn a_visit_that_a_panic_ends_settles() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Send(b"x".into())]);
        let (own, other) = (tunnel.owner(), tunnel.owner());
        close_by_words(&own);
        // All threads of a model are one of the system's, so that none may switch to another while it unwinds: what the handler
        // holds is dropped later.
        let handler = poll_fn(move |cx| {
            let received = pin!(receive(&own, 1)).poll(cx);
            if received.is_pending() {
                return Poll::Pending;
            }
            assert!(pin!(send(&own, "a")).poll(cx).is_ready(), "there is room");
            // Without a message on standard error.
            resume_unwind(Box::new("as a handler may"))
        });
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        block_on(send(&other, "1")).unwrap();
        drop(other);
        connection.join().unwrap().unwrap();
        let got = remains.got();
        assert!(["a1.", "1a."].contains(&&*got), "{got}");
    });
}
