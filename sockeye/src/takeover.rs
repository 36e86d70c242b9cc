use crate::http2::Stream;
use crate::{Error, Result, Upgrade, WebSocket};

impl Stream {
    /// Takes the stream over as a WebSocket, with default limits and no subprotocol: answers its extended CONNECT with 200
    /// (RFC 8441 §5).
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] with the [`Refusal`](crate::Refusal) where the request is no handshake, or a wrong one; the
    /// stream is reset then.
    pub fn into_websocket(self) -> Result<WebSocket> {
        self.into_upgrade()?.take()
    }

    /// Takes the handshake, to settle its subprotocol and limits and then [take](Upgrade::take) the stream over.
    ///
    /// # Errors
    ///
    /// As [`into_websocket`](Self::into_websocket).
    pub fn into_upgrade(mut self) -> Result<Upgrade> {
        Upgrade::from_request(&mut self.request).map_err(Error::handshake)
    }
}
