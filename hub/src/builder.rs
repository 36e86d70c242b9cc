//! The options of a hub.

use std::time::Duration;

use sockeye::Group;
use sockeye::socket::GroupBuilder;

use crate::backplane::Backplane;
use crate::history::History;
use crate::hub::Hub;
use crate::queue::{Bounds, Overflow};

/// What becomes of a message that is sent while the backplane is not connected. Members on this node get it either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenDown {
    /// It waits in the queue, as far as there is room.
    #[default]
    Queue,
    /// The sender gets [`Error::Down`](crate::Error::Down), and members on other nodes hear nothing.
    Error,
}

/// The options of a [`Hub`].
///
/// ```
/// use sockeye_hub::{Hub, Overflow};
///
/// let hub = Hub::builder().queue(1 << 20, 10_000).overflow(Overflow::Error).local();
/// ```
#[derive(Clone, Debug)]
#[must_use = "options make a hub by `local`, `nats`, `redis` or `with`"]
pub struct HubBuilder {
    pub(crate) bounds: Bounds,
    pub(crate) when_down: WhenDown,
    pub(crate) join_timeout: Duration,
    pub(crate) presence_wait: Duration,
    pub(crate) group: GroupBuilder,
    pub(crate) history: Option<History>,
}

impl Default for HubBuilder {
    fn default() -> Self {
        Self {
            // A second of a fast publisher's messages; as many octets as are no matter to a server.
            bounds: Bounds { octets: 16 << 20, messages: 65_536, overflow: Overflow::default() },
            when_down: WhenDown::default(),
            // Longer than a reconnect to another server of a cluster takes.
            join_timeout: Duration::from_secs(5),
            presence_wait: Duration::from_millis(250),
            group: Group::builder(),
            history: None,
        }
    }
}

impl HubBuilder {
    /// How much may wait to be given to the backplane, in octets (with some 80 for each message) and in messages: 16 MiB and 65,536
    /// by default. A message that is larger waits where no other does. The backplane's client may hold some more.
    pub fn queue(mut self, octets: usize, messages: usize) -> Self {
        self.bounds = Bounds { octets, messages: messages.max(1), ..self.bounds };
        self
    }

    /// What becomes of a message where the queue is full; by default the [oldest](Overflow::DropOldest) makes room.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.bounds.overflow = overflow;
        self
    }

    /// What becomes of a message while the backplane is not connected; by default it [waits](WhenDown::Queue).
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// How long a join waits until the backplane has the topic's subscription; 5 seconds by default.
    pub fn join_timeout(mut self, time: Duration) -> Self {
        self.join_timeout = time;
        self
    }

    /// How long [`Topic::all_members`](crate::Topic::all_members) waits for other nodes' answers; 250 milliseconds by default.
    pub fn presence_wait(mut self, time: Duration) -> Self {
        self.presence_wait = time;
        self
    }

    /// The options of each topic's group on this node: how long its senders here wait for slow members, and what becomes of those.
    pub fn group(mut self, group: GroupBuilder) -> Self {
        self.group = group;
        self
    }

    /// What topics keep of their last messages, for sockets that [come back](crate::Topic::follow); by default nothing.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// A hub without a backplane: its topics have the members of this process.
    pub fn local(self) -> Hub {
        Hub::new(self, None)
    }

    /// A hub over a backplane.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, on which its two tasks run.
    pub fn with(self, backplane: impl Backplane) -> Hub {
        Hub::new(self, Some(Box::new(backplane)))
    }

    /// A hub over NATS: [`with`](Self::with) a [`Nats`](crate::Nats) that has every option's default.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[cfg(feature = "nats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
    pub fn nats(self, client: async_nats::Client) -> Hub {
        self.with(crate::Nats::new(client))
    }

    /// A hub over a server of Redis or Valkey: [`with`](Self::with) a [`Redis`](crate::Redis) that has every option's default.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub fn redis(self, client: redis::Client) -> Hub {
        self.with(crate::Redis::new(client))
    }
}
