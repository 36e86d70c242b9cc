//! What a WebSocket's endpoint settles: one set of options for services, upgrades and clients.

use std::time::Duration;

use sockeye_proto::Rate;
use sockeye_proto::ws::handshake::OriginPolicy;
use sockeye_proto::ws::{Config, Extensions};

/// What an endpoint settles of a WebSocket: subprotocols, origins, extensions, and what the peer may send.
///
/// One value serves every place where a socket is opened or accepted: [`WebSocketService::options`], [`Upgrade::options`],
/// [`Open::options`], and [`ClientBuilder::options`] for all sockets of a client. What all sockets of a connection share, its
/// Pings and timeouts among it, stands in [`Limits`].
///
/// ```
/// use sockeye::{OriginPolicy, Result, SocketOptions, WebSocket, websocket};
///
/// async fn chat(mut socket: WebSocket) -> Result {
///     socket.send("welcome").await
/// }
/// let options = SocketOptions::new()
///     .protocols(["chat.v2", "chat.v1"])
///     .origins(OriginPolicy::List(vec!["https://example.com".into()]))
///     .max_message_size(64 * 1024);
/// let service = websocket(chat).options(options);
/// ```
///
/// [`WebSocketService::options`]: crate::server::WebSocketService::options
/// [`Upgrade::options`]: crate::Upgrade::options
/// [`Open::options`]: crate::client::Open::options
/// [`ClientBuilder::options`]: crate::client::ClientBuilder::options
/// [`Limits`]: crate::Limits
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SocketOptions {
    pub(crate) protocols: Vec<String>,
    pub(crate) protocol: Agreement,
    pub(crate) origins: OriginPolicy,
    pub(crate) config: Config,
    pub(crate) extensions: Extensions,
    pub(crate) key: Key,
    pub(crate) answer_timeout: AnswerTimeout,
}

/// Whether a socket opens without a subprotocol in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Agreement {
    #[default]
    Welcome,
    Required,
}

/// Where a client sends a `Sec-WebSocket-Key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Key {
    /// Over HTTP/1.1 alone, where RFC 6455 §4.1 asks for it.
    #[default]
    OverHttp1,
    Always,
}

/// Time for a server's answer to a handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerTimeout(#[cfg_attr(not(feature = "http2"), allow(dead_code))] pub(crate) Duration);

impl Default for AnswerTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl SocketOptions {
    /// No subprotocol, no extension, pages of the same origin alone, and every limit at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Subprotocols (RFC 6455 §1.9), the preferred one first. A server speaks them: the client's first that is among them is
    /// taken, none if none is. A client offers them; [`WebSocket::protocol`](crate::WebSocket::protocol) says which was taken.
    #[must_use]
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Opens no socket without one of the [`protocols`](Self::protocols). A server refuses a client that offers none of them with
    /// 400, also one that offers none at all; a client gives a socket up, with
    /// [`Error::Handshake`](crate::Error::Handshake), whose server chose none. Off by default, as RFC 6455 §4.2.2 has it.
    #[must_use]
    pub fn require_protocol(mut self) -> Self {
        self.protocol = Agreement::Required;
        self
    }

    /// Server: whose pages may open sockets here (RFC 6455 §10.2); those of the same origin by default. Clients that name no
    /// origin are no browsers, and may.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }

    /// Octets in a message, whole and decompressed; 1 MiB by default. A message of exactly this size passes; a longer one fails
    /// the socket with 1009 at its length, before its payload, or as soon as so much of it is decompressed. It bounds what one
    /// socket can make us hold.
    #[must_use]
    pub fn max_message_size(mut self, octets: usize) -> Self {
        self.config.max_message_size = octets;
        self
    }

    /// Octets in a message that is received [in pieces](crate::WebSocket::recv_stream), whole and decompressed; no limit by
    /// default, since nothing is held of such a message. A longer one fails the socket with 1009.
    #[must_use]
    pub fn max_streamed_message_size(mut self, octets: u64) -> Self {
        self.config.max_streamed_message_size = octets;
        self
    }

    /// Frames of any size in a message; 1024 by default. A message may have more if it has 256 octets for each of them so far;
    /// otherwise it fails the socket with 1009. Of a message that is received in pieces only frames without an octet count,
    /// so many in a row.
    #[must_use]
    pub fn max_fragments(mut self, frames: u32) -> Self {
        self.config.max_fragments = frames;
        self
    }

    /// Pings that the peer may send; 20 at once, then 10 a second by default. Each asks us for an answer that costs as much. Past it
    /// the socket fails with 1008.
    #[must_use]
    pub fn max_pings(mut self, rate: Rate) -> Self {
        self.config.ping_burst = rate.burst;
        self.config.pings_per_second = rate.per_second;
        self
    }

    /// Compresses messages where both sides are willing to (`permessage-deflate`, RFC 7692), as browsers are;
    /// [`WebSocket::extensions`](crate::WebSocket::extensions) says what is in use. Off by default: to compress a message of 128
    /// octets takes some 8 µs, twenty times what all else about it does, and saves 30 octets; it pays for kilobytes of text that go
    /// far.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, deflate: sockeye_proto::ws::Deflate) -> Self {
        self.extensions.deflate = Some(deflate);
        self
    }

    /// Leaves out the masking of what the client sends, where both sides are willing to (`no-masking`). It is offered and
    /// accepted over TLS alone that ends here, never behind a proxy that decrypts. Off by default: masking guards proxies that
    /// read along (RFC 6455 §10.3), of which there are none inside of TLS.
    #[must_use]
    pub fn no_masking(mut self) -> Self {
        self.extensions.no_masking = true;
        self
    }

    /// Client: time for the server's answer to the handshake; 10 seconds by default. Then the socket is given up with
    /// [`Error::Timeout`](crate::Error::Timeout).
    #[must_use]
    pub fn answer_timeout(mut self, time: Duration) -> Self {
        self.answer_timeout = AnswerTimeout(time);
        self
    }

    /// Client: sends a `Sec-WebSocket-Key` over HTTP/2 too, a random one for each socket, for a server that waits for one
    /// behind a proxy that makes none (Envoy). Off by default: RFC 8441 §5 has no key, and there are proxies (nghttpx) that send
    /// this one on beside their own. The answer's `Sec-WebSocket-Accept` may be missing then, but not be wrong.
    #[must_use]
    pub fn send_key(mut self) -> Self {
        self.key = Key::Always;
        self
    }
}
