//! What a hub counts.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters once: the enum, all of it, and the names.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// How often something happened in a hub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum HubCounter {
            $($(#[doc = $doc])* $variant,)*
        }

        impl HubCounter {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in snake case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is counted, in a sentence.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

counters! {
    /// Messages that were sent to topics on this node.
    Sent => "sent",
    /// Messages and notes that were given to the backplane.
    Published => "published",
    /// Messages of other nodes that came for members here.
    Received => "received",
    /// Messages of other nodes that never came, of which members were told.
    Missed => "missed",
    /// Messages that came a second time, and went no further.
    Doubles => "doubles",
    /// What came on a topic and is no message of a hub of this version.
    Malformed => "malformed",
    /// Messages that had no place in the queue to the backplane and were dropped from it.
    QueueDropped => "queue_dropped",
    /// Messages that no other node got, of which the sender was told: the queue was full, or the backplane down.
    Refused => "refused",
    /// Messages above what the backplane takes, of which the sender was told.
    TooLarge => "too_large",
    /// What the backplane refused to publish or to subscribe to.
    BackplaneErrors => "backplane_errors",
    /// Times that the connection to the backplane was lost.
    Disconnects => "disconnects",
    /// Joins that were given up, as no marker came back in time.
    JoinTimeouts => "join_timeouts",
    /// Messages that are not kept any more since those of all topics together would be too large.
    HistoryDisplaced => "history_displaced",
    /// Topics that nobody was at and that were to be heard for some time still, but are not since there were too many.
    TopicsDisplaced => "topics_displaced",
}

#[derive(Debug)]
pub(crate) struct Counts([AtomicU64; HubCounter::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; HubCounter::ALL.len()])
    }
}

impl Counts {
    pub(crate) fn count(&self, counter: HubCounter) {
        self.add(counter, 1);
    }

    pub(crate) fn add(&self, counter: HubCounter, n: u64) {
        self.0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: HubCounter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }

    /// In the text format that Prometheus scrapes, with gauges of what there is now.
    pub(crate) fn prometheus(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        for counter in HubCounter::ALL {
            let (name, help) = (counter.name(), counter.help());
            _ = write!(text, "# HELP sockeye_hub_{name}_total {help}\n# TYPE sockeye_hub_{name}_total counter\n");
            _ = writeln!(text, "sockeye_hub_{name}_total {}", self.get(*counter));
        }
        for (name, help, value) in gauges {
            _ = write!(text, "# HELP sockeye_hub_{name} {help}\n# TYPE sockeye_hub_{name} gauge\n");
            _ = writeln!(text, "sockeye_hub_{name} {value}");
        }
        text
    }
}
