use sockeye_proto::ws::Deflate;

use crate::server::{Upgrade, WebSocketService};

impl<H> WebSocketService<H> {
    /// Compresses messages with clients that offer it (`permessage-deflate`, RFC 7692), as browsers do. Off by default: to
    /// compress a message of 128 octets takes some 8 µs, twenty times what all else about it does, and saves 30 octets;
    /// it pays for kilobytes of text that go far.
    ///
    /// ```
    /// use sockeye::{Deflate, Result, WebSocket, websocket};
    ///
    /// async fn feed(mut socket: WebSocket) -> Result {
    ///     socket.send("compressed ".repeat(100)).await
    /// }
    /// let service = websocket(feed).deflate(Deflate { level: 6, ..Deflate::default() });
    /// ```
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.edit().extensions.deflate = Some(deflate);
        self
    }
}

impl Upgrade {
    /// Compresses messages; see [`WebSocketService::deflate`].
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.edit().extensions.deflate = Some(deflate);
        self
    }
}
