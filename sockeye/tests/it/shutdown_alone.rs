//! A connection that no `serve` looks after ends its shutdown in time by itself.

use std::future::pending;
use std::time::Duration;

use http::{Request, Response};
use sockeye::{Body, BoxError, Error, Limits, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tower::service_fn;

use crate::common::{Client, Socket, hand_over, handshake, open, pair, settle, within};

const SHUTDOWN: Duration = Duration::from_secs(3);
/// What a peer gets to read its last octets.
const LAST: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(50);

async fn stuck(socket: WebSocket) {
    pending::<()>().await;
    drop(socket);
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A handler, or a service, that does not end is dropped when the time is up, whatever the connection speaks.
#[tokio::test(start_paused = true)]
async fn serve_connection_cuts_off_what_does_not_end() {
    for (request, is_socket) in [(UPGRADE, true), (PLAIN, false)] {
        let server = Server::new().limits(Limits::new().shutdown_timeout(SHUTDOWN));
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let service = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, BoxError>>());
        let running = if is_socket {
            tokio::spawn(server.serve_connection(near, websocket(stuck)))
        } else {
            tokio::spawn(server.serve_connection(near, service))
        };
        far.write_all(request).await.unwrap();
        settle().await;
        ends(&server, running, far).await;
    }
    for path in ["/socket", "/stuck"] {
        let server = Server::new().limits(Limits::new().shutdown_timeout(SHUTDOWN));
        let (near, far) = tokio::io::duplex(1 << 16);
        let running = if path == "/socket" {
            tokio::spawn(server.serve_connection(near, websocket(stuck)))
        } else {
            let service = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, BoxError>>());
            tokio::spawn(server.serve_connection(near, service))
        };
        let client = Client::over(far, Default::default()).await;
        let socket = if path == "/socket" {
            Some(within(Socket::on(&client, &handshake("/"))).await.unwrap())
        } else {
            client.open(&Request::get("http://localhost/").body(()).unwrap(), true).unwrap();
            None
        };
        settle().await;
        ends(&server, running, (client, socket)).await;
    }
}

async fn ends<P>(server: &Server, running: tokio::task::JoinHandle<sockeye::Result>, peer: P) {
    let start = Instant::now();
    server.handle().shutdown();
    let ended = within(running).await.unwrap();
    let time = start.elapsed();
    assert!((SHUTDOWN..=SHUTDOWN + LAST + SLACK).contains(&time), "{time:?}: {ended:?}");
    assert!(server.handle().connections().is_empty());
    drop(peer);
}

/// A socket that is held and not received from says no Close: it is cut off, over the low-level way as well.
#[tokio::test(start_paused = true)]
async fn a_low_level_connection_cuts_off_what_does_not_end() {
    let (mut connection, client) = pair().await;
    let (mut socket, _peer) = open(&mut connection, &client).await;
    let start = Instant::now();
    connection.shutdown();
    let ended = within(connection.next()).await;
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    let time = start.elapsed();
    assert!((Duration::from_secs(5)..=Duration::from_secs(6) + SLACK).contains(&time), "{time:?}");
    assert!(matches!(within(socket.recv()).await, Err(Error::Disconnected)));
}

/// A socket that is received from says its Close, and nothing has to be waited for.
#[tokio::test(start_paused = true)]
async fn a_low_level_connection_ends_at_once_where_all_goes_well() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    connection.shutdown();
    let start = Instant::now();
    let closing = async {
        assert_eq!(peer.close_code().await, 1001);
        peer.end().await;
    };
    let (received, (), ended) = within(async { tokio::join!(socket.recv(), closing, connection.next()) }).await;
    assert!(matches!(received, Ok(None)) && matches!(ended, Ok(None)), "{received:?}, {ended:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// A client of HTTP/2 that answers PINGs, or not, and never ends its transport.
async fn idle_client(mut far: DuplexStream, answers: bool) -> Vec<u8> {
    far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").await.unwrap();
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while far.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        far.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
        if head[3] == 6 && answers {
            far.write_all(&[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat()).await.unwrap();
        }
    }
    kinds.push(u8::MAX);
    tokio::time::sleep(Duration::from_secs(60)).await;
    kinds
}

/// RFC 9113 §6.8: a connection without streams whose peer knows of its end is closed soon, though that peer leaves it open, as
/// browsers do. One that has not answered may be reading still.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_waits_little_for_its_peers_end() {
    for (answers, least, most) in [(true, 0, 1), (false, 6, 7)] {
        let server = Server::new().limits(Limits::new().shutdown_timeout(Duration::from_secs(30)));
        let (near, far) = tokio::io::duplex(1 << 16);
        let (service, _sockets) = hand_over();
        let running = tokio::spawn(server.serve_connection(near, service));
        let client = tokio::spawn(idle_client(far, answers));
        settle().await;
        let start = Instant::now();
        server.handle().shutdown();
        within(running).await.unwrap().unwrap();
        let time = start.elapsed();
        let times = Duration::from_secs(least)..=Duration::from_secs(most) + SLACK;
        assert!(times.contains(&time), "{answers}: {time:?}");
        // Both GOAWAYs and the end were there to be read.
        let kinds = client.await.unwrap();
        assert!(kinds.ends_with(&[7, 6, 7, u8::MAX]), "{kinds:?}");
    }
}
