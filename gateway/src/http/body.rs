//! The content of a response on its way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sockeye::BoxError;

use super::fields;
use super::upload::Progress;
use crate::observe::{End, Exchange};
use crate::upstreams::Lease;

/// The content of a gateway's response.
#[derive(Debug)]
pub struct Content(Inner);

#[derive(Debug)]
enum Inner {
    /// The gateway's own, or none.
    Own(sockeye::Body),
    Upstreams(Box<Download>),
}

/// What comes from an upstream.
#[derive(Debug)]
struct Download {
    source: Source,
    upload: Progress,
    exchange: Exchange,
    /// It counts as open until the content has ended.
    _lease: Lease,
}

#[derive(Debug)]
pub(crate) enum Source {
    Hyper(hyper::body::Incoming),
    Sockeye(sockeye::Body),
    /// All of it has come, or it broke off.
    Over,
}

impl Content {
    /// What an upstream answers, with whom it is told to; `has_content` is false where the request or the status rules it out
    /// (RFC 9110 §6.4.1).
    pub(crate) fn of_upstream(
        source: Source,
        upload: Progress,
        exchange: Exchange,
        lease: Lease,
        has_content: bool,
    ) -> Self {
        let mut download = Download { source, upload, exchange, _lease: lease };
        if !has_content || download.is_end_stream() {
            download.end(End::Done);
        }
        Self(Inner::Upstreams(Box::new(download)))
    }
}

impl From<sockeye::Body> for Content {
    fn from(body: sockeye::Body) -> Self {
        Self(Inner::Own(body))
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Sockeye(body) => body.is_end_stream(),
            Self::Over => true,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Sockeye(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Over => Poll::Ready(None),
        }
    }
}

impl Download {
    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn end(&mut self, end: End) {
        self.exchange.ended(end);
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut frame = ready!(self.source.poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    fields::of_trailers(trailers);
                }
                self.exchange.sent(frame.data_ref().map_or(0, Bytes::len) as u64);
                // The server asks for no more behind the last, nor behind trailers.
                if self.source.is_end_stream() || frame.is_trailers() {
                    self.end(End::Done);
                }
            }
            Some(Err(error)) => {
                self.end(End::Failed(format!("the upstream's content broke off: {error}")));
                self.source = Source::Over;
            }
            None => {
                self.end(End::Done);
                self.source = Source::Over;
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // The head of the response is out: nothing is to be sent for its sake any more.
        self.upload.admit();
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Inner::Upstreams(download) => download.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Own(body) => body.is_end_stream(),
            Inner::Upstreams(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Own(body) => body.size_hint(),
            Inner::Upstreams(download) => match &download.source {
                Source::Hyper(body) => body.size_hint(),
                Source::Sockeye(body) => body.size_hint(),
                Source::Over => SizeHint::with_exact(0),
            },
        }
    }
}
