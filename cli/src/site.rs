//! What `sockeye serve` answers: `/`, `/echo`, `/stats`, and 404.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use sockeye::{
    Body, BoxError, ConnectionStats, Counter, Deflate, Handle, OriginPolicy, Peer, Refusal, WebSocket, WebSocketConfig,
    websocket,
};
use tower_service::Service as _;

const PAGE: &str = include_str!("page.html");
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Clone)]
pub(crate) struct Site {
    handle: Handle,
    websockets: WebSocketConfig,
    origins: OriginPolicy,
    deflate: Option<Deflate>,
}

impl Site {
    pub(crate) fn new(
        handle: Handle,
        websockets: WebSocketConfig,
        origins: OriginPolicy,
        deflate: Option<Deflate>,
    ) -> Self {
        Self { handle, websockets, origins, deflate }
    }

    pub(crate) async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let is_connect = request.method() == Method::CONNECT;
        if request.uri().path() == "/echo" && (is_connect || request.headers().contains_key(UPGRADE)) {
            let mut service = websocket(echo).protocols(["echo"]).origins(self.origins).config(self.websockets);
            if let Some(deflate) = self.deflate {
                service = service.deflate(deflate);
            }
            return service.call(request).await;
        }
        if is_connect {
            // What follows a CONNECT is no content, and has no end to wait for.
            return Ok(text(StatusCode::NOT_FOUND, "There is no tunnel here; try /echo.\n"));
        }
        let (head, body) = request.into_parts();
        // An answer waits for the end of the request's content.
        let received = match count(body).await {
            Ok(received) => received,
            Err(error) => return Ok(text(StatusCode::BAD_REQUEST, format!("The content broke off: {error}.\n"))),
        };
        Ok(match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/") => page(),
            (&Method::POST, "/") => text(StatusCode::OK, format!("{received} octets received.\n")),
            (&Method::GET | &Method::HEAD, "/stats") => respond(JSON, self.stats(head.extensions.get())),
            (_, "/echo") => Refusal::websocket_required(head.version).response().map(Body::from),
            (_, "/") => not_allowed("GET, HEAD, POST"),
            (_, "/stats") => not_allowed("GET, HEAD"),
            _ => text(StatusCode::NOT_FOUND, "There is nothing here; try / or /echo.\n"),
        })
    }

    fn stats(&self, peer: Option<&Peer>) -> String {
        let you = peer.map(Peer::connection);
        let connections = self.handle.connections();
        let stats = Stats {
            sockets: connections.iter().map(|connection| connection.sockets).sum(),
            connections: connections.into_iter().map(|connection| Connection::new(connection, you)).collect(),
            counters: Counter::ALL
                .iter()
                .map(|counter| (counter.name().to_owned(), self.handle.counter(*counter).into()))
                .collect(),
        };
        serde_json::to_string(&stats).unwrap_or_default()
    }
}

async fn echo(mut socket: WebSocket) -> sockeye::Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// The server's side of things.
#[derive(Serialize)]
struct Stats {
    connections: Vec<Connection>,
    sockets: usize,
    counters: Map<String, Value>,
}

#[derive(Serialize)]
struct Connection {
    id: u64,
    peer: Option<SocketAddr>,
    version: &'static str,
    sockets: usize,
    requests: u64,
    /// Whether this connection asked.
    you: bool,
}

impl Connection {
    fn new(stats: ConnectionStats, you: Option<u64>) -> Self {
        let version = if stats.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
        let ConnectionStats { id, peer, sockets, requests, .. } = stats;
        Self { id, peer, version, sockets, requests, you: you == Some(id) }
    }
}

/// Reads content to its end, and keeps nothing but its length.
async fn count(mut body: Body) -> Result<usize, BoxError> {
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        octets += frame?.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(octets)
}

fn respond(content_type: &'static str, content: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(content.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn page() -> Response<Body> {
    let mut response = respond(HTML, PAGE);
    // An isolated page gets a clock fine enough for round trips of less than a tenth of a millisecond.
    let headers = response.headers_mut();
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
    response
}

fn text(status: StatusCode, content: impl Into<Body>) -> Response<Body> {
    let mut response = respond(TEXT, content);
    *response.status_mut() = status;
    response
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Here are only {methods}.\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
