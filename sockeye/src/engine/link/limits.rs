//! What one connection may hold and how long it waits: every limit of it that is not its machine's, with its default.

use std::time::Duration;

/// What one connection may hold for its streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Octets in one stream's outbox beyond which a sender waits.
    pub(crate) stream_send: usize,
    /// Octets in all outboxes beyond which a sender waits unless its own outbox is empty.
    pub(crate) connection_send: usize,
    /// Octets of groups' messages that wait for members, beyond which who sends to a group waits. Each is held once, for however
    /// many members: so this is some seconds of a busy group, and a burst of thousands of small messages.
    pub(crate) group_send: usize,
    /// Octets of unfinished messages of all sockets beyond which large ones wait: see [`Budget`].
    pub(crate) unfinished_messages: usize,
    /// How long a tunnel's peer may take to end its half after we ended ours.
    pub(crate) close_timeout: Duration,
    /// The same for a peer that broke the tunnel's protocol.
    pub(crate) failed_timeout: Duration,
    /// Handlers of tunnels that may outlive their stream, each for `close_timeout`; past it the oldest is dropped. As many
    /// as a connection has streams may end all at once.
    pub(crate) outliving_handlers: usize,
    /// How long what is open may take to end once the connection drains; then it is cut off.
    pub(crate) shutdown_timeout: Duration,
    /// How long a transport may take none of what there is to write.
    pub(crate) write_timeout: Duration,
    /// When silent WebSockets are asked for a sign of life; `None` never asks.
    pub(crate) pings: Option<PingTimes>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream_send: 64 * 1024,
            connection_send: 1024 * 1024,
            group_send: 2 * 1024 * 1024,
            unfinished_messages: 4 * 1024 * 1024,
            close_timeout: Duration::from_secs(5),
            failed_timeout: Duration::from_secs(1),
            shutdown_timeout: Duration::from_secs(5),
            outliving_handlers: 100,
            write_timeout: Duration::from_secs(60),
            pings: None,
        }
    }
}

impl Limits {
    /// A peer that broke the protocol gets no more time than others.
    pub(crate) fn set_close_timeout(&mut self, time: Duration) {
        self.close_timeout = time;
        self.failed_timeout = self.failed_timeout.min(time);
    }
}

/// After what silence a Ping is sent, and how much later its socket is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingTimes {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// A year: as good as never, and few enough ticks to count.
const LONGEST: Duration = Duration::from_secs(1 << 25);

impl PingTimes {
    /// None where no time is silence.
    pub(crate) fn new(interval: Duration, timeout: Duration) -> Option<Self> {
        (!interval.is_zero()).then(|| Self { interval: interval.min(LONGEST), timeout: timeout.min(LONGEST) })
    }
}
