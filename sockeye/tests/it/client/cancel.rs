//! Every async function of a client and of its sockets is cancel safe, over both versions of HTTP.

use std::time::Duration;

use http::Version;
use sockeye::{Client, CloseCode, Counter, Error, Message, Server, WebSocket};
use tokio::io::AsyncReadExt;

use super::far::{self, VERSIONS};
use super::peer::{self, URL, kind};
use crate::common::{fill, hand_over, poll_now, restarted, settle, start, within};

const MESSAGES: usize = 60;

/// Of sizes that fit a frame, a window, and neither.
fn message(n: usize) -> Message {
    Message::from(vec![n as u8; [3, 1000, 40_000, 70_000][n % 4]])
}

/// Both ends of a socket, each a [`WebSocket`], over loopback.
async fn pair(version: Version) -> (WebSocket, WebSocket) {
    let (service, mut sockets) = hand_over();
    let running = start(Server::new(), service).await;
    let builder =
        if version == Version::HTTP_2 { Client::builder().http2_only() } else { Client::builder().http1_only() };
    let client = builder.connect(&format!("ws://{}", running.addr)).await.unwrap();
    let ours = within(client.open("/").into_future()).await.unwrap();
    (ours, within(sockets.recv()).await.unwrap())
}

async fn send_all(socket: &mut WebSocket) {
    for n in 0..MESSAGES {
        socket.send(message(n)).await.unwrap();
        settle().await;
    }
}

async fn receive_all(socket: &mut WebSocket) {
    for n in 0..MESSAGES {
        settle().await;
        assert!(socket.recv().await.unwrap() == Some(message(n)), "message {n} is another");
    }
}

#[tokio::test]
async fn recv_loses_nothing() {
    for version in VERSIONS {
        let (mut ours, mut theirs) = pair(version).await;
        let receiving = async {
            let mut drops = 0;
            for n in 0..MESSAGES {
                let (received, dropped) = restarted(async || ours.recv().await).await;
                assert!(received.unwrap() == Some(message(n)), "{version:?}: message {n} is another");
                drops += dropped;
            }
            assert!(drops >= MESSAGES / 2, "{version:?}: futures were dropped {drops} times only");
        };
        within(async { tokio::join!(send_all(&mut theirs), receiving) }).await;
    }
}

#[tokio::test]
async fn send_and_flush_send_once() {
    for version in VERSIONS {
        let (mut ours, mut theirs) = pair(version).await;
        let sending = async {
            let (mut sends, mut flushes) = (0, 0);
            for n in 0..MESSAGES {
                let (sent, dropped) = restarted(async || ours.send(message(n)).await).await;
                sent.unwrap();
                sends += dropped;
                if n % 8 == 7 {
                    let (flushed, dropped) = restarted(async || ours.flush().await).await;
                    flushed.unwrap();
                    flushes += dropped;
                }
            }
            assert!(sends > 0 && flushes > 0, "{version:?}: {sends} and {flushes} futures were dropped");
            drop(ours);
        };
        within(async { tokio::join!(sending, receive_all(&mut theirs)) }).await;
        assert!(within(theirs.recv()).await.unwrap().is_none(), "the end follows the last message");
        assert_eq!(theirs.close_frame().unwrap().code, CloseCode::GOING_AWAY);
    }
}

#[tokio::test(start_paused = true)]
async fn ping_pings_once() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        let filled = fill(&mut socket, &vec![0; 1000].into()).await;
        let sending = async {
            let (sent, dropped) = restarted(async || socket.send_ping(b"once").await).await;
            sent.unwrap();
            assert!(dropped > 0);
            drop(socket);
        };
        let (_, frames) = within(async { tokio::join!(sending, far.frames(None)) }).await;
        assert_eq!(frames.len(), filled + 2, "{version:?}");
        assert_eq!(frames[filled], (true, 9, b"once".to_vec()));
        assert_eq!(frames[filled + 1], (true, 8, vec![0x03, 0xE9]), "the Close of the dropped socket");
    }
}

/// Each call goes on with the one closing handshake.
#[tokio::test(start_paused = true)]
async fn close_closes_once() {
    for version in VERSIONS {
        let (_client, mut socket, mut far) = far::open(version).await;
        let closing = async {
            let (closed, dropped) = restarted(async || socket.close_with(CloseCode::from(3000), "once").await).await;
            closed.unwrap();
            assert!(dropped > 0);
        };
        let answering = async {
            let frames = far.frames(Some(8)).await;
            far.send(b"\x81\x08too late").await;
            settle().await;
            far.send(b"\x88\x02\x0B\xB8").await;
            far.end().await;
            frames
        };
        let ((), frames) = within(async { tokio::join!(closing, answering) }).await;
        assert_eq!(frames, [(true, 8, b"\x0B\xB8once".to_vec())], "{version:?}");
        assert!(far.frames(None).await.is_empty(), "{version:?}");
    }
}

/// A connect that is dropped at any of its waits leaves no connection, and the builder is as good as before.
#[tokio::test(start_paused = true)]
async fn connect_leaves_nothing() {
    let (builder, mut wires) = peer::http2();
    // Before the connection, and while the SETTINGS are awaited.
    for polls in [1, 2, 3, 10] {
        let mut connecting = Box::pin(builder.connect(URL));
        for _ in 0..polls {
            assert!(poll_now(&mut connecting).await.is_pending());
            settle().await;
        }
        drop(connecting);
    }
    for _ in 0..4 {
        within(wires.next().await.read_to_end(&mut Vec::new())).await.unwrap();
    }
    peer::connect(&builder, &mut wires).await;
}

/// An open that is dropped at each of its polls, over HTTP/1.1, where each has a connection of its own.
#[tokio::test(start_paused = true)]
async fn open_leaves_nothing_over_http1() {
    let (builder, mut wires) = peer::wires();
    let client = builder.connect(URL).await.unwrap();
    for polls in 1..5 {
        let mut opening = client.open("/").into_future();
        for _ in 0..polls {
            assert!(poll_now(&mut opening).await.is_pending());
            settle().await;
        }
        drop(opening);
        within(wires.next().await.read_to_end(&mut Vec::new())).await.unwrap();
        settle().await;
        assert!(client.handle().connections().is_empty(), "{polls} polls");
    }
}

/// Over HTTP/2: the stream is reset if it was opened at all, and its place is free.
#[tokio::test(start_paused = true)]
async fn open_leaves_nothing_over_http2() {
    let (builder, mut wires) = peer::http2();
    let settings = [peer::OFFER, (peer::MAX_CONCURRENT_STREAMS, 1)];
    let builder = builder.max_connections(1);
    let accepting = async { peer::Peer::accept_with(wires.next().await, &settings).await };
    let (client, mut peer) = tokio::join!(builder.connect(URL), accepting);
    let client = client.unwrap();
    for polls in 1..5 {
        let mut opening = client.open("/").into_future();
        for _ in 0..polls {
            assert!(poll_now(&mut opening).await.is_pending());
            settle().await;
        }
        drop(opening);
    }
    let (socket, serving) = tokio::join!(client.open("/").into_future(), async {
        let mut open = Vec::new();
        loop {
            let frame = peer.receive().await.unwrap();
            match frame.kind {
                kind::RST_STREAM => assert_eq!(open.pop(), Some(frame.stream_id)),
                kind::HEADERS => {
                    assert!(open.is_empty(), "one at a time");
                    open.push(frame.stream_id);
                    // The last one stays.
                    settle().await;
                    peer.respond(frame.stream_id, peer::STATUS_200).await;
                    settle().await;
                    peer.send(kind::PING, 0, 0, b"the last").await;
                }
                kind::PING if open.len() == 1 => break,
                _ => {}
            }
        }
        open
    });
    socket.unwrap();
    assert_eq!(serving.len(), 1);
    assert_eq!(client.handle().counter(Counter::Connections), 1);
}

/// The answer may come just as its future is dropped: the tunnel is given up, and says so.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes() {
    let (builder, mut wires) = peer::http2();
    let (client, mut peer) = peer::connect(&builder, &mut wires).await;
    let mut opening = client.open("/").into_future();
    while peer_has_no_request(&mut opening, &mut peer).await {}
    peer.respond(1, peer::STATUS_200).await;
    peer.round_trip().await;
    drop(opening);
    assert_eq!(peer.next(kind::RST_STREAM).await.code(), 8, "CANCEL");
}

/// Polls once and lets the rest run; whether the request is still to come.
async fn peer_has_no_request<F: Future + Unpin>(opening: &mut F, peer: &mut peer::Peer) -> bool {
    assert!(poll_now(opening).await.is_pending());
    settle().await;
    tokio::time::timeout(Duration::from_millis(1), peer.request()).await.is_err()
}

/// What was begun goes on, and another call waits for its end.
#[tokio::test(start_paused = true)]
async fn close_of_a_client_may_be_called_again() {
    for version in VERSIONS {
        let (client, mut socket, mut far) = far::open(version).await;
        let mut closing = Box::pin(client.close());
        assert!(poll_now(&mut closing).await.is_pending());
        drop(closing);
        assert!(matches!(client.open("/").await, Err(Error::Closed)));
        let serving = async {
            assert_eq!(far.frames(None).await, [(true, 8, vec![0x03, 0xE9])]);
            far.send(b"\x88\x02\x03\xE9").await;
            far.end().await;
        };
        let closing = restarted(async || client.close().await);
        let (received, (), ((), dropped)) = within(async { tokio::join!(socket.recv(), serving, closing) }).await;
        assert!(received.unwrap().is_none() && dropped > 0, "{version:?}");
        assert!(client.handle().connections().is_empty(), "{version:?}");
    }
}
