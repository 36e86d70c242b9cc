//! The content of a request on its way, and when it may go.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
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

/// The content of a request as it comes: the server's own, or what a layer before the gateway has made of it.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// The content of a request on its way to an upstream.
#[derive(Debug)]
pub(crate) struct Upload {
    untouched: Untouched,
    /// From when something of it was asked for.
    body: Option<Incoming>,
    progress: Progress,
    /// Where its octets are counted as they go.
    live: Option<Live>,
    /// Some while it waits to be admitted.
    patience: Option<Pin<Box<Sleep>>>,
    /// Whether its client says that trailers follow (RFC 9110 §6.6.2).
    has_trailers: bool,
}

/// The content until something of it is asked for: what failed before may go to another upstream with all of it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Untouched(Arc<Mutex<Option<Incoming>>>);

impl Untouched {
    pub(crate) fn take(&self) -> Option<Incoming> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Self { live: Some(live), has_trailers, ..Self::of(body) }
    }

    pub(crate) fn empty() -> Self {
        Self::of(Empty::new().map_err(|never| match never {}).boxed_unsync())
    }

    fn of(body: Incoming) -> Self {
        Self {
            untouched: Untouched(Arc::new(Mutex::new(Some(body)))),
            body: None,
            progress: Progress::default(),
            live: None,
            patience: None,
            has_trailers: false,
        }
    }

    pub(crate) fn untouched(&self) -> Untouched {
        self.untouched.clone()
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// It waits to be [admitted](Progress::admit), for a second at most. Its client is told to go on when it is.
    pub(crate) fn wait(&mut self) {
        *self.progress.lock() = Gate::Shut(None);
        self.patience = Some(Box::pin(tokio::time::sleep(PATIENCE)));
    }

    fn look<T>(&self, look: impl Fn(&Incoming) -> T) -> Option<T> {
        match &self.body {
            Some(body) => Some(look(body)),
            None => self.untouched.lock().as_ref().map(look),
        }
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
        let Self { untouched, body, .. } = &mut *self;
        if body.is_none() {
            *body = untouched.take();
        }
        // What has gone to another upstream is no content of this one's, and least of all the whole of it.
        let Some(body) = body else { return Poll::Ready(Some(Err(sockeye::Error::Closed.into()))) };
        let mut frame = Pin::new(body).poll_frame(cx);
        let shared = &self.progress.0;
        shared.awaits_client.store(frame.is_pending(), Ordering::Relaxed);
        match &mut frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    fields::of_trailers(trailers);
                }
                let octets = frame.data_ref().map_or(0, Bytes::len) as u64;
                shared.octets.fetch_add(octets, Ordering::Relaxed);
                if let Some(live) = &self.live {
                    live.counts().received(octets);
                }
            }
            Poll::Ready(Some(Err(error))) => _ = shared.broken.set(reach::Error::content(&**error)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.look(Body::is_end_stream).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        // RFC 9112 §7.1.2: behind content of a length nothing can follow.
        let whole = if self.has_trailers { None } else { self.look(Body::size_hint) };
        whole.unwrap_or_default()
    }
}
