//! One HTTP/2 connection over any transport, its streams one by one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use sockeye_proto::Protocol;
use sockeye_proto::h2;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use crate::engine::body::Body;
use crate::engine::driver::{Application, Driver};
use crate::engine::link::{ConnectionInfo, Link, Phase, Side};
use crate::engine::machine::machine;
use crate::engine::metrics::Counter;
use crate::engine::peer::Peer;
use crate::engine::registry::Registry;
use crate::engine::stream::StreamHandle;
use crate::engine::transport::AnyTransport;
use crate::engine::tunnel::{self, Handler, Panicked, Tunnel};
use crate::error::{BoxError, Error, Result};
use crate::limits::Limits;
use crate::server::answer::{self, Form, Responded};

/// One HTTP/2 connection, accepted; a task of its own sees to its frames, so that its streams go on whatever this side
/// waits for.
///
/// Dropped, it takes no new streams and refuses those that nobody took; the others go on, and the connection ends with
/// the last.
#[derive(Debug)]
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    link: Arc<Link>,
    task: Option<JoinHandle<Result>>,
}

impl Connection {
    /// Accepts the connection at the other end of `transport`: its preface is awaited as RFC 9113 §3.4 says. Call it
    /// inside a tokio runtime.
    ///
    /// Of the limits those of a server's handshake do not hold but for the preface's, since no other step is taken here. Over TLS,
    /// and as one of a server's connections, it is [`Server::accept_http2`](crate::Server::accept_http2).
    pub fn accept<T>(transport: T, limits: Limits) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let registry = Arc::new(Registry::default());
        let info = ConnectionInfo { side: Side::Server, peer: None, version: Version::HTTP_2, secure: false };
        let config = limits.http2(h2::Role::Server);
        let link = registry.enter(Arc::new(limits.connection(h2::Role::Server)), info);
        Self::start(AnyTransport::other(transport), &config, link)
    }

    /// Begins a connection that is listed.
    pub(super) fn start(transport: AnyTransport, config: &h2::Config, link: Arc<Link>) -> Self {
        // As many wait here as may be open, some of which their peer may have given up.
        let (sender, streams) =
            mpsc::channel((config.max_concurrent_streams as usize).clamp(1, Semaphore::MAX_PERMITS));
        let machine = machine(h2::Role::Server, config);
        let accept = ToHandle(sender);
        let task = Driver::new(transport, BytesMut::new(), machine, link.clone(), accept);
        Self { streams, link, task: Some(tokio::spawn(task)) }
    }

    /// The next stream that the peer opens; `None` once the connection has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// What ended the connection otherwise than cleanly.
    pub async fn next(&mut self) -> Result<Option<Stream>> {
        while let Some(stream) = self.streams.recv().await {
            // A request that its peer has given up meanwhile is no matter of anybody.
            if !stream.handle.is_dead() {
                return Ok(Some(stream));
            }
        }
        let Some(task) = &mut self.task else { return Ok(None) };
        let result = task.await;
        self.task = None;
        result.map_err(Error::application)?.map(|()| None)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        Peer { link: self.link.clone(), cell: None }
    }

    /// Begins a graceful end: GOAWAY, and Close 1001 on every WebSocket (RFC 9113 §6.8). What has not ended within 5 seconds is cut
    /// off.
    pub fn shutdown(&self) {
        self.link.enter(Phase::Draining);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.enter(Phase::Closing);
        self.streams.close();
        while let Ok(stream) = self.streams.try_recv() {
            stream.handle.refuse();
        }
    }
}

/// Hands every request over to the [`Connection`].
struct ToHandle(mpsc::Sender<Stream>);

impl<M> Application<M> for ToHandle {
    type Permit = ();

    fn accept(&mut self, request: Request<Body>, handle: StreamHandle) -> Option<Handler> {
        answer::trace(&request);
        let form = Form::of(&request);
        if let Err(TrySendError::Full(stream) | TrySendError::Closed(stream)) =
            self.0.try_send(Stream { request, form, handle })
        {
            stream.handle.refuse();
        }
        None
    }
}

/// Runs the handler of a tunnel, which may outlive its stream for some time. One that panics ends its tunnel as by an error.
async fn run(tunnel: Tunnel, handle: StreamHandle) {
    let mut handler = None;
    let run = poll_fn(|cx| {
        let polled = tunnel::catch(handle.link().metrics(), || match handler.get_or_insert_with(|| tunnel.start()) {
            Some(handler) => handler.as_mut().poll(cx).map(drop),
            None => Poll::Ready(()),
        });
        polled.unwrap_or_else(|Panicked| {
            handle.close_with(INTERNAL_ERROR);
            Poll::Ready(())
        })
    });
    let outlive = async {
        poll_fn(|cx| handle.poll_over(cx)).await;
        let link = handle.link();
        // Past the limit a handler has no time at all.
        if let Some(_place) = link.outlive() {
            tokio::time::sleep(link.limits.close_timeout).await;
        }
        link.metrics().count(Counter::HandlersDropped);
    };
    tokio::select! {
        // What has ended was not dropped.
        biased;
        () = run => {}
        () = outlive => {}
    }
    tunnel::drop_caught(handle.link().metrics(), handler);
}

/// RFC 6455 §7.4.1.
const INTERNAL_ERROR: u16 = 1011;

/// A stream that the peer opened: a request that waits for its response, or for its stream to be taken over.
///
/// Dropped, it is reset with INTERNAL_ERROR.
#[derive(Debug)]
pub struct Stream {
    pub(crate) request: Request<Body>,
    /// Of the answer; an [`Upgrade`](crate::Upgrade) takes what says so out of the request.
    form: Form,
    pub(crate) handle: StreamHandle,
}

impl Stream {
    /// The request's method; CONNECT for a WebSocket.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// The request's target.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// The `:protocol` of an extended CONNECT (RFC 8441 §4).
    pub fn protocol(&self) -> Option<&Protocol> {
        self.request.extensions().get()
    }

    /// Who is at the other end of its connection.
    pub fn peer(&self) -> Peer {
        Peer { link: self.handle.cell().link().clone(), cell: None }
    }

    /// The request's header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The request, with its content to be read.
    pub fn request(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Sends a response, and waits until its content is on its way, or until the peer has given the stream up: content that
    /// nobody awaits is dropped. Not cancel safe: dropped before
    /// it is ready, the stream is reset. The handler of an accepted [`Upgrade`](crate::Upgrade) runs in a task of its own.
    pub async fn respond<B>(self, response: Response<B>)
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
    {
        drop(self.request);
        match answer::respond(response, self.form, None, &self.handle) {
            Responded::Done => {}
            Responded::Lent(_) => {}
            Responded::Tunnel(tunnel) => drop(tokio::spawn(run(tunnel, self.handle))),
            Responded::Content(content) => {
                let mut content = pin!(content);
                // Content that is silent would not notice.
                let sent = poll_fn(|cx| match content.as_mut().poll_send(cx, &self.handle) {
                    Poll::Pending => self.handle.poll_over(cx).map(Ok),
                    sent => sent,
                });
                answer::conclude(sent.await, &self.handle);
            }
        }
    }
}
