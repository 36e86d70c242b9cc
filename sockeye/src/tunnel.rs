//! What a response carries when its stream becomes a tunnel: the future that goes on in the place of the request's.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem};

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

/// Polls a handler, and those that follow it, until one waits; none is left where the last is done. A handler that panics,
/// be it as it is dropped, is done too, and takes nobody with it.
#[inline]
pub(crate) fn poll_caught(handler: &mut Option<Handler>, cell: &Arc<StreamCell>, waker: &Waker) {
    let polled = catch(cell.carrier(), || {
        while let Some(future) = handler
            && let Poll::Ready(next) = future.as_mut().poll(&mut Context::from_waker(waker))
        {
            *handler = next.map(|Next(next)| next);
        }
    });
    if let Err(Panicked) = polled {
        cell.panicked();
        drop_caught(cell.carrier(), handler.take());
    }
}

/// Runs a handler in a task of its own.
pub(crate) async fn run(handler: Handler, cell: Arc<StreamCell>) {
    let mut handler = Some(handler);
    poll_fn(|cx| {
        poll_caught(&mut handler, &cell, cx.waker());
        if handler.is_none() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Drops what foreign code made, which may panic.
pub(crate) fn drop_caught<T>(carrier: &Carrier, value: T) {
    catch(carrier, || drop(value)).ok();
}

/// Foreign code panicked.
pub(crate) struct Panicked;

/// Runs foreign code; what it was called on is not to be used again where it panics.
pub(crate) fn catch<T>(carrier: &Carrier, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        carrier.metrics().count(Counter::Panics);
        tell_of_panic(payload);
        Panicked
    })
}

/// The payload of a panic is foreign, and so is whoever takes the log: where either panics in turn, its payload is leaked,
/// or there would be no end.
#[cold]
fn tell_of_panic(payload: Box<dyn Any + Send>) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        drop(payload);
        tracing::error!("a handler or a service panicked");
    }));
    if let Err(payload) = told {
        mem::forget(payload);
    }
}
