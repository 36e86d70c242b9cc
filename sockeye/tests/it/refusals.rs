//! What a server answers an extended CONNECT that it refuses, and one that brings a key.

use std::net::SocketAddr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, Version};
use sockeye::{Body, Server, Upgrade, websocket};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake;
use tokio::net::TcpListener;
use tower::service_fn;

use crate::common::http::{Http, empty};
use crate::common::{Client, echo, pair, start, within};

/// An extended CONNECT, with these fields beside the version.
fn connect(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = super::common::handshake(path).request(handshake::Carrier::Http2).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    request
}

/// Status, content type and content of the answer to a CONNECT.
async fn ask(client: &Client, request: &Request<()>) -> (u16, Option<String>, String) {
    let id = client.open(request, false).unwrap();
    let answer = client.answer(id).await;
    let content_type = answer.head.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    (answer.head.status().as_u16(), content_type, String::from_utf8(answer.content.to_vec()).unwrap())
}

/// Answers everything with a page; the status is the path.
async fn page(request: Request<Body>) -> Result<Response<Body>, sockeye::BoxError> {
    let status: u16 = request.uri().path()[1..].parse()?;
    Ok(Response::builder().status(status).header(CONTENT_TYPE, "text/html").body(Body::from("<p>no</p>"))?)
}

/// Firefox gives the page's whole connection up for it, whatever the status; the body may stay. A 2xx of a service that has no
/// tunnel is a 501 (RFC 9110 §9.3.6).
#[tokio::test]
async fn an_extended_connect_is_refused_without_a_content_type() {
    let server = start(Server::new(), service_fn(page)).await;
    let client = Client::connect(server.addr).await;
    for status in [200, 204, 302, 400, 401, 403, 404, 405, 426, 429, 500, 501, 503] {
        let told = ask(&client, &connect(&format!("/{status}"), &[])).await;
        let expected = if status < 300 { 501 } else { status };
        assert_eq!(told, (expected, None, "<p>no</p>".to_owned()));
    }
}

/// Only there: pages keep theirs over either version, and so does what a plain CONNECT is told.
#[tokio::test]
async fn other_answers_keep_their_content_type() {
    let server = start(Server::new(), service_fn(page)).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut http = Http::connect(version, server.addr).await;
        for path in ["/200", "/404"] {
            assert_eq!(http.get(path).await.head.headers[CONTENT_TYPE], "text/html", "{version:?} {path}");
        }
    }
    let service = service_fn(async |_: Request<Body>| page(Request::get("/403").body(Body::empty())?).await);
    let server = start(Server::new(), service).await;
    let mut http = Http::connect(Version::HTTP_2, server.addr).await;
    let answer = http.exchange(Request::connect("localhost:80").body(empty()).unwrap()).await;
    assert_eq!((answer.head.status.as_u16(), &answer.head.headers[CONTENT_TYPE]), (403, &"text/html".parse().unwrap()));
}

/// The same for what Sockeye itself refuses, by the service and by the low-level way, on its own server and in axum's.
#[tokio::test]
async fn our_own_refusals_have_none_over_http2() {
    let router =
        || Router::new().route_service("/echo", websocket(echo)).route("/page", get(|| async { Html("page") }));
    let ours = start(Server::new(), router()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let axums: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router()).await });
    for addr in [ours.addr, axums] {
        let client = Client::connect(addr).await;
        let told = ask(&client, &connect("/echo", &[("origin", "https://elsewhere.example")])).await;
        assert_eq!(told, (403, None, "Pages of this origin may not open WebSockets here.\n".to_owned()));
        let told = ask(&client, &connect("/echo", &[("sec-websocket-protocol", "a, a")])).await;
        assert_eq!((told.0, told.1), (400, None));
        assert_ne!(told.2, "");
    }
    let client = Client::connect(ours.addr).await;
    let mut other = connect("/echo", &[]);
    other.extensions_mut().insert(Protocol::new("connect-udp"));
    assert_eq!(ask(&client, &other).await, (501, None, "This server knows only :protocol websocket.\n".to_owned()));
    assert_eq!(ask(&client, &connect("/page", &[])).await, (405, None, String::new()), "a route of axum's get");
    assert_eq!(ask(&client, &connect("/nowhere", &[])).await, (404, None, String::new()));
    // Over HTTP/1.1 it stays.
    let mut http = Http::connect(Version::HTTP_11, ours.addr).await;
    let upgrade = http.request("GET", "/echo").header("upgrade", "websocket").header("connection", "upgrade");
    let answer = http.exchange(upgrade.body(empty()).unwrap()).await;
    assert_eq!(
        (answer.head.status.as_u16(), &answer.head.headers[CONTENT_TYPE].as_bytes()[..10]),
        (400, &b"text/plain"[..])
    );
}

/// The low-level way: whether the stream's handshake was taken out of the request or not.
#[tokio::test]
async fn a_stream_is_refused_without_a_content_type() {
    let (mut connection, client) = pair().await;
    for taken in [false, true] {
        let id = client.open(&connect("/", &[]), false).unwrap();
        let mut stream = within(connection.next()).await.unwrap().unwrap();
        if taken {
            drop(Upgrade::from_request(stream.request()).unwrap());
        }
        let response =
            Response::builder().status(403).header(CONTENT_TYPE, "text/html").body(Body::from("no")).unwrap();
        within(stream.respond(response)).await;
        let answer = client.answer(id).await;
        assert_eq!((answer.head.headers().get(CONTENT_TYPE), &answer.content[..]), (None, &b"no"[..]));
    }
    let id = client.open(&connect("/", &[("origin", "https://elsewhere.example")]), false).unwrap();
    within(connection.next()).await.unwrap().unwrap().into_websocket().unwrap_err();
    let answer = client.answer(id).await;
    assert_eq!((answer.head.status().as_u16(), answer.head.headers().get(CONTENT_TYPE)), (403, None));
}

/// Who sends a key over HTTP/2 gets its accept (a client of HTTP/1.1 before Envoy waits for it); a bad one is ignored, and
/// without a key there is no accept (RFC 8441 §5).
#[tokio::test]
async fn a_key_over_http2_gets_its_accept() {
    let router = || Router::new().route_service("/", websocket(echo));
    let ours = start(Server::new(), router()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let axums = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router()).await });
    for addr in [ours.addr, axums] {
        let client = Client::connect(addr).await;
        for (key, accept) in [
            (Some("dGhlIHNhbXBsZSBub25jZQ=="), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
            (Some("nonsense"), None),
            (None, None),
        ] {
            let fields: Vec<_> = key.map(|key| ("sec-websocket-key", key)).into_iter().collect();
            let request = connect("/", &fields);
            assert_eq!(request.method(), Method::CONNECT);
            let id = client.open(&request, false).unwrap();
            let response = client.response(id).await.unwrap();
            assert_eq!(response.status(), 200);
            let told = response.headers().get("sec-websocket-accept").map(|value| value.to_str().unwrap());
            assert_eq!(told, accept, "{key:?}");
        }
    }
}
