//! Our client: one connection, whose sockets wait each for the echo of what it sent: each in a task of its own, or by a handler
//! inside the connection's task.
//!
//!     sockeye-client ADDRESS SOCKETS OCTETS SECONDS [--in-place]

use load::{Arguments, Result, enter, measure, message};
use sockeye::{Client, Message, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let arguments = Arguments::parse()?;
    let client = Client::builder().http2_only().connect(&format!("http://{}", arguments.address)).await?;
    let octets = arguments.octets;
    if arguments.has("--in-place") {
        for number in 0..arguments.sockets {
            client.open("/echo").run(move |socket| echo(socket, number, octets)).await?;
        }
    } else {
        let mut sockets = Vec::new();
        for _ in 0..arguments.sockets {
            sockets.push(client.open("/echo").await?);
        }
        for (number, socket) in sockets.into_iter().enumerate() {
            tokio::spawn(echo(socket, number, octets));
        }
    }
    measure(&arguments).await
}

async fn echo(mut socket: WebSocket, number: usize, octets: usize) -> sockeye::Result {
    for turn in 0.. {
        socket.send(Message::from(message(octets, number, turn))).await?;
        let Some(echo) = socket.recv().await? else { break };
        enter(echo.as_bytes(), octets, number, turn);
    }
    Ok(())
}
