//! Our sockets without a group: each has its own receiver and compresses for itself. What is compressed once is measured beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::{BACKLOG, Result};
use futures_util::StreamExt as _;
use sockeye::{ByteString, Message, Server, WebSocket, websocket};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Sender;

use crate::ours::{limits, options, topic};

type Topics = Arc<Mutex<HashMap<String, Sender<Message>>>>;

pub async fn serve(address: &str, nats: &str, flags: &[&str]) -> Result {
    let client = async_nats::connect(nats).await?;
    let topics = Topics::default();
    let service = websocket(move |socket| member(socket, topics.clone(), client.clone())).options(options(flags));
    Server::new().limits(limits()).serve(TcpListener::bind(address).await?, service).await?;
    Ok(())
}

async fn member(mut socket: WebSocket, topics: Topics, client: async_nats::Client) -> sockeye::Result {
    let mut receiver = sender(&topics, client, topic(&socket)).subscribe();
    loop {
        tokio::select! {
            message = receiver.recv() => match message {
                Ok(message) => socket.send(message).await?,
                Err(_) => return Ok(()),
            },
            message = socket.recv() => if message?.is_none() { return Ok(()) },
        }
    }
}

/// The topic's channel, which a task fills from NATS.
fn sender(topics: &Topics, client: async_nats::Client, name: String) -> Sender<Message> {
    let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = topics.get(&name) {
        return sender.clone();
    }
    let sender = Sender::new(BACKLOG);
    topics.insert(name.clone(), sender.clone());
    let filled = sender.clone();
    tokio::spawn(async move {
        let mut subscriber = client.subscribe(name).await?;
        while let Some(message) = subscriber.next().await {
            filled.send(Message::Text(ByteString::try_from(message.payload)?)).ok();
        }
        Result::Ok(())
    });
    sender
}
