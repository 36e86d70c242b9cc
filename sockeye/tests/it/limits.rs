//! Limits that a peer runs into, and nobody else.

use std::time::Duration;

use http::{Request, Response};
use sockeye::{Body, BoxError, Counter, Server, WebSocketConfig, http2, websocket};
use sockeye_proto::h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::service_fn;

use crate::common::{Carrier, Client, Ending, Socket, echo, handshake, start, start_websocket, within};
use crate::counters::counted;

/// Silent, or as good as: nothing, half a preface, half a head of HTTP/1.1, a preface without its SETTINGS.
#[tokio::test]
async fn a_silent_connection_is_closed_in_time() {
    let server = start(Server::new().handshake_timeout(Duration::from_millis(50)), websocket(echo)).await;
    for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: lo", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut transport = TcpStream::connect(server.addr).await.unwrap();
        transport.write_all(said).await.unwrap();
        within(transport.read_to_end(&mut Vec::new())).await.unwrap();
    }
    counted(&server.handle, Counter::HandshakeTimeouts, 2).await;
}

/// A socket that pings too often fails with 1008, its siblings do not notice.
#[tokio::test]
async fn a_ping_flood_fails_its_own_socket() {
    let server = start_websocket(echo).await;
    let client = Client::connect(server.addr).await;
    let mut sibling = Socket::on(&client, &handshake("/")).await.unwrap();
    for carrier in Carrier::ALL {
        let mut socket = match carrier {
            Carrier::Http1 => Socket::open(carrier, server.addr).await,
            Carrier::Http2 => Socket::on(&client, &handshake("/")).await.unwrap(),
        };
        socket.send_octets(&b"\x89\x80\0\0\0\0".repeat(1000)).await;
        let code = loop {
            match socket.event().await {
                sockeye_proto::ws::Event::Pong(_) => {}
                sockeye_proto::ws::Event::Close(frame) => break frame.code,
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(code, 1008.into(), "{carrier:?}");
        assert_eq!(socket.ending().await, Ending::End, "{carrier:?}");
        sibling.check_echo("unharmed").await;
    }
    counted(&server.handle, Counter::PingFloods, 2).await;
}

/// As many pings as the configuration says are answered.
#[tokio::test]
async fn pings_within_their_limit_are_answered() {
    let config = WebSocketConfig { ping_burst: 100, ..WebSocketConfig::default() };
    let server = start(Server::new(), websocket(echo).config(config)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        for n in 0..100_u8 {
            socket.ping(&[n]).await;
            assert_eq!(socket.event().await, sockeye_proto::ws::Event::Pong(vec![n].into()), "{carrier:?}");
        }
    }
}

/// A message of exactly the size passes, one octet more fails with 1009.
#[tokio::test]
async fn the_size_of_messages_is_a_limit() {
    let server = start(Server::new(), websocket(echo).max_message_size(100_000)).await;
    for carrier in Carrier::ALL {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.check_echo(vec![1; 100_000]).await;
        socket.machine.send(&vec![1; 100_001].into()).unwrap();
        let mut octets = bytes::BytesMut::new();
        socket.machine.poll_transmit(&mut octets);
        socket.send_octets(&octets[..50_000]).await;
        assert_eq!(socket.close_code().await, 1009, "{carrier:?}");
    }
}

/// A peer that is asked and does not answer is given up.
#[tokio::test]
async fn keep_alive_gives_up_a_dead_peer() {
    let server = Server::new().keep_alive(Duration::from_millis(20), Duration::from_millis(20));
    let server = start(server, websocket(echo)).await;
    let mut dead = TcpStream::connect(server.addr).await.unwrap();
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // One that lives answers.
    let client = Client::connect(server.addr).await;
    let mut octets = Vec::new();
    within(dead.read_to_end(&mut octets)).await.unwrap();
    let goaway = octets.windows(9).any(|head| head[3] == 7 && head[5..] == [0; 4]);
    assert!(goaway, "no GOAWAY in {octets:?}");
    Socket::on(&client, &handshake("/")).await.unwrap().check_echo("alive").await;
    assert!(client.state().goaways.is_empty());
}

/// RFC 9113 §5.1.2: a slot is free again once its stream is done on the wire and its handler has ended.
#[tokio::test]
async fn a_slot_is_free_when_wire_and_handler_are_done() {
    let (sender, mut started) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<Body>| {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        sender.send(release).unwrap();
        async move {
            released.await.ok();
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }
    });
    let config = http2::Config { max_concurrent_streams: 1, ..http2::Config::default() };
    let server = start(Server::new().http2(config), service).await;
    let client = Client::connect(server.addr).await;
    let request = Request::get("http://localhost/").body(()).unwrap();
    let open = || {
        let id = client.open(&request, true).unwrap();
        client.reset(id, Reason::CANCEL);
        client.act(|machine| machine.stream(id).unwrap().release());
    };
    open();
    let release = within(started.recv()).await.unwrap();
    open();
    counted(&server.handle, Counter::StreamsRefused, 1).await;
    release.send(()).unwrap();
    client.round_trip().await;
    open();
    within(started.recv()).await.unwrap();
}
