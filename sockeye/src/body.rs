use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::Error;
use crate::stream::{Input, Owner};
use crate::switch::Guard;

/// The content of a request or a response, with its trailers.
///
/// A request's body is read with the methods of [`http_body::Body`] (or the adapters of the crate `http-body-util`).
/// Window credit goes back to the peer as it is read (RFC 9113 §5.2), so a body that nobody reads holds at most one
/// window's octets and stops no other stream.
///
/// ```
/// let response = http::Response::new(sockeye::Body::from("hello"));
/// ```
pub struct Body(Inner);

enum Inner {
    Once(Option<Bytes>),
    Stream {
        owner: Owner,
        length: Option<u64>,
        ended: bool,
    },
    Hyper(hyper::body::Incoming),
    /// That of a 101 in a foreign server.
    Switching(Guard),
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self(Inner::Once(None))
    }

    pub(crate) fn stream(owner: Owner, length: Option<u64>) -> Self {
        Self(Inner::Stream { owner, length, ended: false })
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

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Once(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Inner::Stream { ended: true, .. } => Poll::Ready(None),
            Inner::Stream { owner, ended, .. } => {
                let mut content = BytesMut::new();
                match ready!(owner.poll_receive(cx, &mut content)) {
                    Ok(Input::Octets) => Poll::Ready(Some(Ok(Frame::data(content.freeze())))),
                    Ok(Input::End) => {
                        *ended = true;
                        Poll::Ready(owner.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))))
                    }
                    Ok(Input::GoingAway) => self.poll_frame(cx),
                    Err(error) => {
                        *ended = true;
                        Poll::Ready(Some(Err(error)))
                    }
                }
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

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Once(content) => content.is_none(),
            Inner::Stream { ended, .. } => *ended,
            Inner::Hyper(body) => body.is_end_stream(),
            Inner::Switching(guard) => {
                guard.ask();
                false
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Once(content) => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Stream { length, .. } => length.map_or_else(SizeHint::default, SizeHint::with_exact),
            Inner::Hyper(body) => body.size_hint(),
            // With a length, nobody would read it.
            Inner::Switching(_) => SizeHint::default(),
        }
    }
}
