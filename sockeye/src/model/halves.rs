//! The halves of a WebSocket in two threads, one of which may be the connection's.

use super::check_to;
use super::rig::{Frame, Step, Tunnel, block_on, client_close, client_frame};

fn frame(head: u8, payload: &str) -> Frame {
    Frame { head, payload: payload.into() }
}

/// The handler receives, answers a Ping and the peer's Close, while another thread sends: every frame is whole and there once,
/// and nothing follows the Close.
#[test]
fn a_handler_that_answers_and_a_sender_elsewhere_lose_nothing() {
    check_to(3, || {
        let frames = [client_frame(0x89, b"p"), client_frame(0x81, b"in")].concat();
        let tunnel = Tunnel::new([Step::Send(frames), Step::Wait(6), Step::Send(client_close())]);
        let (mut sender, mut receiver) = tunnel.socket().split();
        let handler = async move {
            let text = receiver.recv().await.unwrap().unwrap();
            assert_eq!(text, "in".into());
            assert!(receiver.recv().await.unwrap().is_none());
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        block_on(sender.send("a")).unwrap();
        // The peer's Close may have come before.
        let sent = block_on(sender.send("b")).is_ok();
        drop(sender);
        connection.join().unwrap().unwrap();
        let frames = remains.frames();
        let texts: Vec<_> = frames.iter().filter(|frame| frame.head == 0x81).map(|frame| &*frame.payload).collect();
        assert_eq!(texts, if sent { &["a", "b"][..] } else { &["a"] }, "{frames:?}");
        assert_eq!(frames.iter().filter(|other| **other == frame(0x8a, "p")).count(), 1, "{frames:?}");
        assert!(frames.last().is_some_and(Frame::is_close), "{frames:?}");
        assert_eq!(frames.iter().filter(|frame| frame.is_close()).count(), 1, "{frames:?}");
    });
}

/// Both halves are dropped at once, in two threads: one Close is sent.
#[test]
fn halves_that_are_dropped_at_once_close_once() {
    check_to(3, || {
        let tunnel = Tunnel::new([Step::Wait(4), Step::Send(client_close())]);
        let (sender, receiver) = tunnel.socket().split();
        let handler = async move {
            drop(receiver);
            None
        };
        let (connection, remains) = tunnel.run(Some(Box::pin(handler)));
        drop(sender);
        connection.join().unwrap().unwrap();
        assert_eq!(remains.frames(), [frame(0x88, "\\x03\\xe9")], "1001: no handler's result is known");
    });
}
