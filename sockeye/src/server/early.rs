//! The response of a service that has not returned yet: a later request of an HTTP/1.1 connection whose socket is taken over
//! while hyper still waits for the service (RFC 9110 §7.8).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Response;
use tokio::sync::oneshot;

use crate::engine::body::Body;

/// An [extension](http::Extensions) of a request that asks for an upgrade: the way to answer it before its service returns.
#[derive(Clone)]
pub(super) struct Early(Arc<Mutex<Option<oneshot::Sender<Response<Body>>>>>);

impl Early {
    /// With where the response arrives, which is none once every clone is gone.
    #[cfg(feature = "http2")]
    pub(super) fn new() -> (Self, oneshot::Receiver<Response<Body>>) {
        let (sender, response) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), response)
    }

    /// False where the request was answered before, or its connection is gone.
    pub(super) fn answer(&self, response: Response<Body>) -> bool {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        sender.is_some_and(|sender| sender.send(response).is_ok())
    }
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Early")
    }
}
