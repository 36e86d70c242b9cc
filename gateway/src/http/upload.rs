//! The content of a request on its way, and when it may go.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use sockeye::BoxError;
use tokio::time::Sleep;

use super::fields;
use crate::live::Live;
use crate::reach;

/// Time for which the content of a request that expects a 100 waits for the upstream's: not every server sends one (RFC 9110
/// §10.1.1).
const PATIENCE: Duration = Duration::from_secs(1);

/// Octets of content that are kept until the upstream answers: a form or a call, whose stream or connection may end under it.
const KEPT: usize = 16 << 10;
/// The same of all requests of the process together, past which no more is kept: an upstream may let any number wait.
const ALL_KEPT: usize = 4 << 20;

static ALL: AtomicUsize = AtomicUsize::new(0);

/// The content of a request as it comes: the server's own, or what a layer before the gateway has made of it.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// The content of a request on its way to an upstream.
#[derive(Debug)]
pub(crate) struct Upload {
    content: Repeatable,
    progress: Progress,
    /// Some while it waits to be admitted.
    patience: Option<Pin<Box<Sleep>>>,
}

/// The content of an upload, which may be taken from it for another one, as long as all of it is there. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Repeatable(Arc<Mutex<Option<Parts>>>);

/// Content in its parts.
#[derive(Debug)]
struct Parts {
    /// What an upload before this one sent.
    again: Bytes,
    /// What follows it.
    rest: Incoming,
    /// What went so far, as long as all of it is kept.
    sent: Option<Kept>,
    /// Where its octets are counted as they go.
    live: Option<Live>,
    /// Whether its client says that trailers follow (RFC 9110 §6.6.2).
    has_trailers: bool,
}

/// Octets of an upload that went.
#[derive(Debug, Default)]
struct Kept {
    octets: BytesMut,
    /// What they are counted as among [`ALL`].
    counted: usize,
}

impl Kept {
    /// With these as well; none where that is too much.
    fn with(mut self, octets: &[u8]) -> Option<Self> {
        let counted = octets.len();
        if self.octets.len() + counted > KEPT {
            return None;
        }
        self.counted += counted;
        if ALL.fetch_add(counted, Ordering::Relaxed) + counted > ALL_KEPT {
            return None;
        }
        self.octets.extend_from_slice(octets);
        Some(self)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        ALL.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

impl Repeatable {
    /// An upload of all of it, and nothing is left for the one before. None where not all of it is there.
    pub(crate) fn again(&self) -> Option<Upload> {
        let mut parts = self.lock().take()?;
        let mut sent = std::mem::take(&mut parts.sent.take()?.octets);
        sent.extend_from_slice(&parts.again);
        Some(Upload::of(Parts { again: sent.freeze(), sent: Some(Kept::default()), ..parts }))
    }

    /// It has its answer, and is not made again.
    pub(crate) fn forget(&self) {
        if let Some(parts) = &mut *self.lock() {
            parts.sent = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Parts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn new(rest: Incoming) -> Self {
        Self { again: Bytes::new(), rest, sent: Some(Kept::default()), live: None, has_trailers: false }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.again.is_empty() {
            let again = std::mem::take(&mut self.again);
            self.sent = Kept::default().with(&again);
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        let mut frame = ready!(Pin::new(&mut self.rest).poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => self.count(data),
                None => {
                    frame.trailers_mut().map(fields::of_trailers);
                    self.sent = None;
                }
            },
            Some(Err(_)) => self.sent = None,
            // Whoever takes it again may ask once more.
            None => self.rest = nothing(),
        }
        Poll::Ready(frame)
    }

    fn count(&mut self, octets: &[u8]) {
        if let Some(live) = &self.live {
            live.counts().received(octets.len() as u64);
        }
        self.sent = self.sent.take().and_then(|sent| sent.with(octets));
    }
}

fn nothing() -> Incoming {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What others know of an upload, and may say to it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    octets: AtomicU64,
    /// Whether more was asked for than the client has sent.
    awaits_client: AtomicBool,
    gate: Mutex<Gate>,
    /// Why the client's content is not whole.
    broken: OnceLock<reach::Error>,
}

/// Whether the content may go.
#[derive(Debug, Default)]
enum Gate {
    #[default]
    Open,
    /// The upstream has not asked for it: who waits for that.
    Shut(Option<Waker>),
}

impl Progress {
    /// Octets of the content that went on, for whoever waits for the answer.
    pub(crate) fn octets(&self) -> u64 {
        self.0.octets.load(Ordering::Relaxed)
    }

    /// Why the content ended before it was whole, which is no fault of the upstream.
    pub(crate) fn broken(&self) -> Option<&reach::Error> {
        self.0.broken.get()
    }

    /// Whether the upstream would take more than the client has sent.
    pub(crate) fn awaits_client(&self) -> bool {
        self.0.awaits_client.load(Ordering::Relaxed)
    }

    /// The content may go: the upstream asked for it, or the client has its answer.
    pub(crate) fn admit(&self) {
        let gate = std::mem::take(&mut *self.lock());
        if let Gate::Shut(Some(waker)) = gate {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.0.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    pub(crate) fn new(body: Incoming, has_trailers: bool, live: Live) -> Self {
        Self::of(Parts { live: Some(live), has_trailers, ..Parts::new(body) })
    }

    pub(crate) fn empty() -> Self {
        Self::of(Parts::new(nothing()))
    }

    fn of(parts: Parts) -> Self {
        let content = Repeatable(Arc::new(Mutex::new(Some(parts))));
        Self { content, progress: Progress::default(), patience: None }
    }

    pub(crate) fn content(&self) -> Repeatable {
        self.content.clone()
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// It waits to be [admitted](Progress::admit), for a second at most. Its client is told to go on when it is.
    pub(crate) fn wait(&mut self) {
        *self.progress.lock() = Gate::Shut(None);
        self.patience = Some(Box::pin(tokio::time::sleep(PATIENCE)));
    }

    fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = &mut self.patience else { return Poll::Ready(()) };
        let mut gate = self.progress.lock();
        if let Gate::Shut(waker) = &mut *gate {
            if patience.as_mut().poll(cx).is_pending() {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            *gate = Gate::Open;
        }
        drop(gate);
        self.patience = None;
        Poll::Ready(())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.poll_admitted(cx));
        let frame = match &mut *self.content.lock() {
            Some(parts) => parts.poll_frame(cx),
            // What has gone to another upstream is no content of this one's, and least of all the whole of it.
            None => return Poll::Ready(Some(Err(sockeye::Error::Closed.into()))),
        };
        let shared = &self.progress.0;
        shared.awaits_client.store(frame.is_pending(), Ordering::Relaxed);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let octets = frame.data_ref().map_or(0, Bytes::len) as u64;
                shared.octets.fetch_add(octets, Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(error))) => _ = shared.broken.set(reach::Error::content(&**error)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.content.lock().as_ref().is_some_and(|parts| parts.again.is_empty() && parts.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.content.lock() {
            // RFC 9112 §7.1.2: behind content of a length nothing can follow.
            Some(parts) if !parts.has_trailers => match parts.rest.size_hint().exact() {
                Some(octets) => SizeHint::with_exact(octets.saturating_add(parts.again.len() as u64)),
                None => SizeHint::default(),
            },
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound_for_each_and_for_all() {
        let kept = || Kept::default().with(&[7; KEPT]);
        assert!(kept().unwrap().with(b"x").is_none());
        let all: Vec<_> = std::iter::from_fn(kept).collect();
        assert_eq!(all.len(), ALL_KEPT / KEPT);
        drop(all);
        assert_eq!(ALL.load(Ordering::Relaxed), 0);
    }
}
