//! Ten thousand sockets opened and closed through one client leave nothing behind: no connection, no task, no memory.

#![cfg(all(feature = "http2", feature = "web-socket"))]

mod heap;

use std::time::Duration;

use sockeye::{Client, ClientBuilder, Counter, Handle, Limits, Result, Server, WebSocket, websocket};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::heap::live;

/// Sockets open at once; more than a connection takes.
const AT_ONCE: usize = 200;
/// Octets of heap that may come and go: the queues of the runtime, the tables of the allocator's users.
const SLACK: usize = 64 << 10;

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// The life of one socket, which ends in one of the ways there are.
async fn run(client: Client, number: usize) -> Result {
    // Some are given up before they are open.
    if number % 16 == 15 {
        tokio::time::timeout(Duration::ZERO, client.open("/").into_future()).await.ok();
        return Ok(());
    }
    let mut socket = client.open("/").await?;
    socket.send(format!("hello from {number}")).await?;
    assert_eq!(socket.recv().await?, Some(format!("hello from {number}").into()));
    if number.is_multiple_of(4) { Ok(()) } else { socket.close().await }
}

/// Waits until the last octets of what was dropped have gone both ways.
async fn settled(handles: &[&Handle], tasks: usize) {
    let over = || handles.iter().all(|handle| handle.connections().is_empty()) && alive_tasks() <= tasks;
    for _ in 0..2000 {
        if over() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let open: Vec<_> = handles.iter().map(|handle| handle.connections()).collect();
    panic!("left behind: {open:?}, {} tasks where {tasks} were before", alive_tasks());
}

/// Opens so many sockets through one client and closes them; the client is gone then.
async fn round(builder: &ClientBuilder, url: &str, server: &Handle, sockets: usize) {
    let tasks = alive_tasks();
    let client = builder.connect(url).await.unwrap();
    let handle = client.handle();
    let mut running = JoinSet::<Result>::new();
    for number in 0..sockets {
        if running.len() == AT_ONCE {
            running.join_next().await.unwrap().unwrap().unwrap();
        }
        running.spawn(run(client.clone(), number));
    }
    while let Some(result) = running.join_next().await {
        result.unwrap().unwrap();
    }
    assert!(handle.connections().iter().all(|connection| connection.sockets == 0));
    drop((running, client));
    settled(&[server, &handle], tasks).await;
    assert_eq!(handle.counter(Counter::ConnectionErrors), 0);
}

async fn check(server: Server, builder: ClientBuilder, sockets: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let handle = server.handle();
    tokio::spawn(server.serve(listener, websocket(echo)));
    // What is made once is not left behind.
    round(&builder, &url, &handle, 2 * AT_ONCE).await;
    let before = live();
    round(&builder, &url, &handle, sockets).await;
    let grown = live().saturating_sub(before);
    assert!(grown <= SLACK, "{grown} octets are left behind");
    assert_eq!(handle.counter(Counter::ConnectionErrors), 0);
}

/// One test for both, since they share the allocator and the runtime that are counted.
#[tokio::test]
async fn ten_thousand_sockets_leave_nothing_behind() {
    let server = Server::new().limits(Limits::new().max_concurrent_streams(64));
    check(server, Client::builder().http2_only(), 10_000).await;
    check(Server::new(), Client::builder().http1_only(), 1000).await;
}
