//! What a response carries when its stream becomes a tunnel: the future that goes on in the place of the request's.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, mem};

use crate::engine::metrics::{Counter, Metrics};

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

/// Drops what foreign code made, which may panic.
pub(crate) fn drop_caught<T>(metrics: &Metrics, value: T) {
    catch(metrics, || drop(value)).ok();
}

/// Foreign code panicked.
pub(crate) struct Panicked;

/// Runs foreign code; what it was called on is not to be used again where it panics.
pub(crate) fn catch<T>(metrics: &Metrics, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        metrics.count(Counter::Panics);
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
