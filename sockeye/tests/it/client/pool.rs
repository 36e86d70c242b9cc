//! How many connections a client makes, and who gets their streams.

use std::time::Duration;

use futures_util::future::join_all;
use http::Version;
use sockeye::{Client, Counter, Error, Limits, Result, Server, WebSocket, websocket};
use tokio::task::JoinHandle;

use super::peer::{self, MAX_CONCURRENT_STREAMS, OFFER, Peer, Wires, kind};
use crate::common::{echo, settle, start, within};

/// A task that opens a socket.
fn open(client: &Client) -> JoinHandle<Result<WebSocket>> {
    tokio::spawn(client.open("/").into_future())
}

/// A client whose connections, `max_connections` of them, have so many streams each, and the first.
async fn limited(streams: u32, max_connections: usize) -> (Client, Peer, Wires) {
    let (builder, mut wires) = peer::http2();
    let builder = builder.max_connections(max_connections);
    let (client, peer) = tokio::join!(builder.connect(peer::URL), accept(&mut wires, streams));
    (client.unwrap(), peer, wires)
}

async fn accept(wires: &mut Wires, streams: u32) -> Peer {
    Peer::accept_with(wires.next().await, &[OFFER, (MAX_CONCURRENT_STREAMS, streams)]).await
}

/// Closes a socket's stream as a server that has had enough: Close 1000 and END_STREAM, and takes what comes back.
async fn close(peer: &mut Peer, stream_id: u32) {
    peer.send(kind::DATA, peer::END_STREAM, stream_id, b"\x88\x02\x03\xE8").await;
}

/// RFC 9113 §5.1.2: however many want a stream at once, no connection has more than the server allows, and no more
/// connections are made than it takes.
#[tokio::test]
async fn openers_share_connections() {
    let config = Limits::new().max_concurrent_streams(10);
    let running = start(Server::new().limits(config), websocket(echo)).await;
    let client = Client::builder().http2_only().connect(&format!("ws://{}", running.addr)).await.unwrap();
    let opened = within(join_all((0..95).map(|_| open(&client)))).await;
    let sockets: Vec<WebSocket> = opened.into_iter().map(|socket| socket.unwrap().unwrap()).collect();
    assert!(sockets.iter().all(|socket| socket.version() == Version::HTTP_2));
    assert_eq!(running.handle.counter(Counter::Connections), 10);
    assert_eq!(running.handle.counter(Counter::StreamsRefused), 0);
    let mut numbers: Vec<usize> = client.handle().connections().iter().map(|connection| connection.sockets).collect();
    numbers.sort();
    assert_eq!(numbers, [5, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
}

/// Beyond the bound an opener waits, in its turn, for a stream that is free again.
#[tokio::test(start_paused = true)]
async fn streams_that_end_are_given_to_those_who_wait() {
    let (client, mut first, mut wires) = limited(1, 2).await;
    let tasks: Vec<_> = (0..6).map(|_| open(&client)).collect();
    let id = first.open().await;
    let mut second = accept(&mut wires, 1).await;
    let other_id = second.open().await;
    settle().await;
    assert_eq!((wires.waiting(), tasks.iter().filter(|task| task.is_finished()).count()), (0, 2));
    // The sockets are held: what counts is that their streams are over.
    let receive = |mut socket: WebSocket| async move {
        assert!(socket.recv().await.unwrap().is_none());
        socket
    };
    let mut held: Vec<WebSocket> = Vec::new();
    let mut tasks = tasks.into_iter();
    for _ in 0..2 {
        held.push(tasks.next().unwrap().await.unwrap().unwrap());
    }
    let mut ids = [id, other_id];
    for _ in 0..2 {
        for (peer, id) in [&mut first, &mut second].into_iter().zip(&mut ids) {
            close(peer, *id).await;
            let socket = held.remove(0);
            let (socket, next_id) = within(async { tokio::join!(receive(socket), peer.open()) }).await;
            assert_eq!(next_id, *id + 2);
            *id = next_id;
            held.push(tasks.next().unwrap().await.unwrap().unwrap());
            drop(socket);
        }
    }
    assert_eq!(wires.waiting(), 0);
}

/// A later SETTINGS lets more in, or fewer; those that are open stay.
#[tokio::test(start_paused = true)]
async fn the_limit_may_change() {
    let (client, mut peer, wires) = limited(1, 1).await;
    let tasks: Vec<_> = (0..5).map(|_| open(&client)).collect();
    peer.open().await;
    settle().await;
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 3)]).await;
    peer.open().await;
    peer.open().await;
    settle().await;
    assert_eq!(tasks.iter().filter(|task| task.is_finished()).count(), 3);
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    peer.round_trip().await;
    // Two of them end: there is one, which is all that may be.
    let mut sockets = join_all(tasks.into_iter().take(3)).await;
    for _ in 0..2 {
        drop(sockets.pop());
    }
    peer.send(kind::DATA, peer::END_STREAM, 3, b"\x88\0").await;
    peer.send(kind::DATA, peer::END_STREAM, 5, b"\x88\0").await;
    peer.round_trip().await;
    peer.send(kind::PING, 0, 0, b"no more?").await;
    loop {
        let frame = peer.receive().await.unwrap();
        assert_ne!(frame.kind, kind::HEADERS, "a stream too many");
        if frame.kind == kind::PING {
            break;
        }
    }
    assert_eq!(wires.waiting(), 0);
}

/// RFC 9113 §6.5.2: a server may take no streams for a while. It is waited for, and not pestered by more connections.
#[tokio::test(start_paused = true)]
async fn none_at_first() {
    let (client, mut peer, wires) = limited(0, 32).await;
    let tasks: Vec<_> = (0..5).map(|_| open(&client)).collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 10)]).await;
    for _ in 0..5 {
        peer.open().await;
    }
    for socket in within(join_all(tasks)).await {
        socket.unwrap().unwrap();
    }
    assert_eq!(wires.waiting(), 0);
}

/// The caller's own limit on streams bounds a connection as well as the server's.
#[tokio::test(start_paused = true)]
async fn the_callers_limit_counts() {
    let (builder, mut wires) = peer::http2();
    let builder = builder.limits(Limits::new().max_concurrent_streams(1));
    let (client, mut first) = peer::connect(&builder, &mut wires).await;
    let (_one, _) = tokio::join!(client.open("/").into_future(), first.open());
    let (two, _) = tokio::join!(client.open("/").into_future(), async { wires.peer().await.open().await });
    two.unwrap();
}

/// Dropping the future of an open at any of its waits leaves no stream, no place taken and nobody waiting for it.
#[tokio::test(start_paused = true)]
async fn cancelled_openers_leave_nothing() {
    let (client, mut first, mut wires) = limited(1, 2).await;
    // While the stream is asked for, then while the answer is awaited.
    for polls in [0, 1] {
        let opening = open(&client);
        for _ in 0..polls {
            first.request().await;
        }
        opening.abort();
        settle().await;
    }
    let reset = first.next(kind::RST_STREAM).await;
    assert_eq!(reset.code(), 8, "CANCEL");
    // While a connection is made.
    let held = open(&client);
    let held_id = first.open().await;
    let held = held.await.unwrap().unwrap();
    let connecting = open(&client);
    let silent = wires.next().await;
    let next = open(&client);
    settle().await;
    connecting.abort();
    drop(silent);
    // The next one has its turn, and is cancelled after the server's preface.
    let second = accept(&mut wires, 0).await;
    settle().await;
    next.abort();
    settle().await;
    // While it waits for a stream: who waits behind gets it.
    let (waiting, behind) = (open(&client), open(&client));
    settle().await;
    close(&mut first, held_id).await;
    waiting.abort();
    drop(held);
    let (id, behind) = within(async { tokio::join!(first.open(), behind) }).await;
    let socket = behind.unwrap().unwrap();
    drop((socket, second));
    close(&mut first, id).await;
    within(first.next(kind::DATA)).await;
    drop(client);
    first.rest().await;
}

/// Whoever waits for the connection of another makes one if that fails.
#[tokio::test(start_paused = true)]
async fn a_failed_connection_wakes_the_next() {
    let (client, mut first, mut wires) = limited(1, 2).await;
    let held = open(&client);
    first.open().await;
    settle().await;
    let tasks: Vec<_> = (0..3).map(|_| open(&client)).collect();
    for _ in 0..2 {
        drop(wires.next().await);
    }
    let mut second = accept(&mut wires, 1).await;
    second.open().await;
    let mut results = Vec::new();
    for task in tasks {
        results.push(within(task).await.unwrap());
    }
    let failed: Vec<bool> =
        results.iter().map(|result| matches!(result, Err(Error::Disconnected | Error::Io(_)))).collect();
    assert_eq!(failed, [true, true, false], "{results:?}");
    held.await.unwrap().unwrap();
}

/// Whoever makes a connection is not one of those who wait: a stream that becomes free meanwhile is theirs.
#[tokio::test(start_paused = true)]
async fn a_slow_connection_swallows_no_free_stream() {
    let (client, mut first, mut wires) = limited(1, 2).await;
    let held = open(&client);
    let id = first.open().await;
    let held = held.await.unwrap().unwrap();
    let connecting = open(&client);
    let silent = wires.next().await;
    let waiting = open(&client);
    settle().await;
    drop(held);
    close(&mut first, id).await;
    let (_, socket) = tokio::join!(first.open(), waiting);
    socket.unwrap().unwrap();
    assert!(!connecting.is_finished());
    drop(silent);
}

/// Of 10,000 who wait for 100 streams each gets one in time: to wake one costs the same however many there are.
#[tokio::test]
async fn many_may_wait() {
    let config = Limits::new().max_concurrent_streams(50);
    let running = start(Server::new().limits(config), websocket(echo)).await;
    let builder = Client::builder().http2_only().max_connections(2).connect_timeout(Duration::from_secs(300));
    let client = builder.connect(&format!("ws://{}", running.addr)).await.unwrap();
    let tasks: Vec<_> = (0..10_000).map(|_| open(&client)).collect();
    for task in tasks {
        drop(within(task).await.unwrap().unwrap());
    }
    assert_eq!(running.handle.counter(Counter::WebSockets), 10_000);
    assert_eq!(running.handle.counter(Counter::Connections), 2);
    assert_eq!(running.handle.counter(Counter::StreamsRefused), 0);
}
