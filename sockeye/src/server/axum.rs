//! Handlers of axum that open WebSockets, over HTTP/2 and over HTTP/1.1.
//!
//! [`WebSocketUpgrade`] is an extractor that is used as `axum::extract::ws::WebSocketUpgrade` is, beside any other extractors,
//! on Sockeye's server and on `axum::serve`.
//!
#![cfg_attr(feature = "http2", doc = "```no_run")]
#![cfg_attr(not(feature = "http2"), doc = "```ignore")]
//! use axum::Router;
//! use axum::extract::{Path, State};
//! use axum::response::Response;
//! use axum::routing::any;
//! use sockeye::axum::WebSocketUpgrade;
//! use sockeye::{Group, Result, WebSocket};
//!
//! async fn enter(ws: WebSocketUpgrade, Path(name): Path<String>, State(room): State<Group>) -> Response {
//!     ws.protocols(["chat"]).max_message_size(16 * 1024).on_upgrade(move |socket| chat(socket, name, room))
//! }
//!
//! async fn chat(mut socket: WebSocket, name: String, room: Group) -> Result {
//!     let _member = room.join(&socket)?;
//!     while let Some(message) = socket.recv().await? {
//!         room.send(format!("{name}: {}", message.as_text().unwrap_or("(octets)"))).await;
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result {
//!     let app = Router::new().route("/chat/{name}", any(enter)).with_state(Group::new());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     sockeye::serve(listener, app).await // or axum::serve(listener, app)
//! }
//! ```
//!
//! # Route it by `any`, not by `get`
//!
//! Over HTTP/1.1 a WebSocket is opened by GET, over HTTP/2 by CONNECT (RFC 8441 §4). axum answers a CONNECT to a route of `get`
//! with 405 before any extractor runs. Then browsers, which open sockets over the HTTP/2 connection of the page wherever the
//! server offers that, lose their WebSockets. Sockeye's server logs it when it happens, once.
//!
//! # axum's own extractor
//!
//! `axum::extract::ws::WebSocketUpgrade` looks in the request for the private upgrade of the `hyper` crate. Sockeye's server has
//! one for it over HTTP/1.1. Over HTTP/2 there is none, so that axum's extractor answers 400 or 426 there, whatever the route;
//! that is logged too. The way out is the extractor of this module:
//!
//! | with axum's | here |
//! |---|---|
//! | `use axum::extract::ws::{WebSocketUpgrade, WebSocket, Message}` | `use sockeye::{WebSocket, Message, axum::WebSocketUpgrade}` |
//! | `get(handler)` | `any(handler)` |
//! | `socket.recv().await` gives `Option<Result<Message, _>>` | gives `Result<Option<Message>>`, for `while let Some(message) = socket.recv().await?` |
//! | `Message::Text(..)`, `Message::Binary(..)` | the same |
//! | `Message::Ping`, `Message::Pong` | answered without the handler; [`WebSocket::ping`](crate::WebSocket::ping) asks |
//! | `Message::Close(frame)` | `None`, and then [`WebSocket::close_frame`](crate::WebSocket::close_frame) |
//! | `socket.split()` of `futures_util` | the same, or [`WebSocket::split`](crate::WebSocket::split) for two tasks |
//! | a handler that returns `()` | `()` or a `Result`, of which an error closes the socket with 1011 |
//! | pages of any origin | pages of the same origin, or those that [`SocketOptions::origins`](crate::SocketOptions::origins) allows |
//! | `max_message_size`: 64 MiB | 1 MiB; larger ones are best [received in pieces](crate::WebSocket::recv_stream) |
//! | `on_failed_upgrade` | not needed: a handler whose response was not sent is dropped |
//! | `read_buffer_size`, `write_buffer_size`, `max_frame_size` | an idle socket has no buffers, and a frame needs no limit beside its message's |
//!
//! # Who the client is
//!
//! Sockeye's server fills `ConnectInfo<SocketAddr>` by itself, without `into_make_service_with_connect_info`, where the connection
//! has an address. `Extension<`[`Peer`]`>` tells more: the connection's number, its version of HTTP, whether TLS
//! protects it, the client's certificate, who connected by a Unix socket. On `axum::serve`, `ConnectInfo` is filled as axum's documentation says.

use std::fmt;
use std::future::Future;
use std::mem;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode, request};
#[cfg(feature = "deflate")]
use sockeye_proto::ws::Deflate;
use sockeye_proto::ws::handshake::{Offer, Refusal};

use crate::engine::peer::Peer;
use crate::server::upgrade::{Upgrade, read_offer};
use crate::socket::handler::Outcome;
use crate::socket::{SocketOptions, WebSocket};

/// An extractor for WebSocket handshakes, by extended CONNECT (RFC 8441 §5) or by an upgrade (RFC 6455 §4.2). See the
/// [module](self) for how to route it.
///
/// It may stand at any place among the extractors of a handler and leaves to the others all that they look for. A second one in
/// the same handler is rejected: there is one socket. Where the same route answers other requests too, extract
/// `Result<WebSocketUpgrade, WebSocketUpgradeRejection>`.
///
/// A handshake that was extracted and not accepted by [`on_upgrade`](Self::on_upgrade) is answered by whatever else the handler
/// returns.
#[derive(Debug)]
#[must_use = "a socket is opened by `on_upgrade`, whose response the handler returns"]
pub struct WebSocketUpgrade(Upgrade);

impl WebSocketUpgrade {
    /// The subprotocols spoken here (RFC 6455 §1.9). The client's first that is among them is taken; none if none is.
    pub fn protocols<S: Into<String>>(self, protocols: impl IntoIterator<Item = S>) -> Self {
        Self(self.0.protocols(protocols))
    }

    /// The subprotocols that the client offers, the preferred one first.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &str> {
        self.0.offer().protocols()
    }

    /// The subprotocol that is taken, by what [`protocols`](Self::protocols) was told before.
    pub fn selected_protocol(&self) -> Option<&str> {
        self.0.offer().select_protocol(&self.0.options.protocols)
    }

    /// Octets in a message, beyond which the socket fails with 1009. Default: 1 MiB.
    pub fn max_message_size(self, octets: usize) -> Self {
        Self(self.0.max_message_size(octets))
    }

    /// All that is settled of the socket, in place of what was said before.
    pub fn options(self, options: SocketOptions) -> Self {
        Self(self.0.options(options))
    }

    /// Compresses messages with clients that offer it; see [`WebSocketService::deflate`](crate::WebSocketService::deflate).
    #[cfg(feature = "deflate")]
    pub fn deflate(self, deflate: Deflate) -> Self {
        Self(self.0.deflate(deflate))
    }

    /// What the client offers: subprotocols, extensions, origin.
    pub fn offer(&self) -> &Offer {
        self.0.offer()
    }

    /// Accepts the socket, or refuses its origin with 403: the response is what the handler is to return. `callback` gets the
    /// socket once that response has been sent, and is dropped where another is sent in its place.
    ///
    /// On Sockeye's own server it runs inside its connection's task, as [`websocket`](crate::websocket) says. Its result closes
    /// the socket: with 1000 after `()` and `Ok`, with 1011 after an error.
    pub fn on_upgrade<C, R>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> R + Send + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.0.accept(callback).map(Body::new)
    }
}

impl From<WebSocketUpgrade> for Upgrade {
    fn from(WebSocketUpgrade(upgrade): WebSocketUpgrade) -> Self {
        upgrade
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().cloned();
        let mut request = Request::new(());
        exchange(parts, &mut request);
        let upgrade = Upgrade::from_shared_request(&mut request);
        // One that cannot be taken is refused as what asks for no socket.
        let is_handshake = upgrade.is_err() && matches!(read_offer(&mut request), Ok(Some(_)));
        exchange(parts, &mut request);
        match upgrade {
            Ok(upgrade) => {
                if let Some(peer) = peer {
                    // Others may ask where the request came from, and hold no stream for that.
                    parts.extensions.insert(Peer { cell: None, ..peer });
                }
                Ok(Self(upgrade))
            }
            Err(refusal) => {
                let reason = if is_handshake { Reason::NotUpgradable } else { Reason::Refused(refusal) };
                Err(WebSocketUpgradeRejection { reason, method: parts.method.clone() })
            }
        }
    }
}

/// Exchanges the head of a request with that of another.
fn exchange(parts: &mut request::Parts, request: &mut Request<()>) {
    mem::swap(&mut parts.method, request.method_mut());
    mem::swap(&mut parts.uri, request.uri_mut());
    mem::swap(&mut parts.version, request.version_mut());
    mem::swap(&mut parts.headers, request.headers_mut());
    mem::swap(&mut parts.extensions, request.extensions_mut());
}

/// Why there is no [`WebSocketUpgrade`] for a request: the answer that it turns into says what the client has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketUpgradeRejection {
    reason: Reason,
    /// Of the request, which an answer depends on.
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// No handshake, or a wrong one.
    Refused(Refusal),
    /// The server gave no way to take the stream over, or another extractor took it.
    NotUpgradable,
}

impl WebSocketUpgradeRejection {
    /// The rule that the request breaks. `None` for a handshake on a connection that cannot be upgraded: its server gave no way
    /// to, or another extractor has taken it.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.reason {
            Reason::Refused(refusal) => Some(refusal),
            Reason::NotUpgradable => None,
        }
    }

    /// The status of the answer. A request that asks for no WebSocket gets 426 (HTTP/1.1) or 405 (HTTP/2), a wrong handshake 400.
    pub fn status(&self) -> StatusCode {
        match self.reason {
            Reason::Refused(refusal) => refusal.status(),
            Reason::NotUpgradable => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// The text of the answer.
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Refused(refusal) => refusal.fmt(f),
            Reason::NotUpgradable => f.write_str("This connection cannot become a WebSocket, or has become one."),
        }
    }
}

impl std::error::Error for WebSocketUpgradeRejection {}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        match self.reason {
            Reason::Refused(refusal) => refusal.response_to(&self.method).map(Body::from),
            Reason::NotUpgradable => (self.status(), self.body_text()).into_response(),
        }
    }
}

/// Tells handlers of axum where a request came from.
#[cfg(feature = "http2")]
pub(super) fn tell_address<B>(request: &mut Request<B>) {
    if let Some(address) = request.extensions().get::<Peer>().and_then(Peer::addr) {
        request.extensions_mut().insert(ConnectInfo(address));
    }
}

/// Takes out again what a socket would keep for nothing: it knows its peer's address.
pub(super) fn forget_address(extensions: &mut http::Extensions) {
    extensions.remove::<ConnectInfo<SocketAddr>>();
}
