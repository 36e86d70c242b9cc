//! How a WebSocket's stream gets from the server to the socket, by the server that the handshake came to.

use std::sync::{Arc, Once};

use bytes::BytesMut;
use http::{Request, Response, StatusCode, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sockeye_proto::ws;

use crate::engine::body::Body;
use crate::engine::driver::Driver;
use crate::engine::link::{ConnectionInfo, Link, Side};
use crate::engine::peer::Peer;
use crate::engine::registry::Registry;
use crate::engine::stream::{StreamCell, StreamHandle};
use crate::engine::switch::Switch;
use crate::server::early::Early;
use crate::socket::WebSocket;
use crate::socket::handler::{Handler, Supervised};

/// Where the stream is, and what has to happen before the socket has it.
pub(super) enum Way {
    /// A stream of our own engine, taken over at once.
    Stream(StreamHandle),
    /// A connection of our own HTTP/1.1 that has answered requests before, which becomes the socket's once the response is sent.
    Switch(Arc<Link>, Early),
    /// An upgrade of a foreign server's, which is whole only after the response was sent.
    Hyper(OnUpgrade, Arc<Link>),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Switch(..) => "Switch",
            Self::Hyper(..) => "Hyper",
        })
    }
}

impl Way {
    /// The response of a connection that is upgraded, with what starts once it goes out.
    pub(super) fn switching(self, mut response: Response<()>, start: Switch) -> Response<Body> {
        let Self::Hyper(upgrade, link) = self else {
            response.extensions_mut().insert(start);
            return response.map(|()| Body::empty());
        };
        tokio::spawn(after_upgrade(upgrade, link, start.clone()));
        // Over HTTP/2, hyper drops the upgrade where the response is no 2xx.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response.map(|()| Body::empty());
        }
        let guard = start.guard();
        response.extensions_mut().insert(start);
        response.map(|()| Body::switching(guard))
    }

    pub(super) fn link(&self) -> &Link {
        match self {
            Self::Stream(handle) => handle.link(),
            Self::Switch(link, _) | Self::Hyper(_, link) => link,
        }
    }
}

/// Takes what makes a socket of the request's stream; what is no way stays.
pub(super) fn take_way<B>(request: &mut Request<B>) -> Option<Way> {
    let extensions = request.extensions_mut();
    match extensions.get::<Peer>() {
        Some(Peer { cell: Some(cell), .. }) => {
            let handle = StreamHandle::take_over(cell)?;
            extensions.remove::<Peer>();
            // One that was lent, with all of hyper that stands behind it.
            extensions.remove::<OnUpgrade>();
            Some(Way::Stream(handle))
        }
        Some(Peer { link, cell: None }) => {
            let link = link.clone();
            extensions.remove::<OnUpgrade>()?;
            extensions.remove::<Peer>();
            Some(Way::Switch(link, extensions.remove::<Early>()?))
        }
        None => {
            let upgrade = extensions.remove::<OnUpgrade>()?;
            let registry = Arc::new(Registry::default());
            let info = ConnectionInfo { side: Side::Server, peer: None, version: request.version(), secure: false };
            Some(Way::Hyper(upgrade, registry.enter(Arc::default(), info)))
        }
    }
}

/// The start of a socket on an upgraded connection.
pub(super) fn start<H: Handler>(
    machine: ws::WebSocket,
    handler: H,
    request: request::Parts,
    protocol: Option<String>,
) -> Switch {
    Switch::new(Box::new(move |link| {
        let cell = StreamCell::new_tunnel(link);
        let socket = WebSocket::new(machine, StreamHandle::new(&cell), request, protocol);
        let handle = StreamHandle::new(&cell);
        // What the handler does as it is called may use the socket, so it is called as the connection's new task begins.
        let future = async { handler.handle(socket).await };
        (cell, Box::pin(Supervised::new(future, handle)))
    }))
}

#[cfg(not(feature = "http2"))]
impl crate::engine::driver::Abort for TokioIo<hyper::upgrade::Upgraded> {}

/// Runs a socket once a foreign server has sent the response.
async fn after_upgrade(upgrade: OnUpgrade, link: Arc<Link>, switch: Switch) {
    match upgrade.await {
        Ok(upgraded) => {
            // A guard whose response was not seen to go out has revoked it.
            let Some(start) = switch.take() else { return hint_at_middleware() };
            let (cell, handler) = start(link);
            let transport = TokioIo::new(upgraded);
            // What drives it is there already, for our own connections.
            #[cfg(feature = "http2")]
            let transport = crate::engine::transport::AnyTransport::other(transport);
            Driver::of_tunnel(transport, BytesMut::new(), cell, Some(handler)).await.ok();
        }
        Err(error) => tracing::debug!(%error, "an HTTP/1.1 upgrade failed"),
    }
}

/// What stood in the way, as far as can be known: see [`Guard`](crate::engine::switch::Guard).
fn hint_at_middleware() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "the handler of a WebSocket over HTTP/1.1 did not run: a middleware had put another response, or other content, in place \
             of its 101. One that changes content, as tower-http's `CompressionLayer` does, has to leave out status 101 on any server \
             but Sockeye's (`compress_when`). This is said once"
        );
    });
}
