//! How a tower service answers one request on a stream.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use bytes::{Buf, Bytes};
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::connection::Application;
use crate::stream::Owner;
use crate::tunnel::{Handler, Next, Tunnel};
use crate::{Body, BoxError, Result};

/// What a connection asks of a service.
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

/// Answers every request by a clone of the service, inside the connection's task.
pub(crate) struct ByService<S>(pub(crate) S);

impl<S: HttpService> Application for ByService<S> {
    type Permit = ();

    fn accept(&mut self, request: Request<Body>, owner: Owner) -> Option<Handler> {
        trace(&request);
        Some(Box::pin(answer(self.0.clone(), request, owner)))
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

async fn answer<S: HttpService>(mut service: S, request: Request<Body>, owner: Owner) -> Option<Next> {
    let method = request.method().clone();
    let called = async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    match called.await {
        Ok(response) => respond(response, &method, owner).await,
        Err(error) => {
            let error: BoxError = error.into();
            tracing::error!(%error, "a service failed");
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            // A stream that the service took over before it failed is no matter of ours.
            owner.respond(response, true, false).ok();
            None
        }
    }
}

/// Sends a response, and its content as the peer takes it. A tunnel's handler goes on alone.
pub(crate) async fn respond<B>(mut response: Response<B>, method: &Method, owner: Owner) -> Option<Next>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let tunnel = response.extensions_mut().remove::<Tunnel>().filter(|_| response.status().is_success());
    let (parts, body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.headers_mut() = parts.headers;
    if let Some(handler) = tunnel.and_then(|tunnel| tunnel.take()) {
        return owner.respond(head, false, true).ok().map(|()| Next(handler));
    }
    if method == Method::CONNECT && parts.status.is_success() {
        // A 2xx would say that there is a tunnel (RFC 9110 §9.3.6), and this service has none to offer.
        *head.status_mut() = StatusCode::NOT_IMPLEMENTED;
    }
    if parts.status.is_informational() {
        // RFC 9110 §15.2: an interim response, which another has to follow; RFC 9113 §8.6 has no 101 at all.
        *head.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let end_stream = method == Method::HEAD || body.is_end_stream();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0 || !end_stream) {
        head.headers_mut().entry(http::header::CONTENT_LENGTH).or_insert(length.into());
    }
    // A service that took the stream over has answered, and its response goes nowhere.
    owner.respond(head, end_stream, false).ok()?;
    if !end_stream && let Err(error) = send_content(pin!(body), &owner).await {
        tracing::debug!(%error, "a response broke off");
    }
    None
}

async fn send_content<B>(mut body: Pin<&mut B>, owner: &Owner) -> Result<(), BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(Into::into)?.into_data() {
            Ok(mut data) => {
                while data.has_remaining() {
                    poll_fn(|cx| {
                        owner.poll_send(cx, PIECE, |outbox| {
                            let taken = data.chunk().len().min(PIECE);
                            outbox.extend_from_slice(&data.chunk()[..taken]);
                            data.advance(taken);
                            ((), None)
                        })
                    })
                    .await?;
                }
            }
            Err(frame) => {
                owner.finish(frame.into_trailers().ok(), |_| {});
                return Ok(());
            }
        }
    }
    owner.finish(None, |_| {});
    Ok(())
}

/// Octets of content taken at once: as many as fit the stream's outbox.
const PIECE: usize = 64 * 1024;
