//! The low-level way: one HTTP/2 connection over any transport, its streams one by one.
//!
//! ```no_run
//! use sockeye::{Result, http2};
//!
//! async fn accept(transport: tokio::net::TcpStream) -> Result {
//!     let mut connection = http2::Connection::accept(transport, http2::Config::default());
//!     while let Some(stream) = connection.next().await? {
//!         if stream.protocol().is_none() {
//!             stream.respond(http::Response::new("only WebSockets here".to_owned())).await;
//!             continue;
//!         }
//!         // What is no handshake, or a wrong one, has been told so.
//!         let Ok(mut socket) = stream.into_websocket() else { continue };
//!         socket.send("hello").await?;
//!         socket.close().await?;
//!     }
//!     Ok(())
//! }
//! ```

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

use crate::answer::{Form, Responded};
use crate::carrier::{Carrier, Facts, Limits, Phase, Side};
use crate::driver::{Application, Driver};
use crate::metrics::Counter;
use crate::registry::Registry;
use crate::stream::Owner;
use crate::tunnel::{self, Handler, Panicked, Tunnel};
use crate::{Body, BoxError, Error, Result, answer, server};

pub use sockeye_proto::h2::{Config, Rate, Reason};

/// One HTTP/2 connection, accepted; a task of its own sees to its frames, so that its streams go on whatever this side
/// waits for.
///
/// Dropped, it takes no new streams and refuses those that nobody took; the others go on, and the connection ends with
/// the last.
#[derive(Debug)]
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    carrier: Arc<Carrier>,
    task: Option<JoinHandle<Result>>,
}

impl Connection {
    /// Accepts the connection at the other end of `transport`: its preface is awaited as RFC 9113 §3.4 says. Call it
    /// inside a tokio runtime.
    pub fn accept<T>(transport: T, config: Config) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let registry = Arc::new(Registry::default());
        let facts = Facts { side: Side::Server, peer: None, version: Version::HTTP_2, secure: false };
        // One more is about to be let go of.
        let outliving_handlers = config.max_closed_streams().saturating_sub(1);
        let limits = Limits { outliving_handlers, ..Limits::default() };
        let carrier = registry.enter(Arc::new(limits), facts);
        // As many wait here as may be open, some of which their peer may have given up.
        let (sender, streams) =
            mpsc::channel((config.max_concurrent_streams as usize).clamp(1, Semaphore::MAX_PERMITS));
        let machine = server::machine(h2::Role::Server, &config);
        let accept = ToHandle(sender);
        let task = Driver::new(transport, BytesMut::new(), machine, carrier.clone(), accept);
        Self { streams, carrier, task: Some(tokio::spawn(task)) }
    }

    /// The next stream that the peer opens; `None` once the connection has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// What ended the connection otherwise than cleanly.
    pub async fn next(&mut self) -> Result<Option<Stream>> {
        while let Some(stream) = self.streams.recv().await {
            // A request that its peer has given up meanwhile is no matter of anybody.
            if !stream.owner.is_dead() {
                return Ok(Some(stream));
            }
        }
        let Some(task) = &mut self.task else { return Ok(None) };
        let result = task.await;
        self.task = None;
        result.map_err(Error::application)?.map(|()| None)
    }

    /// Begins a graceful end: GOAWAY, and Close 1001 on every WebSocket (RFC 9113 §6.8).
    pub fn shutdown(&self) {
        self.carrier.enter(Phase::Draining);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.carrier.enter(Phase::Closing);
        self.streams.close();
        while let Ok(stream) = self.streams.try_recv() {
            stream.owner.refuse();
        }
    }
}

/// Hands every request over to the [`Connection`].
struct ToHandle(mpsc::Sender<Stream>);

impl<M> Application<M> for ToHandle {
    type Permit = ();

    fn accept(&mut self, request: Request<Body>, owner: Owner) -> Option<Handler> {
        answer::trace(&request);
        let form = Form::of(&request);
        if let Err(TrySendError::Full(stream) | TrySendError::Closed(stream)) =
            self.0.try_send(Stream { request, form, owner })
        {
            stream.owner.refuse();
        }
        None
    }
}

/// Runs the handler of a tunnel, which may outlive its stream for some time. One that panics ends its tunnel as by an error.
async fn run(tunnel: Tunnel, owner: Owner) {
    let mut handler = None;
    let run = poll_fn(|cx| {
        let polled = tunnel::catch(owner.carrier().metrics(), || match handler.get_or_insert_with(|| tunnel.start()) {
            Some(handler) => handler.as_mut().poll(cx).map(drop),
            None => Poll::Ready(()),
        });
        polled.unwrap_or_else(|Panicked| {
            owner.close_with(INTERNAL_ERROR);
            Poll::Ready(())
        })
    });
    let outlive = async {
        poll_fn(|cx| owner.poll_over(cx)).await;
        let carrier = owner.carrier();
        // Past the limit a handler has no time at all.
        if let Some(_place) = carrier.outlive() {
            tokio::time::sleep(carrier.limits.close_timeout).await;
        }
        carrier.metrics().count(Counter::HandlersDropped);
    };
    tokio::select! {
        () = run => {}
        () = outlive => {}
    }
    tunnel::drop_caught(owner.carrier().metrics(), handler);
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
    pub(crate) owner: Owner,
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

    /// The request's header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The request, with its content to be read.
    pub fn request(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Sends a response, and waits until its content is on its way, or until the peer has given the stream up: content that
    /// nobody awaits is dropped. The handler of an accepted [`Upgrade`](crate::Upgrade) runs in a task of its own.
    pub async fn respond<B>(self, response: Response<B>)
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
    {
        drop(self.request);
        match answer::respond(response, self.form, None, &self.owner) {
            Responded::Done => {}
            Responded::Lent(_) => {}
            Responded::Tunnel(tunnel) => drop(tokio::spawn(run(tunnel, self.owner))),
            Responded::Content(content) => {
                let mut content = pin!(content);
                // Content that is silent would not notice.
                poll_fn(|cx| match content.as_mut().poll_send(cx, &self.owner) {
                    Poll::Ready(()) => Poll::Ready(()),
                    Poll::Pending => self.owner.poll_over(cx),
                })
                .await;
            }
        }
    }
}
