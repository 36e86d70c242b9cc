//! A node of axum's as its users write it: `WebSocketUpgrade`, a task for each socket, a broadcast channel of tokio for each topic, and
//! a subscription of NATS that fills it. Over HTTP/1.1, and over HTTP/2 by extended CONNECT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::routing::any;
use common::{BACKLOG, MAX_CONCURRENT_STREAMS, Result, WINDOW};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::broadcast::Sender;

/// As in the echo of the bench: with the default an idle socket takes ten times as much.
const READ_BUFFER: usize = 8 << 10;

#[derive(Clone)]
struct Topics {
    client: async_nats::Client,
    senders: Arc<Mutex<HashMap<String, Sender<Utf8Bytes>>>>,
}

pub async fn serve(address: &str, nats: &str) -> Result {
    let topics = Topics { client: async_nats::connect(nats).await?, senders: Arc::default() };
    let join = |upgrade: WebSocketUpgrade, Path(name): Path<String>, State(topics): State<Topics>| async {
        upgrade.read_buffer_size(READ_BUFFER).on_upgrade(|socket| member(socket, name, topics))
    };
    let router = Router::new().route("/{name}", any(join)).with_state(topics);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            // `axum::serve` has no way to allow more than 200 streams.
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http2()
                .enable_connect_protocol()
                .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW);
            builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
        });
    }
}

async fn member(mut socket: WebSocket, name: String, topics: Topics) {
    let mut receiver = topics.sender(&name).subscribe();
    loop {
        tokio::select! {
            message = receiver.recv() => {
                let Ok(message) = message else { return };
                if socket.send(Message::Text(message)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(message))) => {
                    topics.client.publish(name.clone(), message.into()).await.ok();
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

impl Topics {
    /// The topic's channel, which a task fills from NATS.
    fn sender(&self, name: &str) -> Sender<Utf8Bytes> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(name) {
            return sender.clone();
        }
        let sender = Sender::new(BACKLOG);
        senders.insert(name.to_owned(), sender.clone());
        let (client, name, filled) = (self.client.clone(), name.to_owned(), sender.clone());
        tokio::spawn(async move {
            let mut subscriber = client.subscribe(name).await?;
            while let Some(message) = subscriber.next().await {
                filled.send(Utf8Bytes::try_from(message.payload)?).ok();
            }
            Result::Ok(())
        });
        sender
    }
}
