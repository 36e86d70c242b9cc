//! A chat with rooms, on one machine or on many: `ws://ADDRESS/ROOM` is a room.
//!
//! ```sh
//! cargo run --example rooms
//! # On each of several machines, or twice on one, with a NATS server:
//! cargo run --features nats --example rooms -- 127.0.0.1:8081 nats://127.0.0.1:4222
//! ```

use sockeye::{BoxError, Result, WebSocket, serve, websocket};
use sockeye_hub::Hub;
use tokio::net::TcpListener;

async fn chat(mut socket: WebSocket, hub: Hub) -> Result {
    let path = socket.request().uri.path().trim_start_matches('/').to_owned();
    let room = hub.topic(if path.is_empty() { "lobby" } else { &path })?;
    let member = room.join(&socket).await?;
    let here = room.all_members().await.total();
    member.send(format!("({here} in {})", room.name())).await;
    loop {
        tokio::select! {
            message = socket.recv() => match message? {
                Some(message) => room.send_except(&member, message).await?,
                None => return Ok(()),
            },
            missed = member.lagged() => member.send(format!("({missed} messages were lost on their way to you)")).await,
        }
    }
}

async fn hub(backplane: Option<String>) -> Result<Hub, BoxError> {
    match backplane {
        None => Ok(Hub::local()),
        #[cfg(feature = "nats")]
        Some(url) => Ok(Hub::nats(async_nats::connect(url).await?)),
        #[cfg(not(feature = "nats"))]
        Some(_) => Err("build it with --features nats".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_owned());
    let hub = hub(arguments.next()).await?;
    let listener = TcpListener::bind(address).await?;
    println!("ws://{}/lobby", listener.local_addr()?);
    serve(listener, websocket(move |socket| chat(socket, hub.clone()))).await?;
    Ok(())
}
