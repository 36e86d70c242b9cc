//! The smallest server: what comes goes back, over HTTP/2 and HTTP/1.1 on one port.
//!
//! ```sh
//! cargo run --example echo
//! ```

use sockeye::{Result, WebSocket, serve, websocket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("ws://{}/", listener.local_addr()?);
    serve(listener, websocket(echo)).await
}

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
