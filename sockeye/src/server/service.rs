//! The tower service that answers every handshake in one way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::engine::body::Body;
use crate::server::upgrade::{Upgrade, refused};
use crate::socket::SocketOptions;
use crate::socket::handler::Handler;

/// A service that answers WebSocket handshakes and hands each socket to `handler`: an async function of a
/// [`WebSocket`](crate::WebSocket) that returns nothing or a `Result`.
///
/// It is a tower [`Service`] that [`serve`](crate::serve) takes, that an axum `Router` takes by `route_service`, and that
/// runs in hyper. On Sockeye's own server the handler runs inside its connection's task, which makes it cheap to wake;
/// what keeps a processor busy for long should be spawned.
///
/// A handler may go on for the server's close timeout (5 seconds by default) after its socket's stream is over, however that
/// ended; then it is dropped. What takes longer than that to put away belongs into a task of its own.
///
/// A request that is no WebSocket handshake is answered with 426 (HTTP/1.1) or 405 (HTTP/2), a wrong one as RFC 6455 §4.2
/// and RFC 8441 §5 ask. By default pages of the same origin may open sockets, and clients that are no browsers.
///
/// ```
/// use sockeye::{Result, WebSocket, websocket};
///
/// async fn echo(mut socket: WebSocket) -> Result {
///     while let Some(message) = socket.recv().await? {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
/// let service = websocket(echo).protocols(["echo"]).max_message_size(64 * 1024);
/// ```
pub fn websocket<H: Handler + Clone>(handler: H) -> WebSocketService<H> {
    WebSocketService { handler, options: Arc::default() }
}

/// The service that [`websocket`] makes.
#[derive(Clone, Debug)]
pub struct WebSocketService<H> {
    handler: H,
    options: Arc<SocketOptions>,
}

impl<H> WebSocketService<H> {
    /// All that is settled of a socket, in place of what was said before.
    #[must_use]
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// The subprotocols spoken here: see [`SocketOptions::protocols`].
    #[must_use]
    pub fn protocols<S: Into<String>>(self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.option(|options| options.protocols(protocols))
    }

    /// Octets in a message, beyond which a socket fails with 1009. Default: 1 MiB.
    #[must_use]
    pub fn max_message_size(self, octets: usize) -> Self {
        self.option(|options| options.max_message_size(octets))
    }

    /// Compresses messages with clients that offer it: see [`SocketOptions::deflate`].
    ///
    /// ```
    /// use sockeye::{Deflate, Result, WebSocket, websocket};
    ///
    /// async fn feed(mut socket: WebSocket) -> Result {
    ///     socket.send("compressed ".repeat(100)).await
    /// }
    /// let service = websocket(feed).deflate(Deflate::new().level(6));
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(self, deflate: sockeye_proto::ws::Deflate) -> Self {
        self.option(|options| options.deflate(deflate))
    }

    fn option(mut self, change: impl FnOnce(SocketOptions) -> SocketOptions) -> Self {
        self.options = Arc::new(change(Arc::unwrap_or_clone(self.options)));
        self
    }
}

impl<H: Handler + Clone, B> Service<Request<B>> for WebSocketService<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<std::result::Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let response = match Upgrade::from_request(&mut request) {
            Ok(mut upgrade) => {
                upgrade.options = self.options.clone();
                upgrade.accept(self.handler.clone())
            }
            Err(refusal) => refused(refusal, request.method()),
        };
        ready(Ok(response))
    }
}
