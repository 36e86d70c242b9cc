//! The content of a message on its way out: a server's response, or a client's request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::engine::content::Content;
use crate::engine::stream::{Ending, Room, StreamHandle};
use crate::error::BoxError;

/// Content of anybody's making.
pub(crate) type AnyContent = UnsyncBoxBody<Bytes, BoxError>;

/// Octets of content taken at once: as many as fit the stream's outbox.
const PIECE: usize = 64 * 1024;

/// Octets of the least content that waits as it was given: many streams may wait with the same, such as a page, whose
/// peer makes room for none of them. Of less, the books take as much as a copy.
const LEAST_SHARED: usize = 512;

pin_project_lite::pin_project! {
    /// The content of a message, sent as the peer takes it.
    pub(crate) struct Sending<B> {
        #[pin]
        body: Content<B>,
        // Of the body, and not yet sent.
        data: Bytes,
    }
}

impl<B> Sending<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    pub(crate) fn new(body: Content<B>) -> Self {
        Self { body, data: Bytes::new() }
    }

    /// Ready once all of it is with the stream, its end included. An error is the body's, or says that the stream takes no more.
    pub(crate) fn poll_send(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        handle: &StreamHandle,
    ) -> Poll<Result<(), BoxError>> {
        let mut this = self.project();
        loop {
            while this.data.has_remaining() {
                ready!(handle.poll_append(PIECE, Room::Wait(cx), |outbox| {
                    let piece = this.data.split_to(this.data.len().min(PIECE));
                    if piece.len() >= LEAST_SHARED {
                        return ((), Some(piece));
                    }
                    outbox.extend_from_slice(&piece);
                    ((), None)
                }))?;
            }
            if !this.body.is_end_stream() {
                ready!(handle.poll_turn(cx))?;
            }
            let trailers = match ready!(this.body.as_mut().poll_frame(cx)).transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        *this.data = data;
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                None => None,
            };
            handle.append_last(Ending::Now(trailers), |_| {});
            return Poll::Ready(Ok(()));
        }
    }
}
