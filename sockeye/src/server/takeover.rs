use crate::error::Result;
use crate::server::http2::Stream;
use crate::server::{Upgrade, upgrade};
use crate::socket::WebSocket;

impl Stream {
    /// Takes the stream over as a WebSocket, with default limits and no subprotocol: answers its extended CONNECT with 200
    /// (RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`](crate::Error::Handshake) with the [`Refusal`](crate::Refusal) where the request is no
    /// handshake, a wrong one, or one of a foreign origin. The peer has been told then, by the refusal's own response.
    /// Otherwise as [`Upgrade::take`].
    pub fn into_websocket(self) -> Result<WebSocket> {
        self.into_upgrade()?.take_stream()
    }

    /// Takes the handshake, to settle its subprotocol and limits and then [take](Upgrade::take) the stream over.
    ///
    /// To have a handler run instead, or to refuse in words of one's own, leave the stream where it is:
    ///
    /// ```
    /// use sockeye::{Body, Upgrade, WebSocket, http2};
    ///
    /// async fn answer(mut stream: http2::Stream) {
    ///     let response = match Upgrade::from_request(stream.request()) {
    ///         Ok(upgrade) => upgrade.accept(|mut socket: WebSocket| async move { socket.send("hello").await }),
    ///         Err(refusal) => refusal.response().map(Body::from),
    ///     };
    ///     stream.respond(response).await;
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`into_websocket`](Self::into_websocket), but that the origin is not looked at before the stream is taken over.
    pub fn into_upgrade(mut self) -> Result<Upgrade> {
        Upgrade::from_request(&mut self.request)
            .map_err(|refusal| upgrade::refuse(&self.handle, self.request.method(), refusal))
    }
}
