//! Our client: one connection, and a task for each socket that waits for the echo of what it sent.

use load::{Account, Arguments, Result, fill};
use sockeye::{Client, Message, WebSocket};
use tokio::task::{LocalSet, spawn_local};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    LocalSet::new().run_until(run(Arguments::parse()?)).await
}

async fn run(arguments: Arguments) -> Result {
    let client = Client::builder().http2_only().connect(&format!("http://{}", arguments.address)).await?;
    let mut sockets = Vec::new();
    for _ in 0..arguments.sockets {
        sockets.push(client.open("/echo").await?);
    }
    let account = Account::default();
    for (number, socket) in sockets.into_iter().enumerate() {
        spawn_local(echo(socket, number, arguments.octets, account.clone()));
    }
    account.measure(&arguments).await
}

async fn echo(mut socket: WebSocket, number: usize, octets: usize, account: Account) -> sockeye::Result {
    for turn in 0.. {
        let mut message = vec![0; octets];
        fill(&mut message, number, turn);
        let message = Message::from(message);
        socket.send(message.clone()).await?;
        let Some(echo) = socket.recv().await? else { break };
        account.enter(echo.as_bytes(), message.as_bytes());
    }
    Ok(())
}
