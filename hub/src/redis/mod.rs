//! Redis or Valkey as the backplane, by the client of the crate `redis`.

mod arriving;
mod link;
mod writer;

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{Client, ProtocolVersion, RedisResult};
use sockeye::BoxError;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use self::arriving::{Arriving, Happened};
use self::link::Server;
use self::writer::{Ask, Writer};
use crate::backplane::{Backplane, BoxFuture, Event};
use crate::envelope::Aging;

/// Redis 7 or Valkey as a backplane: each topic is a channel, `PREFIX:TOPIC`, of pub/sub over RESP3.
///
/// One connection subscribes and publishes, so that the server has both in one order. It is made anew when it is lost: at once, and
/// then after waits that double up to 4 seconds, each of a random length, so that not all machines come at once. What the server has not
/// confirmed is published again then; the hub leaves out what had come. A server that says nothing for 5 seconds is taken for lost.
///
/// Redis tells nobody what it drops: subscribers whose connection takes nothing (32 MiB, or 8 MiB for a minute, as
/// `client-output-buffer-limit` has it) are cut off, and while a node is not connected nothing is kept for it. Members are told how
/// much that was.
///
/// ```no_run
/// use sockeye_hub::{Hub, Redis};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::redis(redis::Client::open("redis://127.0.0.1:6379")?);
///
/// let nodes = ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"];
/// let cluster = Redis::cluster(redis::cluster::ClusterClient::builder(nodes))?;
/// let hub = Hub::with(cluster.prefix("shop"));
/// # Ok(())
/// # }
/// ```
pub struct Redis {
    server: Server,
    prefix: String,
    is_sharded: bool,
    max_payload: usize,
    asked: mpsc::UnboundedSender<Ask>,
    room: Arc<Semaphore>,
    /// Whether there is a connection.
    is_up: watch::Sender<bool>,
    arriving: Mutex<Arriving>,
}

/// Octets that may be on their way to the server and unconfirmed. A message that is larger is alone.
const UNCONFIRMED: usize = 1 << 20;

/// What a message is charged beside its payload.
const CHARGE: usize = 80;

/// Half of what a server keeps for a subscriber that does not read for a minute.
const MAX_PAYLOAD: usize = 4 << 20;

impl Redis {
    /// A backplane over one server, whose address, TLS and credentials the client has. It connects once it belongs to a hub, and goes on
    /// until it can. Always by RESP3, whatever the client says.
    pub fn new(client: Client) -> Self {
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Self::over(Server::One(info.set_redis_settings(settings)), false)
    }

    /// A backplane over a cluster, by [sharded](Self::sharded) pub/sub: each topic is on one of its shards, and its messages pass no other.
    /// While a shard has no primary the hub is not connected. Always by RESP3.
    ///
    /// # Errors
    ///
    /// What [`build`](ClusterClientBuilder::build) says of the options.
    pub fn cluster(client: ClusterClientBuilder) -> RedisResult<Self> {
        let client: ClusterClient = client.use_protocol(ProtocolVersion::RESP3).build()?;
        Ok(Self::over(Server::Cluster(Box::new(client)), true))
    }

    fn over(server: Server, is_sharded: bool) -> Self {
        let (asked, receiver) = mpsc::unbounded_channel();
        Self {
            server,
            prefix: "sockeye".to_owned(),
            is_sharded,
            max_payload: MAX_PAYLOAD,
            asked,
            room: Arc::new(Semaphore::new(UNCONFIRMED)),
            is_up: watch::Sender::new(false),
            arriving: Mutex::new(Arriving::new(receiver)),
        }
    }

    /// What its channels begin with, before a colon: services that share servers and not their topics have different ones. `sockeye`
    /// by default.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Publishes by SPUBLISH and subscribes by SSUBSCRIBE, whose channels are a name space of their own: all nodes of a service do, or none.
    /// A cluster always has it so.
    pub fn sharded(mut self) -> Self {
        self.is_sharded = true;
        self
    }

    /// Octets that a message may have, with 30 that the hub puts before it; 4 MiB by default. A server takes 512 MiB
    /// (`proto-max-bulk-len`), and cuts off each subscriber for which more than `client-output-buffer-limit` has to wait, 32 MiB at once: stay
    /// well below.
    pub fn max_payload(mut self, octets: usize) -> Self {
        self.max_payload = octets;
        self
    }

    fn channel(&self, channel: &str) -> String {
        format!("{}:{channel}", self.prefix)
    }

    fn ask(&self, ask: Ask) -> Result<(), BoxError> {
        self.asked.send(ask).map_err(|_| "the backplane is closed".into())
    }

    /// What gives the server all that is asked, once it is needed: then the options are made.
    fn start(&self, arriving: &mut Arriving) {
        if let Some(asked) = arriving.asked.take() {
            let inbox = arriving.inbox(&self.prefix);
            let writer = Writer::new(self.server.clone(), self.is_sharded, asked, inbox, self.is_up.clone());
            tokio::spawn(writer.run());
        }
    }
}

impl Backplane for Redis {
    fn max_payload(&self) -> usize {
        self.max_payload
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        let mut is_up = self.is_up.subscribe();
        Box::pin(async move { _ = is_up.wait_for(|is_up| *is_up).await })
    }

    fn subscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(ready(self.ask(Ask::Subscribe(self.channel(channel)))))
    }

    fn unsubscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(ready(self.ask(Ask::Unsubscribe(self.channel(channel)))))
    }

    fn publish<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let charge = (payload.len() + CHARGE).min(UNCONFIRMED);
            let room = self.room.clone().acquire_many_owned(charge as u32).await?;
            let payload = Aging::new(payload);
            self.ask(Ask::Publish { channel: self.channel(channel), payload, _room: room })
        })
    }

    fn receive<'a>(&'a self, hear: &'a mut (dyn FnMut(Event<'_>) + Send)) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut arriving = self.arriving.lock().await;
            self.start(&mut arriving);
            for happened in arriving.next().await {
                hear(match &happened {
                    Happened::Message { channel, payload } => Event::Message { channel, payload: payload.clone() },
                    Happened::Connected => Event::Connected,
                    Happened::Disconnected => Event::Disconnected,
                    Happened::Refused(why) => Event::Refused(why),
                });
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.arriving.lock().await.close() })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).field("sharded", &self.is_sharded).finish_non_exhaustive()
    }
}
