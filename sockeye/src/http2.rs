//! The low-level way: one HTTP/2 connection over any transport, its streams one by one.
//!
#![cfg_attr(feature = "web-socket", doc = "```no_run")]
#![cfg_attr(not(feature = "web-socket"), doc = "```ignore")]
//! use sockeye::{Limits, Result, http2};
//!
//! async fn accept(transport: tokio::net::TcpStream) -> Result {
//!     let mut connection = http2::Connection::accept(transport, Limits::new());
//!     while let Some(stream) = connection.next().await? {
//!         if stream.protocol().is_none() {
//!             stream.respond(http::Response::new("only WebSockets here".to_owned())).await;
//!             continue;
//!         }
//!         // What is no handshake, or a wrong one, has been told so.
//!         let Ok(mut socket) = stream.into_websocket() else { continue };
//!         socket.send("hello").await?;
//!         socket.close().await?;
//!     }
//!     Ok(())
//! }
//! ```

pub use sockeye_proto::Reason;
pub use sockeye_proto::h2::Violation;

pub use crate::server::http2::{Connection, Stream};
