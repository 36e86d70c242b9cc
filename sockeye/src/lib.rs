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
//! - `deflate`: [`SocketOptions::deflate`], compressed messages.
//! - `tls`: [`Server::tls`].
#![cfg_attr(
    feature = "prometheus",
    doc = "- `prometheus`: [`Handle::prometheus`], what is counted as Prometheus reads it."
)]
#![cfg_attr(
    not(feature = "prometheus"),
    doc = "- `prometheus`: `Handle::prometheus`, what is counted as Prometheus reads it."
)]
#![cfg_attr(
    feature = "axum",
    doc = "- `axum`: [`axum::WebSocketUpgrade`], an extractor for its handlers, and `ConnectInfo`."
)]
#![cfg_attr(
    not(feature = "axum"),
    doc = "- `axum`: `axum::WebSocketUpgrade`, an extractor for its handlers, and `ConnectInfo`."
)]
//! - `tungstenite`: [`Message`] and [`CloseFrame`] from and to those of the crate `tungstenite`.
//!
//! # In axum
//!
//! A `Router` takes [`websocket`] by `route_service`, and [`serve`] takes a `Router`. The feature `axum` has an extractor for handlers
//! that look at more of the request: route them by `any`, since over HTTP/2 the method of a socket is CONNECT. axum's own
//! `WebSocketUpgrade` works on Sockeye's server over HTTP/1.1 alone, for it looks for an upgrade of the `hyper` crate.
//!
//! # Tests in memory
//!
//! A handler needs no network to be tested: the two ends of a [`tokio::io::duplex`] are a connection, on one of which
//! [`Server::serve_connection`] answers, and a client's [`connector`](ClientBuilder::connector) takes the other. Everything between is
//! as on a network, over either version of HTTP; under `#[tokio::test(start_paused = true)]` timeouts pass at once.
//!
#![cfg_attr(all(feature = "http2", feature = "web-socket"), doc = "```")]
#![cfg_attr(not(all(feature = "http2", feature = "web-socket")), doc = "```ignore")]
//! use sockeye::{Client, Result, Server, WebSocket, websocket};
//!
//! async fn shout(mut socket: WebSocket) -> Result {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message.as_text().unwrap_or_default().to_uppercase()).await?;
//!     }
//!     Ok(())
//! }
//!
//! // In a test: #[tokio::test]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result {
//!     let server = Server::new();
//!     let client = Client::builder().http2_only().connector(move |_| {
//!         let (near, far) = tokio::io::duplex(64 * 1024);
//!         tokio::spawn(server.serve_connection(far, websocket(shout)));
//!         std::future::ready(Ok(near))
//!     });
//!     let mut socket = client.open("ws://test/").await?;
//!     socket.send("hello").await?;
//!     assert_eq!(socket.recv().await?, Some("HELLO".into()));
//!     socket.close().await
//! }
//! ```
//!
//! # Memory
//!
//! An idle socket owns no buffers. What one HTTP/2 connection can hold besides its idle sockets is at most
//!
//! ```text
//!   what was received and not read: max_unread                            2.25 MiB
//! + streams × window, of what handlers have just begun to read            1.7 MiB
//! + 2 × unfinished messages + 1/4 × connection send buffer                7 MiB
//! + 1/8 × each of both                                                    0.9 MiB
//! + one message of the largest size that comes, one that goes             2 MiB
//! + header lists: kept_heads                                              1 MiB
//! + 320 KiB of frames to send, 97 KiB being read, 64 KiB with TLS         0.5 MiB
//! + where sockets are in groups: group_send_buffer                        2 MiB
//! ```
//!
//! which is 15.3 MiB with the settings of `sockeye serve` (1024 streams; messages of 1 MiB; heads of 1 MiB, where a `Server`
//! has 2 MiB by default), and 19.7 MiB with 100,000 streams, or 17.3 MiB with groups, and 21.7 MiB with both,
//! each by its setting ([`max_unread`](Limits::max_unread),
//! [`unfinished_messages`](Limits::unfinished_messages), [`connection_send_buffer`](Limits::connection_send_buffer),
//! [`group_send_buffer`](Limits::group_send_buffer)). The window of a stream is small where there may be many, so that
//! all fit into `max_unread`, and grows for a handler that keeps up. `sockeye/tests/bound.rs` holds attacks without groups to
//! 16 MiB.
//!
//! - Unfinished messages may hold twice their budget, and what waits to be sent the connection send buffer, but not both: what
//!   the ones hold beyond their budget is taken from the others' room down to a quarter, and the other way round.
//! - A peer that does not read what it is sent is not read from: see
//!   [`connection_send_buffer`](Limits::connection_send_buffer). What a handler itself makes up to be sent, and holds while it
//!   waits for room, is its own.
//! - Of unfinished messages small and middling ones pass large ones, and who makes no progress while others wait gives its place
//!   up. The memory reserved for a message is at most twice what came of it, or, in pages that nothing was written to, sixteen times.
//! - A handler that goes on after its stream ended keeps what had arrived: there are as many such streams at most
//!   ([`max_closed_streams`](Limits::max_closed_streams)) as there may be open.
//! - What waits for members of groups is held once for all members of a connection.
//!
//! Header lists, which HPACK may have brought in a few octets each, take [`kept_heads`](Limits::kept_heads) together (2 MiB):
//! those of requests that the service holds, trailers, and what a WebSocket keeps of its request beyond 128 octets, for what
//! the sockets of a connection have in common is kept once. Once [`request`](WebSocket::request) has been called a socket has
//! its list a second time, of which 4 KiB are not counted. With
//! [compression](SocketOptions::deflate) an unfinished message may have an eighth more; what else that takes belongs
//! to the thread, unless its context is [kept](DeflateContext::takeover).
//!
//! All of it is freed when its connection is over. How much of that a process gives back to the system is its allocator's affair,
//! and the C library of most Linux systems keeps most of it: a server that may have seen many connections at once should take an
//! allocator that gives back, such as jemalloc with its background threads, as the program `sockeye` does.

// On docs.rs each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doctest, feature = "http2", feature = "web-socket"))]
#[doc = include_str!("../README.md")]
mod about {}
// Every feature that a snippet of the book uses.
#[cfg(all(doctest, feature = "http2", feature = "tls", feature = "axum", feature = "deflate"))]
mod book;
#[cfg(all(feature = "http2", feature = "web-socket"))]
pub mod client;
// The engine is one, whoever uses it: half of the crate alone uses a part of it. All else is cut where its features are.
#[cfg_attr(not(all(feature = "http2", feature = "web-socket")), allow(dead_code))]
mod engine;
pub mod error;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "http2")]
mod limits;
#[cfg(all(test, sockeye_model))]
mod model;
pub mod observe;
pub mod prelude;
#[cfg(all(doctest, feature = "http2", feature = "web-socket"))]
#[doc = include_str!("../../README.md")]
mod readme {}
pub mod server;
#[cfg(feature = "web-socket")]
pub mod socket;

pub use bytes::Bytes;
#[cfg(feature = "web-socket")]
pub use bytestring::ByteString;
pub use http;
#[cfg(feature = "tls")]
pub use rustls;

pub use engine::body::Body;
pub use error::{BoxError, Error, Fault, Result};
#[cfg(feature = "http2")]
pub use limits::Limits;
pub use observe::{ConnectionStats, Counter, Handle, Peer, Side};
pub use sockeye_proto::{Protocol, Rate, Reason};

#[cfg(all(feature = "http2", feature = "web-socket"))]
pub use client::{Client, ClientBuilder, Open, connect};
#[cfg(feature = "axum")]
pub use server::axum;
#[cfg(feature = "http2")]
pub use server::{HttpService, Server, serve};
#[cfg(feature = "web-socket")]
pub use server::{Upgrade, WebSocketService, websocket};
#[cfg(feature = "web-socket")]
pub use socket::{
    CloseCode, CloseFrame, Group, Message, MessageKind, OriginPolicy, Refusal, SocketOptions, Tunnel, WebSocket,
};
#[cfg(feature = "deflate")]
pub use socket::{Deflate, DeflateContext};
