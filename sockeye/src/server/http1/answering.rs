//! How a service answers one request of a connection that hyper reads, and what hyper leaves to us of the response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::Either;
use sockeye_proto::h1;

use super::taking::{self, Answered, expect_early};
use super::turn::Turn;
use super::wire::{Exchange, Line};
use crate::engine::body::Body;
use crate::engine::content::{Content, expects_continue, is_without_content};
use crate::engine::link::Link;
use crate::engine::peer::Peer;
use crate::engine::sending::AnyContent;
use crate::engine::switch::Switch;
use crate::engine::tunnel::{self, Panicked};
use crate::error::BoxError;
use crate::server::answer::{AnyService, HttpService};
#[cfg(feature = "axum")]
use crate::server::axum;

/// Has a service answer a request, and says no for it where the request breaks a rule of HTTP.
pub(super) async fn answer(
    service: AnyService,
    mut request: Request<Body>,
    link: Arc<Link>,
    line: Line,
) -> Result<Response<Held<Either<Content<AnyContent>, Body>>>, Infallible> {
    let exchange = line.begin_exchange();
    let held = |response: Response<_>| response.map(|content| Held { content, _exchange: exchange });
    if let Err(rule) = h1::settle_host(&mut request) {
        return Ok(held(refuse(StatusCode::BAD_REQUEST, rule).map(Either::Right)));
    }
    if !is_chunked_alone(request.headers()) {
        let mut refusal =
            refuse(StatusCode::NOT_IMPLEMENTED, "a transfer coding other than chunked, once (RFC 9112 §6.1)");
        // Where its content ends is understood in more than one way.
        refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(held(refusal.map(Either::Right)));
    }
    let method = request.method().clone();
    // RFC 9110 §10.1.1: in HTTP/1.0 an expectation means nothing.
    let expects = request.version() == Version::HTTP_11 && expects_continue(request.headers());
    request.extensions_mut().insert(Peer { link: link.clone(), cell: None });
    let turn = Turn::begin(line.clone());
    // RFC 9110 §15.2: no interim response to HTTP/1.0.
    if request.version() == Version::HTTP_11 {
        request.extensions_mut().insert(turn.clone());
    }
    #[cfg(feature = "axum")]
    axum::tell_address(&mut request);
    let early = expect_early(&mut request);
    let mut response = match taking::answer(service.call(request, link), early).await {
        Answered::ByService(Ok(response)) => settle_content(response, &method),
        Answered::ByService(Err(error)) => {
            tracing::error!(%error, "a service failed");
            status(StatusCode::INTERNAL_SERVER_ERROR, Body::empty()).map(Either::Right)
        }
        Answered::Early(response) => response.map(Either::Right),
    };
    turn.end().await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let switch = response.extensions_mut().remove::<Switch>();
        line.switch(switch.and_then(|switch| switch.take()), expects).await;
    } else if method == Method::CONNECT && response.status().is_success() {
        line.switch(None, false).await;
    }
    Ok(held(response))
}

pin_project_lite::pin_project! {
    /// The content of a response, which is all handed over when this is dropped.
    pub(super) struct Held<B> {
        #[pin]
        content: B,
        _exchange: Exchange,
    }
}

impl<B: http_body::Body> http_body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().content.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// Runs a service. Its panics are its own.
pub(crate) async fn call<S: HttpService>(
    mut service: S,
    request: Request<Body>,
    link: Arc<Link>,
) -> Result<Response<S::Content>, BoxError> {
    poll_fn(|cx| caught(&link, || service.poll_ready(cx).map_err(Into::into))).await?;
    let future = tunnel::catch(link.metrics(), || service.call(request)).map_err(|Panicked| PANICKED)?;
    let mut future = pin!(Some(future));
    let answered = poll_fn(|cx| match future.as_mut().as_pin_mut() {
        Some(future) => caught(&link, || future.poll(cx).map_err(Into::into)),
        None => Poll::Ready(Err(PANICKED.into())),
    });
    let answered = answered.await;
    // One that panics as it is dropped has answered.
    tunnel::catch(link.metrics(), || future.set(None)).ok();
    answered
}

const PANICKED: &str = "the service panicked";

fn caught<T>(link: &Link, run: impl FnOnce() -> Poll<Result<T, BoxError>>) -> Poll<Result<T, BoxError>> {
    tunnel::catch(link.metrics(), run).unwrap_or_else(|Panicked| Poll::Ready(Err(PANICKED.into())))
}

/// What hyper leaves to us: a response has a content-length where RFC 9110 §8.6 allows one, and keeps to it.
fn settle_content<B>(response: Response<B>, method: &Method) -> Response<Either<Content<B>, Body>>
where
    B: http_body::Body<Data = Bytes>,
{
    let (mut head, body) = response.into_parts();
    let has_content = method != Method::HEAD && !is_without_content(head.status);
    let body = Content::of_response(&mut head.headers, head.status, has_content, body);
    let is_tunnel = head.status.is_informational() || (method == Method::CONNECT && head.status.is_success());
    if is_tunnel || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        head.headers.remove(CONTENT_LENGTH);
    }
    // RFC 9110 §15.3.6: nor has a 205 any content, which hyper sees to for 204 and 304 alone.
    let is_reset = head.status == StatusCode::RESET_CONTENT;
    Response::from_parts(head, if is_reset { Either::Right(Body::empty()) } else { Either::Left(body) })
}

fn status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Whether content is coded as hyper decodes it: of several codings it takes the last one off, and leaves the others where no service
/// looks for them.
fn is_chunked_alone(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(is_chunked) && codings.next().is_none()
}

fn refuse(code: StatusCode, rule: &'static str) -> Response<Body> {
    tracing::debug!(reason = rule, "a request was refused");
    let mut response = status(code, Body::from(rule));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
