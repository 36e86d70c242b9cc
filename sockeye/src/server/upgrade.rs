//! One handshake, to be accepted, refused or taken over: by extended CONNECT (RFC 8441 §5) or by an upgrade (RFC 6455 §4.2).

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_VERSION};
use http::{Extensions, Method, Request, Response, StatusCode, Version, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Offer, OriginPolicy, Refusal};
use sockeye_proto::ws::{self, Config, Role};

use crate::engine::body::Body;
use crate::engine::driver::Driver;
use crate::engine::link::{ConnectionInfo, Link, Side};
use crate::engine::metrics::Counter;
use crate::engine::peer::Peer;
use crate::engine::registry::Registry;
use crate::engine::stream::{Ending, StreamCell, StreamHandle};
use crate::engine::switch::Switch;
use crate::engine::tunnel::Tunnel;
use crate::error::{Error, Result};
use crate::socket::WebSocket;
use crate::socket::handler::{Handler, Supervised};

/// What an endpoint settles in a handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(super) protocols: Vec<String>,
    pub(super) origins: OriginPolicy,
    pub(super) config: Config,
    pub(super) extensions: ws::Extensions,
}

/// What a handshake has come to.
struct Settled {
    response: Response<()>,
    machine: ws::WebSocket,
    protocol: Option<String>,
}

/// A WebSocket handshake that waits for a decision.
///
/// ```
/// use sockeye::{Body, Upgrade, WebSocket};
///
/// async fn chat(mut request: http::Request<Body>) -> http::Response<Body> {
///     match Upgrade::from_request(&mut request) {
///         Ok(upgrade) => upgrade.protocols(["chat"]).accept(|mut socket: WebSocket| async move {
///             socket.send("welcome").await
///         }),
///         Err(refusal) => refusal.response().map(Body::from),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Upgrade {
    offer: Offer,
    way: Way,
    request: request::Parts,
    pub(super) settings: Arc<Settings>,
}

/// How the stream gets from the server to the socket.
enum Way {
    /// A stream of our own engine, taken over at once.
    Stream(StreamHandle),
    /// A connection of our own HTTP/1.1 that has answered requests before, which becomes the socket's once the response is sent.
    Switch(Arc<Link>),
    /// An upgrade of a foreign server's, which is whole only after the response was sent.
    Hyper(OnUpgrade, Arc<Link>),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Switch(_) => "Switch",
            Self::Hyper(..) => "Hyper",
        })
    }
}

impl Upgrade {
    /// Takes the handshake out of a request of Sockeye's server, of hyper's or of axum's. What is left of the request is
    /// its body, which has no meaning.
    ///
    /// # Errors
    ///
    /// The rule that the request breaks, with [what to answer](Refusal::response). Where the server gave no way to take
    /// the stream over, the same as for a request that asks for none. The request is then as it was, so that a service may
    /// answer it in another way.
    pub fn from_request<B>(request: &mut Request<B>) -> std::result::Result<Self, Refusal> {
        let (offer, way) = Self::take_handshake(request)?;
        Ok(Self { offer, way, request: take_parts(request), settings: Arc::default() })
    }

    /// The same for one of several that look at the request: all is left to the others but the way to the stream.
    #[cfg(feature = "axum")]
    pub(super) fn from_shared_request(request: &mut Request<()>) -> std::result::Result<Self, Refusal> {
        let (offer, way) = Self::take_handshake(request)?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.uri().clone();
        head.version = request.version();
        head.headers = request.headers().clone();
        Ok(Self { offer, way, request: head, settings: Arc::default() })
    }

    fn take_handshake<B>(request: &mut Request<B>) -> std::result::Result<(Offer, Way), Refusal> {
        let link = request.extensions().get::<Peer>().map(|peer| peer.link.clone());
        let offer = match read_offer(request) {
            Ok(Some(offer)) => offer.on_secure_connection(link.as_ref().is_some_and(|link| link.info.secure)),
            Ok(None) => return Err(Refusal::websocket_required(request.version())),
            Err(refusal) => {
                tracing::debug!(path = request.uri().path(), reason = %refusal, "a WebSocket handshake was refused");
                link.inspect(|link| link.metrics().count(Counter::HandshakesRefused));
                return Err(refusal);
            }
        };
        let way = take_way(request).ok_or(Refusal::websocket_required(request.version()))?;
        Ok((offer, way))
    }

    /// What the client offers: subprotocols, extensions, origin.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The head of the request.
    pub fn request(&self) -> &request::Parts {
        &self.request
    }

    /// The subprotocols spoken here; see [`WebSocketService::protocols`](crate::WebSocketService::protocols).
    #[must_use]
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.edit().protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whose pages may open sockets here; those of the same origin by default.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.edit().origins = origins;
        self
    }

    /// All the limits of the socket.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.edit().config = config;
        self
    }

    /// Lets the client leave out its masking; see [`WebSocketService::no_masking`](crate::WebSocketService::no_masking).
    #[must_use]
    pub fn no_masking(mut self) -> Self {
        self.edit().extensions.no_masking = true;
        self
    }

    pub(crate) fn edit(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    /// Accepts the socket, or refuses its origin. The handler begins once the response has been sent; where another is sent
    /// in its place, or none, the handler is dropped.
    ///
    /// The servers of hyper and axum do not tell what they send. Over HTTP/1.1 there a handler is dropped where its response
    /// is dropped as a whole, or goes out with another status and with this body. Where a middleware exchanges both the status
    /// and the body, the handler runs once the client ends the connection's HTTP.
    pub fn accept<H: Handler>(self, handler: H) -> Response<Body> {
        let Settled { mut response, machine, protocol } = match self.negotiate() {
            Ok(settled) => settled,
            Err(refusal) => return refused(refusal, &self.request.method),
        };
        match self.way {
            Way::Stream(handle) => {
                let supervisor = handle.share();
                let socket = WebSocket::new(machine, handle, self.request, protocol);
                // What the handler does as it is called may use the socket, so it is called once the response has been sent.
                response
                    .extensions_mut()
                    .insert(Tunnel::new(move || Box::pin(Supervised::new(handler.handle(socket), supervisor))));
            }
            Way::Switch(_) => {
                response.extensions_mut().insert(start(machine, handler, self.request, protocol));
            }
            Way::Hyper(upgrade, link) => {
                let switch = start(machine, handler, self.request, protocol);
                tokio::spawn(after_upgrade(upgrade, link, switch.clone()));
                // Over HTTP/2, hyper drops the upgrade where the response is no 2xx.
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let guard = switch.guard();
                    response.extensions_mut().insert(switch);
                    return response.map(|()| Body::switching(guard));
                }
            }
        }
        response.map(|()| Body::empty())
    }

    /// Takes the stream over without a handler: the response is sent and the socket is here. It is a stream of HTTP/2, or a
    /// connection of HTTP/1.1 whose first request this is.
    ///
    /// Inside a service this answers the request: what the service returns afterwards goes nowhere, so let it be an empty
    /// response. The service may use the socket itself, or give it to another task.
    ///
    /// ```
    /// use sockeye::{Body, Upgrade};
    ///
    /// async fn chat(mut request: http::Request<Body>) -> sockeye::Result<http::Response<Body>> {
    ///     let mut socket = Upgrade::from_request(&mut request).map_err(sockeye::Error::application)?.take()?;
    ///     tokio::spawn(async move { socket.send("welcome").await });
    ///     Ok(http::Response::new(Body::empty()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] in a foreign server, and on a connection of HTTP/1.1 that has answered other requests before: the
    /// response is the service's to send there.
    /// [`Error::Handshake`], with the [`Refusal`], where the origin is refused, which the peer has been told then.
    /// [`Error::Reset`] or [`Error::Disconnected`] where the peer is gone, [`Error::Closed`] where the stream was answered
    /// before.
    pub fn take(self) -> Result<WebSocket> {
        let Way::Stream(handle) = &self.way else {
            return Err(Error::invalid(
                "a socket of a foreign server, or of a connection that has answered requests before, cannot be taken over before its response is sent: accept it",
            ));
        };
        let handle = handle.share();
        let refuse = |refusal| refuse(&handle, &self.request.method, refusal);
        let Settled { response, machine, protocol } = self.negotiate().map_err(refuse)?;
        handle.respond(response, false, true)?;
        Ok(WebSocket::new(machine, handle, self.request, protocol))
    }

    fn negotiate(&self) -> std::result::Result<Settled, Refusal> {
        let (path, version) = (self.request.uri.path(), self.request.version);
        let link = self.way.link();
        if let Err(refusal) = self.settings.origins.check(&self.offer) {
            tracing::debug!(path, reason = %refusal, "a WebSocket handshake was refused");
            link.metrics().count(Counter::OriginsRefused);
            return Err(refusal);
        }
        let protocol = self.offer.select_protocol(&self.settings.protocols);
        let (response, in_use) = self.offer.accept(protocol, &self.settings.extensions, link.info.secure);
        let extensions = response.headers().get(SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok());
        tracing::debug!(path, protocol, extensions, ?version, "a WebSocket was accepted");
        let mut machine = ws::WebSocket::new(Role::Server, self.settings.config).with_extensions(in_use);
        if in_use.deflate.is_some() {
            machine = machine.with_inflation(link.inflation());
        }
        Ok(Settled { response, machine, protocol: protocol.map(str::to_owned) })
    }
}

impl Way {
    fn link(&self) -> &Link {
        match self {
            Self::Stream(handle) => handle.link(),
            Self::Switch(link) | Self::Hyper(_, link) => link,
        }
    }
}

/// The start of a socket on an upgraded connection.
fn start<H: Handler>(machine: ws::WebSocket, handler: H, request: request::Parts, protocol: Option<String>) -> Switch {
    Switch::new(Box::new(move |link| {
        let cell = StreamCell::new_tunnel(link);
        let socket = WebSocket::new(machine, StreamHandle::new(&cell), request, protocol);
        let handle = StreamHandle::new(&cell);
        // What the handler does as it is called may use the socket, so it is called as the connection's new task begins.
        let future = async { handler.handle(socket).await };
        (cell, Box::pin(Supervised::new(future, handle)))
    }))
}

pub(super) fn refused(refusal: Refusal, method: &Method) -> Response<Body> {
    refusal.response_to(method).map(Body::from)
}

/// Runs a socket once a foreign server has sent the response.
async fn after_upgrade(upgrade: OnUpgrade, link: Arc<Link>, switch: Switch) {
    match upgrade.await {
        Ok(upgraded) => {
            if let Some(start) = switch.take() {
                let (cell, handler) = start(link);
                Driver::of_tunnel(TokioIo::new(upgraded), BytesMut::new(), cell, Some(handler)).await.ok();
            }
        }
        Err(error) => tracing::debug!(%error, "an HTTP/1.1 upgrade failed"),
    }
}

/// Answers a stream with a refusal, where no service is there to do it.
pub(crate) fn refuse(handle: &StreamHandle, method: &Method, refusal: Refusal) -> Error {
    let (head, text) = refusal.response_to(method).into_parts();
    let mut head = Response::from_parts(head, ());
    head.headers_mut().insert(CONTENT_LENGTH, text.len().into());
    // RFC 9110 §9.3.2
    let end_stream = method == Method::HEAD;
    if handle.respond(head, end_stream, false).is_ok() && !end_stream {
        handle.append_last(Ending::Now(None), |outbox| outbox.extend_from_slice(text.as_bytes()));
    }
    Error::handshake(refusal)
}

/// Reads the handshake; the request stays as it is.
pub(super) fn read_offer<B>(request: &mut Request<B>) -> std::result::Result<Option<Offer>, Refusal> {
    let is_hypers = is_extended_connect_of_hyper(request);
    if is_hypers {
        request.extensions_mut().insert(Protocol::websocket());
    }
    let offer = Offer::from_request(request);
    if is_hypers {
        request.extensions_mut().remove::<Protocol>();
    }
    offer
}

/// Takes what makes a socket of the request's stream; what is no way stays.
fn take_way<B>(request: &mut Request<B>) -> Option<Way> {
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
            let way = Way::Switch(link.clone());
            extensions.remove::<OnUpgrade>()?;
            extensions.remove::<Peer>();
            Some(way)
        }
        None => {
            let upgrade = extensions.remove::<OnUpgrade>()?;
            let registry = Arc::new(Registry::default());
            let info = ConnectionInfo { side: Side::Server, peer: None, version: request.version(), secure: false };
            Some(Way::Hyper(upgrade, registry.enter(Arc::default(), info)))
        }
    }
}

/// Hyper has its own type for the `:protocol`, which stands in a feature that brings another engine of HTTP/2 along. The
/// rest of the request tells as much: a CONNECT with a path is an extended one, and only a WebSocket's has a version.
fn is_extended_connect_of_hyper<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request.method() == Method::CONNECT
        && request.uri().path_and_query().is_some()
        && request.extensions().get::<Protocol>().is_none()
        && request.headers().contains_key(SEC_WEBSOCKET_VERSION)
}

/// Takes a request's head; its body stays.
fn take_parts<B>(request: &mut Request<B>) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = mem::take(request.uri_mut());
    parts.version = request.version();
    parts.headers = mem::take(request.headers_mut());
    let mut extensions = mem::take::<Extensions>(request.extensions_mut());
    extensions.remove::<Protocol>();
    #[cfg(feature = "axum")]
    crate::server::axum::forget_address(&mut extensions);
    // An emptied map keeps its memory, which would stay for as long as the socket.
    if !extensions.is_empty() {
        parts.extensions = extensions;
    }
    parts
}
