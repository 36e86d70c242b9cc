//! What a response carries when its stream becomes a tunnel: the future that goes on in the place of the request's.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::carrier::Carrier;
use crate::metrics::Counter;
use crate::stream::StreamCell;

/// What a connection polls for a stream until it is done, or becomes something else.
pub(crate) type Handler = Pin<Box<dyn Future<Output = Option<Next>> + Send>>;

/// The handler that follows.
pub(crate) struct Next(pub(crate) Handler);

/// An [extension](http::Extensions) of a 2xx response: once the response is sent, this starts. Whoever drops the response,
/// as a middleware may, drops it too.
#[derive(Clone)]
pub(crate) struct Tunnel(Arc<dyn Start>);

trait Start: Send + Sync {
    fn is_waiting(&self) -> bool;
    fn start(&self) -> Option<Handler>;
}

impl<F: FnOnce() -> Handler + Send> Start for Mutex<Option<F>> {
    fn is_waiting(&self) -> bool {
        self.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn start(&self) -> Option<Handler> {
        let start = self.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(start())
    }
}

impl Tunnel {
    pub(crate) fn new(start: impl FnOnce() -> Handler + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(start))))
    }

    /// Whether no clone was started.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }

    /// To be called once the response is sent. Runs foreign code.
    pub(crate) fn start(&self) -> Option<Handler> {
        self.0.start()
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

/// Polls a handler. One that panics is done, and takes nobody with it.
#[inline]
pub(crate) fn poll_caught(handler: &mut Handler, cell: &Arc<StreamCell>, waker: &Waker) -> Poll<Option<Next>> {
    catch(cell.carrier(), || handler.as_mut().poll(&mut Context::from_waker(waker))).unwrap_or_else(|Panicked| {
        cell.panicked();
        Poll::Ready(None)
    })
}

/// Foreign code panicked.
pub(crate) struct Panicked;

/// Runs foreign code; what it was called on is not to be used again where it panics.
pub(crate) fn catch<T>(carrier: &Carrier, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        tracing::error!("a handler or a service panicked");
        carrier.metrics().count(Counter::Panics);
        Panicked
    })
}
