//! A node: a hub, and a server whose sockets join the topic of their path.

use std::time::Duration;

use sockeye::{Client, ClientBuilder, Message, Result, Server, WebSocket, websocket};
use sockeye_hub::{Followed, Hub, HubBuilder, Membership, Start, Topic};
use tokio::time::timeout;

use crate::broker::Broker;

pub(crate) struct Node {
    pub(crate) hub: Hub,
    client: ClientBuilder,
}

/// Says "joined", then all that the topic gets; what the socket says is sent to the others. What it missed it is told by "missed N".
///
/// With a query it follows the topic, `?last=N` or `?seen=SEEN`, and says "followed MISSED SEEN" once it does; or it gives up after 10 ms.
async fn member(socket: WebSocket, hub: Hub) -> Result {
    let uri = socket.request().uri.clone();
    let topic = hub.topic(&uri.path()[1..])?;
    let start = match uri.query().map(|query| query.split_once('=').unwrap_or((query, ""))) {
        None => None,
        Some(("last", count)) => Some(Start::Last(count.parse().unwrap())),
        Some(("seen", seen)) => Some(Start::After(seen.parse()?)),
        Some(_) => Some(Start::Now),
    };
    if uri.query() == Some("gives_up") {
        _ = timeout(Duration::from_millis(10), topic.follow(&socket, Start::Now)).await;
        return Ok(());
    }
    if let Some(start) = start {
        let Followed { member, missed, seen, .. } = topic.follow(&socket, start).await?;
        let missed = missed.map_or("unknown".to_owned(), |missed| missed.to_string());
        member.send(format!("followed {missed} {seen}")).await;
        return talk(socket, topic, member).await;
    }
    let member = topic.join(&socket).await?;
    member.send("joined").await;
    talk(socket, topic, member).await
}

async fn talk(mut socket: WebSocket, topic: Topic, member: Membership) -> Result {
    loop {
        tokio::select! {
            message = socket.recv() => match message? {
                Some(message) => topic.send_except(&member, message).await?,
                None => return Ok(()),
            },
            // Not by the topic, where it might have to make room itself.
            missed = member.lagged() => socket.send(format!("missed {missed}")).await?,
        }
    }
}

impl Node {
    pub(crate) fn new(hub: Hub) -> Self {
        let server = Server::new();
        let served = hub.clone();
        let client = Client::builder().http2_only().connector(move |_| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let hub = served.clone();
            tokio::spawn(server.serve_connection(far, websocket(move |socket| member(socket, hub.clone()))));
            std::future::ready(Ok(near))
        });
        Self { hub, client }
    }

    pub(crate) fn on(broker: &Broker) -> Self {
        Self::with(broker, Hub::builder())
    }

    pub(crate) fn with(broker: &Broker, options: HubBuilder) -> Self {
        Self::new(options.with(broker.connect()))
    }

    pub(crate) fn topic(&self, name: &str) -> Topic {
        self.hub.topic(name).unwrap()
    }

    /// A socket that may not have joined yet.
    pub(crate) async fn open(&self, topic: &str) -> WebSocket {
        self.client.open(&format!("ws://test/{topic}")).await.unwrap()
    }

    pub(crate) async fn join(&self, topic: &str) -> WebSocket {
        let mut socket = self.open(topic).await;
        assert_eq!(next(&mut socket).await, "joined".into());
        socket
    }
}

/// What comes next, within a virtual minute or two.
pub(crate) async fn next(socket: &mut WebSocket) -> Message {
    timeout(Duration::from_secs(200), socket.recv()).await.expect("a message").unwrap().expect("no end")
}

pub(crate) async fn texts(socket: &mut WebSocket, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(next(socket).await.as_text().unwrap().to_owned());
    }
    texts
}

/// Nothing comes for so long.
pub(crate) async fn silence(socket: &mut WebSocket, time: Duration) {
    let heard = timeout(time, socket.recv()).await;
    assert!(heard.is_err(), "{heard:?}");
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
