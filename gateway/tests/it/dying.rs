//! Upstreams that die, configurations that change, and gateways that end, with sockets open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Version;
use sockeye::{Client, CloseCode, Server, websocket};
use sockeye_gateway::{Config, Gateway, Live, Protocol, RouteConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::common::{Place, client, echo, gateway_with_handle, soon, upstream};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Only the sockets of the upstream that is killed fail, each by a reset, and it serves again once it is back.
#[tokio::test]
async fn a_killed_upstream_fails_its_own_sockets_alone() {
    for protocol in PROTOCOLS {
        let other = upstream(websocket(echo)).await;
        let place = Place::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        serve_on(&runtime, place.listen());
        let mut config = Config::to(other).route(RouteConfig::new("/dies", place.url()));
        config.all.to = Some(protocol.to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let live = Live::new(&config).unwrap();
        tokio::spawn(Server::new().serve(listener, Gateway::new(live)));
        for version in VERSIONS {
            let client = client(address, version);
            soon(client.open("/dies")).await.unwrap().send("hello").await.unwrap();
        }
        let client = client(address, Version::HTTP_2);
        let mut sockets = Vec::new();
        for number in 0..20 {
            sockets.push(soon(client.open(if number % 2 == 0 { "/dies" } else { "/lives" })).await.unwrap());
        }
        // Its tasks are dropped where they are, and its connections with them.
        runtime.shutdown_background();
        for (number, socket) in sockets.iter_mut().enumerate() {
            if number % 2 == 0 {
                soon(socket.recv()).await.expect_err("no clean end");
            } else {
                soon(socket.send("hello")).await.unwrap();
                assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()), "to {protocol}");
            }
        }
        soon(client.open("/dies")).await.expect_err("nobody is there");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        serve_on(&runtime, place.listen());
        let mut socket = soon(client.open("/dies")).await.expect("it is back");
        soon(socket.send("hello")).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap(), Some("hello".into()));
        runtime.shutdown_background();
    }
}

fn serve_on(runtime: &tokio::runtime::Runtime, listener: std::net::TcpListener) {
    runtime.spawn(async move { Server::new().serve(TcpListener::from_std(listener).unwrap(), websocket(echo)).await });
}

/// What is open stays where it is, byte for byte, and new sockets go where the new configuration says.
#[tokio::test]
async fn sockets_outlive_reloads() {
    let (one, other) = (upstream(websocket(echo)).await, upstream(websocket(echo)).await);
    for protocol in PROTOCOLS {
        let config = |to: &str| {
            let mut config = Config::to(to);
            config.all.to = Some(protocol.to_string());
            config
        };
        let live = Live::new(&config(&one)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server::new().serve(listener, Gateway::new(live.clone())));
        let client = client(address, Version::HTTP_2);
        let mut sockets = JoinSet::new();
        let answered = Arc::new(AtomicUsize::new(0));
        for number in 0..80 {
            let mut socket = soon(client.open("/")).await.unwrap();
            let answered = answered.clone();
            sockets.spawn(async move {
                for turn in 0..50 {
                    let message = format!("{number} {turn} {}", "x".repeat(turn * 97));
                    socket.send(message.clone()).await.unwrap();
                    assert_eq!(socket.recv().await.unwrap(), Some(message.into()));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                socket.close().await.unwrap();
            });
        }
        for turn in 0..10 {
            live.reload(&config(if turn % 2 == 0 { &other } else { &one })).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while let Some(socket) = soon(sockets.join_next()).await {
            socket.unwrap();
        }
        assert_eq!(answered.load(Ordering::Relaxed), 80 * 50);
    }
}

/// A message whose socket is told of the gateway's end only after it was sent and read has its echo; none is lost without a word:
/// each socket learns 1001.
#[tokio::test]
async fn drains_under_load_tell_every_socket() {
    let upstream = upstream(websocket(echo)).await;
    for protocol in PROTOCOLS {
        for version in VERSIONS {
            let (address, handle) = gateway_with_handle(&upstream, protocol).await;
            let shared = client(address, version);
            let (mut sockets, spoke) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
            for _ in 0..40 {
                sockets.spawn(converse(shared.clone(), spoke.clone()));
            }
            while spoke.load(Ordering::Relaxed) < 40 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            handle.drain(Duration::from_millis(300));
            while let Some(socket) = soon(sockets.join_next()).await {
                socket.unwrap();
            }
        }
    }
}

async fn converse(client: Client, spoke: Arc<AtomicUsize>) {
    let mut socket = soon(client.open("/")).await.unwrap();
    let mut turn = 0_u64;
    loop {
        let message = turn.to_string();
        if socket.send(message.clone()).await.is_err() {
            break;
        }
        match soon(socket.recv()).await.expect("it ends by a Close") {
            Some(echo) => assert_eq!(echo, message.into()),
            None => break,
        }
        turn += 1;
        if turn == 1 {
            spoke.fetch_add(1, Ordering::Relaxed);
        }
    }
    soon(socket.recv()).await.ok();
    assert_eq!(socket.close_frame().map(|frame| frame.code), Some(CloseCode::GOING_AWAY));
}
