//! Other people's servers and clients: axum's router on our server, our handlers in axum's, hyper's client.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::BodyExt;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use sockeye::{Server, websocket};
use sockeye_proto::ws::Event;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::http::{Http, empty, full};
use crate::common::{Carrier, Ending, Socket, echo, handshake, start, start_websocket, within};

fn router() -> Router {
    Router::new()
        .route_service("/echo", websocket(echo).protocols(["echo"]))
        .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("hello {name}") }))
        .route("/upload", post(|content: Bytes| async move { content.len().to_string() }))
}

async fn check_sockets(addr: SocketAddr) {
    for carrier in Carrier::ALL {
        let mut asked = handshake("/echo");
        asked.protocols = vec!["echo".into()];
        let mut socket = Socket::open_with(carrier, addr, &asked).await;
        assert_eq!(socket.response.headers()["sec-websocket-protocol"], "echo");
        socket.check_echo("hello").await;
        socket.check_echo("").await;
        socket.check_echo(vec![9; 1 << 20]).await;
        socket.ping(b"?").await;
        assert_eq!(socket.event().await, Event::Pong("?".into()), "{carrier:?}");
        socket.close(1000.into(), "").await;
        assert_eq!(socket.close_code().await, 1000, "{carrier:?}");
        assert_eq!(socket.ending().await, Ending::End, "{carrier:?}");
        socket.end().await;

        let refused = Socket::try_open(carrier, addr, &handshake("/nowhere")).await.err();
        assert_eq!(refused, Some(http::StatusCode::NOT_FOUND), "{carrier:?}");
    }
}

#[tokio::test]
async fn a_router_of_axum_runs_on_our_server() {
    let server = start(Server::new(), router()).await;
    check_sockets(server.addr).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut http = Http::connect(version, server.addr).await;
        assert_eq!(http.get("/hello/fish").await.content, "hello fish");
        assert_eq!(http.get("/nowhere").await.head.status, 404);
        let upload = http.request("POST", "/upload").body(full(vec![0; 500_000])).unwrap();
        assert_eq!(http.exchange(upload).await.content, "500000");
        let refused = if version == Version::HTTP_2 { 405 } else { 426 };
        assert_eq!(http.get("/echo").await.head.status, refused);
    }
}

#[tokio::test]
async fn our_handlers_run_in_the_server_of_axum() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router()).await });
    check_sockets(addr).await;
}

/// Extended CONNECT by hyper's client, whose HTTP/2 is another one.
#[tokio::test]
async fn hyper_opens_a_socket_on_our_server() {
    let server = start_websocket(echo).await;
    let mut http = Http::connect(Version::HTTP_2, server.addr).await;
    // The setting has come with the first answer.
    http.get("/").await;
    let mut request = Request::connect(format!("http://{}/", server.addr))
        .header("sec-websocket-version", "13")
        .body(empty())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let response = http.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());

    let role = sockeye_proto::ws::Role::Client { mask_key: || *b"mask" };
    let mut machine = sockeye_proto::ws::WebSocket::new(role, Default::default());
    let mut octets = bytes::BytesMut::new();
    machine.send(&"from hyper".into()).unwrap();
    machine.close(1000.into(), "").unwrap();
    machine.poll_transmit(&mut octets);
    stream.write_all(&octets).await.unwrap();
    let mut answer = bytes::BytesMut::new();
    while within(stream.read_buf(&mut answer)).await.unwrap() > 0 {}
    assert_eq!(&answer[..12], b"\x81\x0Afrom hyper");
    machine.handle_data(Instant::now, &mut answer.split_off(12));
    assert!(matches!(machine.poll_event(), Some(Event::Close(frame)) if frame.code == 1000.into()));
}

/// Two hundred requests at once, on one connection of hyper's.
#[tokio::test]
async fn requests_run_beside_each_other() {
    let server = start(Server::new(), router()).await;
    let Http::Http2(sender) = Http::connect(Version::HTTP_2, server.addr).await else { unreachable!() };
    let requests = (0..200).map(|n| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get(format!("http://localhost/hello/{n}")).body(empty()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), format!("hello {n}"));
        }
    });
    within(futures_util::future::join_all(requests)).await;
}
