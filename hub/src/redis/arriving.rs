//! What has come from the server and waits for the hub.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::writer::Ask;

/// Messages that may wait for the hub, and their octets: past that the newest are left out, and the hub finds their numbers missing.
const MAX_MESSAGES: usize = 65_536;
const MAX_OCTETS: usize = 32 << 20;

/// Messages that are heard at once.
const AT_ONCE: usize = 256;

pub(super) enum Happened {
    Message { channel: String, payload: Bytes },
    Connected,
    Disconnected,
    Refused(String),
}

/// The hub's end.
pub(super) struct Arriving {
    /// What the writer reads, until there is one.
    pub(super) asked: Option<mpsc::UnboundedReceiver<Ask>>,
    sender: Option<mpsc::Sender<Happened>>,
    receiver: mpsc::Receiver<Happened>,
    octets: Arc<AtomicUsize>,
}

/// The connection's end.
#[derive(Clone)]
pub(super) struct Inbox {
    /// What its channels begin with, and a colon.
    prefix: String,
    sender: mpsc::Sender<Happened>,
    octets: Arc<AtomicUsize>,
}

impl Arriving {
    pub(super) fn new(asked: mpsc::UnboundedReceiver<Ask>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        Self { asked: Some(asked), sender: Some(sender), receiver, octets: Arc::default() }
    }

    pub(super) fn inbox(&mut self, prefix: &str) -> Inbox {
        let sender = self.sender.take().unwrap_or_else(|| mpsc::channel(1).0);
        Inbox { prefix: format!("{prefix}:"), sender, octets: self.octets.clone() }
    }

    /// Waits for what comes next, and gives all that is there, as far as that is heard at once. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<Happened> {
        let mut all = Vec::new();
        if self.receiver.recv_many(&mut all, AT_ONCE).await == 0 {
            return pending().await;
        }
        let octets = all.iter().map(Happened::len).sum();
        self.octets.fetch_sub(octets, Ordering::Relaxed);
        all
    }

    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}

impl Inbox {
    /// Takes a message, as far as there is room. Never waits: it is called by what reads the connection.
    pub(super) fn message(&self, push: PushInfo) {
        let Some(message) = Happened::message(push, &self.prefix) else { return };
        let len = message.len();
        let before = self.octets.fetch_add(len, Ordering::Relaxed);
        if before + len > MAX_OCTETS && before > 0 || self.sender.try_send(message).is_err() {
            self.octets.fetch_sub(len, Ordering::Relaxed);
            tracing::debug!("a message has no room and is left out");
        }
    }

    /// Says what has become of the connection.
    pub(super) async fn say(&self, happened: Happened) {
        _ = self.sender.send(happened).await;
    }
}

impl Happened {
    fn message(push: PushInfo, prefix: &str) -> Option<Self> {
        let PushInfo { kind: PushKind::Message | PushKind::SMessage, data } = push else { return None };
        let Ok([Value::BulkString(channel), Value::BulkString(payload)]) = <[Value; 2]>::try_from(data) else {
            return None;
        };
        let channel = str::from_utf8(&channel).ok()?.strip_prefix(prefix)?.to_owned();
        Some(Self::Message { channel, payload: payload.into() })
    }

    fn len(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len(),
            Self::Connected | Self::Disconnected | Self::Refused(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(channel: &str, len: usize) -> PushInfo {
        let data = vec![Value::BulkString(channel.into()), Value::BulkString(vec![7; len])];
        PushInfo { kind: PushKind::Message, data }
    }

    async fn lens(arriving: &mut Arriving) -> Vec<usize> {
        arriving.next().await.iter().map(Happened::len).collect()
    }

    /// What a hub does not take in time is bounded in octets: the newest is left out, and there is room again once the oldest are heard.
    #[tokio::test]
    async fn what_waits_for_the_hub_is_bounded() {
        let mut arriving = Arriving::new(mpsc::unbounded_channel().1);
        let inbox = arriving.inbox("p");
        inbox.message(message("p:T", MAX_OCTETS - 10));
        inbox.message(message("p:T", 11));
        inbox.message(message("p:T", 10));
        assert_eq!(lens(&mut arriving).await, [MAX_OCTETS - 10, 10]);
        // One of any size, where none waits.
        inbox.message(message("p:T", MAX_OCTETS + 1));
        inbox.message(message("p:T", 1));
        assert_eq!(lens(&mut arriving).await, [MAX_OCTETS + 1]);
        for _ in 0..=MAX_MESSAGES {
            inbox.message(message("p:T", 1));
        }
        let mut heard = 0;
        while heard < MAX_MESSAGES {
            heard += lens(&mut arriving).await.len();
        }
        assert_eq!((heard, arriving.octets.load(Ordering::Relaxed)), (MAX_MESSAGES, 0));
    }

    /// What is on other channels, or is no message, goes nowhere.
    #[test]
    fn only_messages_of_its_channels_are_taken() {
        let of = |push| Happened::message(push, "p:");
        assert!(matches!(of(message("p:T", 1)), Some(Happened::Message { channel, .. }) if channel == "T"));
        assert!(of(message("q:T", 1)).is_none());
        assert!(of(PushInfo { kind: PushKind::Subscribe, ..message("p:T", 1) }).is_none());
        assert!(of(PushInfo { kind: PushKind::Message, data: vec![Value::Nil] }).is_none());
    }
}
