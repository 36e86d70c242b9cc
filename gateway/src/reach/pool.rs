//! The connections that hyper keeps to an upstream for requests, and what it means that one of them ends.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Extensions, Request, Response, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{Dialer, Error, Pooled, Protocol, Target, Timeouts, Versions};
use crate::http::Upload;

/// What requests go over.
pub(super) struct Pool {
    kept: legacy::Client<Pooled, Upload>,
    /// Each request has a connection of its own.
    fresh: legacy::Client<Pooled, Upload>,
    /// Whether answers come over HTTP/2.
    is_http2: AtomicBool,
}

/// Whether a connection has carried an answer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<AtomicBool>);

impl Pool {
    pub(super) fn new(dialer: &Dialer, protocol: Protocol, timeouts: &Timeouts) -> Self {
        let versions = match protocol {
            Protocol::Auto => Versions::Any,
            Protocol::Http1 => Versions::Http1,
            Protocol::Http2 => Versions::Http2,
        };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .http2_only(protocol == Protocol::Http2)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(timeouts.idle);
        let kept = builder.build(Pooled { dialer: dialer.clone(), versions });
        let fresh = builder.pool_max_idle_per_host(0).build(Pooled { dialer: dialer.clone(), versions });
        Self { kept, fresh, is_http2: AtomicBool::new(protocol == Protocol::Http2) }
    }

    /// Ready with the head of the response. Where a kept connection ends before an octet of the request is written, hyper's client
    /// goes on to another.
    ///
    /// `afresh` is for a request under which one ended: of HTTP/1.1 another one that is kept may have ended as well, and a new one has
    /// not. Of HTTP/2 a connection that ends is kept no more, and all that shared it share the next.
    pub(super) async fn request(
        &self,
        request: Request<Upload>,
        afresh: bool,
        target: &Target,
    ) -> Result<Response<Incoming>, Error> {
        let client = if afresh && !self.is_http2.load(Ordering::Relaxed) { &self.fresh } else { &self.kept };
        let response = client.request(request).await.map_err(|error| failure(target, &error))?;
        self.is_http2.store(response.version() == Version::HTTP_2, Ordering::Relaxed);
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
    let (mut has_ended, mut is_unseen) = (false, false);
    while let Some(cause) = source {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return ours.clone();
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            has_ended |= hyper.is_incomplete_message();
        } else if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            // RFC 9113 §6.8, §8.7: nothing was done for it.
            is_unseen |= h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM));
            has_ended |= h2.is_go_away();
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
    match (has_ended, is_unseen) {
        (true, true) => Error::ended(text, false),
        (false, true) => Error::unreached(text),
        // One that ends with its first request does so because of it, as far as anybody knows.
        (true, false) if is_proven => Error::ended(text, true),
        (_, false) => Error::failed(text),
    }
}
