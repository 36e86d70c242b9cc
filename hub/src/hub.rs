//! A hub: topics by name, and the two tasks that speak to the backplane.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::archive::Archive;
use crate::backplane::{Backplane, Event};
use crate::builder::HubBuilder;
use crate::counters::{Counts, HubCounter};
use crate::envelope::{Envelope, Kind, Source};
use crate::error::Error;
use crate::linger::Lingering;
use crate::name::{node_channel, topic_channel};
use crate::presence::Requests;
use crate::queue::{Queue, Queued, Task};
use crate::quiet::Quiet;
use crate::state::TopicState;
use crate::topic::Topic;

/// Topics by name, whose members may be on any machine. A clone is the same hub; one is enough for a process.
///
/// It ends with its last clone, topic and membership, and not before it has told others how much it has sent: up to 126 seconds after
/// its last message.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) node: u64,
    pub(crate) options: HubBuilder,
    pub(crate) counts: Counts,
    archive: Mutex<Archive>,
    pub(crate) lingering: Lingering,
    topics: Mutex<HashMap<Arc<str>, Weak<TopicState>>>,
    pub(crate) remote: Option<Remote>,
    began: Instant,
    /// Lives begun, and requests made: each has a number of its own.
    numbers: AtomicU32,
}

/// What there is where there is a backplane.
pub(crate) struct Remote {
    pub(crate) node: u64,
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) quiet: Quiet,
    pub(crate) requests: Requests,
    is_up: AtomicBool,
    ended: Arc<Notify>,
}

impl Hub {
    /// A hub without a backplane, with every option's default: its topics have the members of this process.
    pub fn local() -> Self {
        Self::builder().local()
    }

    /// A hub over NATS, with every option's default. See [`Nats`](crate::Nats).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "nats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
    pub fn nats(client: async_nats::Client) -> Self {
        Self::builder().nats(client)
    }

    /// A hub over a server of Redis or Valkey, with every option's default. See [`Redis`](crate::Redis), also for a cluster.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub fn redis(client: redis::Client) -> Self {
        Self::builder().redis(client)
    }

    /// A hub over a backplane, with every option's default.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn with(backplane: impl Backplane) -> Self {
        Self::builder().with(backplane)
    }

    /// The options of a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    pub(crate) fn new(options: HubBuilder, backplane: Option<Box<dyn Backplane>>) -> Self {
        // Two runs never have the same: one number in 2^64 for each of a service's machines.
        let node = rand::random();
        let remote = backplane.map(|backplane| Remote::new(node, backplane.into(), &options));
        let shared = Arc::new(Shared {
            node,
            options,
            counts: Counts::default(),
            archive: Mutex::default(),
            lingering: Lingering::default(),
            topics: Mutex::default(),
            remote,
            began: Instant::now(),
            numbers: AtomicU32::new(0),
        });
        if let Some(remote) = &shared.remote {
            let (queue, backplane) = (remote.queue.clone(), remote.backplane.clone());
            let keeps = shared.options.history.is_some() && backplane.keeps();
            tokio::spawn(publish(Arc::downgrade(&shared), queue, backplane, keeps));
            tokio::spawn(receive(Arc::downgrade(&shared), remote.backplane.clone(), remote.ended.clone()));
            tokio::spawn(tell_positions(Arc::downgrade(&shared)));
            remote.queue.control(Task::Subscribe(node_channel(remote.node).into()));
        }
        Self(shared)
    }

    /// The topic of this name, which is there as long as somebody holds it. It costs nothing to ask for it again.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTopic`] for a name that is empty, has more than [`MAX_NAME`](crate::MAX_NAME) octets or a control character. A
    /// name that a client has sent may be any other: it is escaped.
    pub fn topic(&self, name: &str) -> Result<Topic, Error> {
        let channel = topic_channel(name)?;
        let mut topics = self.0.topics();
        if let Some(state) = topics.get(channel.as_str()).and_then(Weak::upgrade) {
            return Ok(Topic(state));
        }
        let state = Arc::new(TopicState::new(self.0.clone(), channel.into()));
        topics.insert(state.channel.clone(), Arc::downgrade(&state));
        Ok(Topic(state))
    }

    /// How often something has happened so far.
    pub fn counter(&self, counter: HubCounter) -> u64 {
        self.0.counts.get(counter)
    }

    /// Topics that somebody holds, or that have members, or were sent to a moment ago.
    pub fn topics(&self) -> usize {
        self.0.topics().len()
    }

    /// Messages that wait to be given to the backplane, and their octets.
    pub fn queued(&self) -> (usize, usize) {
        self.0.remote.as_ref().map_or((0, 0), |remote| remote.queue.len())
    }

    /// Whether the backplane is connected, as far as is known; always, where there is none.
    pub fn is_up(&self) -> bool {
        self.0.remote.as_ref().is_none_or(Remote::is_up)
    }

    /// All that is counted, in the text format that Prometheus scrapes (version 0.0.4): each [`HubCounter`] as
    /// `sockeye_hub_<name>_total`, and as gauges `sockeye_hub_topics`, `sockeye_hub_queued_messages`, `sockeye_hub_queued_octets` and
    /// `sockeye_hub_up`. To be put behind that of [`Handle`](sockeye::Handle).
    pub fn prometheus(&self) -> String {
        let (messages, octets) = self.queued();
        self.0.counts.prometheus(&[
            ("topics", "Topics that are held here.", self.topics() as u64),
            ("queued_messages", "Messages that wait to be given to the backplane.", messages as u64),
            ("queued_octets", "Octets of the messages that wait to be given to the backplane.", octets as u64),
            ("up", "Whether the backplane is connected: 1 or 0.", u64::from(self.is_up())),
        ])
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0.remote.as_ref().map(|remote| remote.node);
        f.debug_struct("Hub").field("node", &node).field("topics", &self.topics()).finish_non_exhaustive()
    }
}

impl Remote {
    fn new(node: u64, backplane: Arc<dyn Backplane>, options: &HubBuilder) -> Self {
        Self {
            node,
            backplane,
            queue: Arc::new(Queue::new(options.bounds)),
            quiet: Quiet::default(),
            requests: Requests::default(),
            // What was handed over may not be connected yet. A message waits then, and is no error.
            is_up: AtomicBool::new(true),
            ended: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// What is for the node alone, or asks others. The number is that of a request.
    pub(crate) fn note(&self, kind: Kind, number: u64) -> Bytes {
        Envelope { kind, source: Source { node: self.node, life: 0 }, number, age: 0 }.encode(&[])
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<TopicState>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn archive(&self) -> MutexGuard<'_, Archive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other life and no other request of this node has.
    pub(crate) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Microseconds since the hub began.
    pub(crate) fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// A topic is held by nobody any more, unless it was asked for again just now.
    pub(crate) fn forget(&self, channel: &str) {
        let mut topics = self.topics();
        if topics.get(channel).is_some_and(|topic| topic.strong_count() == 0) {
            topics.remove(channel);
            if topics.capacity() > 64 && topics.len() < topics.capacity() / 8 {
                topics.shrink_to_fit();
            }
        }
    }

    /// Gives something to the backplane, as far as there is room.
    pub(crate) fn queue(&self, remote: &Remote, channel: &Arc<str>, payload: Bytes) -> Queued {
        let queued = remote.queue.message(channel, payload);
        match queued {
            Queued::Taken { dropped: 0 } => {}
            Queued::Taken { dropped } => self.counts.add(HubCounter::QueueDropped, dropped),
            Queued::Dropped => self.counts.count(HubCounter::QueueDropped),
            Queued::Refused => self.counts.count(HubCounter::Refused),
        }
        queued
    }

    fn hear(&self, remote: &Remote, event: &Event<'_>) {
        match event {
            Event::Message { channel, payload } => self.hear_message(remote, channel, payload),
            Event::Connected => {
                remote.is_up.store(true, Ordering::Relaxed);
                // Not under the lock: the last to hold a topic gives it up, and with it its place.
                let topics: Vec<_> = self.topics().values().filter_map(Weak::upgrade).collect();
                tracing::debug!(topics = topics.len(), "the backplane is connected");
                topics.iter().for_each(|topic| topic.reconnected());
            }
            Event::Disconnected => {
                tracing::warn!("the backplane is not connected");
                remote.is_up.store(false, Ordering::Relaxed);
                self.counts.count(HubCounter::Disconnects);
            }
            Event::Refused(why) => {
                tracing::warn!(why, "the backplane refuses what it was asked");
                self.counts.count(HubCounter::BackplaneErrors);
            }
        }
    }

    fn hear_message(&self, remote: &Remote, channel: &str, payload: &Bytes) {
        let Some((envelope, payload)) = Envelope::decode(payload) else {
            self.counts.count(HubCounter::Malformed);
            return;
        };
        if envelope.kind == Kind::Counted {
            remote.requests.answer(&envelope);
            return;
        }
        let topic = self.topics().get(channel).and_then(Weak::upgrade);
        if let Some(topic) = topic {
            topic.hear(remote, &envelope, payload);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(remote) = &self.remote {
            remote.queue.close();
            remote.ended.notify_one();
        }
    }
}

/// What the publisher takes from the queue at once.
const AT_ONCE: usize = 64;

/// How long what waits for a backplane that is down outlasts its hub.
const GONE: Duration = Duration::from_secs(5);

/// Gives the backplane what there is for it. It alone waits where the backplane does not take it.
async fn publish(hub: Weak<Shared>, queue: Arc<Queue>, backplane: Arc<dyn Backplane>, keeps: bool) {
    let mut tasks = Vec::with_capacity(AT_ONCE);
    while queue.wait().await.is_some() {
        // What waits stays in the queue, which is bounded, until the backplane takes it.
        while timeout(GONE, backplane.ready()).await.is_err() {
            if hub.strong_count() == 0 {
                return;
            }
        }
        queue.take(&mut tasks, AT_ONCE);
        let mut published = 0;
        for task in tasks.drain(..) {
            let outcome = match task {
                Task::Subscribe(channel) => backplane.subscribe(&channel).await,
                Task::Unsubscribe(channel) => backplane.unsubscribe(&channel).await,
                Task::Publish(channel, mut waited) => {
                    published += 1;
                    let payload = waited.encoded().clone();
                    let kept = (keeps && Envelope::is_message(&payload)).then(|| payload.clone());
                    match (backplane.publish(&channel, payload).await, kept) {
                        (Ok(()), Some(kept)) => backplane.keep(&channel, kept).await,
                        (outcome, _) => outcome,
                    }
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the backplane refuses what it was asked");
                if let Some(hub) = hub.upgrade() {
                    hub.counts.count(HubCounter::BackplaneErrors);
                }
            }
        }
        if let Some(hub) = hub.upgrade() {
            hub.counts.add(HubCounter::Published, published);
        }
    }
}

/// Hears what comes, and gives it to the topics. Nothing here waits for a socket.
async fn receive(hub: Weak<Shared>, backplane: Arc<dyn Backplane>, ended: Arc<Notify>) {
    let mut hear = |event: Event<'_>| {
        if let Some(hub) = hub.upgrade()
            && let Some(remote) = &hub.remote
        {
            hub.hear(remote, &event);
        }
    };
    loop {
        tokio::select! {
            biased;
            () = ended.notified() => break,
            () = backplane.receive(&mut hear) => {}
        }
        // Whatever comes, others get their turn.
        tokio::task::consume_budget().await;
    }
    backplane.close().await;
}

/// How often it is looked for topics that have become quiet.
const TICK: Duration = Duration::from_millis(250);

/// Tells the positions of topics that were sent to and are quiet.
async fn tell_positions(hub: Weak<Shared>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(hub) = hub.upgrade() else { return };
        if let Some(remote) = &hub.remote {
            remote.quiet.tell();
        }
    }
}
