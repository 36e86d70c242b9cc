//! A busy connection gives way: to other tasks of its thread, and at every step where it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sockeye::socket::Extensions as WebSocketExtensions;
use sockeye::{Counter, Deflate, Limits, Server, WebSocket, websocket};
use sockeye_proto::ws::{Config, Message, Role, WebSocket as Machine};

use crate::common::{Carrier, Client, Socket, echo, handshake, start, within};
use crate::counters::counted;

/// A server whose connections give way at every step.
fn giving_way() -> Server {
    Server::new().limits(Limits::new().time_slice(Duration::ZERO))
}

/// A handler that hands its socket to a task of its own.
async fn echo_apart(socket: WebSocket) -> sockeye::Result {
    tokio::spawn(echo(socket)).await.unwrap()
}

/// However often a batch is broken off, each message comes once and in order, beside as many others.
#[tokio::test]
async fn a_batch_that_is_broken_off_loses_nothing() {
    for server in [start(giving_way(), websocket(echo)).await, start(giving_way(), websocket(echo_apart)).await] {
        let client = Client::connect(server.addr).await;
        let mut sockets = vec![Socket::open(Carrier::Http1, server.addr).await];
        for _ in 0..20 {
            sockets.push(Socket::on(&client, &handshake("/")).await.unwrap());
        }
        for round in 0..3 {
            for socket in &mut sockets {
                for number in 0..50 {
                    socket.send(format!("{round}.{number}")).await;
                }
            }
            for socket in &mut sockets {
                for number in 0..50 {
                    assert_eq!(socket.message().await, format!("{round}.{number}").into());
                }
            }
        }
        for socket in &mut sockets {
            socket.close(1000.into(), "").await;
            assert_eq!(socket.close_code().await, 1000);
        }
        for counter in [Counter::WebSocketViolations, Counter::ConnectionErrors, Counter::Panics] {
            assert_eq!(server.handle.counter(counter), 0, "{counter:?}");
        }
    }
}

/// What a peer says last is heard, however much is still to be heard before it.
#[tokio::test]
async fn the_end_of_a_connection_comes_behind_what_is_left_of_a_batch() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let handler = move |mut socket: WebSocket| {
        let count = count.clone();
        async move {
            while let Ok(Some(_)) = socket.recv().await {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let server = start(giving_way(), websocket(handler)).await;
    let client = Client::connect(server.addr).await;
    for _ in 0..10 {
        let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
        for _ in 0..10 {
            socket.send("x").await;
        }
    }
    client.act(|machine| machine.close(sockeye_proto::h2::Reason::NO_ERROR));
    within(async {
        while heard.load(Ordering::SeqCst) < 100 || !server.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// So many megabytes of zeros, compressed: each is a thousandth as large.
fn bombs(count: usize) -> BytesMut {
    let extensions = WebSocketExtensions { deflate: Some(Deflate::default()), no_masking: false };
    let role = Role::Client { mask_key: || *b"mask" };
    let mut machine = Machine::new(role, Config::default()).with_extensions(extensions);
    let mut octets = BytesMut::new();
    for _ in 0..count {
        machine.send(&Message::from(vec![0; 1 << 20])).unwrap();
        machine.poll_transmit(&mut octets);
    }
    octets
}

/// While one read brings forty megabytes to inflate, every other task of the thread has its turn again and again.
#[tokio::test]
async fn inflating_keeps_no_thread_to_itself() {
    const BOMBS: usize = 40;
    let messages = Arc::new(AtomicUsize::new(0));
    let octets = bombs(BOMBS);
    for apart in [false, true] {
        messages.store(0, Ordering::SeqCst);
        let count = messages.clone();
        let receive = move |mut socket: WebSocket, count: Arc<AtomicUsize>| async move {
            while let Ok(Some(message)) = socket.recv().await {
                assert_eq!(message.len(), 1 << 20);
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let handler = move |socket: WebSocket| {
            let received = receive(socket, count.clone());
            async move { if apart { tokio::spawn(received).await.unwrap() } else { received.await } }
        };
        let server = start(Server::new(), websocket(handler).deflate(Deflate::default())).await;
        for carrier in Carrier::ALL {
            messages.store(0, Ordering::SeqCst);
            let mut asking = handshake("/");
            asking.extensions.deflate = Some(Deflate::default());
            let mut socket = Socket::open_with(carrier, server.addr, &asking).await;
            socket.send_octets(&octets).await;
            let mut turns = 0;
            within(async {
                while messages.load(Ordering::SeqCst) < BOMBS {
                    turns += usize::from(messages.load(Ordering::SeqCst) > 0);
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert!(turns >= BOMBS / 8, "{carrier:?}, {apart}: {turns} turns");
        }
    }
}

/// A handler that blocks its thread is counted, and one that works for a while is not.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_is_counted() {
    async fn block(mut socket: WebSocket) -> sockeye::Result {
        while let Some(message) = socket.recv().await? {
            let time: u64 = message.as_text().and_then(|text| text.parse().ok()).unwrap_or_default();
            std::thread::sleep(Duration::from_millis(time));
            socket.send(message).await?;
        }
        Ok(())
    }
    let server =
        start(Server::new().limits(Limits::new().watchdog(Duration::from_millis(300))), websocket(block)).await;
    for (index, carrier) in Carrier::ALL.into_iter().enumerate() {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo("10").await;
        assert_eq!(server.handle.counter(Counter::BlockedThreads), index as u64);
        socket.check_echo("310").await;
        counted(&server.handle, Counter::BlockedThreads, index as u64 + 1).await;
    }
}
