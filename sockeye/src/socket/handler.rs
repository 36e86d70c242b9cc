//! What runs a socket inside its connection's task.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sockeye_proto::ws::CloseCode;

use crate::engine::stream::StreamHandle;
use crate::engine::tunnel::Next;
use crate::error::Result;
use crate::socket::WebSocket;

/// What runs a socket inside its connection's task: any `FnOnce(WebSocket)` whose future's output is an [`Outcome`].
pub trait Handler: Send + 'static {
    /// What the handler returns when called.
    type Future: Future<Output: Outcome> + Send + 'static;

    /// Takes the socket.
    fn handle(self, socket: WebSocket) -> Self::Future;
}

impl<F, R> Handler for F
where
    F: FnOnce(WebSocket) -> R + Send + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    type Future = R;

    fn handle(self, socket: WebSocket) -> R {
        self(socket)
    }
}

/// A handler's result, which says with which code a socket is closed that is open when the handler ends.
#[diagnostic::on_unimplemented(
    message = "`{Self}` says nothing of how a socket is to be closed",
    label = "a handler's future gives `()`, or a `Result<(), E>` whose `E` is `Display`"
)]
pub trait Outcome {
    /// RFC 6455 §7.4.1: 1000 if all went well, 1011 if not.
    fn close_code(self) -> CloseCode;
}

impl Outcome for () {
    fn close_code(self) -> CloseCode {
        CloseCode::NORMAL
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn close_code(self) -> CloseCode {
        match self {
            Ok(()) => CloseCode::NORMAL,
            Err(error) => {
                // No more than that: a peer that went away is an error here too, and nobody's fault.
                tracing::debug!(%error, "a WebSocket's handler returned an error");
                CloseCode::INTERNAL_ERROR
            }
        }
    }
}

/// Lets the connection's task of an open socket poll the handler from now on.
#[cfg(all(feature = "http2", feature = "web-socket"))]
pub(crate) fn run_in_place<H: Handler>(socket: WebSocket, handler: H) {
    let handle = StreamHandle::new(socket.cell());
    let (supervisor, time) = (handle.share(), handle.link().limits.close_timeout);
    // What the handler does as it is called may use the socket, so the connection's task calls it.
    let future = async { handler.handle(socket).await };
    if let Err(handler) = handle.adopt(Box::pin(Supervised::new(future, supervisor))) {
        // The stream is over already. Its handler sees that, and what had arrived, in as much time as others get.
        tokio::spawn(tokio::time::timeout(time, handler));
    }
}

pin_project_lite::pin_project! {
    /// A handler, whose result says how to close the socket if it is still open.
    pub(crate) struct Supervised<F> {
        #[pin]
        future: F,
        handle: StreamHandle,
    }
}

impl<F: Future<Output: Outcome>> Supervised<F> {
    pub(crate) fn new(future: F, handle: StreamHandle) -> Self {
        Self { future, handle }
    }
}

impl<F: Future<Output: Outcome>> Future for Supervised<F> {
    type Output = Option<Next>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        let this = self.project();
        let code = ready!(this.future.poll(cx)).close_code().into();
        tracing::debug!(code, "a WebSocket's handler ended");
        this.handle.close_with(code);
        Poll::Ready(None)
    }
}
