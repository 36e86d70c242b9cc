//! One request of HTTP/1.1 on a fresh transport, by hyper.

use std::error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::bounded::Bounded;
use crate::engine::body::Body;
use crate::engine::buffers::MIN_HYPER_SIZE;
use crate::engine::read_ahead::ReadAhead;
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result, is_of_tls};

/// Sends one request on a fresh transport, with a response head of at most `max_head` octets.
pub(super) async fn send(
    transport: AnyTransport,
    request: Request<Empty<Bytes>>,
    max_head: usize,
) -> Result<Response<Incoming>, Unanswered> {
    let mut builder = http1::Builder::new();
    builder.max_header_size(max_head).max_buf_size(max_head.saturating_mul(2).max(MIN_HYPER_SIZE));
    let (mut sender, connection) = builder.handshake(TokioIo::new(Bounded::new(transport))).await.map_err(failed)?;
    // Queued before the connection runs, so that what ends the connection at once is told with the request.
    let response = sender.try_send_request(request);
    // It ends when the sender and the response are gone.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an HTTP/1.1 connection ended");
        }
    });
    response.await.map_err(|error| {
        // What hyper gives back it has not begun to send.
        let was_sent = error.message().is_none();
        Unanswered { error: failed(error.into_error()), was_sent }
    })
}

/// A request without a response.
pub(super) struct Unanswered {
    pub(super) error: Error,
    /// Whether the server may have seen any of the request. A handshake that it has seen may have begun a socket, whose handler
    /// does what it does: though a GET is idempotent by its name (RFC 9110 §9.2.2), this one is not made twice on a guess (RFC
    /// 9112 §9.3.1). The caller may try again, as for any [retryable](Error::is_retryable) error.
    pub(super) was_sent: bool,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self { error, was_sent: true }
    }
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.error
    }
}

/// The transport behind a response that switched protocols.
pub(super) async fn take_over(response: Response<Incoming>) -> Result<ReadAhead<AnyTransport>> {
    let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
    let parts = upgraded.downcast::<TokioIo<Bounded>>().expect("the transport that was given to hyper");
    // Copied: hyper's buffer would stay for as long as the socket.
    Ok(ReadAhead::new(parts.io.into_inner().into_inner(), BytesMut::from(&parts.read_buf[..])))
}

/// Reads what a refusal has to say, as far as it comes in time.
pub(super) async fn read_refusal(response: Response<Incoming>, time: Duration) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    let mut content = BytesMut::new();
    collect(Body::from(body), &mut content, time).await;
    Response::from_parts(parts, content.freeze())
}

/// What ended an exchange of hyper's, by our names.
fn failed(error: hyper::Error) -> Error {
    if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
        return Error::handshake(error);
    }
    if is_of_tls(&error) {
        return Error::Io(io::Error::other(error));
    }
    // A request that was not begun is cancelled, and names what ended the connection before.
    let source = error::Error::source(&error);
    let ended = source.and_then(|source| source.downcast_ref::<hyper::Error>());
    let transport = ended.map_or(source, error::Error::source).and_then(|source| source.downcast_ref::<io::Error>());
    if transport.is_none() && ended.is_some_and(|ended| !ended.is_incomplete_message() && !ended.is_closed()) {
        return Error::handshake("the server spoke before it was asked");
    }
    if transport.is_none() && (error.is_incomplete_message() || error.is_closed() || error.is_canceled()) {
        return Error::Disconnected;
    }
    // What `Bounded` found out, where hyper has it as an error of the transport.
    let found = transport.and_then(|transport| transport.get_ref()?.downcast_ref());
    if let Some(Error::NotOffered(missing)) = found {
        return Error::NotOffered(*missing);
    }
    // TLS without a close_notify, which few servers send.
    if transport.is_some_and(|transport| transport.kind() == io::ErrorKind::UnexpectedEof) {
        return Error::Disconnected;
    }
    Error::Io(io::Error::other(error))
}

/// Octets of a refusal's content that are kept.
const MAX_REFUSAL: usize = 64 << 10;

/// Reads the content of a refusal, as far as it comes in time and no further than it is of use.
pub(super) async fn collect(body: Body, content: &mut BytesMut, time: Duration) {
    let mut body = pin!(body);
    let read = async {
        while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let Ok(data) = frame.into_data() else { continue };
            let room = MAX_REFUSAL - content.len();
            content.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return;
            }
        }
    };
    timeout(time, read).await.ok();
}
