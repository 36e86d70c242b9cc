//! The tower service that answers every handshake in one way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use sockeye_proto::ws::Config;
use sockeye_proto::ws::handshake::OriginPolicy;
use tower_service::Service;

use crate::engine::body::Body;
use crate::server::upgrade::{Settings, Upgrade, refused};
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
    WebSocketService { handler, settings: Arc::default() }
}

/// The service that [`websocket`] makes.
#[derive(Clone, Debug)]
pub struct WebSocketService<H> {
    handler: H,
    settings: Arc<Settings>,
}

impl<H> WebSocketService<H> {
    /// The subprotocols spoken here (RFC 6455 §1.9). The client's first that is among them is taken; none if none is.
    #[must_use]
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.edit().protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whose pages may open sockets here.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.edit().origins = origins;
        self
    }

    /// Octets in a message, beyond which a socket fails with 1009. Default: 1 MiB.
    #[must_use]
    pub fn max_message_size(mut self, octets: usize) -> Self {
        self.edit().config.max_message_size = octets;
        self
    }

    /// All the limits of a socket.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.edit().config = config;
        self
    }

    /// Lets clients that offer it (`no-masking`) leave out the masking of what they send, on connections that Sockeye's
    /// own server encrypts by TLS; elsewhere, as behind a proxy that decrypts, it is never accepted. Off by default.
    #[must_use]
    pub fn no_masking(mut self) -> Self {
        self.edit().extensions.no_masking = true;
        self
    }

    pub(crate) fn edit(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
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
                upgrade.settings = self.settings.clone();
                upgrade.accept(self.handler.clone())
            }
            Err(refusal) => refused(refusal, request.method()),
        };
        ready(Ok(response))
    }
}
