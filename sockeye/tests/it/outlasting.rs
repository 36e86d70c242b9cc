//! What must not outlast its stream or its connection, where nobody polls it for them.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use sockeye::{Body, BoxError, Error, Limits, Peer, Server, Upgrade, WebSocket, websocket};
use sockeye_proto::h2::{Config, Reason};
use sockeye_proto::ws::handshake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tower::service_fn;

use crate::common::{Carrier, Client, Socket, echo, hand_over, handshake as offer, pair, settle, start, within};

/// One life, counted until it is dropped.
struct Life(Arc<AtomicUsize>);

impl Life {
    fn begin(lives: &Arc<AtomicUsize>) -> Self {
        lives.fetch_add(1, Ordering::SeqCst);
        Self(lives.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Opens a socket and gives it up, for a time's worth of tokens.
async fn open_and_cancel(client: &Client) {
    let request = offer("/").request(handshake::Carrier::Http2).unwrap();
    let id = client.open(&request, false).unwrap();
    assert!(client.response(id).await.is_ok(), "refused");
    settle().await;
    client.reset(id, Reason::CANCEL);
    client.act(|machine| machine.stream(id).unwrap().release());
}

/// Handlers by the low-level way run in tasks of their own, and are bounded like those of a server.
#[tokio::test(start_paused = true)]
async fn spawned_handlers_that_outlive_their_streams_are_bounded() {
    let (mut connection, client) = pair().await;
    let lives = Arc::new(AtomicUsize::new(0));
    let shared = lives.clone();
    tokio::spawn(async move {
        while let Some(mut stream) = connection.next().await.unwrap() {
            let upgrade = Upgrade::from_request(stream.request()).unwrap();
            let life = Life::begin(&shared);
            let response = upgrade.accept(move |socket: WebSocket| async move {
                let _held = (socket, life);
                pending::<()>().await;
            });
            tokio::spawn(stream.respond(response));
        }
    });
    for _ in 0..500 {
        open_and_cancel(&client).await;
    }
    settle().await;
    assert!(lives.load(Ordering::SeqCst) <= 100, "{} handlers outlive", lives.load(Ordering::SeqCst));
    assert_eq!(client.state().closed, None);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(lives.load(Ordering::SeqCst), 0);
}

/// A time without an end is no reason to gather handlers, or to refuse their peer.
#[tokio::test(start_paused = true)]
async fn an_endless_close_timeout_bounds_handlers_by_their_number() {
    let server = Server::new().limits(Limits::new().close_timeout(Duration::MAX));
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let service = websocket(|socket: WebSocket| async move {
        let _socket = socket;
        pending::<()>().await;
    });
    tokio::spawn(async move { server.serve_connection(ours, service).await });
    let client = Client::over(theirs, Config::default().with(|config| config.max_concurrent_streams = 10_000)).await;
    for _ in 0..300 {
        open_and_cancel(&client).await;
    }
}

/// However few closed streams may be held, those that are open are served.
#[tokio::test]
async fn no_room_for_closed_streams_refuses_none_that_is_open() {
    for max_closed_streams in [0, 1, 2] {
        let config = Limits::new().max_closed_streams(max_closed_streams);
        let running = start(Server::new().limits(config), websocket(echo)).await;
        let client = Client::connect(running.addr).await;
        for _ in 0..10 {
            let mut socket = Socket::on(&client, &offer("/")).await.unwrap();
            socket.check_echo("hello").await;
            client.reset(socket.id(), Reason::CANCEL);
        }
    }
}

/// A connection is listed no longer than it lives, whoever holds the `Peer` of a request of it.
#[tokio::test]
async fn a_kept_peer_keeps_no_connection_listed() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let keep = held.clone();
    let service = service_fn(move |request: Request<Body>| {
        keep.lock().unwrap().push(request.extensions().get::<Peer>().unwrap().clone());
        async { Ok::<_, BoxError>(Response::new(Body::empty())) }
    });
    let running = start(Server::new(), service).await;
    let mut transport = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    transport.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    within(transport.read_to_end(&mut Vec::new())).await.unwrap();
    drop(transport);
    let client = Client::connect(running.addr).await;
    client.get("http://localhost/").await;
    client.act(|machine| machine.close(Reason::NO_ERROR));
    drop(client);
    within(async {
        while !running.handle.connections().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(held.lock().unwrap().len(), 2);
    running.handle.shutdown();
    within(running.task).await.unwrap().unwrap();
}

/// A half that waits for its Pong receives it itself once the other half is gone.
#[tokio::test]
async fn a_ping_outlasts_the_half_that_receives() {
    let (service, mut sockets) = hand_over();
    let running = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, running.addr).await;
        let (mut sender, receiver) = within(sockets.recv()).await.unwrap().split();
        let ping = tokio::spawn(async move { sender.ping().await });
        settle().await;
        drop(receiver);
        let answering = tokio::spawn(async move { peer.event().await });
        within(ping).await.unwrap().unwrap();
        answering.abort();

        // Without an answer it hears of the end.
        let peer = Socket::open(carrier, running.addr).await;
        let (mut sender, receiver) = within(sockets.recv()).await.unwrap().split();
        let ping = tokio::spawn(async move { sender.ping().await });
        settle().await;
        drop(receiver);
        settle().await;
        peer.disconnect();
        assert!(matches!(within(ping).await.unwrap(), Err(Error::Disconnected | Error::Closed)), "{carrier:?}");
    }
}
