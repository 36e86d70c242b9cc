//! Sockets as upgraded connections of HTTP/1.1 (RFC 6455 §4.1), by hyper.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, ResponseError};
use tokio::io::ReadBuf;

use super::open::{Answer, Terms, collect};
use super::transport::Established;
use super::{Shared, Versions, within};
use crate::engine::body::Body;
use crate::engine::buffers::MIN_HYPER_SIZE;
use crate::engine::driver::Driver;
use crate::engine::read_ahead::ReadAhead;
use crate::engine::stream::{StreamCell, StreamHandle};
use crate::engine::transport::Transport;
use crate::error::{Error, Result};
use crate::socket::WebSocket;

impl Shared {
    /// Opens a socket on a connection of its own.
    pub(super) async fn open_upgrade(&self, handshake: &ClientHandshake, terms: &Terms) -> Result<WebSocket> {
        let spare = self.spare().take();
        if let Some(mut spare) = spare
            && !is_lost(&mut *spare.transport).await
        {
            match self.upgrade(spare, handshake, terms).await {
                Err(Unanswered { was_sent: false, error }) => tracing::debug!(%error, "a kept connection was lost"),
                result => return Ok(result?),
            }
        }
        let established = self.settings.establish(&self.origin, Versions::Http1).await?;
        Ok(self.upgrade(established, handshake, terms).await?)
    }

    async fn upgrade(
        &self,
        established: Established,
        handshake: &ClientHandshake,
        terms: &Terms,
    ) -> Result<WebSocket, Unanswered> {
        let link = self.link(&established);
        link.count_request();
        let way = Carrier::Http1 { key: rand::random() };
        let request = handshake.request(way).map_err(Error::invalid)?;
        let time = self.settings.handshake_timeout;
        let max_head = self.settings.http2.max_header_list_size as usize;
        let sent = send(established.transport, request.clone().map(|()| Empty::new()), max_head);
        let response = within(time, "the answer to the handshake", sent).await??;
        let accepted = match handshake.check(way, &response) {
            Ok(accepted) => accepted,
            Err(ResponseError::Status(_)) => {
                return Err(Error::Refused(Box::new(read_refusal(response, time).await)).into());
            }
            Err(error) => return Err(Error::handshake(error).into()),
        };
        let (parts, body) = response.into_parts();
        let mut head = Response::new(());
        *head.status_mut() = parts.status;
        *head.version_mut() = parts.version;
        *head.headers_mut() = parts.headers.clone();
        unshare(head.headers_mut());
        let transport = take_over(Response::from_parts(parts, body)).await?;
        let cell = StreamCell::new_tunnel(link);
        let socket = terms.socket(StreamHandle::new(&cell), request, Answer { response: head, accepted });
        let (transport, read) = transport.into_parts();
        tokio::spawn(Driver::of_tunnel(transport, read, cell, None));
        Ok(socket)
    }
}

/// Sends one request on a fresh transport, with a response head of at most `max_head` octets.
pub(super) async fn send(
    transport: Box<dyn Transport>,
    request: Request<Empty<Bytes>>,
    max_head: usize,
) -> Result<Response<Incoming>, Unanswered> {
    let mut builder = http1::Builder::new();
    builder.max_header_size(max_head).max_buf_size(max_head.saturating_mul(2).max(MIN_HYPER_SIZE));
    let (mut sender, connection) = builder.handshake(TokioIo::new(transport)).await.map_err(failed)?;
    // It ends when the sender and the response are gone.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an HTTP/1.1 connection ended");
        }
    });
    sender.try_send_request(request).await.map_err(|error| {
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
    was_sent: bool,
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

/// Whether the server has let go of a connection on which nothing was asked: it has ended it, or says that it is about to.
async fn is_lost(transport: &mut dyn Transport) -> bool {
    // What has come is known once the runtime has looked at its network.
    tokio::task::yield_now().await;
    let mut octet = [0];
    let mut buffer = ReadBuf::new(&mut octet);
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *transport).poll_read(cx, &mut buffer).is_ready())).await
}

/// The transport behind a response that switched protocols.
pub(super) async fn take_over(response: Response<Incoming>) -> Result<ReadAhead<Box<dyn Transport>>> {
    let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
    let parts = upgraded.downcast::<TokioIo<Box<dyn Transport>>>().expect("the transport that was given to hyper");
    // Copied: hyper's buffer would stay for as long as the socket.
    Ok(ReadAhead::new(parts.io.into_inner(), BytesMut::from(&parts.read_buf[..])))
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
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Error::Disconnected;
    }
    Error::Io(io::Error::other(error))
}

/// Copies what hyper's parser left as slices of its read buffer, which would stay whole for as long as the socket.
fn unshare(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}
