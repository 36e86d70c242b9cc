//! The accepting side: listeners and connections, tower services and how they are answered, and handshakes that become
//! WebSockets, in a server of ours or in hyper's.

#[cfg(feature = "http2")]
mod accepted;
#[cfg(feature = "http2")]
mod accepting;
#[cfg(feature = "http2")]
mod admission;
#[cfg(feature = "http2")]
mod answer;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "http2")]
mod builder;
#[cfg(feature = "web-socket")]
mod early;
#[cfg(feature = "http2")]
mod hints;
#[cfg(feature = "http2")]
mod http1;
#[cfg(feature = "http2")]
pub(crate) mod http2;
#[cfg(feature = "http2")]
mod interim;
#[cfg(feature = "http2")]
mod last;
#[cfg(feature = "http2")]
mod lent;
#[cfg(feature = "http2")]
mod listener;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "web-socket")]
mod relayed;
#[cfg(feature = "web-socket")]
mod service;
#[cfg(feature = "http2")]
mod single;
#[cfg(feature = "http2")]
mod steps;
#[cfg(all(feature = "http2", feature = "web-socket"))]
mod takeover;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "web-socket")]
mod upgrade;
#[cfg(feature = "web-socket")]
mod way;

#[cfg(feature = "http2")]
pub use answer::HttpService;
#[cfg(feature = "http2")]
pub use builder::{Server, serve};
#[cfg(feature = "http2")]
pub use interim::Interim;
#[cfg(feature = "http2")]
pub use listener::{Listener, Listeners};
#[cfg(feature = "web-socket")]
pub use service::{WebSocketService, websocket};
#[cfg(feature = "web-socket")]
pub use upgrade::Upgrade;
