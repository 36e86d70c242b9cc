//! What a server or a client tells of itself while it runs: its connections, what was counted, and where a request came from.

pub use crate::engine::link::Side;
pub use crate::engine::metrics::Counter;
#[cfg(feature = "tls")]
pub use crate::engine::peer::Certificates;
pub use crate::engine::peer::{Credentials, Peer};
pub use crate::engine::registry::{ConnectionStats, Handle};
