//! What one connection can make its server hold, by the octets that the allocator has given out: each term of the bound that the
//! documentation of `Server` states, under a peer that does its worst.

#![cfg(all(feature = "http2", feature = "web-socket", feature = "deflate"))]

#[allow(unused_imports, reason = "it uses a part")]
mod common;

use std::alloc::System;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use sockeye::socket::Handler;
use sockeye::{Counter, Deflate, Limits, Message, Server, WebSocket, websocket};
use sockeye_proto::ws::handshake::ClientHandshake;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::{Mutex, watch};

use crate::common::{Client, Running, Socket, echo, handshake, start, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
/// As many as `sockeye serve` lets a connection have.
const SOCKETS: usize = 1024;
/// What one connection may hold under any one of these attacks; all at once have the bound in the documentation of the crate.
const MAX: usize = 16 * MIB;
/// One case at a time counts.
static ALONE: Mutex<()> = Mutex::const_new(());

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

async fn serve<H: Handler + Clone + Sync>(handler: H) -> Running {
    let config = Limits::new().max_concurrent_streams(1 + SOCKETS as u32);
    start(Server::new().limits(config), websocket(handler).deflate(Deflate::default())).await
}

/// A peer that has a stream's window of `window` for each of its sockets, reads none of them, and any number of octets of all.
async fn connect(server: &Running, window: u32) -> Client {
    let transport = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let config = sockeye_proto::h2::Config {
        initial_window_size: window,
        max_unread: 1 << 30,
        max_concurrent_streams: 1 << 12,
        ..sockeye_proto::h2::Config::default()
    };
    Client::over(transport, config).await
}

fn offer(compressed: bool) -> ClientHandshake {
    let mut handshake = handshake("/");
    handshake.extensions.deflate = compressed.then(Deflate::default);
    handshake
}

/// The octets of messages as a client sends them, compressed or not.
async fn octets(server: &Running, messages: &[Message], compressed: bool) -> Bytes {
    let client = Client::connect(server.addr).await;
    let mut socket = Socket::on(&client, &offer(compressed)).await.unwrap();
    assert_eq!(socket.response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS), compressed);
    let mut octets = BytesMut::new();
    for message in messages {
        socket.machine.send(message).unwrap();
        socket.machine.poll_transmit(&mut octets);
    }
    octets.freeze()
}

/// A megabyte that a compressor makes a 24th of.
fn compressible() -> Message {
    let mut number = 1_u32;
    let words: Vec<_> = (0..41_000)
        .flat_map(|_| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:<26}", number >> 29).into_bytes()
        })
        .collect();
    words[..MIB - 16].to_vec().into()
}

/// Sends the same on all sockets at once, none of which is read; what that makes the server hold, and the client that did it.
async fn attack(server: &Running, window: u32, sent: Bytes, compressed: bool) -> (usize, Client) {
    let client = connect(server, window).await;
    let (gate, open) = watch::channel(false);
    for _ in 0..SOCKETS {
        let id = Socket::on(&client, &offer(compressed)).await.unwrap().id();
        let (client, sent, mut open) = (client.clone(), sent.clone(), open.clone());
        tokio::spawn(async move {
            open.wait_for(|open| *open).await.unwrap();
            client.send(id, &sent, false).await
        });
    }
    let before = live();
    gate.send(true).unwrap();
    let mut most = 0;
    let end = Instant::now() + Duration::from_secs(60);
    let (mut grown, mut since) = (0, Instant::now());
    // Until it has not grown for a second.
    while since.elapsed() < Duration::from_secs(1) {
        assert!(Instant::now() < end, "it goes on growing");
        tokio::time::sleep(Duration::from_millis(10)).await;
        most = live().saturating_sub(before);
        if most > grown + MIB / 8 {
            (grown, since) = (most, Instant::now());
        }
    }
    (most.max(grown), client)
}

/// Megabytes that are compressed to a 24th, echoed, and never read.
#[tokio::test]
async fn echoes_that_nobody_reads() {
    let _alone = ALONE.lock().await;
    for window in [65_535] {
        let server = serve(echo).await;
        let sent = octets(&server, &[compressible(), compressible()], true).await;
        assert!((20_000..60_000).contains(&(sent.len() / 2)), "{} octets", sent.len());
        let (held, _client) = attack(&server, window, sent, true).await;
        println!("{held} octets are held, {} streams reset", server.handle.counter(Counter::UnreadStreamsReset));
        assert!(held < MAX, "window {window}: {held} octets are held");
    }
}

/// The same in a task for each socket.
#[tokio::test]
async fn echoes_of_tasks_that_nobody_reads() {
    let _alone = ALONE.lock().await;
    let server = serve(|socket: WebSocket| async {
        tokio::spawn(echo(socket));
    })
    .await;
    let sent = octets(&server, &[compressible(), compressible()], true).await;
    let (held, _client) = attack(&server, 1, sent, true).await;
    println!("{held} octets are held, {} streams reset", server.handle.counter(Counter::UnreadStreamsReset));
    assert!(held < MAX, "{held} octets are held");
}

/// Messages of any size, as they are.
#[tokio::test]
async fn messages_of_any_size() {
    let _alone = ALONE.lock().await;
    for size in [10_000] {
        let server = serve(echo).await;
        let count = (200_000 / size).clamp(2, 2000);
        let sent = octets(&server, &vec![Message::from(vec![7; size]); count], false).await;
        let (held, _client) = attack(&server, 100, sent, false).await;
        println!(
            "{size}: {held} octets are held, {} streams reset",
            server.handle.counter(Counter::UnreadStreamsReset)
        );
        assert!(held < MAX, "{count} messages of {size} octets: {held} octets are held");
    }
}

/// Messages that are never whole, in one frame or in many, of any size, compressed or not.
#[tokio::test]
async fn messages_that_are_never_whole() {
    let _alone = ALONE.lock().await;
    for (size, compressed) in [(MIB, true)] {
        let server = serve(echo).await;
        let message = if compressed { compressible() } else { vec![7; size].into() };
        let whole = octets(&server, &[message], compressed).await;
        let (held, _client) = attack(&server, 65_535, whole.slice(..whole.len() - 1), compressed).await;
        println!("{size}: {held} octets are held");
        assert!(held < MAX, "{size} octets but one: {held} octets are held");
    }
}

/// Handlers that read nothing.
#[tokio::test]
async fn what_no_handler_reads() {
    let _alone = ALONE.lock().await;
    let server = serve(|_socket: WebSocket| std::future::pending::<()>()).await;
    let sent = octets(&server, &vec![Message::from(vec![7; 1000]); 100], false).await;
    let (held, _client) = attack(&server, 65_535, sent, false).await;
    assert!(held < MAX, "{held} octets are held");
}

/// Sockets that are read go on beside a thousand that are not as if they were alone.
#[tokio::test]
async fn siblings_that_are_read_go_on() {
    let _alone = ALONE.lock().await;
    let server = serve(echo).await;
    let sent = octets(&server, &[compressible(), compressible()], true).await;
    let (_, client) = attack(&server, 65_535, sent, true).await;
    let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
    for size in [10, 1000, 20_000].repeat(5) {
        within(sibling.check_echo(vec![7; size])).await;
    }
}
