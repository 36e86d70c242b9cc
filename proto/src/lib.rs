//! The protocols of Sockeye, without I/O: HPACK (RFC 7541), HTTP/2 (RFC 9113) and WebSocket (RFC 6455), with the
//! extended CONNECT that joins them (RFC 8441), and the one exchange of HTTP/1.1 that opens a WebSocket (RFC 9112).
//!
//! No machine here opens a socket, reads a clock or draws a random number: the caller hands in bytes, instants and
//! keys. Every machine speaks one grammar: `handle_*` comes from the network or the clock, `poll_*` goes out, a plain
//! verb is a command of the application, and a noun is a getter. `handle_*` never fails: what a peer does wrong becomes
//! bytes to send and one event.

// On docs.rs each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// `clippy.toml` lists what would be input or output. Unit tests may look at the clock.
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros))]

#[cfg(feature = "http2")]
mod connection_option;
mod content_length;
mod loan;
#[cfg(feature = "http2")]
mod machine;
mod protocol;
#[cfg(feature = "http2")]
mod pump;
#[cfg_attr(not(any(feature = "http2", feature = "web-socket")), allow(dead_code))]
mod rate;
#[cfg(all(doctest, feature = "http2"))]
#[doc = include_str!("../README.md")]
mod readme {}
mod reason;
mod tls_alert;
#[cfg(feature = "http2")]
mod unread;
pub mod uri;

#[cfg(feature = "http2")]
pub mod h1;
#[cfg(feature = "http2")]
pub mod h2;
#[cfg(feature = "http2")]
pub mod hpack;
#[cfg(feature = "web-socket")]
pub mod ws;

pub use content_length::{InvalidContentLength, content_length};
pub use loan::Loan;
#[cfg(feature = "http2")]
pub use machine::{Machine, MachineStream};
pub use protocol::Protocol;
#[cfg(feature = "http2")]
pub use pump::{Pump, Step};
pub use rate::Rate;
pub use reason::Reason;
pub use tls_alert::is_tls_alert;
