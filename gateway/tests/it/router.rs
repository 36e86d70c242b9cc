//! The gateway below a router of somebody else's, which makes another body of each request's.

use std::time::Duration;

use ::http::{Request, Version};
use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt as _;
use sockeye::{Body, Limits, Server, websocket};
use sockeye_gateway::{Config, Gateway, Live, RouteConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{client, echo, read_head, soon, upstream};

/// The address of a router that has a page of its own, and leaves all else to the gateway.
async fn router(limits: Limits) -> std::net::SocketAddr {
    let pages =
        upstream(Router::new().route("/page", get(async || "theirs").post(async |content: String| content))).await;
    let sockets = upstream(websocket(echo)).await;
    let config = Config::to(&pages).route(RouteConfig::new("/echo", &sockets));
    let gateway = Gateway::new(Live::new(&config).unwrap());
    let app: Router = Router::new().route("/own", get(async || "ours")).fallback_service(gateway);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().limits(limits).serve(listener, app));
    address
}

#[tokio::test]
async fn what_a_router_leaves_to_the_gateway_passes() {
    let address = router(Limits::new()).await;
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let client = client(address, version);
        let mut socket = soon(client.open("/echo")).await.unwrap();
        socket.send("through").await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap(), Some("through".into()), "{version:?}");
        soon(socket.close()).await.unwrap();
    }
    let client = client(address, Version::HTTP_2);
    for (request, expected) in [
        (Request::get("/own").body(Body::empty()), "ours"),
        (Request::get("/page").body(Body::empty()), "theirs"),
        (Request::post("/page").body("content".into()), "content"),
    ] {
        let response = soon(client.request(request.unwrap())).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);
    }
}

/// Whose fault it is that content does not go on is known also where the router has wrapped the error (RFC 9110 §15.5.9).
#[tokio::test]
async fn content_that_does_not_go_on_is_the_clients_fault_behind_a_router() {
    let address = router(Limits::new().receive_timeout(Duration::from_millis(200))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /page HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab").await.unwrap();
    let answer = soon(read_head(&mut stream)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
