//! The names that nearly every program needs, for one import.
//!
#![cfg_attr(all(feature = "http2", feature = "web-socket"), doc = "```")]
#![cfg_attr(not(all(feature = "http2", feature = "web-socket")), doc = "```ignore")]
//! use sockeye::prelude::*;
//!
//! async fn echo(mut socket: WebSocket) -> Result {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! async fn run(listener: tokio::net::TcpListener) -> Result {
//!     serve(listener, websocket(echo)).await
//! }
//! ```

#[cfg(all(feature = "http2", feature = "web-socket"))]
pub use crate::client::{Client, connect};
pub use crate::error::{Error, Result};
#[cfg(feature = "http2")]
pub use crate::server::{Server, serve};
#[cfg(feature = "web-socket")]
pub use crate::server::{Upgrade, websocket};
#[cfg(feature = "web-socket")]
pub use crate::socket::{Group, Message, SocketOptions, WebSocket};
