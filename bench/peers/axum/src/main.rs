//! An echo of axum, as its documentation has it: hyper and `h2` for HTTP/2, tungstenite for the WebSockets. The broadcast is
//! that of its chat example, by a channel of tokio; what waits together is flushed together.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use common::{BACKLOG, HTTP2, MAX_CONCURRENT_STREAMS, Result, Transport, WINDOW};
use futures_util::SinkExt as _;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::sync::broadcast::{Receiver, Sender};

/// Octets that a socket has room for before it reads. With the default of 128 KiB a small message costs up to five times
/// as much, and an idle socket takes 136 KiB instead of 12.
const READ_BUFFER: usize = 8 << 10;

#[tokio::main]
async fn main() -> Result {
    let sender = Sender::new(BACKLOG);
    let join = move |upgrade: WebSocketUpgrade| {
        let (sender, receiver) = (sender.clone(), sender.subscribe());
        async { upgrade.read_buffer_size(READ_BUFFER).on_upgrade(|socket| broadcast(socket, sender, receiver)) }
    };
    let accept = |upgrade: WebSocketUpgrade| async { upgrade.read_buffer_size(READ_BUFFER).on_upgrade(echo) };
    let router = Router::new().route("/echo", any(accept)).route("/broadcast", any(join));
    common::serve(HTTP2, move |transport| serve(transport, router.clone())).await
}

async fn serve(transport: Transport, router: Router) -> Result {
    // `axum::serve` has no way to allow more than 200 streams, and none to TLS.
    http2::Builder::new(TokioExecutor::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_connection(TokioIo::new(transport), TowerToHyperService::new(router))
        .await?;
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn broadcast(mut socket: WebSocket, sender: Sender<Message>, mut receiver: Receiver<Message>) {
    loop {
        tokio::select! {
            message = receiver.recv() => {
                let Ok(message) = message else { return };
                if forward(&mut socket, message, &mut receiver).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    sender.send(message).ok();
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// Sends a message and what waits behind it.
async fn forward(socket: &mut WebSocket, message: Message, receiver: &mut Receiver<Message>) -> Result {
    socket.feed(message).await?;
    while let Ok(message) = receiver.try_recv() {
        socket.feed(message).await?;
    }
    socket.flush().await?;
    Ok(())
}
