//! What an attacker writes and reads: octets, without any check of them.

mod connection;
pub mod fields;
pub mod frames;
mod http1;
mod pipe;
mod seen;
pub mod websocket;

pub use connection::{Connection, Reading, h2};
pub use http1::{Http1, http1, upgrade as upgrade_with};
pub use pipe::{Pipe, any_certificate};
pub use seen::{Ended, Seen};
