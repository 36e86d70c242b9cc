//! What one client that reads nothing makes the gateway hold, by the octets that the allocator has given out, before upstreams
//! of HTTP/2 that send all that they may.

#[path = "../../sockeye/tests/heap/mod.rs"]
mod heap;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use sockeye::{Limits, Server};
use sockeye_gateway::{Config, Gateway, Live};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::heap::live;

/// Of one client.
const STREAMS: u32 = 1000;
/// What its connection may make the gateway hold.
const MAX: usize = 16 << 20;
static OCTETS: [u8; 16 << 10] = [7; 16 << 10];
/// After which nothing goes on.
const STILL: Duration = Duration::from_millis(500);

/// Answers everything with 200, and sends without end once the gate is open.
async fn flood(streams: u32, gate: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let gate = gate.clone();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol().max_concurrent_streams(streams);
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut gate = gate.clone();
                    let mut sender = respond.send_response(Response::new(()), false).unwrap();
                    tokio::spawn(async move {
                        gate.wait_for(|open| *open).await.unwrap();
                        loop {
                            sender.reserve_capacity(OCTETS.len());
                            let capacity = poll_fn(|cx| sender.poll_capacity(cx)).await;
                            let Some(Ok(capacity)) = capacity else { return };
                            let octets = Bytes::from_static(&OCTETS[..capacity.min(OCTETS.len())]);
                            sender.send_data(octets, false).unwrap();
                        }
                    });
                }
            });
        }
    });
    address
}

/// The most that the gateway holds for a client that opens so many streams by `method` and takes nothing of any, before an upstream
/// that has so many on a connection.
async fn held(method: Method, on_each: u32) -> usize {
    let (open, gate) = watch::channel(false);
    let upstream = flood(on_each, gate).await;
    let mut config = Config::to(format!("http://{upstream}"));
    config.all.to = Some("h2".into());
    let gateway = Gateway::new(Live::new(&config).unwrap());
    let server = Server::new().limits(Limits::new().max_concurrent_streams(STREAMS));
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(server.serve_connection(far, gateway));

    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0).initial_max_send_streams(0);
    let (sender, connection) = builder.handshake::<_, Bytes>(near).await.unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut request = Request::builder().method(method.clone()).uri("http://test/");
        if method == Method::CONNECT {
            let protocol = h2::ext::Protocol::from_static("websocket");
            request = request.extension(protocol).header("sec-websocket-version", "13");
        }
        let mut sender = sender.clone().ready().await.unwrap();
        let ends = method != Method::CONNECT;
        let (response, ours) = sender.send_request(request.body(()).unwrap(), ends).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        streams.push((response, ours));
    }
    let before = live();
    open.send(true).unwrap();
    let (mut most, mut last) = (0, usize::MAX);
    loop {
        tokio::time::sleep(STILL).await;
        let now = live().saturating_sub(before);
        if now == last {
            println!("{method} × {STREAMS}, {on_each} on each connection: {most} octets are held");
            return most;
        }
        (most, last) = (most.max(now), now);
    }
}

/// What an upstream may send on a stream is held once, whatever of it has gone on: it gets credit for what the client took. Beside
/// that there is what waits for the client.
#[tokio::test]
async fn a_client_that_reads_nothing_makes_the_gateway_hold_little() {
    for method in [Method::CONNECT, Method::GET] {
        for on_each in [STREAMS, 100] {
            let held = held(method.clone(), on_each).await;
            // A fourth of it is with the client's connection.
            assert!((4 << 20..MAX).contains(&held), "{method}, {on_each} on each connection: {held} octets are held");
        }
    }
}
