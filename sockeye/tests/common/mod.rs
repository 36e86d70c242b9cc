//! What the tests share: servers to talk to, and peers that do only as they are told.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod socket;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sockeye::{Handle, Handler, HttpService, Message, Result, Server, WebSocket, WebSocketService, http2, websocket};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use self::client::Client;
pub(crate) use self::socket::{Carrier, Ending, Socket, handshake};

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits what has to happen soon.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move { tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing happened for {caller}")) }
}

/// A server that runs in a task of its own.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) task: JoinHandle<Result>,
}

pub(crate) async fn start<S: HttpService>(server: Server, service: S) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let handle = server.handle();
    Running { addr, handle, task: tokio::spawn(server.serve(listener, service)) }
}

/// The server with every default.
pub(crate) async fn start_websocket<H: Handler + Clone + Sync>(handler: H) -> Running {
    start(Server::new(), websocket(handler)).await
}

pub(crate) async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A handler that gives every socket to the test and returns, with the sockets.
pub(crate) fn hand_over() -> (WebSocketService<impl Handler + Clone + Sync>, mpsc::UnboundedReceiver<WebSocket>) {
    let (sender, sockets) = mpsc::unbounded_channel();
    let handler = move |socket: WebSocket| {
        let sent = sender.send(socket);
        async move { drop(sent) }
    };
    (websocket(handler), sockets)
}

/// Runs an async function to its end, but never polls one of its futures twice: each is dropped, and the next one polled
/// when the last has woken the task. Returns also how many were dropped.
pub(crate) async fn restarted<T>(mut function: impl AsyncFnMut() -> T) -> (T, usize) {
    let mut dropped = 0;
    let value = poll_fn(|cx| {
        let poll = pin!(function()).poll(cx);
        dropped += usize::from(poll.is_pending());
        poll
    });
    (value.await, dropped)
}

/// Lets everything that is ready run until nothing is: what is pending then stays so without the peer's doing. For tests
/// whose tasks share one thread.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Polls a future once.
pub(crate) async fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(pin!(&mut *future).poll(cx))).await
}

/// Sends until the socket waits for its peer, on one thread; how many messages it took. The last is not sent.
pub(crate) async fn fill(socket: &mut WebSocket, message: &Message) -> usize {
    let mut sent = 0;
    loop {
        let mut send = Box::pin(socket.send(message.clone()));
        let mut poll = poll_now(&mut send).await;
        if poll.is_pending() {
            settle().await;
            poll = poll_now(&mut send).await;
        }
        let Poll::Ready(result) = poll else { return sent };
        result.unwrap();
        sent += 1;
    }
}

/// A connection by the low-level way, and its client.
pub(crate) async fn pair() -> (http2::Connection, Client) {
    pair_with(http2::Config::default(), client::generous()).await
}

pub(crate) async fn pair_with(server: http2::Config, client: http2::Config) -> (http2::Connection, Client) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let connection = http2::Connection::accept(ours, server);
    (connection, Client::over(theirs, client).await)
}

/// The next stream of a connection, taken over as a WebSocket, and its peer.
pub(crate) async fn open(connection: &mut http2::Connection, client: &Client) -> (WebSocket, Socket) {
    let handshake = handshake("/");
    let accept = async { connection.next().await.unwrap().unwrap().into_websocket().unwrap() };
    let (socket, peer) = within(async { tokio::join!(accept, Socket::on(client, &handshake)) }).await;
    (socket, peer.unwrap())
}
