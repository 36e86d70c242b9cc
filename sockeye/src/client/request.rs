//! Requests that open no socket, on the connections that sockets share.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use sockeye_proto::{Protocol, content_length};
use tokio::sync::oneshot;

use super::Client;
use super::http2::{Asked, Purpose, Question};
use crate::engine::body::Body;
use crate::engine::content::{Content, is_without_content};
use crate::engine::sending::{AnyContent, Sending};
use crate::engine::stream::{ErrorCode, Interims, StreamHandle};
use crate::engine::tunnel::Next;
use crate::error::{BoxError, Error, Missing, Result};
use sockeye_proto::Reason;

/// An [extension](http::Extensions) of a request for [`Client::request`]: it hears of the interim responses (1xx, RFC 9110 §15.2)
/// that come before the response, in their order. It is called inside the connection's task, and is not to take long.
///
/// ```no_run
/// use sockeye::Body;
/// use sockeye::client::OnInterim;
///
/// # async fn run(client: sockeye::Client) -> sockeye::Result {
/// let mut request = http::Request::new(Body::empty());
/// request.extensions_mut().insert(OnInterim::new(|hints| println!("{}: {:?}", hints.status(), hints.headers())));
/// let response = client.request(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OnInterim(Interims);

impl OnInterim {
    /// Calls `hear` for each.
    pub fn new(hear: impl Fn(Response<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for OnInterim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInterim")
    }
}

impl Client {
    /// Makes any other request than the opening of a WebSocket, as a stream beside the sockets: a page, a call, an upload. Ready with
    /// the head of the response; content and trailers go and come as streams, both ways at once, and content goes as fast as the
    /// server takes it. It goes over HTTP/2 alone, as [`tunnel`](Self::tunnel) does, also where the server does not offer the extended
    /// CONNECT: see [`offers_http2`](Self::offers_http2).
    ///
    /// ```no_run
    /// use http_body_util::BodyExt as _;
    /// use sockeye::{Body, Client};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::connect("https://example.com").await?;
    /// let mut chat = client.open("/chat").await?;
    /// let mut request = http::Request::post("/login").body(Body::from("name=me"))?; // on the same connection
    /// let response = client.request(request).await?;
    /// println!("{}: {:?}", response.status(), response.into_body().collect().await?.to_bytes());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The request goes with its own fields alone, those of a connection left out (RFC 9113 §8.2.2); a `content-length` is added where
    /// the body knows its length. Of its URI the authority may be any, or be left out; the connection is to the client's own
    /// origin. Its version does not count. [`OnInterim`] among its extensions hears of interim responses.
    ///
    /// A stream that the server did not act on (RFC 9113 §8.7) is tried once elsewhere, and an idempotent request under which a
    /// connection ended that had answered others is made once more (RFC 9110 §9.2.2): either where the request has no content.
    ///
    /// Cancel safe: dropped before it is ready, the future gives the stream up, and so does whoever drops the response's body before
    /// its end. There is no limit to the time in which a server may answer but the caller's own, such as `tokio::time::timeout`. Where
    /// nothing at all came from the server in that time, a second or more, what is new goes on another connection: this one may be
    /// dead.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] where the server does not speak HTTP/2, and [`Error::Invalid`] where the client does not (in cleartext,
    /// unless told [`http2_only`](super::ClientBuilder::http2_only)) or for a request that cannot be sent, such as a CONNECT: nothing
    /// was asked then. [`Error::Application`] with the error of the request's body, where that broke off.
    /// [`Error::Reset`], [`Error::GoAway`], [`Error::Disconnected`] and [`Error::Violation`] where the stream or its connection ended
    /// before the response, the last of them where that breaks a rule or a limit, such as
    /// [`max_header_list_size`](crate::Limits::max_header_list_size); [`Error::Connect`] and [`Error::Timeout`] for a step on the way
    /// to a connection.
    pub async fn request<B>(&self, request: Request<B>) -> Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.exchange(request.map(|body| body.map_err(Into::into).boxed_unsync())).await
    }

    /// Whether requests find HTTP/2 here, by a connection that is there or is made now: over TLS as ALPN chooses (RFC 9113 §3.2), in
    /// cleartext where the client goes by prior knowledge (§3.3). Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] and [`Error::Timeout`] for a step on the way to a connection, [`Error::Closed`] after
    /// [`close`](Self::close).
    pub async fn offers_http2(&self) -> Result<bool> {
        let offers_http2 = self.0.offers_http2(Purpose::Request).await?;
        if !offers_http2 {
            // No socket was asked for.
            self.0.spare().take();
        }
        Ok(offers_http2)
    }

    async fn exchange(&self, request: Request<AnyContent>) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(Error::invalid("a CONNECT makes a tunnel, and goes by Client::tunnel"));
        }
        let interims = parts.extensions.remove().map(|OnInterim(interims)| interims);
        parts.extensions.remove::<Protocol>();
        if parts.uri.authority().is_none() {
            let path = parts.uri.path_and_query().cloned();
            parts.uri = self.0.origin.uri(path.unwrap_or(PathAndQuery::from_static("/")))?;
        }
        parts.version = Version::HTTP_2;
        let content = Content::of_request(&mut parts.headers, body);
        let content = (!content.is_end_stream()).then_some(content);
        let request = Request::from_parts(parts, ());
        let question = Question { purpose: Purpose::Request, request, interims, time: None };
        match self.0.ask(&question, content).await? {
            Asked::Answered(awaited, response) => {
                self.0.back_off.succeed();
                // RFC 9110 §6.4.1: the length may be what there would be.
                let has_content = *question.request.method() != Method::HEAD && !is_without_content(response.status());
                let length = if has_content { content_length(response.headers()).unwrap_or_default() } else { Some(0) };
                let is_whole = awaited.handle().is_all_read();
                Ok(response.map(|()| if is_whole { Body::empty() } else { Body::response(awaited, length) }))
            }
            Asked::NotOffered => {
                self.0.spare().take();
                Err(self.0.without_http2(Missing::Http2))
            }
            Asked::Broken(error) => Err(error),
        }
    }
}

/// The content of a request, sent inside its connection's task. What is left of it when the stream ends is dropped.
struct Upload {
    sending: Sending<AnyContent>,
    handle: StreamHandle,
    /// Takes the error of the content.
    failed: Option<oneshot::Sender<BoxError>>,
    is_done: bool,
}

/// Sends content on an open stream from now on; what is returned takes the error of the content, if there is one.
pub(super) fn upload(content: Content<AnyContent>, handle: &StreamHandle) -> oneshot::Receiver<BoxError> {
    let (failed, failure) = oneshot::channel();
    let sending = Sending::new(content);
    let upload = Upload { sending, handle: handle.share(), failed: Some(failed), is_done: false };
    // Nobody takes it where the stream is over.
    handle.adopt(Box::pin(upload)).ok();
    failure
}

impl Future for Upload {
    type Output = Option<Next>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        let this = &mut *self;
        let sent = ready!(Pin::new(&mut this.sending).poll_send(cx, &this.handle));
        if let Err(error) = sent {
            tracing::debug!(%error, "the content of a request broke off");
            // A stream that is dead has an error of its own.
            if let Some(failed) = this.failed.take().filter(|_| !this.handle.is_dead()) {
                failed.send(error).ok();
            }
        } else {
            this.is_done = true;
        }
        Poll::Ready(None)
    }
}

impl Drop for Upload {
    /// Content that is not whole, as where its body failed or panicked, ends the request.
    fn drop(&mut self) {
        if !self.is_done {
            self.handle.reset(ErrorCode::new(Reason::CANCEL));
        }
    }
}
