//! What is said once of services that open WebSockets on some versions of HTTP, or some servers, alone. A process says it once, so that
//! this one has no other tests.

#![cfg(feature = "axum")]

#[allow(unused_imports, reason = "other tests name more of it")]
mod common;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{any, get};
use common::{Carrier, Socket, handshake, start};
use sockeye::Server;
use tokio::net::TcpListener;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes down every warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockeye") && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn Debug| {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn mistakes_are_named_once() {
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(warnings.clone()).unwrap();
    services_that_take_http1_alone(&warnings).await;
    content_that_is_wrapped(&warnings).await;
}

/// axum's own extractor has its upgrade over HTTP/1.1, and none over HTTP/2; a route of `get` takes no CONNECT.
async fn services_that_take_http1_alone(warnings: &Warnings) {
    let open = |ws: WebSocketUpgrade| async { ws.on_upgrade(echo) };
    let invalid = || async { (StatusCode::BAD_REQUEST, "a fault of the request's own") };
    let app = Router::new().route("/get", get(open)).route("/any", any(open)).route("/invalid", any(invalid));
    let running = start(Server::new(), app).await;
    for path in ["/get", "/any"] {
        Socket::open_with(Carrier::Http1, running.addr, &handshake(path)).await.check_echo("hello").await;
    }
    for (path, status) in [("/invalid", 400), ("/nowhere", 404)] {
        let opened = Socket::try_open(Carrier::Http2, running.addr, &handshake(path)).await;
        assert_eq!(opened.err().unwrap(), status);
    }
    assert_eq!(*warnings.0.lock().unwrap(), [""; 0], "these say nothing of the version of HTTP");
    for _ in 0..3 {
        for (path, status) in [("/get", 405), ("/any", 400)] {
            let opened = Socket::try_open(Carrier::Http2, running.addr, &handshake(path)).await;
            assert_eq!(opened.err().unwrap(), status, "{path}");
        }
    }
    let said = std::mem::take(&mut *warnings.0.lock().unwrap());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("`any`") && said[1].contains("`sockeye::axum::WebSocketUpgrade`"), "{said:?}");
}

/// A middleware that compresses takes the content of a 101 for content too. On axum's server a socket goes on only where it does not;
/// Sockeye's server sees by itself that the 101 goes out.
async fn content_that_is_wrapped(warnings: &Warnings) {
    async fn wrap(response: Response) -> Response {
        response.map(|content| Body::from_stream(content.into_data_stream()))
    }
    async fn wrap_all_but_101(response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS { response } else { wrap(response).await }
    }
    let open = |ws: sockeye::axum::WebSocketUpgrade| async { ws.on_upgrade(common::echo) };
    let all = Router::new().route("/all", any(open)).layer(map_response(wrap));
    let app = Router::new().route("/", any(open)).layer(map_response(wrap_all_but_101)).merge(all);
    let running = start(Server::new(), app.clone()).await;
    for carrier in Carrier::ALL {
        Socket::open_with(carrier, running.addr, &handshake("/all")).await.check_echo("hello").await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Socket::open(Carrier::Http1, addr).await.check_echo("hello").await;
    assert_eq!(*warnings.0.lock().unwrap(), [""; 0]);
    for _ in 0..2 {
        let mut socket = Socket::open_with(Carrier::Http1, addr, &handshake("/all")).await;
        assert_eq!(socket.ending().await, common::Ending::End);
    }
    let said = warnings.0.lock().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("`CompressionLayer`") && said[0].contains("101"), "{said:?}");
}
