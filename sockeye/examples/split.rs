//! A socket in two tasks: one reads lines and sends them, the other prints what comes.
//!
//! ```sh
//! cargo run --example split -- ws://127.0.0.1:8080/
//! ```
//!
//! The example `echo` is a server to talk to.

use sockeye::socket::{Receiver, Sender};
use sockeye::{CloseCode, Result, connect};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main]
async fn main() -> Result {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:8080/".to_owned());
    let (sender, receiver) = connect(&url).await?.split();
    tokio::spawn(send_lines(sender));
    print_messages(receiver).await
}

/// Until there are no more lines; then the socket is closed.
async fn send_lines(mut sender: Sender) -> Result {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        sender.send(line).await?;
    }
    sender.close(CloseCode::NORMAL, "")
}

/// This half answers Pings and the peer's Close too, so it receives until the end.
async fn print_messages(mut receiver: Receiver) -> Result {
    while let Some(message) = receiver.recv().await? {
        match message.as_text() {
            Some(text) => println!("{text}"),
            None => println!("({} octets)", message.len()),
        }
    }
    Ok(())
}
