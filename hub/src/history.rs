//! How much a topic keeps of its last messages.

use std::time::Duration;

/// How much of its last messages a topic keeps for those that [come back](crate::Topic::follow): on each node in memory, and with a
/// [store](crate::Backplane::keeps) also there.
///
/// ```
/// use std::time::Duration;
/// use sockeye_hub::{History, Hub};
///
/// let hub = Hub::builder().history(History::new(100).age(Duration::from_secs(60))).local();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct History {
    /// Messages of a topic.
    pub messages: usize,
    /// Octets of a topic's messages.
    pub octets: usize,
    /// How long a message is kept.
    pub age: Duration,
    /// Octets of all topics' messages.
    pub total: usize,
}

impl History {
    /// So many of the last messages of each topic, as far as they have 256 KiB, for 5 minutes; of all topics 64 MiB.
    pub fn new(messages: usize) -> Self {
        Self { messages, octets: 256 << 10, age: Duration::from_secs(300), total: 64 << 20 }
    }

    /// Octets of a topic's messages, with some 80 for each. It is best less than what may [wait for a
    /// connection](sockeye::Limits::group_send_buffer): of what is more a socket that comes back misses the oldest.
    pub fn octets(mut self, octets: usize) -> Self {
        self.octets = octets;
        self
    }

    /// How long a message is kept. For as long a topic goes on to be heard whose last member has left, and the hub with it.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Octets of all topics' messages on a node. Where they would have more, the topic that has the most lets its oldest go, within a
    /// factor of two.
    pub fn total(mut self, octets: usize) -> Self {
        self.total = octets;
        self
    }

    pub(crate) fn age_micros(&self) -> u64 {
        u64::try_from(self.age.as_micros()).unwrap_or(u64::MAX)
    }
}
