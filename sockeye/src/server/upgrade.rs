//! One handshake, to be accepted, refused or taken over: by extended CONNECT (RFC 8441 §5) or by an upgrade (RFC 6455 §4.2).

use std::mem;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_VERSION};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, request};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Offer, Refusal};
use sockeye_proto::ws::{self, Role};
use tokio::sync::oneshot;

use crate::engine::body::Body;
use crate::engine::metrics::Counter;
use crate::engine::peer::Peer;
use crate::engine::stream::{Ending, StreamCell, StreamHandle};
use crate::engine::switch::Switch;
use crate::engine::tunnel::Tunnel;
use crate::error::{Error, Result};
use crate::server::early::Early;
use crate::server::way::{Way, start, take_way};
use crate::socket::handler::{Handler, Supervised};
use crate::socket::options::Agreement;
use crate::socket::{SocketOptions, WebSocket};

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
    pub(super) way: Way,
    request: request::Parts,
    pub(super) options: Arc<SocketOptions>,
    /// Of the response, beside the handshake's own.
    headers: HeaderMap,
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
        Ok(Self::new(offer, way, take_parts(request)))
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
        Ok(Self::new(offer, way, head))
    }

    fn new(offer: Offer, way: Way, request: request::Parts) -> Self {
        Self { offer, way, request, options: Arc::default(), headers: HeaderMap::new() }
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

    /// All that is settled of the socket, in place of what was said before.
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

    /// Octets in a message, beyond which the socket fails with 1009. Default: 1 MiB.
    #[must_use]
    pub fn max_message_size(self, octets: usize) -> Self {
        self.option(|options| options.max_message_size(octets))
    }

    /// Compresses messages: see [`SocketOptions::deflate`].
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(self, deflate: ws::Deflate) -> Self {
        self.option(|options| options.deflate(deflate))
    }

    fn option(mut self, change: impl FnOnce(SocketOptions) -> SocketOptions) -> Self {
        self.options = Arc::new(change(Arc::unwrap_or_clone(self.options)));
        self
    }

    /// Adds a header field to the response that opens the socket, such as a `set-cookie`; a refusal has none of them. Fields of
    /// the handshake's own (`sec-websocket-*`, `connection`, `upgrade`) and of content are left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if !is_reserved(&name) {
            self.headers.append(name, value);
        }
        self
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
            way => {
                let start = start(machine, handler, self.request, protocol);
                return way.switching(response, start);
            }
        }
        response.map(|()| Body::empty())
    }

    /// Takes the stream over without a handler: the response is sent and the socket is here, over every version of HTTP of
    /// Sockeye's own server.
    ///
    /// Inside a service this answers the request: what the service returns afterwards goes nowhere, so let it be an empty
    /// response. The service may use the socket itself, or give it to another task. It has to be awaited before the service
    /// returns.
    ///
    /// ```
    /// use sockeye::{Body, Upgrade};
    ///
    /// async fn chat(mut request: http::Request<Body>) -> sockeye::Result<http::Response<Body>> {
    ///     let mut socket = Upgrade::from_request(&mut request).map_err(sockeye::Error::application)?.take().await?;
    ///     tokio::spawn(async move { socket.send("welcome").await });
    ///     Ok(http::Response::new(Body::empty()))
    /// }
    /// ```
    ///
    /// Not cancel safe on a connection of HTTP/1.1 that has answered other requests before: once polled it has answered, and
    /// dropped then it drops the socket, whose peer sees 1001. Elsewhere it is ready at once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] in a foreign server: the response is the service's to send there.
    /// [`Error::Handshake`], with the [`Refusal`], where the origin is refused, which the peer has been told then.
    /// [`Error::Reset`] or [`Error::Disconnected`] where the peer is gone, [`Error::Closed`] where the stream was answered
    /// before.
    pub async fn take(self) -> Result<WebSocket> {
        match &self.way {
            Way::Stream(_) => self.take_stream(),
            Way::Switch(_, early) => {
                let early = early.clone();
                self.take_early(early).await
            }
            Way::Hyper(..) => Err(Error::invalid(
                "a socket of a foreign server cannot be taken over before its response is sent: accept it",
            )),
        }
    }

    /// [`take`](Self::take) of a stream of our own engine.
    pub(super) fn take_stream(self) -> Result<WebSocket> {
        let Way::Stream(handle) = &self.way else { return Err(Error::Closed) };
        let handle = handle.share();
        let refuse = |refusal| refuse(&handle, &self.request.method, refusal);
        let Settled { response, machine, protocol } = self.negotiate().map_err(refuse)?;
        handle.respond(response, false, true)?;
        Ok(WebSocket::new(machine, handle, self.request, protocol))
    }

    /// The same where hyper waits for the service: its response goes first, and the socket comes with the connection's new task.
    async fn take_early(self, early: Early) -> Result<WebSocket> {
        let Settled { mut response, machine, protocol } = match self.negotiate() {
            Ok(settled) => settled,
            Err(refusal) => {
                early.answer(refused(refusal, &self.request.method));
                return Err(Error::handshake(refusal));
            }
        };
        let (give, given) = oneshot::channel();
        let start = Switch::new(Box::new(move |link| {
            let cell = StreamCell::new_tunnel(link);
            // Nobody waits for it where the future was dropped: then the socket is dropped, too.
            give.send(WebSocket::new(machine, StreamHandle::new(&cell), self.request, protocol)).ok();
            (cell, Box::pin(async { None }))
        }));
        response.extensions_mut().insert(start);
        if !early.answer(response.map(|()| Body::empty())) {
            return Err(Error::Closed);
        }
        given.await.map_err(|_| Error::Disconnected)
    }

    fn negotiate(&self) -> std::result::Result<Settled, Refusal> {
        let (path, version) = (self.request.uri.path(), self.request.version);
        let link = self.way.link();
        if let Err(refusal) = self.options.origins.check(&self.offer) {
            tracing::debug!(path, reason = %refusal, "a WebSocket handshake was refused");
            link.metrics().count(Counter::OriginsRefused);
            return Err(refusal);
        }
        let protocol = self.offer.select_protocol(&self.options.protocols);
        if protocol.is_none() && self.options.protocol == Agreement::Required {
            let refusal = Refusal::ProtocolRequired;
            tracing::debug!(path, reason = %refusal, "a WebSocket handshake was refused");
            link.metrics().count(Counter::HandshakesRefused);
            return Err(refusal);
        }
        let (mut response, in_use) = self.offer.accept(protocol, &self.options.extensions, link.info.secure);
        response.headers_mut().extend(self.headers.clone());
        let extensions = response.headers().get(SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok());
        tracing::debug!(path, protocol, extensions, ?version, "a WebSocket was accepted");
        let mut machine = ws::WebSocket::new(Role::Server, self.options.config).with_extensions(in_use);
        if in_use.deflate.is_some() {
            machine = machine.with_inflation(link.inflation());
        }
        Ok(Settled { response, machine, protocol: protocol.map(str::to_owned) })
    }
}

pub(super) fn refused(refusal: Refusal, method: &Method) -> Response<Body> {
    refusal.response_to(method).map(Body::from)
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

/// Hyper has its own type for the `:protocol`, which stands in a feature that brings another engine of HTTP/2 along. The
/// rest of the request tells as much: a CONNECT with a path is an extended one, and only a WebSocket's has a version.
fn is_extended_connect_of_hyper<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request.method() == Method::CONNECT
        && request.uri().path_and_query().is_some()
        && request.extensions().get::<Protocol>().is_none()
        && request.headers().contains_key(SEC_WEBSOCKET_VERSION)
}

/// Fields that the handshake writes itself, or that would announce content.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
        || name.as_str().starts_with("sec-websocket-")
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
