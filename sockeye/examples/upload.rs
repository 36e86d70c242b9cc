//! A file that goes over a socket in chunks, however large it is: neither side holds more than a chunk, and a server that is slow
//! to write slows the client down.
//!
//! ```sh
//! cargo run --example upload -- README.md
//! ```
//!
//! Without a name, eight megabytes are made up.

use std::path::Path;

use sockeye::{BoxError, Error, MessageKind, Result, WebSocket, serve, websocket};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/upload", listener.local_addr()?);
    tokio::spawn(serve(listener, websocket(receive)));

    let mut socket = sockeye::connect(&url).await?;
    match std::env::args().nth(1) {
        Some(name) => upload(&mut socket, File::open(name).await?).await?,
        None => upload(&mut socket, tokio::io::repeat(b'.').take(8 << 20)).await?,
    }
    let answer = socket.recv().await?.ok_or("the server closed the socket before it had answered")?;
    println!("the server has {}", answer.as_text().unwrap_or_default());
    socket.close().await?;
    Ok(())
}

/// Sends a file as one message, in chunks.
async fn upload(socket: &mut WebSocket, mut file: impl AsyncRead + Unpin) -> Result {
    let mut message = socket.send_stream(MessageKind::Binary);
    let mut chunk = vec![0; 32 * 1024];
    loop {
        match file.read(&mut chunk).await? {
            0 => return message.finish().await,
            // Waits while the server does not read.
            octets => message.write(&chunk[..octets]).await?,
        }
    }
}

/// The server: writes each message into a file as it comes, and says how much it was. Let who may send be known before that.
async fn receive(mut socket: WebSocket) -> Result {
    while let Some(mut message) = socket.recv_stream().await? {
        let path = std::env::temp_dir().join(format!("upload-{}", std::process::id()));
        let saved = async {
            let mut file = File::create(&path).await?;
            let mut octets = 0;
            while let Some(chunk) = message.next().await? {
                octets += chunk.len();
                file.write_all(chunk.as_bytes()).await?;
            }
            file.flush().await?;
            Ok::<_, Error>(octets)
        };
        let saved = saved.await;
        remove(&path).await;
        socket.send(format!("{} octets", saved?)).await?;
    }
    Ok(())
}

/// This is an example: nobody wants the file.
async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        eprintln!("{}: {error}", path.display());
    }
}
