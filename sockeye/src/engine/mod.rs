//! A connection and its streams, for either role and either version of HTTP: knows no WebSocket, no server and no client.

pub(crate) mod admission;
pub(crate) mod body;
pub(crate) mod budget;
pub(crate) mod buffers;
pub(crate) mod content;
#[cfg(feature = "http2")]
pub(crate) mod date;
pub(crate) mod driver;
pub(crate) mod heads;
pub(crate) mod link;
#[cfg(feature = "http2")]
pub(crate) mod machine;
pub(crate) mod members;
pub(crate) mod metrics;
pub(crate) mod peer;
#[cfg(feature = "prometheus")]
mod prometheus;
pub(crate) mod pulse;
pub(crate) mod read_ahead;
pub(crate) mod registry;
#[cfg(feature = "http2")]
pub(crate) mod relay;
#[cfg(feature = "tls")]
pub(crate) mod sealed;
#[cfg(any(feature = "http2", feature = "web-socket"))]
pub(crate) mod sending;
pub(crate) mod slice;
pub(crate) mod stream;
pub(crate) mod switch;
pub(crate) mod sync;
#[cfg(feature = "http2")]
pub(crate) mod transport;
pub(crate) mod tunnel;
pub(crate) mod watches;

/// The time, by the clock that tokio's timers go by.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
