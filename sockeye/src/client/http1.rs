//! Sockets as upgraded connections of HTTP/1.1 (RFC 6455 §4.1), by hyper.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Empty;
use sockeye_proto::h2;
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake, ResponseError};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::exchange::{Unanswered, read_refusal, send, take_over};
use super::open::{Answer, check_protocol, socket};
use super::transport::Established;
use super::{Shared, Versions, within};
use crate::engine::driver::Driver;
use crate::engine::stream::{StreamCell, StreamHandle};
use crate::engine::transport::AnyTransport;
use crate::error::{Error, Result, Step};
use crate::socket::options::AnswerTimeout;
use crate::socket::{SocketOptions, WebSocket};

impl Shared {
    /// Opens a socket on a connection of its own.
    pub(super) async fn open_upgrade(&self, handshake: &ClientHandshake, options: &SocketOptions) -> Result<WebSocket> {
        let spare = self.spare().take();
        if let Some(mut spare) = spare
            && !is_lost(&mut spare.transport).await
        {
            match self.upgrade(spare, handshake, options).await {
                Err(Unanswered { was_sent: false, error }) => tracing::debug!(%error, "a kept connection was lost"),
                result => return Ok(result?),
            }
        }
        self.back_off.wait(self.settings.back_off).await;
        let established = self.settings.establish(&self.origin, Versions::Http1).await;
        let established = established.inspect_err(|_| self.back_off.fail())?;
        let socket = self.upgrade(established, handshake, options).await?;
        self.back_off.succeed();
        Ok(socket)
    }

    async fn upgrade(
        &self,
        established: Established,
        handshake: &ClientHandshake,
        options: &SocketOptions,
    ) -> Result<WebSocket, Unanswered> {
        let link = self.link(&established);
        link.count_request();
        let way = Carrier::Http1 { key: rand::random() };
        let request = handshake.request(way).map_err(Error::invalid)?;
        let AnswerTimeout(time) = options.answer_timeout;
        let max_head = self.settings.limits.http2(h2::Role::Client).max_header_list_size as usize;
        let sent = send(established.transport, request.clone().map(|()| Empty::new()), max_head);
        let response = within(time, Step::Answer, sent).await??;
        let accepted = match handshake.check(way, &response) {
            Ok(accepted) => accepted,
            Err(ResponseError::Status(_)) => {
                return Err(Error::Refused(Box::new(read_refusal(response, time).await)).into());
            }
            Err(error) => return Err(Error::handshake(error).into()),
        };
        check_protocol(options, &accepted)?;
        let (parts, body) = response.into_parts();
        let mut head = Response::new(());
        *head.status_mut() = parts.status;
        *head.version_mut() = parts.version;
        *head.headers_mut() = parts.headers.clone();
        unshare(head.headers_mut());
        let transport = take_over(Response::from_parts(parts, body)).await?;
        let cell = StreamCell::new_tunnel(link);
        let socket = socket(options, StreamHandle::new(&cell), request, Answer { response: head, accepted });
        let (transport, read) = transport.into_parts();
        tokio::spawn(Driver::of_tunnel(transport, read, cell, None));
        Ok(socket)
    }
}

/// Whether the server has let go of a connection on which nothing was asked: it has ended it, or says that it is about to.
async fn is_lost(transport: &mut AnyTransport) -> bool {
    // What has come is known once the runtime has looked at its network.
    tokio::task::yield_now().await;
    let mut octet = [0];
    let mut buffer = ReadBuf::new(&mut octet);
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *transport).poll_read(cx, &mut buffer).is_ready())).await
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
