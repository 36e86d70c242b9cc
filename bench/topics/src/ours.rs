//! A node of ours, as the hub's documentation has it.

use common::{MAX_CONCURRENT_STREAMS, Result};
use sockeye::{Deflate, Limits, Server, SocketOptions, WebSocket, websocket};
use sockeye_hub::Hub;
use tokio::net::TcpListener;

pub async fn serve(address: &str, hub: Hub, flags: &[&str]) -> Result {
    let listener = TcpListener::bind(address).await?;
    let service = websocket(move |socket| member(socket, hub.clone())).options(options(flags));
    Server::new().limits(limits()).serve(listener, service).await?;
    Ok(())
}

/// What the path of a socket without a topic begins with.
pub const SILENT: char = 'x';

/// None of them is to be what limits a workload.
pub fn limits() -> Limits {
    Limits::new().max_concurrent_streams(MAX_CONCURRENT_STREAMS).max_unread(i32::MAX as u32)
}

pub fn options(flags: &[&str]) -> SocketOptions {
    match flags.contains(&"--deflate") {
        true => SocketOptions::new().deflate(Deflate::new()),
        false => SocketOptions::new(),
    }
}

async fn member(mut socket: WebSocket, hub: Hub) -> sockeye::Result {
    let name = topic(&socket);
    if name.starts_with(SILENT) {
        return listen(socket).await;
    }
    let topic = hub.topic(&name)?;
    let _member = topic.join(&socket).await?;
    while let Some(message) = socket.recv().await? {
        topic.send(message).await?;
    }
    Ok(())
}

/// The same without a topic.
async fn listen(mut socket: WebSocket) -> sockeye::Result {
    while socket.recv().await?.is_some() {}
    Ok(())
}

pub fn topic(socket: &WebSocket) -> String {
    socket.request().uri.path().trim_start_matches('/').to_owned()
}
