//! The gateway between real connections on loopback.

mod common;
mod dying;
mod ends;
mod handshakes;
mod hostile;
mod http;
mod http2;
mod interim;
mod kept;
mod orderly;
mod relay;
mod router;
mod streams;
