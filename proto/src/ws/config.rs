/// The limits of one WebSocket. None of them is met by honest traffic.
///
/// ```
/// use sockeye_proto::ws::Config;
///
/// let config = Config::default().with(|config| config.max_message_size = 64 << 10);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Octets in a message, whole and decompressed: 1 MiB by default. A message of exactly this size passes; a longer one
    /// fails with 1009 at its length, before its payload, or as soon as so much of it is decompressed. It bounds what one
    /// socket can make us hold.
    pub max_message_size: usize,
    /// Octets in a message that is received in pieces, whole and decompressed: no limit by default, since nothing is held of
    /// such a message. A longer one fails with 1009 at its length, before its payload, or as soon as so much of it is
    /// decompressed.
    pub max_streamed_message_size: u64,
    /// Frames of any size in a message: 1024 by default. A message may have more if it has 256 octets for each of them so
    /// far; otherwise it fails with 1009. Each frame costs work and, if it is empty, counts for no octet; but how many a
    /// message is cut into grows with its size, by the buffers of whoever writes it. Of a message that is received in pieces
    /// only frames without an octet count, so many in a row: nothing else is held of its frames.
    pub max_fragments: u32,
    /// Pings that may come at once: 20 by default, then 1008. Each asks us for an answer that costs as much.
    pub ping_burst: u32,
    /// Pings per second in the long run: 10 by default, then 1008.
    pub pings_per_second: u32,
}

impl Config {
    /// These limits with some changed: there may be more of them in later versions, so that they cannot be listed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            max_streamed_message_size: u64::MAX,
            max_fragments: 1024,
            ping_burst: 20,
            pings_per_second: 10,
        }
    }
}
