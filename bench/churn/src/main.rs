//! Connections that come and go, with WebSockets on each that are busy for a while: for what a server's memory is afterwards.
//!
//!     churn ADDRESS CONNECTIONS SOCKETS AT_ONCE
//!
//! Each connection opens its sockets, exchanges some rounds of messages of unlike sizes on all of them at once, with pauses
//! between, and goes. `AT_ONCE` of them are there at a time, each at another point of its life. Every echo is checked.

use std::sync::Arc;
use std::time::Duration;

use sockeye::{Client, Message, SocketOptions, WebSocket};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 5;
/// Between two rounds of a connection, at most.
const PAUSE: Duration = Duration::from_secs(1);
/// Of each kind of message a third: most are small.
const SIZES: [usize; 3] = [32, 300, 3000];
/// Beyond what a connection takes among thousands of others.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, connections, sockets, at_once] = &arguments[..] else {
        return Err("arguments: ADDRESS CONNECTIONS SOCKETS AT_ONCE".into());
    };
    let (connections, sockets, at_once): (usize, usize, usize) =
        (connections.parse()?, sockets.parse()?, at_once.parse()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(format!("http://{address}"), connections, sockets, at_once))
}

async fn run(url: String, connections: usize, sockets: usize, at_once: usize) -> Result {
    let (places, url) = (Arc::new(Semaphore::new(at_once)), Arc::new(url));
    let mut lives = JoinSet::new();
    for _ in 0..connections {
        let place = places.clone().acquire_owned().await?;
        let url = url.clone();
        lives.spawn(async move {
            let _place = place;
            live(&url, sockets).await
        });
        while let Some(ended) = lives.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = lives.join_next().await {
        ended??;
    }
    println!("{} sockets on {connections} connections came and went", connections * sockets);
    Ok(())
}

async fn live(url: &str, sockets: usize) -> Result {
    let builder =
        Client::builder().http2_only().connect_timeout(PATIENCE).options(SocketOptions::new().answer_timeout(PATIENCE));
    let client = builder.connect(url).await?;
    let mut open = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        open.push(client.open("/echo").await?);
    }
    for _ in 0..ROUNDS {
        tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
        exchange(&mut open).await?;
    }
    drop(open);
    client.close().await;
    Ok(())
}

async fn exchange(sockets: &mut [WebSocket]) -> Result {
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(message(number)).await?;
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        if socket.recv().await? != Some(message(number)) {
            return Err("what comes back is not what was sent".into());
        }
    }
    Ok(())
}

fn message(number: usize) -> Message {
    Message::from(vec![number as u8; SIZES[number % SIZES.len()]])
}
