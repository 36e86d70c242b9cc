//! How a tower service answers one request on a stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use sockeye_proto::{Protocol, Reason};
use tower_service::Service;

use crate::engine::body::Body;
use crate::engine::content::{Content, is_without_content};
use crate::engine::driver::Application;
use crate::engine::link::Link;
use crate::engine::sending::{AnyContent, Sending};
use crate::engine::stream::{ErrorCode, StreamHandle};
use crate::engine::tunnel::{Handler, Next, Tunnel};
use crate::error::BoxError;
#[cfg(feature = "axum")]
use crate::server::axum;
use crate::server::hints;
use crate::server::http1::call;
use crate::server::lent::LentUpgrade;

/// What a connection asks of a service.
///
/// Of its responses, those with 204, 205 or 304 go out without content, and so does what answers HEAD: the body is dropped
/// unread. Content is held to the content-length of the response, where it says one (RFC 9110 §8.6): what is too much is
/// cut, and what is too little breaks off, by RST_STREAM or the end of the connection. A response without a `Date` gets one
/// (§6.6.1). Over HTTP/2, fields of a connection and what `Connection` names are left out (RFC 9113 §8.2.2), as is white
/// space about values (§8.2.1).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service of HTTP requests",
    note = "a handler of sockets becomes one by `websocket(handler)`; an axum `Router`, and any tower service that is `Clone`, is one"
)]
pub trait HttpService:
    Service<Request<Body>, Response = Response<Self::Content>, Error: Into<BoxError> + Send, Future: Send>
    + Clone
    + Send
    + 'static
{
    /// The content of its responses.
    type Content: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError> + Send, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    type Content = B;
}

/// A service of whatever type: one type for all, so that what serves it exists once, and not once for each program's service.
pub(crate) struct AnyService(Box<dyn Answering>);

/// What a connection of a service asks of it.
trait Answering: Send {
    fn duplicate(&self) -> Box<dyn Answering>;

    /// Answers a request on a stream of our own.
    fn answer(&self, request: Request<Body>, form: Form, lent: Option<LentUpgrade>, handle: StreamHandle) -> Handler;

    /// Answers a request that hyper has read.
    fn call(self: Box<Self>, request: Request<Body>, link: Arc<Link>) -> Calling;
}

/// The answer to a request that hyper has read.
pub(crate) type Calling = Pin<Box<dyn Future<Output = Result<Response<AnyContent>, BoxError>> + Send>>;

impl AnyService {
    pub(crate) fn new(service: impl HttpService) -> Self {
        Self(Box::new(service))
    }

    pub(crate) fn call(self, request: Request<Body>, link: Arc<Link>) -> Calling {
        self.0.call(request, link)
    }
}

impl Clone for AnyService {
    fn clone(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl<S: HttpService> Answering for S {
    fn duplicate(&self) -> Box<dyn Answering> {
        Box::new(self.clone())
    }

    fn answer(&self, request: Request<Body>, form: Form, lent: Option<LentUpgrade>, handle: StreamHandle) -> Handler {
        let stage = Stage::Asked { service: self.clone(), request: Some(request) };
        Box::pin(Answer::<S> { stage, form, lent, handle })
    }

    fn call(self: Box<Self>, request: Request<Body>, link: Arc<Link>) -> Calling {
        let call = call(*self, request, link);
        Box::pin(async { Ok(call.await?.map(|content| content.map_err(Into::into).boxed_unsync())) })
    }
}

/// Answers every request by a clone of the service, inside the connection's task.
pub(crate) struct ByService(pub(crate) AnyService);

impl<M> Application<M> for ByService {
    type Permit = ();

    fn accept(&mut self, mut request: Request<Body>, handle: StreamHandle) -> Option<Handler> {
        trace(&request);
        #[cfg(feature = "axum")]
        axum::tell_address(&mut request);
        let form = Form::of(&request);
        // A service may know no upgrades but hyper's.
        let lent = (form == Form::Upgrade).then(|| LentUpgrade::put_into(&mut request)).flatten();
        Some(self.0.0.answer(request, form, lent, handle))
    }
}

/// What a request's kind asks of the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// HEAD: no content (RFC 9110 §9.3.2).
    Head,
    /// CONNECT: a 2xx says that there is a tunnel (RFC 9110 §9.3.6).
    Connect,
    /// The same with a `:protocol` (RFC 8441 §4): besides, a refusal has no `Content-Type`.
    ExtendedConnect,
    /// HTTP/1.1: a 101 says that there is a tunnel (RFC 9110 §7.8).
    Upgrade,
    Ordinary,
}

impl Form {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        match *request.method() {
            Method::HEAD => Self::Head,
            Method::CONNECT if request.extensions().get::<Protocol>().is_some() => Self::ExtendedConnect,
            Method::CONNECT => Self::Connect,
            _ if request.version() == Version::HTTP_11 => Self::Upgrade,
            _ => Self::Ordinary,
        }
    }
}

impl Form {
    /// Whether a response of this status, to such a request, begins a tunnel.
    fn is_tunnel(self, status: StatusCode) -> bool {
        match self {
            Self::Connect | Self::ExtendedConnect => status.is_success(),
            Self::Upgrade => status == StatusCode::SWITCHING_PROTOCOLS,
            Self::Head | Self::Ordinary => false,
        }
    }
}

/// Tells of a request. Its query stays untold: tokens stand there.
pub(crate) fn trace(request: &Request<Body>) {
    tracing::debug!(
        method = %request.method(),
        path = request.uri().path(),
        version = ?request.version(),
        "a request came in"
    );
}

pin_project_lite::pin_project! {
    /// The answer to one request. By hand, since an async function would keep most of it twice.
    struct Answer<S: HttpService> {
        #[pin]
        stage: Stage<S, S::Future, S::Content>,
        form: Form,
        lent: Option<LentUpgrade>,
        handle: StreamHandle,
    }
}

pin_project_lite::pin_project! {
    #[project = StageProjection]
    enum Stage<S, F, B> {
        Asked { service: S, request: Option<Request<Body>> },
        Called { #[pin] future: F },
        Answered { #[pin] content: Sending<B> },
    }
}

impl<S: HttpService> Future for Answer<S> {
    type Output = Option<Next>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProjection::Asked { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(fail(error.into(), this.handle));
                    }
                    // Nothing is left of a service that panicked as it was called.
                    let Some(request) = request.take() else { return Poll::Ready(None) };
                    let future = service.call(request);
                    this.stage.set(Stage::Called { future });
                }
                StageProjection::Called { future } => match ready!(future.poll(cx)) {
                    Ok(response) => match respond(response, *this.form, this.lent.take(), this.handle) {
                        Responded::Done => return Poll::Ready(None),
                        Responded::Tunnel(tunnel) => return Poll::Ready(tunnel.start().map(Next)),
                        Responded::Lent(upgrade) => return Poll::Ready(Some(Next(upgrade))),
                        Responded::Content(content) => this.stage.set(Stage::Answered { content }),
                    },
                    Err(error) => return Poll::Ready(fail(error.into(), this.handle)),
                },
                StageProjection::Answered { content } => {
                    let sent = ready!(content.poll_send(cx, this.handle));
                    conclude(sent, this.handle);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

/// What came of the content of a response: one that is not whole ends its stream, whoever else holds it.
pub(crate) fn conclude(sent: Result<(), BoxError>, handle: &StreamHandle) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a response broke off");
        handle.reset(ErrorCode::new(Reason::INTERNAL_ERROR));
    }
}

fn fail(error: BoxError, handle: &StreamHandle) -> Option<Next> {
    tracing::error!(%error, "a service failed");
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    // A stream that the service took over before it failed is no matter of ours.
    handle.respond(response, true, false).ok();
    None
}

/// What follows a response that was sent.
pub(crate) enum Responded<B> {
    Done,
    Tunnel(Tunnel),
    /// The service goes on by an upgrade of hyper's, for as long as this runs.
    Lent(Handler),
    Content(Sending<B>),
}

/// Sends a response, but for its content.
pub(crate) fn respond<B>(
    mut response: Response<B>,
    form: Form,
    lent: Option<LentUpgrade>,
    handle: &StreamHandle,
) -> Responded<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let tunnel = response.extensions_mut().remove::<Tunnel>().filter(|_| form.is_tunnel(response.status()));
    let (parts, body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.headers_mut() = parts.headers;
    if let Some(tunnel) = tunnel.filter(Tunnel::is_waiting) {
        return handle.respond(head, false, true).map_or(Responded::Done, |()| Responded::Tunnel(tunnel));
    }
    if form == Form::Upgrade
        && form.is_tunnel(parts.status)
        && let Some(lent) = lent
    {
        return handle
            .respond(head, false, true)
            .map_or(Responded::Done, |()| Responded::Lent(lent.begin(handle.share())));
    }
    if matches!(form, Form::Connect | Form::ExtendedConnect) && parts.status.is_success() {
        // A 2xx would say that there is a tunnel (RFC 9110 §9.3.6), and this service has none to offer.
        *head.status_mut() = StatusCode::NOT_IMPLEMENTED;
    }
    if parts.status.is_informational() {
        // RFC 9110 §15.2: an interim response, which another has to follow; RFC 9113 §8.6 has no 101 at all.
        *head.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    if form == Form::ExtendedConnect {
        // Firefox gives the whole connection up, and with it the page's other requests, over a refusal that has one.
        head.headers_mut().remove(CONTENT_TYPE);
        hints::look_at_refusal(head.status(), body.size_hint().exact());
    }
    let has_content = form != Form::Head && !is_without_content(head.status());
    let status = head.status();
    let body = Content::of_response(head.headers_mut(), status, has_content, body);
    let end_stream = !has_content || body.is_end_stream();
    // A service that took the stream over has answered, and its response goes nowhere.
    match handle.respond(head, end_stream, false) {
        Ok(()) if !end_stream => Responded::Content(Sending::new(body)),
        _ => Responded::Done,
    }
}
