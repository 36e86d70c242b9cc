//! WebSockets over HTTP/2 (RFC 8441), and over HTTP/1.1 where they must be.
//!
//! [`serve`] runs any tower service on an HTTP/2 engine of its own, with HTTP/1.1 beside it on the same port; the service
//! that [`websocket`] makes from an async function answers handshakes, here or in hyper and axum.
//!
#![cfg_attr(all(feature = "http2", feature = "web-socket"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "http2", feature = "web-socket")), doc = "```ignore")]
//! use sockeye::{Result, WebSocket, serve, websocket};
//!
//! #[tokio::main]
//! async fn main() -> Result {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(listener, websocket(echo)).await
//! }
//!
//! async fn echo(mut socket: WebSocket) -> Result {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! - `http2`: HTTP/2 and the [`Server`], which also speaks HTTP/1.1.
//! - `web-socket`: [`WebSocket`]; over HTTP/2 where `http2` is on too.
//! - `deflate`: [`WebSocketService::deflate`], compressed messages.
//! - `tls`: [`Server::tls`].
//!
//! # Memory
//!
//! An idle socket owns no buffers. What one HTTP/2 connection can hold is at most
//!
//! ```text
//!   streams × (2 × window + send buffer + message + header list)
//! + streams × (64 KiB + window) of messages that are not whole
//! + 2 × unfinished messages + one message of the largest size     2 × 4 MiB + 1 MiB
//! + 2 × window pool                                               2 × 1.5 MiB
//! + 2 × 320 KiB of frames to send + 2 × 48.5 KiB being read
//! + 64 KiB of records, with TLS; 2 MiB of messages to groups, or one, and those whose senders wait
//! ```
//!
//! with a window of 64 KiB, a send buffer of 64 KiB per stream (1 MiB per connection, beyond which a stream holds one
//! message), a message of 1 MiB and a header list of 16 KiB (and some 100 octets for each field) at most, each by its
//! setting. Streams are those that are open, and closed ones whose handler has not ended yet
//! ([`max_closed_streams`](http2::Config::max_closed_streams), as many again by default): they hold what had arrived. A
//! message that is not whole holds 64 KiB and what one read brought without being counted; what it holds beyond
//! that shares [`unfinished_messages`](Server::unfinished_messages) with the others of its connection. There small and
//! middling messages pass large ones, and who makes no progress while others wait gives its place up. The memory reserved
//! for a message is at most twice what came of it, or, in pages that nothing was written to, sixteen times.
//!
//! A WebSocket keeps its request's header list, which HPACK may have brought in a few octets, and a second time once
//! [`request`](WebSocket::request) has been called. With
//! [compression](WebSocketService::deflate) an unfinished message may have an eighth more; what else that takes belongs
//! to the thread, unless its context is [kept](DeflateContext::takeover).

#[cfg(all(feature = "http2", feature = "web-socket"))]
mod client;
// The engine is one, whoever uses it: half of the crate alone uses a part of it. All else is cut where its features are.
#[cfg_attr(not(all(feature = "http2", feature = "web-socket")), allow(dead_code))]
mod engine;
mod error;
#[cfg(all(test, sockeye_model))]
mod model;
#[cfg(all(doctest, feature = "http2", feature = "web-socket"))]
#[doc = include_str!("../../README.md")]
mod readme {}
mod server;
#[cfg(feature = "web-socket")]
mod socket;

pub use engine::body::Body;
pub use engine::link::Side;
pub use engine::metrics::Counter;
pub use engine::peer::Peer;
pub use engine::registry::{ConnectionStats, Handle};
pub use error::{BoxError, Error, Fault, Result};
pub use sockeye_proto::{Protocol, Reason};

#[cfg(all(feature = "http2", feature = "web-socket"))]
pub use client::{Client, ClientBuilder, Open, connect};
#[cfg(feature = "web-socket")]
pub use engine::members::SlowMember;
#[cfg(feature = "http2")]
pub use server::{HttpService, Server, http2, serve};
#[cfg(feature = "web-socket")]
pub use server::{Upgrade, WebSocketService, websocket};
#[cfg(feature = "web-socket")]
pub use socket::{
    Group, GroupBuilder, GroupSend, Handler, Join, Member, MessageReader, MessageWriter, Outcome, Receiver, Sender,
    WebSocket,
};
#[cfg(feature = "web-socket")]
pub use sockeye_proto::ws::handshake::{Offer, OriginPolicy, Refusal};
#[cfg(feature = "web-socket")]
pub use sockeye_proto::ws::{
    CloseCode, CloseFrame, Config as WebSocketConfig, Extensions as WebSocketExtensions, Message, MessageKind,
};
#[cfg(feature = "deflate")]
pub use sockeye_proto::ws::{Deflate, DeflateContext};
