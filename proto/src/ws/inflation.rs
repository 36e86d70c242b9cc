#[cfg(feature = "deflate")]
use std::sync::OnceLock;
#[cfg(feature = "deflate")]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "deflate")]
use std::time::Instant;

#[cfg(feature = "deflate")]
use super::Violation;
use crate::Rate;

/// Octets that one octet of compressed payload may become at no charge.
#[cfg(feature = "deflate")]
const FREE_RATIO: usize = 64;

/// How much more than what came messages may decompress to (RFC 7692), for one socket or for all sockets of a connection.
///
/// DEFLATE makes up to 1032 octets of one, and each of them is work for whoever reads it. Up to 64 octets for each that came are
/// free: JSON comes to 20 or 30, logs to twice that. What is beyond that is surplus, and is taken out of a bucket: by default of 64 MiB, which fills by
/// 16 MiB a second. That is a megabyte of zeros sixteen times a second, for ever. A message that the bucket has no room for is
/// decompressed no further than it had, and fails its socket with 1008. A socket without a limit that it shares gets one of its
/// own, of 48 octets, with its first compressed message.
///
/// ```
/// use std::sync::Arc;
///
/// use sockeye_proto::Rate;
/// use sockeye_proto::ws::{Config, Inflation, Role, WebSocket};
///
/// let all = Arc::new(Inflation::new(Rate { burst: 1 << 20, per_second: 1 << 20 }));
/// let socket = WebSocket::new(Role::Server, Config::default()).with_inflation(all.clone());
/// ```
#[derive(Debug)]
pub struct Inflation {
    rate: Rate,
    /// When it was first asked.
    #[cfg(feature = "deflate")]
    start: OnceLock<Instant>,
    /// Octets of surplus that were taken, on the scale of those that the rate has given since the start: the bucket is full
    /// while this is behind. Sockets in several tasks may share it, and none of them waits for another.
    #[cfg(feature = "deflate")]
    taken: AtomicU64,
}

impl Inflation {
    /// The default limit, in octets of surplus.
    pub const DEFAULT: Rate = Rate { burst: 64 << 20, per_second: 16 << 20 };

    /// A limit of so many octets of surplus at once, and so many each second.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            #[cfg(feature = "deflate")]
            start: OnceLock::new(),
            #[cfg(feature = "deflate")]
            taken: AtomicU64::new(0),
        }
    }

    /// Octets of surplus at once and each second.
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

#[cfg(feature = "deflate")]
impl Inflation {
    /// Octets that a payload of so many octets may be decompressed to now.
    pub(super) fn allowed(&self, payload: usize, now: Instant) -> usize {
        let available = self.available(self.given(now));
        payload.saturating_mul(FREE_RATIO).saturating_add(usize::try_from(available).unwrap_or(usize::MAX))
    }

    /// A payload was decompressed; an error where that was more than was allowed.
    pub(super) fn take(&self, payload: usize, inflated: usize, now: Instant) -> Result<(), Violation> {
        let surplus = inflated.saturating_sub(payload.saturating_mul(FREE_RATIO)) as u64;
        if surplus == 0 {
            return Ok(());
        }
        let given = self.given(now);
        let available = self.available(given);
        let more = |taken: u64| Some(taken.max(given).saturating_add(surplus.min(available)));
        // It always has a value to set.
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok();
        if surplus <= available { Ok(()) } else { Err(Violation::InflatedTooMuch) }
    }

    /// Octets that the rate has given since the start.
    fn given(&self, now: Instant) -> u64 {
        let start = self.start.get_or_init(|| now);
        let nanoseconds = now.saturating_duration_since(*start).as_nanos();
        let given = nanoseconds.saturating_mul(self.rate.per_second.into()) / 1_000_000_000;
        u64::try_from(given).unwrap_or(u64::MAX)
    }

    /// Octets that are in the bucket.
    fn available(&self, given: u64) -> u64 {
        u64::from(self.rate.burst).saturating_sub(self.taken.load(Ordering::Relaxed).saturating_sub(given))
    }
}

impl Default for Inflation {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
