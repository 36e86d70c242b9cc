//! TLS, as browsers ask for it before they speak HTTP/2: a server by two PEM files, and a client that trusts them.
//!
//! ```sh
//! cargo run --example tls
//! ```
//!
//! The certificate is made here. A real one comes from files: `tls_pem(std::fs::read("fullchain.pem")?, ..)`.

use sockeye::{BoxError, Client, Result, Server, WebSocket, websocket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    let server = Server::new().tls_pem(&certificate, key)?;
    tokio::spawn(server.serve(listener, websocket(greet)));

    // A client trusts the system's roots where it is not told of another.
    let client = Client::builder().root_pem(&certificate).connect(&url).await?;
    let mut socket = client.open("/").await?;
    while let Some(message) = socket.recv().await? {
        println!("over {:?}: {}", socket.version(), message.as_text().unwrap_or_default());
    }
    Ok(())
}

async fn greet(mut socket: WebSocket) -> Result {
    socket.send("nobody else can read this").await
}
