//! An echo of sockudo-ws over its HTTP/2 (the `h2` crate), as its example has it; the broadcast is by its own `PubSub`. Idle
//! sockets are not pinged: nobody else's are.

use std::sync::Arc;

use common::{HTTP2, MAX_CONCURRENT_STREAMS, Result, WINDOW};
use futures_util::{SinkExt as _, StreamExt as _};
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::{Config, Http2, Message, Stream, WebSocketServer, WebSocketStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};

type Socket = WebSocketStream<Stream<Http2>>;

const TOPIC: &str = "broadcast";

#[tokio::main]
async fn main() -> Result {
    let config = Config::builder()
        .auto_ping(false)
        .idle_timeout(0)
        .http2_max_streams(MAX_CONCURRENT_STREAMS)
        .http2_stream_window_size(WINDOW)
        .http2_connection_window_size(WINDOW)
        .build();
    let server = WebSocketServer::<Http2>::new(config);
    let pubsub = Arc::new(PubSub::new());
    common::serve(HTTP2, move |transport| {
        let (server, pubsub) = (server.clone(), pubsub.clone());
        async move {
            server
                .serve(transport, move |socket, request| {
                    let pubsub = pubsub.clone();
                    async move {
                        if request.path == "/broadcast" {
                            join(socket, &pubsub).await;
                        } else {
                            echo(socket).await;
                        }
                    }
                })
                .await?;
            Ok(())
        }
    })
    .await
}

async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn join(socket: Socket, pubsub: &PubSub) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let subscriber = pubsub.create_subscriber(sender);
    pubsub.subscribe(subscriber, TOPIC);
    broadcast(socket, pubsub, receiver).await;
    pubsub.remove_subscriber(subscriber);
}

async fn broadcast(mut socket: Socket, pubsub: &PubSub, mut receiver: UnboundedReceiver<Message>) {
    loop {
        tokio::select! {
            Some(message) = receiver.recv() => {
                if forward(&mut socket, message, &mut receiver).await.is_err() {
                    return;
                }
            }
            message = socket.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    pubsub.publish(TOPIC, message);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// Sends a message and what waits behind it.
async fn forward(socket: &mut Socket, message: Message, receiver: &mut UnboundedReceiver<Message>) -> Result {
    socket.feed(message).await?;
    while let Ok(message) = receiver.try_recv() {
        socket.feed(message).await?;
    }
    socket.flush().await?;
    Ok(())
}
