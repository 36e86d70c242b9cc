//! A server on a Unix socket, as behind a proxy on the same machine, and a client of it.
//!
//! ```sh
//! cargo run --example unix
//! ```

#[cfg(unix)]
#[tokio::main]
async fn main() -> sockeye::Result {
    use sockeye::{Client, serve, websocket};
    use tokio::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("sockeye-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path)?;
    tokio::spawn(serve(listener, websocket(shout)));

    // The URL names the host that the server is asked for; the connector, how it is reached.
    let reached = path.clone();
    let builder = Client::builder().http2_only().connector(move |_| UnixStream::connect(reached.clone()));
    let client = builder.connect("http://localhost").await?;
    let mut socket = client.open("/").await?;
    socket.send("hello").await?;
    if let Some(message) = socket.recv().await? {
        println!("over {}: {}", path.display(), message.as_text().unwrap_or_default());
    }
    socket.close().await?;
    Ok(std::fs::remove_file(path)?)
}

#[cfg(unix)]
async fn shout(mut socket: sockeye::WebSocket) -> sockeye::Result {
    // Who is there is told by the system.
    let peer = socket.peer_credentials().map_or_else(|| "nobody".to_owned(), |peer| peer.to_string());
    println!("{peer} is here");
    while let Some(message) = socket.recv().await? {
        socket.send(message.as_text().unwrap_or_default().to_uppercase()).await?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("this system has no Unix sockets");
}
