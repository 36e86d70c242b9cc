//! The end of a server, as it should be and as it may have to be.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use sockeye::{Body, BoxError, Error, Limits, Server, WebSocket, websocket};
use sockeye_proto::h2::{OpenError, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::{Service, service_fn};

use crate::common::http::Http;
use crate::common::{Carrier, Client, Ending, Running, Socket, echo, handshake, start, start_websocket, within};

/// Sockets get Close 1001, requests under way their answers, nobody gets in, and the server returns.
#[tokio::test]
async fn what_is_open_ends_well() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (sockets, in_service) = (websocket(echo), (asked.clone(), go_on.clone()));
    let service = service_fn(move |request: Request<Body>| {
        let (mut sockets, (asked, go_on)) = (sockets.clone(), in_service.clone());
        async move {
            if request.uri().path() != "/slow" {
                return Ok(sockets.call(request).await?);
            }
            asked.notify_one();
            go_on.notified().await;
            Ok::<_, BoxError>(Response::new(Body::from("at last")))
        }
    });
    let Running { addr, handle, task } = start(Server::new(), service).await;
    let client = Client::connect(addr).await;
    let mut open = vec![
        Socket::open(Carrier::Http1, addr).await,
        Socket::open(Carrier::Http2, addr).await,
        Socket::on(&client, &handshake("/")).await.unwrap(),
    ];
    let slow = client.open(&Request::get("http://localhost/slow").body(()).unwrap(), true).unwrap();
    within(asked.notified()).await;
    let mut http = Http::connect(Version::HTTP_11, addr).await;
    let slow_http1 = tokio::spawn(async move { http.get("/slow").await.content });
    within(asked.notified()).await;

    handle.shutdown();
    for socket in &mut open {
        assert_eq!(socket.close_code().await, 1001);
        assert_eq!(socket.ending().await, Ending::End);
        socket.end().await;
    }
    assert!(TcpStream::connect(addr).await.is_err(), "nobody gets in");
    let announced = client.state().goaways.clone();
    assert_eq!(announced.first(), Some(&((1 << 31) - 1, Reason::NO_ERROR)), "RFC 9113 §6.8");
    let refused = client.open(&Request::get("http://localhost/").body(()).unwrap(), true);
    assert_eq!(refused.unwrap_err(), OpenError::GoingAway);
    assert!(!task.is_finished(), "two requests are under way");

    go_on.notify_one();
    go_on.notify_one();
    within(async {
        // One permit at a time is kept.
        while !slow_http1.is_finished() || client.state().heard(slow).response.is_none() {
            go_on.notify_one();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.answer(slow).await.content, "at last");
    assert_eq!(slow_http1.await.unwrap(), "at last");
    let last = within(client.until(|state| state.eof.then(|| state.goaways.last().copied()))).await;
    assert_eq!(last, Some((slow.value(), Reason::NO_ERROR)));
    within(task).await.unwrap().unwrap();
    assert!(handle.connections().is_empty());
}

/// Close, and no word after it.
#[tokio::test]
async fn a_handler_that_does_not_end_is_dropped() {
    async fn stuck(socket: WebSocket) {
        pending::<()>().await;
        drop(socket);
    }
    let server = Server::new().limits(Limits::new().shutdown_timeout(Duration::from_millis(50)));
    let Running { addr, handle, task } = start(server, websocket(stuck)).await;
    let mut open = [Socket::open(Carrier::Http1, addr).await, Socket::open(Carrier::Http2, addr).await];
    handle.shutdown();
    for socket in &mut open {
        assert_eq!(socket.close_code().await, 1001);
        assert_eq!(socket.ending().await, Ending::End);
        socket.end().await;
    }
    within(task).await.unwrap().unwrap();
}

/// An idle connection has nothing to wait for, whatever it speaks.
#[tokio::test]
async fn idle_connections_end_at_once() {
    let Running { addr, handle, task } = start_websocket(echo).await;
    let client = Client::connect(addr).await;
    let mut http1 = TcpStream::connect(addr).await.unwrap();
    http1.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(within(http1.read(&mut [0; 4096])).await.unwrap() > 0);
    within(async {
        while handle.connections().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    handle.shutdown();
    within(client.until(|state| state.eof.then_some(()))).await;
    within(http1.read_to_end(&mut Vec::new())).await.unwrap();
    within(task).await.unwrap().unwrap();
}

/// A server that was told before it began does not begin.
#[tokio::test]
async fn shutdown_before_serving_is_not_lost() {
    let server = Server::new();
    server.handle().shutdown();
    let running = start(server, websocket(echo)).await;
    within(running.task).await.unwrap().unwrap();
}

/// A socket that is used from elsewhere is told, and its owner sees the end.
#[tokio::test]
async fn a_socket_that_outlives_its_handler_is_told() {
    let (service, mut sockets) = crate::common::hand_over();
    let Running { addr, handle, task } = start(Server::new(), service).await;
    let mut open = Vec::new();
    for carrier in Carrier::ALL {
        let peer = Socket::open(carrier, addr).await;
        open.push((peer, sockets.recv().await.unwrap()));
    }
    handle.shutdown();
    for (peer, socket) in &mut open {
        let (code, end) = within(async { tokio::join!(peer.close_code(), socket.recv()) }).await;
        assert_eq!(code, 1001);
        assert_eq!(end.unwrap(), None);
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        peer.end().await;
    }
    drop(open);
    within(task).await.unwrap().unwrap();
}

/// One handle ends every listener of its server.
#[tokio::test]
async fn all_listeners_end() {
    let server = Server::new();
    let one = start(server.clone(), websocket(echo)).await;
    let two = start(server, websocket(echo)).await;
    two.handle.shutdown();
    within(one.task).await.unwrap().unwrap();
    within(two.task).await.unwrap().unwrap();
}
