//! The client, against our own server: what happens where all goes well.

mod answers;
mod cancel;
mod ends;
mod ends_last;
mod errors;
mod exchanges;
#[cfg(feature = "tls")]
mod fall_back;
pub(crate) mod far;
mod hostile;
mod in_place;
mod key;
pub(crate) mod peer;
mod pool;
mod requests;
mod retries;
mod routes;
#[cfg(feature = "tls")]
mod secure;
#[cfg(feature = "tls")]
mod timeouts;
#[cfg(feature = "tls")]
mod versions;

use std::time::Duration;

use http::Version;
use sockeye::{Client, Counter, Error, Limits, Message, Server, websocket};

use crate::common::{echo, start, within};

/// A server with so many streams for each connection.
fn server(streams: u32) -> Server {
    Server::new().limits(Limits::new().max_concurrent_streams(streams))
}

/// RFC 8441 §5: sockets share a connection, beyond whose streams another is made.
#[tokio::test]
async fn sockets_share_connections() {
    let running = start(server(10), websocket(echo).protocols(["echo"])).await;
    let client = Client::builder().http2_only().connect(&format!("ws://{}", running.addr)).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..25 {
        sockets.push(within(client.open("/").protocols(["chat", "echo"]).into_future()).await.unwrap());
    }
    assert_eq!(running.handle.connections().len(), 3);
    for (index, socket) in sockets.iter_mut().enumerate() {
        assert_eq!((socket.version(), socket.protocol()), (Version::HTTP_2, Some("echo")));
        socket.send(format!("{index}")).await.unwrap();
    }
    for (index, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(within(socket.recv()).await.unwrap(), Some(Message::from(format!("{index}"))));
        within(socket.close()).await.unwrap();
    }
    drop(sockets);
    drop(client);
    within(async {
        while !running.handle.connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(running.handle.counter(Counter::ResetsReceived), 0);
}

#[tokio::test]
async fn http1_gives_each_socket_a_connection() {
    let running = start(Server::new(), websocket(echo)).await;
    let client = Client::connect(&format!("http://{}", running.addr)).await.unwrap();
    for _ in 0..3 {
        let mut socket = within(client.open("/chat").into_future()).await.unwrap();
        assert_eq!(socket.version(), Version::HTTP_11);
        socket.send(vec![7; 100_000]).await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some(Message::from(vec![7; 100_000])));
        within(socket.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_handed_over() {
    let running = start(Server::new(), axum::Router::new()).await;
    for builder in [Client::builder().http1_only(), Client::builder().http2_only()] {
        let client = builder.connect(&format!("http://{}", running.addr)).await.unwrap();
        let Err(Error::Refused(response)) = within(client.open("/nowhere").into_future()).await else { panic!() };
        assert_eq!(response.status(), 404);
    }
}

/// RFC 8441 §3: a connection that ends before the server's SETTINGS has not said that it offers no extended CONNECT.
#[tokio::test]
async fn a_server_that_hangs_up_before_its_settings_offers_nothing_and_denies_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let connected = within(Client::builder().http2_only().connect(&format!("http://{addr}"))).await;
    assert!(matches!(connected, Err(Error::Disconnected | Error::Io(_))), "{connected:?}");
}
