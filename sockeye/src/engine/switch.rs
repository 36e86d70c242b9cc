//! What a 101 carries: the start of its handler, for whoever sees that the 101 goes out (RFC 9110 §7.8).

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::engine::driver::Driver;
use crate::engine::link::Link;
use crate::engine::stream::StreamCell;
use crate::engine::tunnel::Handler;

/// Makes a socket's cell on its connection, and the handler that runs the socket.
pub(crate) type Start = Box<dyn FnOnce(Arc<Link>) -> (Arc<StreamCell>, Handler) + Send>;

/// Runs a socket once a foreign server has sent the response.
pub(crate) async fn after_upgrade(upgrade: OnUpgrade, link: Arc<Link>, switch: Switch) {
    match upgrade.await {
        Ok(upgraded) => {
            if let Some(start) = switch.take() {
                let (cell, handler) = start(link);
                Driver::of_tunnel(TokioIo::new(upgraded), BytesMut::new(), cell, Some(handler)).await.ok();
            }
        }
        Err(error) => tracing::debug!(%error, "an HTTP/1.1 upgrade failed"),
    }
}

/// An [extension](http::Extensions) of a 101, as [`Tunnel`](crate::engine::tunnel::Tunnel) is one of a 2xx over HTTP/2. Whoever drops
/// the response, as a middleware may, drops it too.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Option<Start>>>);

impl Switch {
    pub(crate) fn new(start: Start) -> Self {
        Self(Arc::new(Mutex::new(Some(start))))
    }

    /// To be called once the 101 is on its way; none where another clone was asked, or the start was revoked.
    pub(crate) fn take(&self) -> Option<Start> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What guards the start in a foreign server, which does not say what it sends. To be called while the response holds one
    /// clone and the task that waits for the upgrade another.
    pub(crate) fn guard(&self) -> Guard {
        Guard { switch: self.clone(), sent: AtomicBool::new(false) }
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

/// The content of a 101 in hyper's server, which has none: what becomes of it tells what became of its response. Hyper asks a
/// body whether it is at its end and encodes the head, with which the extensions go; it then reads the content of every
/// response that may have some, which a 101 may not (RFC 9110 §15.2). So whoever reads after the head is gone sends another
/// status, and a body that goes after its head without a question was never sent.
pub(crate) struct Guard {
    switch: Switch,
    sent: AtomicBool,
}

impl Guard {
    /// The server asks whether this content is at its end.
    pub(crate) fn ask(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Somebody reads: a middleware that collects all content, while the head is there, or else the server.
    pub(crate) fn read(&self) {
        if self.head_is_gone() {
            drop(self.switch.take());
        }
    }

    /// Whether nobody holds the start but this and the task that waits for the upgrade.
    fn head_is_gone(&self) -> bool {
        Arc::strong_count(&self.switch.0) <= 2
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !*self.sent.get_mut() && self.head_is_gone() {
            drop(self.switch.take());
        }
    }
}
