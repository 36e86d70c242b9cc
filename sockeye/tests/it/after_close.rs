//! What a socket says once it was closed: the same for every verb (RFC 6455 §5.5.1).

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Sink, SinkExt};
use http::Version;
use sockeye::socket::Sender;
use sockeye::{CloseCode, Error, Message, MessageKind, Result, WebSocket};
use tokio::time::timeout;

use crate::client::far::{self, Far, VERSIONS};
use crate::client::peer::kind;
use crate::common::{fill, settle, within};

const CLOSE_NORMAL: &[u8] = b"\x88\x02\x03\xE8";
const LONG: [u8; 126] = [0; 126];

#[track_caller]
fn closed(what: &str, result: Result<impl Debug>) {
    assert!(matches!(result, Err(Error::Closed)), "{what}: {result:?}");
}

async fn ready<S: Sink<Message> + Unpin>(sink: &mut S) -> Result<(), S::Error> {
    std::future::poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await
}

async fn check_socket(socket: &mut WebSocket) {
    closed("send", socket.send("late").await);
    closed("a large one", socket.send(vec![0; 1 << 17]).await);
    closed("send_ping", socket.send_ping(b"late").await);
    closed("send_ping, too long", socket.send_ping(&LONG).await);
    closed("pong", socket.pong(b"late").await);
    closed("pong, too long", socket.pong(&LONG).await);
    closed("ping", socket.ping().await);
    closed("a piece", socket.send_stream(MessageKind::Text).write("late").await);
    closed("an empty piece", socket.send_stream(MessageKind::Text).write("").await);
    closed("a piece of the other kind", socket.send_stream(MessageKind::Text).write(vec![0]).await);
    closed("a message without pieces", socket.send_stream(MessageKind::Text).finish().await);
    closed("ready for a piece", ready(&mut socket.send_stream(MessageKind::Text)).await);
    closed("feed a piece", socket.send_stream(MessageKind::Text).feed(Message::from("late")).await);
    closed("poll_ready", ready(socket).await);
    closed("start_send", Sink::<Message>::start_send(Pin::new(socket), "late".into()));
    closed("feed", socket.feed(Message::from("late")).await);
}

async fn check_half(sender: &mut Sender) {
    closed("send", sender.send("late").await);
    closed("send_ping", sender.send_ping(b"late").await);
    closed("pong", sender.pong(&LONG).await);
    closed("ping", sender.ping().await);
    closed("a piece", sender.send_stream(MessageKind::Binary).write(vec![0]).await);
    closed("a message without pieces", sender.send_stream(MessageKind::Binary).finish().await);
}

/// How a socket comes to its end that was open.
const ENDS: [&str; 4] = ["we close", "we close and are answered", "the peer closes", "the peer breaks a rule"];

async fn end(how: &str, socket: &mut WebSocket, far: &mut Far) {
    match how {
        "we close" => assert!(timeout(Duration::from_millis(1), socket.close()).await.is_err()),
        "we close and are answered" => {
            far.send(CLOSE_NORMAL).await;
            settle().await;
            drop(timeout(Duration::from_millis(1), socket.close()).await);
        }
        "the peer closes" => {
            far.send(CLOSE_NORMAL).await;
            assert_eq!(within(socket.recv()).await.unwrap(), None);
        }
        _ => {
            far.send(b"\x8F\0").await;
            within(socket.recv()).await.unwrap_err();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_verb_says_closed() {
    for version in VERSIONS {
        for how in ENDS {
            println!("{version:?}, {how}");
            let (_client, mut socket, mut far) = far::open(version).await;
            end(how, &mut socket, &mut far).await;
            check_socket(&mut socket).await;
            let (mut sender, mut receiver) = socket.split();
            check_half(&mut sender).await;
            // Whatever becomes of the stream after it.
            if let Far::Http2(peer, id) = &mut far {
                peer.send(kind::RST_STREAM, 0, *id, &8_u32.to_be_bytes()).await;
            }
            drop(far);
            drop(timeout(Duration::from_secs(1), receiver.recv()).await);
            check_half(&mut sender).await;
            check_socket(&mut sender.reunite(receiver).unwrap()).await;
        }
    }
}

/// A socket whose peer reads nothing does not wait for room to say so.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_room_after_a_close() {
    for version in VERSIONS {
        let (_client, mut socket, far) = far::open(version).await;
        fill(&mut socket, &vec![7; 10_000].into()).await;
        assert!(timeout(Duration::from_millis(1), socket.close()).await.is_err());
        within(check_socket(&mut socket)).await;
        drop(far);
    }
}

/// A writer of pieces that closes its socket is a Close as any other.
#[tokio::test(start_paused = true)]
async fn a_dropped_writer_closes() {
    for version in VERSIONS {
        let (_client, mut socket, _far) = far::open(version).await;
        socket.send_stream(MessageKind::Text).write("begun").await.unwrap();
        check_socket(&mut socket).await;
    }
}

/// What broke a stream off before any Close is said by every verb.
#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_off_says_how() {
    let (_client, mut socket, mut far) = far::open(Version::HTTP_2).await;
    if let Far::Http2(peer, id) = &mut far {
        peer.send(kind::RST_STREAM, 0, *id, &2_u32.to_be_bytes()).await;
    }
    settle().await;
    for received in [false, true] {
        if received {
            assert!(matches!(socket.recv().await, Err(Error::Reset { .. })));
        }
        let piece = socket.send_stream(MessageKind::Text).write("late").await;
        let results = [
            socket.send("late").await,
            socket.send_ping(b"late").await,
            socket.pong(b"late").await,
            ready(&mut socket).await,
            piece,
        ];
        assert!(results.iter().all(|result| matches!(result, Err(Error::Reset { .. }))), "{results:?}");
    }
}

/// Where the peer's Close has come, its RST_STREAM(NO_ERROR) behind it, or the end of its connection, says nothing more.
#[tokio::test(start_paused = true)]
async fn a_close_that_was_answered_is_clean() {
    const NO_ERROR: [u8; 4] = [0; 4];
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    for version in VERSIONS {
        // The peer's Close comes before ours, or answers it.
        for (code, first) in [(NO_ERROR, true), (NO_ERROR, false), (CANCEL, true), (CANCEL, false)] {
            let (_client, mut socket, mut far) = far::open(version).await;
            let ending = async move {
                if !first {
                    assert_eq!(far.frames(Some(8)).await.len(), 1);
                }
                far.send(b"\x81\x01a").await;
                far.send(CLOSE_NORMAL).await;
                match far {
                    Far::Http2(mut peer, id) => {
                        peer.send(kind::RST_STREAM, 0, id, &code).await;
                        peer.rest().await;
                    }
                    Far::Http1(transport) => drop(transport),
                }
            };
            let ending = tokio::spawn(ending);
            if first {
                settle().await;
            }
            let closed = within(socket.close_with(CloseCode::NORMAL, "")).await;
            assert!(closed.is_ok(), "{version:?}, {code:?}, {first}: {closed:?}");
            assert_eq!(socket.close_frame().map(|frame| frame.code), Some(CloseCode::NORMAL));
            drop((socket, _client));
            within(ending).await.unwrap();
        }
        // Without the peer's Close it is not.
        let (_client, mut socket, far) = far::open(version).await;
        match far {
            Far::Http2(mut peer, id) => {
                peer.send(kind::RST_STREAM, 0, id, &NO_ERROR).await;
                settle().await;
                assert!(matches!(within(socket.close()).await, Err(Error::Abnormal)));
            }
            Far::Http1(transport) => {
                drop(transport);
                settle().await;
                assert!(within(socket.close()).await.is_err());
            }
        }
    }
}
