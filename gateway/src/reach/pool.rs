//! The connections of HTTP/1.1 that hyper keeps to an upstream for requests, and what it means that one of them ends.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{Dialer, Error, MAX_HEAD, Pooled, Target, Timeouts};
use crate::http::Upload;

/// What requests go over.
pub(super) struct Pool {
    kept: legacy::Client<Pooled, Upload>,
    /// Each request has a connection of its own.
    fresh: legacy::Client<Pooled, Upload>,
}

/// Whether a connection has carried an answer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<AtomicBool>);

impl Pool {
    pub(super) fn new(dialer: &Dialer, timeouts: &Timeouts) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.http1_max_buf_size(MAX_HEAD);
        builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).pool_idle_timeout(timeouts.idle);
        let kept = builder.build(Pooled(dialer.clone()));
        let fresh = builder.pool_max_idle_per_host(0).build(Pooled(dialer.clone()));
        Self { kept, fresh }
    }

    /// Ready with the head of the response. Where a kept connection ends before an octet of the request is written, hyper's client
    /// goes on to another.
    ///
    /// `afresh` is for a request under which one ended: another one that is kept may have ended as well, and a new one has not.
    pub(super) async fn request(
        &self,
        request: Request<Upload>,
        afresh: bool,
        target: &Target,
    ) -> Result<Response<Incoming>, Error> {
        let client = if afresh { &self.fresh } else { &self.kept };
        let response = client.request(request).await.map_err(|error| failure(target, &error))?;
        if let Some(Proven(proven)) = response.extensions().get() {
            proven.store(true, Ordering::Relaxed);
        }
        Ok(response)
    }
}

/// What of hyper's failures people are told, and what may be made of the request.
fn failure(target: &Target, error: &legacy::Error) -> Error {
    let mut source = error.source();
    let mut last = error.to_string();
    let mut has_ended = false;
    while let Some(cause) = source {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return ours.clone();
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            has_ended |= hyper.is_incomplete_message();
        } else {
            has_ended |= cause.is::<io::Error>();
        }
        last = cause.to_string();
        source = cause.source();
    }
    if error.is_connect() {
        return Error::unreached(format!("no connection to {target}: {last}"));
    }
    let text = format!("{target} gave no answer: {last}");
    let mut extras = Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extras);
    }
    let is_proven = extras.get().is_some_and(|Proven(proven)| proven.load(Ordering::Relaxed));
    // One that ends with its first request does so because of it, as far as anybody knows.
    if has_ended && is_proven { Error::ended(text) } else { Error::failed(text) }
}
