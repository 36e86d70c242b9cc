//! Handlers that do not do as most: in the middle of a visit of their connection, with messages that arrived together.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sockeye::{Message, Result, Server, WebSocket, websocket};
use sockeye_proto::ws::Event;
use tokio::sync::mpsc;

use crate::common::{Carrier, Client, Running, Socket, echo, handshake, start_websocket, within};

const MESSAGES: u32 = 50;

async fn open(server: &Running) -> Socket {
    Socket::open(Carrier::Http2, server.addr).await
}

/// Sends messages so that they arrive together, in one DATA frame or in many.
async fn send_together(socket: &mut Socket, pieces: usize) {
    let mut octets = bytes::BytesMut::new();
    for number in 0..MESSAGES {
        socket.machine.send(&number.to_string().into()).unwrap();
    }
    socket.machine.poll_transmit(&mut octets);
    let (client, id) = (socket.client().clone(), socket.id());
    client.act(|machine| {
        for piece in octets.chunks(octets.len().div_ceil(pieces)) {
            assert_eq!(machine.stream(id).unwrap().write(piece, false), piece.len());
        }
    });
}

async fn expect_in_order(socket: &mut Socket) {
    for number in 0..MESSAGES {
        assert_eq!(socket.message().await, Message::from(number.to_string()));
    }
}

#[tokio::test]
async fn messages_that_arrive_together_are_echoed_in_order() {
    let server = start_websocket(echo).await;
    for pieces in [1, 2, 7, 100] {
        let mut socket = open(&server).await;
        send_together(&mut socket, pieces).await;
        expect_in_order(&mut socket).await;
    }
}

/// What a handler leaves, it finds when it comes back.
#[tokio::test]
async fn a_handler_may_take_one_message_at_a_time() {
    async fn handler(mut socket: WebSocket) -> Result {
        while let Some(message) = socket.recv().await? {
            tokio::task::yield_now().await;
            socket.send(message).await?;
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        Ok(())
    }
    let server = start_websocket(handler).await;
    for pieces in [1, 2, 7] {
        let mut socket = open(&server).await;
        send_together(&mut socket, pieces).await;
        expect_in_order(&mut socket).await;
        socket.check_echo("another visit").await;
    }
}

/// The receiving half leaves for another task with messages before it, and others wait where it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_leave_in_the_middle() {
    async fn handler(socket: WebSocket) -> Result {
        let (mut sender, mut receiver) = socket.split();
        let (forward, mut messages) = mpsc::unbounded_channel();
        forward.send(receiver.recv().await?).unwrap();
        tokio::spawn(async move {
            while let Ok(message @ Some(_)) = receiver.recv().await {
                forward.send(message).unwrap();
            }
        });
        while let Some(Some(message)) = messages.recv().await {
            sender.send(message).await?;
        }
        Ok(())
    }
    let server = start_websocket(handler).await;
    for pieces in [1, 7] {
        let mut socket = open(&server).await;
        send_together(&mut socket, pieces).await;
        expect_in_order(&mut socket).await;
        socket.check_echo("by way of both tasks").await;
    }
}

/// What another thread sends in the middle of a visit stays between what the handler sends before and after it.
#[tokio::test]
async fn two_threads_send_in_the_order_they_agree_on() {
    async fn handler(mut socket: WebSocket) -> Result {
        while socket.recv().await?.is_some() {
            socket.send("one").await?;
            // The handler's thread waits, so that this is one visit.
            let send = async move {
                socket.send("two").await?;
                Ok::<_, sockeye::Error>(socket)
            };
            let sent = std::thread::spawn(|| futures_util::FutureExt::now_or_never(send));
            socket = sent.join().unwrap().expect("there is room")?;
            socket.send("three").await?;
        }
        Ok(())
    }
    let server = start_websocket(handler).await;
    let mut socket = open(&server).await;
    for _ in 0..3 {
        socket.send("begin").await;
        for expected in ["one", "two", "three"] {
            assert_eq!(socket.message().await, Message::from(expected));
        }
    }
}

/// What finds no room on the desk keeps its place, too.
#[tokio::test]
async fn small_and_large_messages_keep_their_order() {
    const SIZES: [usize; 7] = [1, 16_000, 1000, 100_000, 2, 16_384, 3];
    async fn handler(mut socket: WebSocket) -> Result {
        while socket.recv().await?.is_some() {
            for size in SIZES {
                socket.send(vec![size as u8; size]).await?;
            }
        }
        Ok(())
    }
    let server = start_websocket(handler).await;
    let mut socket = open(&server).await;
    for _ in 0..3 {
        socket.send("begin").await;
        for size in SIZES {
            assert!(socket.message().await == vec![size as u8; size].into(), "{size} octets");
        }
    }
}

/// A handler that polls its socket by other wakers than its own: one socket's desk is not another's, and nobody is forgotten.
#[tokio::test]
async fn futures_may_have_wakers_of_their_own() {
    async fn handler(socket: WebSocket) -> Result {
        let mut futures: FuturesUnordered<_> = std::iter::once(echo(socket)).collect();
        futures.next().await.unwrap()
    }
    let server = start_websocket(handler).await;
    let mut socket = open(&server).await;
    send_together(&mut socket, 7).await;
    expect_in_order(&mut socket).await;
    socket.check_echo("another visit").await;
}

/// The connection inside runs in a visit of the one outside, and finds the desk taken.
#[tokio::test]
async fn a_handler_may_serve_a_connection_of_its_own() {
    async fn handler(mut outer: WebSocket) -> Result {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = async {
            let client = Client::over(theirs, Default::default()).await;
            let mut inner = Socket::on(&client, &handshake("/")).await.unwrap();
            while let Some(message) = outer.recv().await? {
                send_together(&mut inner, 3).await;
                expect_in_order(&mut inner).await;
                outer.send(message).await?;
            }
            Ok(())
        };
        let server = Server::new();
        tokio::select! {
            result = peer => result,
            result = server.serve_connection(ours, websocket(echo)) => panic!("{result:?}"),
        }
    }
    let server = start_websocket(handler).await;
    let mut socket = open(&server).await;
    for _ in 0..3 {
        within(socket.check_echo("around the inner one")).await;
    }
}

/// What a handler sent before it panicked is delivered, and its connection's other sockets go on.
#[tokio::test]
async fn a_panic_leaves_the_desk_in_order() {
    async fn handler(mut socket: WebSocket) -> Result {
        let message = socket.recv().await?.unwrap();
        socket.send(message.clone()).await?;
        if message.as_text() == Some("panic") {
            panic!("as it was told");
        }
        echo(socket).await
    }
    let server = start_websocket(handler).await;
    let mut other = open(&server).await;
    other.check_echo("well").await;
    let mut socket = Socket::on(other.client(), &handshake("/")).await.unwrap();
    socket.check_echo("panic").await;
    assert_eq!(socket.close_code().await, 1011);
    send_together(&mut other, 1).await;
    expect_in_order(&mut other).await;
}

/// Pings that arrive with messages are answered in their place.
#[tokio::test]
async fn pings_are_answered_between_messages() {
    let server = start_websocket(echo).await;
    let mut socket = open(&server).await;
    let mut octets = bytes::BytesMut::new();
    for number in 0..10 {
        socket.machine.send(&format!("{number}").into()).unwrap();
        socket.machine.ping(format!("{number}").as_bytes()).unwrap();
        socket.machine.poll_transmit(&mut octets);
    }
    socket.send_octets(&octets).await;
    for number in 0..10 {
        assert_eq!(socket.message().await, Message::from(number.to_string()));
        assert_eq!(socket.event().await, Event::Pong(number.to_string().into()));
    }
}
