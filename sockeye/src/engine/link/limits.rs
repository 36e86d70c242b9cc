//! What one connection may hold and how long it waits: every limit of it that is not its machine's, with its default.

use std::time::Duration;

use sockeye_proto::Rate;
use sockeye_proto::ws::Inflation;

/// What one connection may hold for its streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Octets in one stream's outbox beyond which a sender waits.
    pub(crate) stream_send: usize,
    /// Octets that wait to be sent, on all streams together, beyond which a sender waits unless its own outbox is empty. Three
    /// quarters of it are a [crowd](super::Link::is_crowded).
    pub(crate) connection_send: usize,
    /// Octets of groups' messages that wait for members, beyond which who sends to a group waits. Each is held once, for however
    /// many members: so this is some seconds of a busy group, and a burst of thousands of small messages.
    pub(crate) group_send: usize,
    /// Octets of unfinished messages of all sockets beyond which large ones wait: see [`Budget`].
    pub(crate) unfinished_messages: usize,
    /// Octets of memory that heads take which came and are held, beyond which a new stream is refused: see
    /// [`heads`](crate::engine::heads).
    pub(crate) kept_heads: usize,
    /// Octets that the messages of all WebSockets may decompress to beyond 64 times what came.
    pub(crate) inflation: Rate,
    /// How long a tunnel's peer may take to end its half after we ended ours.
    pub(crate) close_timeout: Duration,
    /// The same for a peer that broke the tunnel's protocol.
    pub(crate) failed_timeout: Duration,
    /// Handlers of tunnels that may outlive their stream, each for `close_timeout`; past it the oldest is dropped. As many
    /// as a connection has streams may end all at once.
    pub(crate) outliving_handlers: usize,
    /// Octets that a connection reads of its peer, and drops, once it is over; then it is closed without what is on its way.
    pub(crate) linger: usize,
    /// How long what is open may take to end once the connection drains; then it is cut off.
    pub(crate) shutdown_timeout: Duration,
    /// How long a transport may take to take 16 KiB, or all there is to write.
    pub(crate) write_timeout: Duration,
    /// How long a peer may take for 16 KiB, or for the rest, of a message or of content that has begun.
    pub(crate) receive_timeout: Duration,
    /// How long a connection may be without a request and without a stream.
    pub(crate) idle_timeout: Duration,
    /// How long one poll of a connection's task takes, give or take a batch.
    pub(crate) slice: Duration,
    /// How long a handler may block its thread before that is told and counted.
    pub(crate) watchdog: Duration,
    /// When silent WebSockets are asked for a sign of life; `None` never asks.
    pub(crate) pings: Option<PingTimes>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream_send: 64 * 1024,
            connection_send: 4 * 1024 * 1024,
            group_send: 2 * 1024 * 1024,
            unfinished_messages: 3 * 1024 * 1024,
            kept_heads: 2 * 1024 * 1024,
            inflation: Inflation::DEFAULT,
            close_timeout: Duration::from_secs(5),
            failed_timeout: Duration::from_secs(1),
            linger: 4 * 1024 * 1024,
            shutdown_timeout: Duration::from_secs(5),
            outliving_handlers: 100,
            write_timeout: Duration::from_secs(60),
            receive_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            slice: Duration::from_micros(200),
            watchdog: Duration::from_secs(1),
            pings: None,
        }
    }
}

/// Octets that a peer must take, or send, in each time that is given to it for progress: less than 300 a second.
pub(crate) const MIN_PROGRESS: usize = 16 << 10;

/// As good as no slice.
const LONGEST_SLICE: Duration = Duration::from_secs(3600);

impl Limits {
    /// Octets that may wait on streams which got something to read while much waited.
    pub(crate) fn late(&self) -> usize {
        (self.connection_send / 8).max(self.stream_send)
    }

    pub(crate) fn set_slice(&mut self, time: Duration) {
        self.slice = time.min(LONGEST_SLICE);
    }

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
