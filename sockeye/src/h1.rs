//! HTTP/1.1, the fallback that every browser needs for its first socket: hyper's.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_proto::h2;

use crate::answer::{HttpService, trace};
use crate::carrier::{Carrier, Phase};
use crate::content::{Content, is_without_content};
use crate::metrics::Counter;
use crate::read_ahead::ReadAhead;
use crate::server::Transport;
use crate::tunnel::{self, Panicked};
use crate::{Body, BoxError, Error, Peer, Result};

/// Octets that hyper reads at once, and so the most that it holds of a head without end, where heads may not be larger;
/// enough for content at full speed.
pub(crate) const MIN_BUFFER_SIZE: usize = 64 << 10;
/// Fields of a head that hyper takes without a word: to say the same number would cost an allocation for each request.
const HYPERS_MAX_HEADERS: usize = 100;
/// As good as none.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1 << 32);

/// Serves one connection until it ends or a WebSocket takes it over. Of HTTP/2's limits those of a head hold here, too: past
/// them a request is answered with 431 (RFC 6585 §5).
pub(crate) async fn serve<T, S>(
    transport: T,
    read: BytesMut,
    carrier: Arc<Carrier>,
    limits: &h2::Config,
    service: S,
) -> Result
where
    T: Transport + 'static,
    S: HttpService,
{
    let shared = carrier.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        let carrier = shared.clone();
        carrier.count_request();
        let mut request = request.map(Body::from);
        trace(&request);
        request.extensions_mut().insert(Peer { carrier: carrier.clone(), cell: None });
        answer(service.clone(), request, carrier)
    });
    let mut builder = http1::Builder::new();
    let (max_size, max_fields) = (limits.max_header_list_size as usize, limits.max_header_fields as usize);
    if max_fields != HYPERS_MAX_HEADERS {
        builder.max_headers(max_fields);
    }
    let connection = builder
        .timer(TokioTimer::new())
        // Hyper adds it to the time, however long it is.
        .header_read_timeout(limits.handshake_timeout.min(LONGEST_TIMEOUT))
        .max_header_size(max_size)
        .max_buf_size(max_size.saturating_mul(2).max(MIN_BUFFER_SIZE))
        .serve_connection(TokioIo::new(ReadAhead::new(transport, read)), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = false;
    let done = poll_fn(|cx| {
        let phase = carrier.phase();
        if !carrier.sleep(cx, phase) {
            cx.waker().wake_by_ref();
        }
        match phase {
            Phase::Draining if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Phase::Ending => return Poll::Ready(Ok(())),
            Phase::Running | Phase::Closing | Phase::Draining => {}
        }
        connection.as_mut().poll(cx)
    });
    done.await.map_err(|error| {
        if error.is_parse_too_large() {
            carrier.metrics().count(Counter::HeaderListsRefused);
        }
        Error::Application(error.into())
    })
}

async fn answer<S: HttpService>(
    mut service: S,
    request: Request<Body>,
    carrier: Arc<Carrier>,
) -> Result<Response<Either<Content<S::Content>, Body>>, Infallible> {
    let method = request.method().clone();
    let mut called = pin!(async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    });
    let caught = poll_fn(|cx| match tunnel::catch(&carrier, || called.as_mut().poll(cx)) {
        Ok(poll) => poll.map(|result| result.map_err(Into::into)),
        Err(Panicked) => Poll::Ready(Err("the service panicked".into())),
    });
    Ok(caught.await.map_or_else(
        |error: BoxError| {
            tracing::error!(%error, "a service failed");
            let mut response = Response::new(Either::Right(Body::empty()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        },
        |response| settle_content(response, &method),
    ))
}

/// What hyper leaves to us: a response has a content-length where RFC 9110 §8.6 allows one, and keeps to it.
fn settle_content<B>(response: Response<B>, method: &Method) -> Response<Either<Content<B>, Body>>
where
    B: http_body::Body<Data = Bytes>,
{
    let (mut head, body) = response.into_parts();
    let has_content = method != Method::HEAD && !is_without_content(head.status);
    let body = Content::new(&mut head.headers, head.status, has_content, body);
    let is_tunnel = head.status.is_informational() || (method == Method::CONNECT && head.status.is_success());
    if is_tunnel || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        head.headers.remove(CONTENT_LENGTH);
    }
    // RFC 9110 §15.3.6: nor has a 205 any content, which hyper sees to for 204 and 304 alone.
    let is_reset = head.status == StatusCode::RESET_CONTENT;
    Response::from_parts(head, if is_reset { Either::Right(Body::empty()) } else { Either::Left(body) })
}
