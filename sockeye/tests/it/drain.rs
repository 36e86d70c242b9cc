//! A server that goes away without anybody's loss: its sockets are told one after another, and nobody's handshake breaks off.

use std::time::Duration;

use http::{Request, Response, Version};
use sockeye::{Body, BoxError, Error, Limits, Server, websocket};
use sockeye_proto::h2::{OpenError, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::service_fn;

use crate::common::http::Http;
use crate::common::{Carrier, Client, Running, Socket, echo, handshake, start, start_websocket, within};

const TIME: Duration = Duration::from_secs(1);

/// Sockets that wait for their Close, and when each got it, in order.
async fn closes(sockets: Vec<Socket>, since: Instant) -> Vec<Duration> {
    let mut waiting = tokio::task::JoinSet::new();
    for mut socket in sockets {
        waiting.spawn(async move {
            assert_eq!(socket.close_code().await, 1001);
            let time = since.elapsed();
            socket.end().await;
            time
        });
    }
    let mut times = within(waiting.join_all()).await;
    times.sort();
    times
}

/// Forty sockets, be they on one connection or on forty, are told over the whole of the time, a tenth of them in each tenth,
/// more or less.
#[tokio::test]
async fn sockets_are_told_one_after_another() {
    for version in Carrier::ALL {
        let Running { addr, handle, task } = start_websocket(echo).await;
        let client = Client::connect(addr).await;
        let mut sockets = Vec::new();
        for _ in 0..40 {
            sockets.push(match version {
                Carrier::Http2 => Socket::on(&client, &handshake("/")).await.unwrap(),
                other => Socket::open(other, addr).await,
            });
        }
        let start = Instant::now();
        handle.drain(TIME);
        let times = closes(sockets, start).await;
        let in_half = |half: bool| times.iter().filter(|time| (**time < TIME / 2) == half).count();
        assert!(in_half(true) >= 12 && in_half(false) >= 12, "{version:?}: {times:?}");
        assert!(*times.last().unwrap() < 2 * TIME, "{version:?}: {times:?}");
        within(task).await.unwrap().unwrap();
        drop(client);
    }
}

/// Until it is told a socket goes on as ever, and its connection takes nothing new (RFC 9113 §6.8).
#[tokio::test]
async fn a_socket_goes_on_until_it_is_told() {
    let Running { addr, handle, task } = start_websocket(echo).await;
    let client = Client::connect(addr).await;
    let mut socket = Socket::on(&client, &handshake("/")).await.unwrap();
    handle.drain(Duration::from_secs(600));
    within(client.until(|state| (state.goaways.len() == 2).then_some(()))).await;
    assert_eq!(client.state().goaways[0], ((1 << 31) - 1, Reason::NO_ERROR));
    let refused = client.open(&Request::get("http://localhost/").body(()).unwrap(), true);
    assert_eq!(refused.unwrap_err(), OpenError::GoingAway);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody gets in");
    socket.check_echo("still here").await;
    assert!(!task.is_finished());

    // A shutdown does not wait for the rest of the time.
    handle.shutdown();
    assert_eq!(socket.close_code().await, 1001);
    socket.end().await;
    within(task).await.unwrap().unwrap();
}

/// What is left some time after the last was told is cut off.
#[tokio::test]
async fn the_deadline_follows_the_last_close() {
    let server = Server::new().limits(Limits::new().shutdown_timeout(Duration::from_millis(300)));
    let Running { addr, handle, task } = start(server, websocket(echo)).await;
    let silent = Socket::open(Carrier::Http2, addr).await;
    let start = Instant::now();
    handle.drain(Duration::from_millis(300));
    within(task).await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
    drop(silent);
}

/// Who is connected is served, whatever of a handshake is still to come: the rest of a preface, a request, a head.
#[tokio::test]
async fn handshakes_under_way_are_finished() {
    let Running { addr, handle, task } = start_websocket(echo).await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let mut partial = TcpStream::connect(addr).await.unwrap();
    partial.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n").await.unwrap();
    // They are accepted.
    drop(Socket::open(Carrier::Http2, addr).await);
    handle.drain(TIME);
    tokio::time::sleep(TIME / 4).await;
    let rest = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    partial.write_all(rest.as_bytes()).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    for (transport, status) in [(&mut partial, "101"), (&mut silent, "426")] {
        let mut head = [0; 12];
        within(transport.read_exact(&mut head)).await.unwrap();
        assert_eq!(std::str::from_utf8(&head).unwrap(), format!("HTTP/1.1 {status}"));
    }
    // The first is told in its time, as others are.
    let mut octets = Vec::new();
    partial.write_all(b"\x88\x82\0\0\0\0\x03\xe9").await.unwrap();
    within(partial.read_to_end(&mut octets)).await.unwrap();
    assert!(octets.ends_with(b"\x88\x02\x03\xe9"), "{}", octets.escape_ascii());
    within(task).await.unwrap().unwrap();
}

/// A stream that its client opened before it knew is answered, and its socket told (RFC 9113 §6.8).
#[tokio::test]
async fn streams_on_their_way_are_answered() {
    let Running { addr, handle, task } = start_websocket(echo).await;
    let client = Client::connect(addr).await;
    let first = Socket::on(&client, &handshake("/")).await.unwrap();
    handle.drain(TIME / 2);
    let start = Instant::now();
    // The client hears of it with the octets that follow its handshake.
    let late = Socket::on(&client, &handshake("/")).await;
    let mut sockets = vec![first];
    sockets.extend(late.ok());
    let times = closes(sockets, start).await;
    assert!(!times.is_empty());
    within(task).await.unwrap().unwrap();
}

/// A request that waits for its answer gets it, and those that arrive on an accepted connection, too.
#[tokio::test]
async fn requests_are_answered() {
    let service = service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, BoxError>(Response::new(Body::from("well")))
    });
    let Running { addr, handle, task } = start(Server::new(), service).await;
    let mut answers = Vec::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut http = Http::connect(version, addr).await;
        answers.push(tokio::spawn(async move { http.get("/").await.content }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    handle.drain(Duration::ZERO);
    for answer in answers {
        assert_eq!(within(answer).await.unwrap(), "well");
    }
    within(task).await.unwrap().unwrap();
}

/// Connections that the system has accepted, and the server not yet, are let in before the listener closes.
#[tokio::test]
async fn who_waits_in_the_queue_is_let_in() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..50 {
        queued.push(TcpStream::connect(addr).await.unwrap());
    }
    let server = Server::new();
    server.handle().drain(TIME);
    let task = tokio::spawn(server.serve(listener, websocket(echo)));
    for transport in &mut queued {
        transport.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        within(transport.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 426");
    }
    drop(queued);
    within(task).await.unwrap().unwrap();
}

/// A client that drains opens nothing any more, and its sockets are told to the server one after another.
#[tokio::test]
async fn a_client_drains_as_well() {
    let Running { addr, .. } = start_websocket(echo).await;
    let client = sockeye::Client::builder().http2_only().connect(&format!("http://{addr}")).await.unwrap();
    let mut socket = client.open("/").await.unwrap();
    client.handle().drain(TIME / 4);
    assert!(matches!(client.open("/").await, Err(Error::Closed)));
    assert_eq!(within(socket.recv()).await.unwrap(), None);
}
