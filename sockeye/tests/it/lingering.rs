//! What is read of a peer after the end: enough for an honest one to hear why, and no more.

use std::time::Duration;

use http::{Request, Response};
use sockeye::{Body, BoxError, Client, Counter, Error, Limits, Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::service_fn;

use crate::client::peer;
use crate::common::{Carrier, Running, Socket, echo, handshake, start, within};
use crate::counters::counted;

const LIMIT: usize = 1 << 20;
/// What both ends of a TCP connection of this machine hold at most, with room.
const BUFFERED: usize = 16 << 20;

async fn limited() -> Running {
    start(Server::new().limits(Limits::new().linger(LIMIT)), websocket(echo)).await
}

/// Sends until nothing is taken any more; how many octets were.
async fn flood(transport: &mut (impl AsyncWriteExt + Unpin)) -> usize {
    let octets = vec![0; 64 << 10];
    let mut sent = 0;
    let flooding = async {
        while sent <= LIMIT + BUFFERED {
            match transport.write(&octets).await {
                Ok(written) => sent += written,
                Err(_) => return,
            }
        }
    };
    // One that is not read stays blocked until it is closed.
    within(flooding).await;
    sent
}

/// After a connection error, whatever the peer sends.
#[tokio::test]
async fn a_broken_connection_is_not_read_for_ever() {
    let server = limited().await;
    for broken in [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\xEE\0\0\0\0\0"] {
        let before = server.handle.counter(Counter::LingersGivenUp);
        let mut transport = TcpStream::connect(server.addr).await.unwrap();
        transport.write_all(broken).await.unwrap();
        let (mut read, mut write) = transport.split();
        let (goaway, sent) = tokio::join!(
            async {
                let mut said = Vec::new();
                within(read.read_to_end(&mut said)).await.ok();
                said
            },
            flood(&mut write)
        );
        assert!(sent <= LIMIT + BUFFERED, "{sent} octets were read");
        assert!(goaway.windows(9).any(|head| head[3] == 7), "the last that was said is to be read: {goaway:?}");
        counted(&server.handle, Counter::LingersGivenUp, before + 1).await;
    }
}

/// A WebSocket that broke RFC 6455, over HTTP/1.1, where the connection ends with it.
#[tokio::test]
async fn a_broken_socket_is_not_read_for_ever() {
    let server = limited().await;
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    transport.write_all(request.as_bytes()).await.unwrap();
    transport.write_all(b"\xFF\xFF\xFF\xFF").await.unwrap();
    let (mut read, mut write) = transport.split();
    let (said, sent) = tokio::join!(
        async {
            let mut said = Vec::new();
            within(read.read_to_end(&mut said)).await.ok();
            said
        },
        flood(&mut write)
    );
    assert!(sent <= LIMIT + BUFFERED, "{sent} octets were read");
    assert!(said.windows(4).any(|frame| frame[0] == 0x88 && frame[2..] == 1002_u16.to_be_bytes()), "no Close");
    counted(&server.handle, Counter::WebSocketViolations, 1).await;
}

/// A refused handshake whose client sends on, without an interest in the answer, which is long.
#[tokio::test]
async fn a_refused_client_is_not_read_for_ever() {
    let service = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from(vec![0; 64 << 20]))));
    let server = Server::new().limits(Limits::new().linger(LIMIT).write_timeout(Duration::from_secs(2)));
    let server = start(server, service).await;
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    transport.write_all(request.as_bytes()).await.unwrap();
    let sent = flood(&mut transport).await;
    assert!(sent <= LIMIT + BUFFERED, "{sent} octets were read");
}

/// An honest peer that is in the middle of something hears why its connection ended: what it has on its way does not take the
/// last words back.
#[tokio::test]
async fn an_honest_peer_hears_why() {
    let server = start(Server::new(), websocket(echo)).await;
    for _ in 0..10 {
        let mut transport = TcpStream::connect(server.addr).await.unwrap();
        // A frame that is too large, as of a broken proxy, and its content.
        let head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\x20\0\0\0\0\0\0\0\x01";
        transport.write_all(head).await.unwrap();
        transport.write_all(&vec![0; 2 << 20]).await.unwrap();
        let mut said = Vec::new();
        // Only now it looks at what was said, and reads it to its end.
        within(transport.read_to_end(&mut said)).await.unwrap();
        assert!(said.windows(9).any(|head| head[3] == 7), "no GOAWAY");
    }
    assert_eq!(server.handle.counter(Counter::LingersGivenUp), 0);
}

/// Nor is a socket that breaks off in the middle of a large message, which its peer goes on sending.
#[tokio::test]
async fn an_honest_socket_hears_why() {
    let server = start(Server::new(), websocket(echo).max_message_size(1000)).await;
    for carrier in Carrier::ALL {
        for _ in 0..5 {
            let mut socket = Socket::open_with(carrier, server.addr, &handshake("/")).await;
            socket.machine.send(&vec![1; 100_000].into()).unwrap();
            let mut octets = bytes::BytesMut::new();
            socket.machine.poll_transmit(&mut octets);
            socket.send_octets(&octets).await;
            assert_eq!(socket.close_code().await, 1009, "{carrier:?}");
        }
    }
    assert_eq!(server.handle.counter(Counter::LingersGivenUp), 0);
}

/// A server of HTTP/1.1 that sends interim responses without end (RFC 9110 §15.2), as fast as it can, is given up long before
/// the time for its answer is.
#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_given_up() {
    let (builder, mut wires) = peer::wires();
    let client = builder.connect(peer::URL).await.unwrap();
    let mut transport = wires.next().await;
    let mut sent = 0;
    let flood = async {
        peer::http1_request(&mut transport).await;
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
        while transport.write_all(&interim).await.is_ok() {
            sent += interim.len();
        }
    };
    let (opened, ()) = tokio::join!(client.open("/").into_future(), flood);
    assert!(matches!(opened, Err(Error::Io(_))), "{opened:?}");
    // Less the last write, of which a part was taken.
    assert!((1_000_000..2 << 20).contains(&sent), "{sent} octets were read");
}

/// Some interim responses, and what a server says right behind its 101, are no such answer.
#[tokio::test]
async fn an_honest_answer_is_read_whole() {
    let message = || vec![b'x'; 500_000];
    let handler = async move |mut socket: WebSocket| socket.send(message()).await;
    let server = start(Server::new(), websocket(handler)).await;
    let client = Client::builder().http1_only().connect(&format!("ws://{}", server.addr)).await.unwrap();
    for _ in 0..10 {
        let mut socket = client.open("/").await.unwrap();
        assert!(within(socket.recv()).await.unwrap() == Some(message().into()));
    }
}

/// RFC 9112 §9.6: who sends all of its content before it reads gets its answer, though nobody wanted the content.
#[tokio::test]
async fn content_that_is_not_wanted_is_read_until_its_client_has_the_answer() {
    let refuse =
        async |_: Request<Body>| Ok::<_, BoxError>(Response::builder().status(413).body(Body::from("too much"))?);
    let server = start(Server::new(), service_fn(refuse)).await;
    let mut transport = TcpStream::connect(server.addr).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 3 << 20);
    transport.write_all(head.as_bytes()).await.unwrap();
    // The answer is there.
    within(transport.readable()).await.unwrap();
    for _ in 0..3 << 10 {
        within(transport.write_all(&[0; 1024])).await.expect("the content is taken");
    }
    let mut answer = String::new();
    within(transport.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too much"), "{answer}");
}
