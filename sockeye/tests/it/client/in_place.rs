//! A client's sockets whose handlers run inside their connection's task.

use std::time::Duration;

use http::Version;
use sockeye::{Client, CloseCode, Counter, Error, Message, Server, WebSocket, websocket};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::far::VERSIONS;
use crate::common::{Running, start, within};

/// A server that says `greetings` numbers, echoes, and tells with which code each socket was closed; and a client.
async fn connect(version: Version, greetings: usize) -> (Running, Client, UnboundedReceiver<Option<CloseCode>>) {
    let (told, codes) = unbounded_channel();
    let handler = move |mut socket: WebSocket| {
        let told = told.clone();
        async move {
            for number in 0..greetings {
                socket.send(number.to_string()).await?;
            }
            let ended = loop {
                match socket.recv().await {
                    Ok(Some(message)) => socket.send(message).await?,
                    ended => break ended,
                }
            };
            told.send(socket.close_frame().map(|frame| frame.code)).unwrap();
            ended.map(drop)
        }
    };
    let running = start(Server::new(), websocket(handler)).await;
    let builder = Client::builder();
    let builder = if version == Version::HTTP_2 { builder.http2_only() } else { builder.http1_only() };
    let client = within(builder.connect(&format!("ws://{}", running.addr))).await.unwrap();
    (running, client, codes)
}

/// What comes before the handler is in place waits for it, and goes on from there.
#[tokio::test]
async fn a_handler_gets_every_message() {
    for version in VERSIONS {
        let (_running, client, mut codes) = connect(version, 100).await;
        let (told, mut received) = unbounded_channel();
        let handler = move |mut socket: WebSocket| async move {
            assert_eq!(socket.version(), version);
            for number in 0..100 {
                assert_eq!(socket.recv().await?, Some(Message::from(number.to_string())));
            }
            for size in (0..1000).chain([100_000]) {
                socket.send(vec![7; size]).await?;
                let Some(message) = socket.recv().await? else { break };
                told.send(message.len()).unwrap();
            }
            Ok::<_, Error>(())
        };
        within(client.open("/").run(handler)).await.unwrap();
        for size in (0..1000).chain([100_000]) {
            assert_eq!(within(received.recv()).await, Some(size));
        }
        // Its result closes the socket (RFC 6455 §7.4.1).
        assert_eq!(within(codes.recv()).await, Some(Some(CloseCode::NORMAL)), "{version:?}");
    }
}

/// A handler that fails closes with 1011, and so does one that panics, which takes no other socket with it.
#[tokio::test]
async fn a_handler_that_fails_closes_its_own_socket() {
    for version in VERSIONS {
        let (_running, client, mut codes) = connect(version, 0).await;
        let mut sibling = within(client.open("/").into_future()).await.unwrap();
        within(client.open("/").run(|_: WebSocket| async { Err("no") })).await.unwrap();
        assert_eq!(within(codes.recv()).await, Some(Some(CloseCode::INTERNAL_ERROR)), "{version:?}");
        let panics = |socket: WebSocket| async move {
            drop(socket);
            panic!("a handler does");
        };
        let panics =
            move |socket: WebSocket| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(panics(socket)) };
        within(client.open("/").run(panics)).await.unwrap();
        assert_eq!(within(codes.recv()).await, Some(Some(CloseCode::INTERNAL_ERROR)), "{version:?}");
        assert_eq!(client.handle().counter(Counter::Panics), 1);
        sibling.send("still here").await.unwrap();
        assert_eq!(within(sibling.recv()).await.unwrap(), Some("still here".into()));
    }
}

/// A socket whose stream is over as soon as it is open has its handler all the same, which sees that.
#[tokio::test]
async fn a_handler_sees_the_end_of_its_stream() {
    for version in VERSIONS {
        let (running, client, _codes) = connect(version, 0).await;
        let (told, mut ended) = unbounded_channel();
        let handler = move |mut socket: WebSocket| async move {
            told.send(socket.recv().await).unwrap();
        };
        within(client.open("/").run(handler)).await.unwrap();
        running.task.abort();
        running.handle.shutdown();
        let ended = within(ended.recv()).await.unwrap();
        assert!(matches!(ended, Ok(None)), "{version:?}: {ended:?}");
    }
}

/// A handshake that is refused is the caller's error, and the handler never runs.
#[tokio::test]
async fn a_refused_socket_runs_no_handler() {
    let service = tower::service_fn(|_: http::Request<sockeye::Body>| async {
        let refused = http::Response::builder().status(403).body(sockeye::Body::from("no"));
        refused.map_err(sockeye::BoxError::from)
    });
    let running = start(Server::new(), service).await;
    let client = Client::builder().connect(&format!("ws://{}", running.addr)).await.unwrap();
    let never = |_: WebSocket| async { unreachable!("there is no socket") };
    let never =
        move |socket: WebSocket| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(never(socket)) };
    let refused = within(client.open("/").run(never)).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.handle().counter(Counter::Panics), 0);
}
