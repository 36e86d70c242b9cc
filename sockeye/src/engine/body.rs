use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

use crate::engine::link::{Link, MIN_PROGRESS, Side};
use crate::engine::metrics::Counter;
use crate::engine::stream::{AwaitedResponse, Input, StreamHandle};
use crate::engine::switch::Guard;
use crate::engine::tunnel::Next;
use crate::error::{Error, Step};

/// The content of a request or a response, with its trailers.
///
/// A request's body is read with the methods of [`http_body::Body`] (or the adapters of the crate `http-body-util`).
/// Window credit goes back to the peer as it is read (RFC 9113 §5.2), so a body that nobody reads holds at most one
/// window's octets and stops no other stream. Its size hint is what remains to be read.
///
/// A CONNECT has no content (RFC 9110 §9.3.6): its body is empty and ended, whatever goes through the tunnel. A client that
/// sent `Expect: 100-continue` gets its 100 when the body is first waited for (§10.1.1).
///
/// Content that is waited for and does not go on is an [`Error::Timeout`], with a server's
/// [`receive_timeout`](crate::Limits::receive_timeout).
///
/// ```
/// let response = http::Response::new(sockeye::Body::from("hello"));
/// ```
pub struct Body(Inner);

enum Inner {
    /// What there is of it still. None also stands for what has ended, whatever it was.
    Once(Option<Bytes>),
    Stream(Stream),
    Hyper(Received),
    /// That of a 101 in a foreign server.
    Switching(Guard),
}

/// The content that comes on a stream of HTTP/2.
struct Stream {
    handle: StreamHandle,
    /// Octets of it that are still to come, where its content-length says so.
    left: Option<u64>,
    /// Whether the peer waits for a 100 before it sends any of it (RFC 9110 §10.1.1).
    is_awaited: bool,
    /// Octets that have come since it is [watched](StreamHandle::watch).
    progress: Option<usize>,
    /// Client: the stream is given up with it, where not all was taken.
    awaited: Option<AwaitedResponse>,
}

/// The content that hyper receives.
struct Received {
    incoming: hyper::body::Incoming,
    /// Of whom the content's time is, where it is a server of ours.
    link: Option<Arc<Link>>,
    /// Made when the content is first waited for: the end of its time, and what has come in it.
    time: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self(Inner::Once(None))
    }

    /// Content of this length, where one is known.
    pub(crate) fn stream(handle: StreamHandle, length: Option<u64>) -> Self {
        Self(Inner::Stream(Stream::new(handle, length)))
    }

    /// That of a response: whoever drops it gives the response up.
    pub(crate) fn response(awaited: AwaitedResponse, length: Option<u64>) -> Self {
        let mut stream = Stream::new(awaited.handle().share(), length);
        stream.awaited = Some(awaited);
        Self(Inner::Stream(stream))
    }

    /// The same of a request that expects a 100 (RFC 9110 §10.1.1): it goes out when this is first waited for.
    pub(crate) fn expected_stream(handle: StreamHandle, length: Option<u64>) -> Self {
        let mut stream = Stream::new(handle, length);
        stream.is_awaited = true;
        Self(Inner::Stream(stream))
    }

    /// What hyper receives for a server of ours.
    #[cfg(feature = "http2")]
    pub(crate) fn received(incoming: hyper::body::Incoming, link: Arc<Link>) -> Self {
        Self(Inner::Hyper(Received { incoming, link: Some(link), time: None }))
    }

    pub(crate) fn switching(guard: Guard) -> Self {
        Self(Inner::Switching(guard))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("size", &http_body::Body::size_hint(self)).finish_non_exhaustive()
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        Self(Inner::Hyper(Received { incoming, link: None, time: None }))
    }
}

impl From<Bytes> for Body {
    fn from(content: Bytes) -> Self {
        Self(Inner::Once(Some(content).filter(|content| !content.is_empty())))
    }
}

impl From<&'static str> for Body {
    fn from(content: &'static str) -> Self {
        Bytes::from_static(content.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(content: String) -> Self {
        Bytes::from(content).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(content: Vec<u8>) -> Self {
        Bytes::from(content).into()
    }
}

impl Stream {
    fn new(handle: StreamHandle, length: Option<u64>) -> Self {
        Self { handle, left: length, is_awaited: false, progress: None, awaited: None }
    }

    /// The next frame, `None` at the end; then and after an error no more is to be asked for.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut content = BytesMut::new();
        let input = loop {
            match self.handle.poll_read(cx, &mut content) {
                Poll::Ready(Ok(Input::Notice(_))) => {}
                Poll::Ready(input) => break input?,
                Poll::Pending => {
                    if std::mem::take(&mut self.is_awaited) {
                        self.handle.send_continue();
                    }
                    return if self.lacks_progress() {
                        Poll::Ready(Some(Err(give_up(self.handle.link()))))
                    } else {
                        Poll::Pending
                    };
                }
            }
        };
        // RFC 9110 §10.1.1: a 100 may be left out where some of the content has come.
        self.is_awaited = false;
        Poll::Ready(if input == Input::End {
            self.handle.take_trailers().map(|trailers| Ok(Frame::trailers(trailers)))
        } else {
            self.left = self.left.map(|left| left.saturating_sub(content.len() as u64));
            self.progress = self.progress.map(|octets| octets.saturating_add(content.len()));
            Some(Ok(Frame::data(content.freeze())))
        })
    }
}

impl Stream {
    /// Whether the peer had its time, and too little came. Until then its progress is watched: by periods, each of which begins
    /// when something is waited for. A response may come as slowly as its server likes, as one that is a stream of events does.
    fn lacks_progress(&mut self) -> bool {
        if self.handle.link().info.side == Side::Client || self.handle.is_watched() {
            return false;
        }
        let is_over = self.progress.is_some_and(|octets| octets < MIN_PROGRESS);
        if !is_over {
            self.progress = Some(0);
            self.handle.watch();
        }
        is_over
    }
}

impl Drop for Stream {
    /// Content of a length was taken whole by who asks for no more behind its last octet. The end of its stream is on its way then, and
    /// servers count a reset in its place against floods.
    fn drop(&mut self) {
        if let (Some(0), false, Some(awaited)) = (self.left, self.handle.is_all_read(), self.awaited.take()) {
            let handle = awaited.settle();
            // A request whose content still goes keeps its stream. One that is over takes no handler.
            if handle.check_open().is_err() {
                handle.share().adopt(Box::pin(wait_for_end(handle))).ok();
            }
        }
    }
}

/// Time for the end of a stream behind the last of its content.
const FOR_THE_END: Duration = Duration::from_secs(1);

/// Waits for the peer's end, inside the connection's task.
async fn wait_for_end(handle: StreamHandle) -> Option<Next> {
    let ended = poll_fn(|cx| if handle.is_ended(cx) { Poll::Ready(()) } else { Poll::Pending });
    tokio::time::timeout(FOR_THE_END, ended).await.ok();
    None
}

impl Received {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let Some(link) = self.link.as_deref() else { return polled.map_err(Error::of_hyper) };
        let Poll::Ready(frame) = polled else {
            let time = link.limits.receive_timeout;
            let (sleep, octets) = self.time.get_or_insert_with(|| (Box::pin(tokio::time::sleep(time)), 0));
            while sleep.as_mut().poll(cx).is_ready() {
                if *octets < MIN_PROGRESS {
                    return Poll::Ready(Some(Err(give_up(link))));
                }
                (*sleep, *octets) = (Box::pin(tokio::time::sleep(time)), 0);
            }
            return Poll::Pending;
        };
        if frame.is_none() {
            self.link = None;
        }
        if let (Some(Ok(frame)), Some((_, octets))) = (&frame, &mut self.time) {
            *octets += frame.data_ref().map_or(0, Bytes::len);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Error::of_hyper)))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(link) = self.link.as_ref().filter(|_| !self.incoming.is_end_stream()) {
            link.leave_unread();
        }
    }
}

/// Content that does not go on is given up.
fn give_up(link: &Link) -> Error {
    link.metrics().count(Counter::ReceiveTimeouts);
    Error::Timeout(Step::Content)
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Once(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Inner::Stream(stream) => {
                let frame = ready!(stream.poll_frame(cx));
                if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    // It holds its stream no longer.
                    self.0 = Inner::Once(None);
                }
                Poll::Ready(frame)
            }
            Inner::Hyper(received) => {
                let frame = ready!(received.poll_frame(cx));
                if !matches!(&frame, Some(Ok(_))) {
                    self.0 = Inner::Once(None);
                }
                Poll::Ready(frame)
            }
            Inner::Switching(guard) => {
                guard.read();
                Poll::Ready(None)
            }
        }
    }

    /// Whether neither content nor trailers follow. They may, behind the last octet of a known length, until the end of the
    /// stream has come.
    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Once(content) => content.is_none(),
            Inner::Stream(stream) => stream.handle.is_all_read(),
            Inner::Hyper(received) => received.incoming.is_end_stream(),
            Inner::Switching(guard) => {
                guard.ask();
                false
            }
        }
    }

    /// What remains to be read, which is known where the message says its length, or has come whole.
    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Once(content) => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Stream(stream) => {
                let left = stream.left.or_else(|| stream.handle.rest().map(|rest| rest as u64));
                left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Inner::Hyper(received) => received.incoming.size_hint(),
            // With a length, nobody would read it.
            Inner::Switching(_) => SizeHint::default(),
        }
    }
}
