use sockeye_proto::ws::Deflate;

use crate::client::Open;

impl Open {
    /// Offers to compress messages (`permessage-deflate`, RFC 7692), which is up to the server:
    /// [`WebSocket::extensions`](crate::WebSocket::extensions) says what is in use. Off by default.
    ///
    /// ```no_run
    /// # async fn run(client: sockeye::Client) -> sockeye::Result {
    /// let mut log = client.open("/log").deflate(sockeye::Deflate::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.extensions.deflate = Some(deflate);
        self
    }
}
