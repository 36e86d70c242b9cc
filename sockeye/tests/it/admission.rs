//! How many connections a server takes, and who is let in where it is full.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Version;
use sockeye::{Counter, Error, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::http::Http;
use crate::common::{Carrier, Client, Running, Socket, echo, handshake, start, within};
use crate::counters::counted;

/// A server that keeps no places for anybody.
async fn for_all(max: usize) -> Running {
    start(Server::new().max_connections(max).keep_places(0, |_| false), websocket(echo)).await
}

const LOCALHOST: [u8; 4] = [127, 0, 0, 1];

/// A connection from this address of the loopback network, which is the machine's own.
async fn connect_from(from: [u8; 4], addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    within(socket.connect(addr)).await
}

/// Whether a connection is refused: reset before a word was said, be it before the system tells of it.
async fn is_refused(from: [u8; 4], addr: SocketAddr) -> bool {
    let read = async { connect_from(from, addr).await?.read(&mut [0]).await };
    within(read).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Whether one request is answered.
async fn is_answered(from: [u8; 4], addr: SocketAddr) -> bool {
    let Ok(mut transport) = connect_from(from, addr).await else { return false };
    transport.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.ok();
    let mut answer = Vec::new();
    within(transport.read_to_end(&mut answer)).await.is_ok() && answer.starts_with(b"HTTP/1.1 ")
}

/// As many connections as there may be are served, of either version and those that say nothing; one more is refused at once,
/// without a step of TLS or HTTP, until there is a place again.
#[tokio::test]
async fn one_connection_too_many_is_refused() {
    let server = for_all(3).await;
    let silent = TcpStream::connect(server.addr).await.unwrap();
    let mut http1 = Socket::open(Carrier::Http1, server.addr).await;
    let client = Client::connect(server.addr).await;
    let mut http2 = Socket::on(&client, &handshake("/")).await.unwrap();
    for refused in 1..=20 {
        assert!(is_refused(LOCALHOST, server.addr).await);
        counted(&server.handle, Counter::ConnectionsRefused, refused).await;
    }
    http1.check_echo("still here").await;
    http2.check_echo("still here").await;

    drop(silent);
    until_answered(server.addr).await;
    http1.disconnect();
    until_answered(server.addr).await;
    http2.check_echo("still here").await;
}

/// Waits until there is a place again.
async fn until_answered(addr: SocketAddr) {
    let answered = async {
        while !is_answered(LOCALHOST, addr).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(answered).await;
}

/// Those who come and go never meet the limit, however many they are in all.
#[tokio::test]
async fn connections_that_are_over_take_no_place() {
    let server = for_all(8).await;
    for round in 0..100 {
        let carrier = Carrier::ALL[round % 2];
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo("hello").await;
        socket.disconnect();
        while !server.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(TcpStream::connect(server.addr).await.unwrap());
    }
    assert_eq!(server.handle.counter(Counter::ConnectionsRefused), 0);
}

/// A health check of a server that is full is answered, whoever fills it; and so is one of a server whose kept places are
/// taken, by many that say nothing.
#[tokio::test]
async fn a_health_check_is_answered_by_a_server_that_is_full() {
    let health = IpAddr::from([127, 0, 0, 2]);
    let server = Server::new().max_connections(8).keep_places(2, move |address| address == health);
    let server = start(server, websocket(echo)).await;
    let mut socket = Socket::open(Carrier::Http1, server.addr).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(TcpStream::connect(server.addr).await.unwrap());
    }
    assert!(is_refused(LOCALHOST, server.addr).await);
    assert!(is_answered([127, 0, 0, 2], server.addr).await);
    assert_eq!(server.handle.counter(Counter::ConnectionsDisplaced), 0);

    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect_from([127, 0, 0, 2], server.addr).await.unwrap());
    }
    for _ in 0..10 {
        assert!(is_answered([127, 0, 0, 2], server.addr).await);
        assert!(is_refused([127, 0, 0, 3], server.addr).await);
    }
    assert!(server.handle.counter(Counter::ConnectionsDisplaced) >= 48);
    socket.check_echo("still here").await;
    assert!(server.handle.connections().len() <= 8);
}

/// One address has as many connections as it may have, over either version, and others have theirs.
#[tokio::test]
async fn one_address_takes_no_more_than_its_share() {
    let server = Server::new().max_connections_per_address(2);
    let server = start(server, websocket(echo)).await;
    let mut held = Vec::new();
    for address in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]] {
        held.push(Http::over(Version::HTTP_11, connect_from(address, server.addr).await.unwrap()).await);
        held.push(Http::over(Version::HTTP_2, connect_from(address, server.addr).await.unwrap()).await);
        assert!(is_refused(address, server.addr).await);
    }
    for http in &mut held {
        http.get("/").await;
    }
    counted(&server.handle, Counter::ConnectionsRefusedByAddress, 3).await;
    assert_eq!(server.handle.counter(Counter::ConnectionsRefused), 0);
    held.clear();
    until_answered(server.addr).await;
}

/// A page's connections from one address: fifty tabs, each with a connection of HTTP/2 and a socket over HTTP/1.1.
#[tokio::test]
async fn by_default_an_address_has_no_limit() {
    let server = start(Server::new(), websocket(echo)).await;
    let mut sockets = Vec::new();
    for n in 0..100 {
        sockets.push(Socket::open(Carrier::ALL[n % 2], server.addr).await);
    }
    for socket in &mut sockets {
        socket.check_echo("hello").await;
    }
    for counter in [Counter::ConnectionsRefused, Counter::ConnectionsRefusedByAddress, Counter::ConnectionsDisplaced] {
        assert_eq!(server.handle.counter(counter), 0);
    }
}

/// Transports of the caller's own count, too.
#[tokio::test]
async fn one_transport_too_many_is_refused() {
    let server = Server::new().max_connections(1);
    let service = websocket(echo);
    let (near, far) = tokio::io::duplex(1 << 10);
    let first = tokio::spawn(server.serve_connection(far, service.clone()));
    let (_more, other) = tokio::io::duplex(1 << 10);
    let error = within(server.serve_connection(other, service.clone())).await.unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded), "{error:?}");
    assert_eq!(server.handle().counter(Counter::ConnectionsRefused), 1);
    drop(near);
    within(first).await.unwrap().unwrap();
    let (_near, far) = tokio::io::duplex(1 << 10);
    let third = tokio::spawn(server.serve_connection(far, service));
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
}

/// A place is free again when the connection is over, not when its last handle is gone: a handler may go on without it.
#[tokio::test]
async fn a_handler_that_goes_on_takes_no_place() {
    let (sender, mut sockets) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |socket: WebSocket| {
        let sent = sender.send(socket);
        async move { drop(sent) }
    };
    let server = Server::new().max_connections(1).keep_places(0, |_| false);
    let server = start(server, websocket(handler)).await;
    let mut held = Vec::new();
    for carrier in [Carrier::Http1, Carrier::Http2, Carrier::Http1] {
        let socket = Socket::open(carrier, server.addr).await;
        held.push(within(sockets.recv()).await.unwrap());
        socket.disconnect();
        while !server.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(held.len(), 3);
}
