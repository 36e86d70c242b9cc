//! A backplane in memory, with faults as they are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sockeye::{BoxError, Bytes};
use sockeye_hub::History;
use sockeye_hub::backplane::{Backplane, BoxFuture, Event};
use tokio::sync::mpsc;

/// What all nodes are connected to. It delivers in order, and never what it does not lose late.
#[derive(Clone, Default)]
pub(crate) struct Broker(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    links: Vec<Link>,
    faults: Faults,
    random: u64,
    /// What each channel's messages are kept in, where they are.
    store: Option<HashMap<String, Vec<Bytes>>>,
    /// It does not answer.
    is_store_stuck: bool,
}

/// Of a thousand deliveries, how many are lost, and how many come twice.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

struct Link {
    sender: mpsc::UnboundedSender<Happens>,
    /// How often each was asked for.
    subscriptions: HashMap<String, u32>,
    is_up: bool,
    /// What was published while it was down, which goes out later, as with the client of NATS.
    held: VecDeque<(String, Bytes)>,
    /// Nothing is taken: whoever publishes waits.
    is_stuck: bool,
}

enum Happens {
    Message(String, Bytes),
    Connected,
    Disconnected,
}

impl Broker {
    pub(crate) fn new(seed: u64) -> Self {
        let broker = Self::default();
        broker.inner().random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        broker
    }

    /// One that keeps messages.
    pub(crate) fn with_store(seed: u64) -> Self {
        let broker = Self::new(seed);
        broker.inner().store = Some(HashMap::new());
        broker
    }

    pub(crate) fn set_store_stuck(&self) {
        self.inner().is_store_stuck = true;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A node's connection; nodes are numbered in the order of this.
    pub(crate) fn connect(&self) -> Connection {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.inner();
        let link = Link { sender, subscriptions: HashMap::new(), is_up: true, held: VecDeque::new(), is_stuck: false };
        inner.links.push(link);
        Connection { broker: self.clone(), node: inner.links.len() - 1, receiver: tokio::sync::Mutex::new(receiver) }
    }

    pub(crate) fn faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// Topics that a node is subscribed to, its own channel left out.
    pub(crate) fn subscriptions(&self, node: usize) -> Vec<(String, u32)> {
        let inner = self.inner();
        let all = inner.links[node].subscriptions.iter().map(|(channel, count)| (channel.clone(), *count));
        all.filter(|(channel, _)| channel.starts_with('T')).collect()
    }

    /// A node's connection goes, or comes back: with what was published meanwhile, and without what was to come.
    pub(crate) fn set_up(&self, node: usize, is_up: bool) {
        let mut inner = self.inner();
        inner.links[node].is_up = is_up;
        let happens = if is_up { Happens::Connected } else { Happens::Disconnected };
        _ = inner.links[node].sender.send(happens);
        if is_up {
            let held = std::mem::take(&mut inner.links[node].held);
            held.iter().for_each(|(channel, payload)| inner.publish(node, channel, payload));
        }
    }

    pub(crate) fn set_stuck(&self, node: usize, is_stuck: bool) {
        self.inner().links[node].is_stuck = is_stuck;
    }

    /// What others put on a node's channels.
    pub(crate) fn inject(&self, channel: &str, payload: &[u8]) {
        let inner = self.inner();
        for link in &inner.links {
            _ = link.sender.send(Happens::Message(channel.to_owned(), Bytes::copy_from_slice(payload)));
        }
    }
}

impl Inner {
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % n
    }

    fn publish(&mut self, node: usize, channel: &str, payload: &Bytes) {
        if !self.links[node].is_up {
            self.links[node].held.push_back((channel.to_owned(), payload.clone()));
            return;
        }
        for to in 0..self.links.len() {
            let copies = match self.below(1000) {
                chance if chance < self.faults.lost => 0,
                chance if chance < self.faults.lost + self.faults.doubled => 2,
                _ => 1,
            };
            let link = &self.links[to];
            if link.is_up && link.subscriptions.contains_key(channel) {
                for _ in 0..copies {
                    _ = link.sender.send(Happens::Message(channel.to_owned(), payload.clone()));
                }
            }
        }
    }
}

pub(crate) struct Connection {
    broker: Broker,
    node: usize,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<Happens>>,
}

/// What a message may have.
pub(crate) const MAX_PAYLOAD: usize = 100_000;

impl Backplane for Connection {
    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            while self.broker.inner().links[self.node].is_stuck {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    }

    fn subscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        *self.broker.inner().links[self.node].subscriptions.entry(channel.to_owned()).or_default() += 1;
        Box::pin(async { Ok(()) })
    }

    fn unsubscribe<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        self.broker.inner().links[self.node].subscriptions.remove(channel);
        Box::pin(async { Ok(()) })
    }

    fn publish<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            while self.broker.inner().links[self.node].is_stuck {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.broker.inner().publish(self.node, channel, &payload);
            Ok(())
        })
    }

    fn keeps(&self) -> bool {
        self.broker.inner().store.is_some()
    }

    fn keep<'a>(&'a self, channel: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        if let Some(store) = &mut self.broker.inner().store {
            store.entry(channel.to_owned()).or_default().push(payload);
        }
        Box::pin(async { Ok(()) })
    }

    fn kept<'a>(&'a self, channel: &'a str, _: History) -> BoxFuture<'a, Result<Vec<(Bytes, Duration)>, BoxError>> {
        Box::pin(async move {
            let kept = self.broker.inner().store.as_ref().and_then(|store| store.get(channel).cloned());
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.broker.inner().is_store_stuck {
                std::future::pending::<()>().await;
            }
            Ok(kept.unwrap_or_default().into_iter().map(|octets| (octets, Duration::ZERO)).collect())
        })
    }

    fn receive<'a>(&'a self, hear: &'a mut (dyn FnMut(Event<'_>) + Send)) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self.receiver.lock().await.recv().await {
                Some(Happens::Message(channel, payload)) => hear(Event::Message { channel: &channel, payload }),
                Some(Happens::Connected) => hear(Event::Connected),
                Some(Happens::Disconnected) => hear(Event::Disconnected),
                None => std::future::pending().await,
            }
        })
    }
}
