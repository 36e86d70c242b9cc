//! Who does not read makes one sender wait, and nobody else.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use sockeye::{Body, BoxError, Counter, Error, Limits, Message, Server, WebSocket, websocket};
use sockeye_proto::h2::{Config, Reason};
use tokio::sync::{Notify, watch};
use tower::{Service, service_fn};

use crate::common::{
    Client, Socket, echo, fill, hand_over, handshake, open, pair, pair_with, poll_now, settle, start, start_websocket,
    within,
};

/// Of a message on the wire: its payload of 1000 octets, and a head of 4.
const MESSAGE: usize = 1004;
/// The window of a stream, and the outbox behind it.
const STREAM: usize = 65_535 + 64 * 1024;

fn message() -> Message {
    vec![7; MESSAGE - 4].into()
}

/// 64 KiB wait in the outbox, behind what the peer's window takes.
#[tokio::test]
async fn send_waits_at_the_limit_of_its_stream() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let sent = fill(&mut socket, &message()).await;
    assert_eq!(sent, STREAM.div_ceil(MESSAGE));

    let mut send = Box::pin(socket.send(message()));
    assert!(poll_now(&mut send).await.is_pending());
    for _ in 0..sent {
        assert_eq!(peer.message().await, message());
    }
    within(send).await.unwrap();
    assert_eq!(peer.message().await, message());
}

/// `flush` waits for the outbox, not for the peer.
#[tokio::test]
async fn flush_waits_for_the_outbox() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    socket.send(message()).await.unwrap();
    within(socket.flush()).await.unwrap();
    let sent = fill(&mut socket, &message()).await;
    let mut flush = Box::pin(socket.flush());
    assert!(poll_now(&mut flush).await.is_pending());
    settle().await;
    assert!(poll_now(&mut flush).await.is_pending());
    for _ in 0..=sent {
        peer.message().await;
    }
    within(flush).await.unwrap();
}

/// 4 MiB wait in all outboxes and with senders; past it a stream that has nothing there may still send one message.
#[tokio::test]
async fn send_waits_at_the_limit_of_its_connection() {
    const SOCKETS: usize = 90;
    let client = Config::default().with(|config| config.max_unread = 1 << 30);
    let (mut connection, client) = pair_with(Limits::new(), client).await;
    let mut sockets = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..SOCKETS {
        let (mut socket, peer) = open(&mut connection, &client).await;
        sent.push(fill(&mut socket, &message()).await * MESSAGE);
        sockets.push((socket, peer));
    }
    let waiting: usize = sent.iter().map(|octets| octets.saturating_sub(65_535)).sum();
    let most = 4 << 20;
    assert!((most - SOCKETS * MESSAGE..most + SOCKETS * 2 * MESSAGE).contains(&waiting), "{waiting} octets wait");
    assert!(sent[0] > STREAM && sent[SOCKETS - 1] > 65_535, "{sent:?}");

    // Once there is room, all go on.
    let (mut socket, mut peer) = sockets.pop().unwrap();
    let mut send = Box::pin(socket.send(message()));
    assert!(poll_now(&mut send).await.is_pending());
    for _ in 0..sent[SOCKETS - 1] / MESSAGE {
        peer.message().await;
    }
    within(send).await.unwrap();
}

/// The limits are settings of the server.
#[tokio::test]
async fn limits_of_sending_are_settings() {
    let (service, mut sockets) = hand_over();
    let server = start(
        Server::new().limits(Limits::new().stream_send_buffer(10 * MESSAGE).connection_send_buffer(1 << 30)),
        service,
    )
    .await;
    let client = Client::connect(server.addr).await;
    let _peer = Socket::on(&client, &handshake("/")).await.unwrap();
    let mut socket = sockets.recv().await.unwrap();
    within(async {
        // Over TCP it takes a while until the window is used up.
        let mut sent = 0;
        while sent < (65_535 + 10 * MESSAGE).div_ceil(MESSAGE) {
            sent += fill(&mut socket, &message()).await;
        }
        assert_eq!(sent, (65_535 + 10 * MESSAGE).div_ceil(MESSAGE));
    })
    .await;
}

/// While nobody reads, nothing happens: senders that wait, for their own outbox, their connection's or a flush, are not
/// polled. (They were, without end: each was woken since its outbox was short, and refused since the connection was full.)
#[tokio::test]
async fn senders_that_wait_are_not_polled() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let server = start_websocket(move |mut socket: WebSocket| {
        let polls = counted.clone();
        async move {
            let mut sending = pin!(async {
                for _ in 0..80 {
                    socket.send(message()).await?;
                }
                socket.flush().await?;
                while socket.send(message()).await.is_ok() {}
                Ok::<(), Error>(())
            });
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                sending.as_mut().poll(cx)
            })
            .await
        }
    })
    .await;
    let client = Client::connect(server.addr).await;
    let mut unread = Vec::new();
    for _ in 0..40 {
        unread.push(Socket::on(&client, &handshake("/")).await.unwrap());
    }
    within(async {
        let mut before = 0;
        while before != polls.load(Ordering::Relaxed) {
            before = polls.load(Ordering::Relaxed);
            settle().await;
        }
    })
    .await;
}

/// Forty of a hundred sockets are never read: by the peer, and so neither by their handlers. The rest do not notice.
#[tokio::test]
async fn unread_sockets_stop_nobody_else() {
    let server = start_websocket(echo).await;
    let client = Client::connect(server.addr).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    for _ in 0..40 {
        let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
        let sent = sent.clone();
        unread.push(tokio::spawn(async move {
            loop {
                let mut octets = BytesMut::new();
                socket.machine.send(&vec![7; 10_000].into()).unwrap();
                socket.machine.poll_transmit(&mut octets);
                client_send(&socket, &octets).await;
                sent.fetch_add(octets.len(), Ordering::Relaxed);
            }
        }));
    }
    within(until_quiet(&sent)).await;
    assert!(sent.load(Ordering::Relaxed) > 40 * 65_535, "all of them are full");
    let echoes = (0..60).map(async |n| {
        let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
        for round in 0..20 {
            socket.check_echo(vec![n; 100 * round]).await;
        }
    });
    within(join_all(echoes)).await;
    assert!(unread.iter().all(|task| !task.is_finished()));
}

/// Waits until nothing is counted any more.
async fn until_quiet(sent: &AtomicUsize) {
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        for _ in 0..5 {
            settle().await;
        }
    }
}

/// Waits for as long as it must.
async fn client_send(socket: &Socket, octets: &[u8]) {
    socket.client().send(socket.id(), octets, false).await;
}

#[tokio::test]
async fn unread_bodies_stop_nobody_else() {
    let read_now = Arc::new(Notify::new());
    let (waiting, sockets) = (read_now.clone(), websocket(echo));
    let service = service_fn(move |request: Request<Body>| {
        let (read_now, mut sockets) = (waiting.clone(), sockets.clone());
        async move {
            if request.method() == Method::CONNECT {
                return Ok(sockets.call(request).await?);
            }
            read_now.notified().await;
            let octets = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::new(octets.len().to_string().into()))
        }
    });
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let uploads: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let id = client.open(&Request::post("http://localhost/").body(()).unwrap(), false).unwrap();
                client.send(id, &vec![0; 200_000], true).await;
                client.answer(id).await.content
            })
        })
        .collect();
    settle().await;
    let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
    for _ in 0..50 {
        socket.check_echo(vec![1; 5000]).await;
    }
    assert!(uploads.iter().all(|upload| !upload.is_finished()));
    for upload in uploads {
        read_now.notify_one();
        assert_eq!(within(upload).await.unwrap(), "200000");
    }
}

/// Twenty sockets hold three quarters of a message each: 15 MiB, of which the server takes 3 MiB, and some of as much again. One is
/// let finish, then the next, and at the end all have.
#[tokio::test]
async fn unfinished_messages_stay_in_their_budget_and_finish() {
    const SOCKETS: usize = 20;
    const SIZE: usize = 1 << 20;
    let server = start_websocket(echo).await;
    let client = Client::connect(server.addr).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let (gate, open) = watch::channel(false);
    let mut tasks = Vec::new();
    for n in 0..SOCKETS {
        let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
        let (sent, mut open) = (sent.clone(), open.clone());
        tasks.push(tokio::spawn(async move {
            let message = Message::from(vec![n as u8; SIZE]);
            let mut octets = BytesMut::new();
            socket.machine.send(&message).unwrap();
            socket.machine.poll_transmit(&mut octets);
            let last = octets.split_off(SIZE / 4 * 3);
            for piece in octets.chunks(16 * 1024) {
                client_send(&socket, piece).await;
                sent.fetch_add(piece.len(), Ordering::Relaxed);
            }
            open.wait_for(|open| *open).await.unwrap();
            client_send(&socket, &last).await;
            assert!(socket.message().await == message, "another message");
        }));
    }
    // Past the budget, it waits.
    within(async {
        while server.handle.counter(Counter::UnfinishedMessagesWaited) < SOCKETS as u64 / 2 {
            settle().await;
        }
        until_quiet(&sent).await;
    })
    .await;
    // The budget, the message that has the lane, what one read of each stream brings, and what is not read.
    let bound = (6 << 20) + SIZE + SOCKETS * 65_536 + (3 << 20);
    let taken = sent.load(Ordering::Relaxed);
    assert!((2 << 20..bound).contains(&taken), "{taken} octets were taken");
    gate.send(true).unwrap();
    for task in tasks {
        within(task).await.unwrap();
    }
}

/// What waits for the budget still sees its stream end.
#[tokio::test]
async fn a_socket_that_waits_for_the_budget_sees_its_end() {
    /// A head for 2000 octets, masked by zeros, and 400 of them; then 700 more.
    fn parts() -> [Vec<u8>; 2] {
        [[&b"\x82\xFE\x07\xD0\0\0\0\0"[..], &[0; 400]].concat(), vec![0; 700]]
    }
    let (service, mut sockets) = hand_over();
    let server = start(Server::new().limits(Limits::new().unfinished_messages(1125)), service).await;
    let client = Client::connect(server.addr).await;
    let mut pairs = Vec::new();
    for _ in 0..4 {
        let mut peer = Socket::on(&client, &handshake("/")).await.unwrap();
        let mut socket = sockets.recv().await.unwrap();
        for part in parts() {
            peer.send_octets(&part).await;
            client.round_trip().await;
            assert!(poll_now(&mut pin!(socket.recv())).await.is_pending());
        }
        pairs.push((socket, peer));
    }
    assert_eq!(server.handle.counter(Counter::UnfinishedMessagesWaited), 2, "all but the first and the lane's");
    let [(mut first, mut finisher), _second, (mut reset, resetter), (mut ended, mut ender)] =
        pairs.try_into().ok().unwrap();
    client.reset(resetter.id(), Reason::CANCEL);
    assert!(matches!(within(reset.recv()).await, Err(Error::Abnormal)));
    ender.end().await;
    assert!(matches!(within(ended.recv()).await, Err(Error::Abnormal)));
    finisher.send_octets(&[0; 900]).await;
    assert_eq!(within(first.recv()).await.unwrap().unwrap().len(), 2000);
}
