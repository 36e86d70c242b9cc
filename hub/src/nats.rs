//! NATS as the backplane, by the client of the crate `async-nats`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::stream;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable, FutureExt as _};
use futures_util::stream::{SelectAll, StreamExt as _};
use sockeye::BoxError;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::backplane::{Backplane, BoxFuture, Event};
use crate::history::History;
use crate::store::Store;

/// NATS as a backplane: each topic is a subject, `PREFIX.SHARD.TOPIC`, of core NATS.
///
/// The client is made by whoever uses this, with its TLS, credentials and servers; it reconnects by itself. Two of its options matter:
///
/// - `subscription_capacity` (65,536): messages that may wait for the hub for each topic. Past that the client drops the
///   newest, and members are told.
/// - `client_capacity` (2,048): messages that it takes before it has written them, beside the hub's own queue. While it is known not to be
///   connected it is given none.
///
/// ```no_run
/// use sockeye_hub::{Hub, Interest, Nats};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = async_nats::ConnectOptions::new().subscription_capacity(1 << 18).connect("nats://127.0.0.1:4222").await?;
/// let hub = Hub::with(Nats::new(client).prefix("shop").interest(Interest::Shards));
/// # Ok(())
/// # }
/// ```
pub struct Nats {
    client: Client,
    prefix: String,
    interest: Interest,
    store: Option<Store>,
    subscriptions: Mutex<HashMap<String, Subscribed>>,
    new: mpsc::UnboundedSender<Abortable<Subscriber>>,
    arriving: tokio::sync::Mutex<Arriving>,
}

/// What a node subscribes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interest {
    /// Each topic that has members here, and nothing else comes. The client takes some 5 kB for each.
    #[default]
    Topics,
    /// Each shard that has such a topic: one of 256 parts of all topics, by the hash of the name. There are 256 subscriptions at most
    /// however many topics there are, and what other topics of those shards get comes as well and is left out here. For
    /// machines with more than some ten thousand topics.
    Shards,
}

/// Shards: with so many subscriptions a client takes 2 MB. Whoever has some thousands of topics has some of each, with more of them too.
const SHARDS: u32 = 256;

/// How often the connection is looked at: the client tells of its state nobody who has not made it.
const LOOK: Duration = Duration::from_millis(100);

/// Messages that are heard at once.
const AT_ONCE: usize = 256;

struct Subscribed {
    channels: u32,
    handle: AbortHandle,
}

struct Arriving {
    subscribers: SelectAll<Abortable<Subscriber>>,
    new: mpsc::UnboundedReceiver<Abortable<Subscriber>>,
    look: Option<Interval>,
    link: Link,
}

/// The connection, as it was last seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// Up, for the how manieth time.
    Up(u64),
}

impl Nats {
    /// A backplane over a client that is connected, or is about to be; its subjects begin with `sockeye`.
    pub fn new(client: Client) -> Self {
        let (new, receiver) = mpsc::unbounded_channel();
        let arriving = Arriving { subscribers: SelectAll::new(), new: receiver, look: None, link: Link::of(&client) };
        Self {
            client,
            prefix: "sockeye".to_owned(),
            interest: Interest::default(),
            store: None,
            subscriptions: Mutex::default(),
            new,
            arriving: tokio::sync::Mutex::new(arriving),
        }
    }

    /// What its subjects begin with: services that share servers and not their topics have different ones. One token or more, with
    /// dots between.
    ///
    /// # Panics
    ///
    /// Where it is no subject: empty, with a wildcard, white space, or a dot at either end or beside another.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let is_token =
            |token: &str| !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c == '*' || c == '>');
        assert!(
            prefix.split('.').all(is_token),
            "the prefix {prefix:?} is no subject of NATS: tokens with dots between, no wildcards"
        );
        self.prefix = prefix;
        self
    }

    /// What a node subscribes to; by default each of its [topics](Interest::Topics).
    pub fn interest(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self
    }

    /// Keeps messages in a stream of JetStream, where nodes find what was sent before they heard of a topic; the hub needs a
    /// [history](crate::HubBuilder::history). A stream of this name is taken as it is, or made so, with subjects of the prefix and `-kept`. It
    /// says for how long and where messages are kept: `max_messages_per_subject` of each topic, `max_age`, `max_bytes`, `storage`,
    /// `num_replicas`. Each message goes to the server a second time, for the stream.
    ///
    /// ```no_run
    /// use async_nats::jetstream::stream::Config;
    /// use sockeye_hub::{History, Hub, Nats};
    ///
    /// # async fn run(client: async_nats::Client) {
    /// let stream = Config { name: "topics".into(), max_messages_per_subject: 100, ..Config::default() };
    /// let hub = Hub::builder().history(History::new(100)).with(Nats::new(client).jetstream(stream));
    /// # }
    /// ```
    pub fn jetstream(mut self, stream: stream::Config) -> Self {
        self.store = Some(Store::new(self.client.clone(), stream));
        self
    }

    /// Where the stream has what is kept of a channel.
    fn kept_subject(&self, channel: &str) -> String {
        format!("{}-kept.{}.{channel}", self.prefix, shard(channel))
    }

    fn subject(&self, channel: &str) -> String {
        format!("{}.{}.{channel}", self.prefix, shard(channel))
    }

    /// What is subscribed to for a channel.
    fn subscription(&self, channel: &str) -> String {
        match self.interest {
            Interest::Topics => self.subject(channel),
            Interest::Shards => format!("{}.{}.*", self.prefix, shard(channel)),
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<String, Subscribed>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// FNV-1a: any node has the same, whatever made it.
fn shard(channel: &str) -> u32 {
    channel.bytes().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)) % SHARDS
}

impl Link {
    fn of(client: &Client) -> Self {
        match client.connection_state() {
            State::Connected => Self::Up(client.statistics().connects.load(Ordering::Relaxed)),
            State::Pending | State::Disconnected => Self::Down,
        }
    }
}

impl Backplane for Nats {
    fn max_payload(&self) -> usize {
        // Before it is connected the client knows of no limit: that of a server as it comes.
        match self.client.max_payload() {
            0 => 1 << 20,
            max => max,
        }
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The client would take 2,048 messages of any size, and subscriptions without end.
            while self.client.connection_state() != State::Connected {
                sleep(LOOK).await;
            }
        })
    }

    fn subscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let subject = self.subscription(channel);
            if let Some(subscribed) = self.subscriptions().get_mut(&subject) {
                subscribed.channels += 1;
                return Ok(());
            }
            let subscriber = self.client.subscribe(subject.clone()).await?;
            let (handle, registration) = AbortHandle::new_pair();
            self.subscriptions().insert(subject, Subscribed { channels: 1, handle });
            _ = self.new.send(Abortable::new(subscriber, registration));
            Ok(())
        })
    }

    fn unsubscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let subject = self.subscription(channel);
        let mut subscriptions = self.subscriptions();
        if let Some(subscribed) = subscriptions.get_mut(&subject) {
            subscribed.channels -= 1;
            if subscribed.channels == 0 {
                // The stream ends where it is read, and with it the subscription.
                subscribed.handle.abort();
                subscriptions.remove(&subject);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn publish<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        let subject = self.subject(channel);
        Box::pin(async move { Ok(self.client.publish(subject, payload).await?) })
    }

    fn keeps(&self) -> bool {
        self.store.is_some()
    }

    fn keep<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        let subject = self.kept_subject(channel);
        Box::pin(async move {
            if let Some(store) = &self.store {
                store.ensure(&self.prefix).await;
            }
            Ok(self.client.publish(subject, payload).await?)
        })
    }

    fn kept<'a>(
        &'a self,
        channel: &'a str,
        history: History,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Duration)>, BoxError>> {
        let subject = self.kept_subject(channel);
        Box::pin(async move {
            match &self.store {
                Some(store) => store.read(&self.prefix, &subject, history).await,
                None => Ok(Vec::new()),
            }
        })
    }

    fn receive<'a>(&'a self, hear: &'a mut (dyn FnMut(Event<'_>) + Send)) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut arriving = self.arriving.lock().await;
            let Arriving { subscribers, new, look, link } = &mut *arriving;
            let look = look.get_or_insert_with(|| {
                let mut look = interval(LOOK);
                look.set_missed_tick_behavior(MissedTickBehavior::Delay);
                look
            });
            tokio::select! {
                biased;
                _ = look.tick() => {
                    let before = std::mem::replace(link, Link::of(&self.client));
                    if before != *link {
                        // It may have been lost and found between two looks.
                        if before != Link::Down {
                            hear(Event::Disconnected);
                        }
                        if *link != Link::Down {
                            hear(Event::Connected);
                        }
                    }
                }
                Some(subscriber) = new.recv() => subscribers.push(subscriber),
                Some(message) = subscribers.next() => {
                    let mut next = Some(message);
                    for _ in 0..AT_ONCE {
                        let Some(message) = next else { break };
                        if let Some((_, channel)) = message.subject.rsplit_once('.') {
                            hear(Event::Message { channel, payload: message.payload });
                        }
                        next = subscribers.next().now_or_never().flatten();
                    }
                    if let Some(message) = next
                        && let Some((_, channel)) = message.subject.rsplit_once('.')
                    {
                        hear(Event::Message { channel, payload: message.payload });
                    }
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut arriving = self.arriving.lock().await;
            arriving.new.close();
            while arriving.new.try_recv().is_ok() {}
            arriving.subscribers = SelectAll::new();
        })
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("prefix", &self.prefix).field("interest", &self.interest).finish_non_exhaustive()
    }
}
