//! A handshake that somebody else has answered: a gateway's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Response};
use sockeye_proto::ws::Extensions;

use crate::engine::body::Body;
use crate::engine::stream::{StreamCell, StreamHandle};
use crate::engine::switch::Switch;
use crate::engine::tunnel;
use crate::server::upgrade::{Upgrade, is_reserved};
use crate::server::way::Way;
use crate::socket::Tunnel;

/// What of the handshake is agreed on by its two ends.
const AGREED: [http::HeaderName; 2] = [http::header::SEC_WEBSOCKET_PROTOCOL, http::header::SEC_WEBSOCKET_EXTENSIONS];

impl Upgrade {
    /// Accepts the socket for somebody else, and takes the stream over as the octets of a WebSocket that is spoken elsewhere: what a
    /// gateway does with a handshake that its upstream has answered. The handler begins once the response has been sent, inside the
    /// connection's task, and is dropped where another goes out in its place.
    ///
    /// `fields` are those of the upstream's answer: the subprotocol and the extensions go on as they are, and so does all else but
    /// what belongs to a connection, to a handshake or to content. `Sec-WebSocket-Accept` is made for the key that came here, if one
    /// did (RFC 6455 §4.2.2). Neither [`options`](Self::options) nor an origin are looked at:
    /// [`OriginPolicy::check`](crate::OriginPolicy::check) is to be asked before.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use sockeye::{Body, Tunnel, Upgrade};
    /// use tokio::net::TcpStream;
    ///
    /// # async fn handshake(_: &Upgrade, _: &TcpStream) -> std::io::Result<HeaderMap> { Ok(HeaderMap::new()) }
    /// async fn forward(mut request: http::Request<Body>) -> std::io::Result<http::Response<Body>> {
    ///     let Ok(upgrade) = Upgrade::from_request(&mut request) else { return Ok(http::Response::new(Body::empty())) };
    ///     let mut upstream = TcpStream::connect("127.0.0.1:3000").await?;
    ///     let agreed = handshake(&upgrade, &upstream).await?;
    ///     Ok(upgrade.tunnel(&agreed, |mut tunnel: Tunnel| async move {
    ///         tokio::io::copy_bidirectional(&mut tunnel, &mut upstream).await.ok();
    ///     }))
    /// }
    /// ```
    pub fn tunnel<F, R>(self, fields: &HeaderMap, handler: F) -> Response<Body>
    where
        F: FnOnce(Tunnel) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (mut response, _) = self.offer().accept(None, &Extensions::default(), false);
        for (name, value) in fields {
            if !is_reserved(name) || AGREED.contains(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        tracing::debug!(path = self.request().uri.path(), "a WebSocket is relayed");
        match self.way {
            Way::Stream(handle) => {
                let start = tunnel::Tunnel::new(move || Box::pin(run(handler, handle)));
                response.extensions_mut().insert(start);
            }
            way => return way.switching(response, start(handler)),
        }
        response.map(|()| Body::empty())
    }
}

/// The start on an upgraded connection.
fn start<F, R>(handler: F) -> Switch
where
    F: FnOnce(Tunnel) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Switch::new(Box::new(move |link| {
        let cell = StreamCell::new_tunnel(link);
        let handle = StreamHandle::new(&cell);
        (cell, Box::pin(run(handler, handle)))
    }))
}

pin_project_lite::pin_project! {
    /// The handler, from its start on. By hand, since an async function would keep what it began with for as long as it runs.
    #[project = RelayedProjection]
    enum Relayed<F, R> {
        Begins { start: Option<(F, StreamHandle)> },
        Runs { #[pin] handler: R },
    }
}

impl<F, R> Future for Relayed<F, R>
where
    F: FnOnce(Tunnel) -> R,
    R: Future<Output = ()>,
{
    type Output = Option<tunnel::Next>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                RelayedProjection::Begins { start } => {
                    // Nothing is left of a handler that panicked as it was called.
                    let Some((handler, handle)) = start.take() else { return Poll::Ready(None) };
                    let handler = handler(Tunnel::new(handle));
                    self.set(Self::Runs { handler });
                }
                RelayedProjection::Runs { handler } => return handler.poll(cx).map(|()| None),
            }
        }
    }
}

fn run<F, R>(handler: F, handle: StreamHandle) -> Relayed<F, R> {
    Relayed::Begins { start: Some((handler, handle)) }
}
