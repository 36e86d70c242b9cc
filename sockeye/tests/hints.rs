//! What the server says once of services that open WebSockets over HTTP/1.1 alone. A process says it once, so that this one has no other
//! tests.

#![cfg(feature = "axum")]

#[allow(unused_imports, reason = "other tests name more of it")]
mod common;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::routing::{any, get};
use common::{Carrier, Socket, handshake, start};
use sockeye::Server;
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

/// axum's own extractor has its upgrade over HTTP/1.1, and none over HTTP/2; a route of `get` takes no CONNECT.
#[tokio::test]
async fn services_that_take_http1_alone_are_named_once() {
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(warnings.clone()).unwrap();
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
    let said = warnings.0.lock().unwrap();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("`any`") && said[1].contains("`sockeye::axum::WebSocketUpgrade`"), "{said:?}");
}
