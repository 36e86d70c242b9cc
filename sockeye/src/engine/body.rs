use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::engine::stream::{Input, StreamHandle};
use crate::engine::switch::Guard;
use crate::error::Error;

/// The content of a request or a response, with its trailers.
///
/// A request's body is read with the methods of [`http_body::Body`] (or the adapters of the crate `http-body-util`).
/// Window credit goes back to the peer as it is read (RFC 9113 §5.2), so a body that nobody reads holds at most one
/// window's octets and stops no other stream. Its size hint is what remains to be read.
///
/// A CONNECT has no content (RFC 9110 §9.3.6): its body is empty and ended, whatever goes through the tunnel. A client that
/// sent `Expect: 100-continue` gets its 100 when the body is first waited for (§10.1.1).
///
/// ```
/// let response = http::Response::new(sockeye::Body::from("hello"));
/// ```
pub struct Body(Inner);

enum Inner {
    /// What there is of it still. None also stands for what has ended, whatever it was.
    Once(Option<Bytes>),
    Stream(Stream),
    Hyper(hyper::body::Incoming),
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
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self(Inner::Once(None))
    }

    /// Content of this length, where one is known.
    pub(crate) fn stream(handle: StreamHandle, length: Option<u64>) -> Self {
        Self(Inner::Stream(Stream { handle, left: length, is_awaited: false }))
    }

    /// The same of a request that expects a 100 (RFC 9110 §10.1.1): it goes out when this is first waited for.
    pub(crate) fn expected_stream(handle: StreamHandle, length: Option<u64>) -> Self {
        Self(Inner::Stream(Stream { handle, left: length, is_awaited: true }))
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
    fn from(body: hyper::body::Incoming) -> Self {
        Self(Inner::Hyper(body))
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
                    return Poll::Pending;
                }
            }
        };
        // RFC 9110 §10.1.1: a 100 may be left out where some of the content has come.
        self.is_awaited = false;
        Poll::Ready(if input == Input::End {
            self.handle.take_trailers().map(|trailers| Ok(Frame::trailers(trailers)))
        } else {
            self.left = self.left.map(|left| left.saturating_sub(content.len() as u64));
            Some(Ok(Frame::data(content.freeze())))
        })
    }
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
            Inner::Hyper(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Error::of_hyper)))
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
            Inner::Hyper(body) => body.is_end_stream(),
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
            Inner::Hyper(body) => body.size_hint(),
            // With a length, nobody would read it.
            Inner::Switching(_) => SizeHint::default(),
        }
    }
}
