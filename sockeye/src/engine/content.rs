//! The content of a message, held to what its header says of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// RFC 9110 §15.3.5, §15.3.6, §15.4.5: whatever a service has for a body then is dropped unread.
pub(crate) fn is_without_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// RFC 9110 §10.1.1: whether the client waits for a 100. Other expectations there are none; what asks for one is ignored, as
/// most servers do.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    let mut expectations =
        headers.get_all(EXPECT).iter().flat_map(|value| value.as_bytes().split(|&octet| octet == b','));
    expectations.any(|expectation| expectation.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

pin_project_lite::pin_project! {
    /// A body that yields as much as was announced, and else an error: too much would make the message malformed
    /// (RFC 9113 §8.1.1), or be taken for the next one (RFC 9112 §6.3).
    pub(crate) struct Content<B> {
        #[pin]
        body: B,
        left: Left,
        // What the message's `Connection` names as its own (RFC 9110 §7.6.1) is left out of its trailers, too.
        hop_by_hop: Vec<HeaderName>,
    }
}

/// How much may still come.
#[derive(Clone, Copy)]
enum Left {
    /// As much as there is.
    Any,
    Octets(u64),
    /// All that was announced has come, and the rest of the body is not looked at.
    Cut,
}

impl<B: Body> Content<B> {
    /// Of a request. Its header says the length (RFC 9110 §8.6) in the caller's own word, if that is a number, else in the body's,
    /// if that is not empty.
    pub(crate) fn of_request(headers: &mut HeaderMap, body: B) -> Self {
        Self::with_length(headers, body, |_, body| !body.is_end_stream())
    }

    /// Of a response. Its header says the length (RFC 9110 §8.6) in the service's own word, if that is a number, else in the body's.
    /// Where there is no content, it is the length that there would be.
    pub(crate) fn of_response(headers: &mut HeaderMap, status: StatusCode, has_content: bool, body: B) -> Self {
        Self::with_length(headers, body, |length, body| match length {
            // A HEAD is told no length of nothing: a service that leaves the body out does not mean that.
            0 => has_content && !body.is_end_stream(),
            _ => has_content || !is_without_content(status),
        })
    }

    /// `is_to_say` tells whether the header says a length that the body alone knows.
    fn with_length(headers: &mut HeaderMap, body: B, is_to_say: impl FnOnce(u64, &B) -> bool) -> Self {
        let hop_by_hop = named_by_connection(headers);
        let said = take_length(headers);
        let length = said.or_else(|| body.size_hint().exact());
        if let Some(length) = length
            && (said.is_some() || is_to_say(length, &body))
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Self { body, left: length.map_or(Left::Any, Left::Octets), hop_by_hop }
    }
}

/// What the application says of the length, out of the header; what is no number is left out of it.
fn take_length(headers: &mut HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let first = values.next()?;
    let digits = std::str::from_utf8(first.as_bytes().trim_ascii()).unwrap_or_default();
    // `parse` would take a sign.
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit()) && values.all(|value| value == first);
    let length = digits.parse().ok().filter(|_| is_number);
    if length.is_none() {
        tracing::warn!("the content-length of a message is no number, and is left out");
    }
    headers.remove(CONTENT_LENGTH);
    length
}

pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let options = values.flat_map(|value| value.as_bytes().split(|&octet| octet == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect()
}

impl<B> Body for Content<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if matches!(this.left, Left::Cut) {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.poll_frame(cx)).transpose().map_err(Into::into)?;
        let frame = match frame.map(Frame::into_data) {
            Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(this.left.take(data))))),
            Some(Err(frame)) => Some(frame),
            None => None,
        };
        if let Left::Octets(octets @ 1..) = *this.left {
            tracing::warn!(octets, "the content of a message is shorter than its content-length says, and breaks off");
            return Poll::Ready(Some(Err("the content is shorter than its content-length".into())));
        }
        let trailers = frame.and_then(|frame| frame.into_trailers().ok());
        Poll::Ready(trailers.map(|mut trailers| {
            this.hop_by_hop.iter().for_each(|name| drop(trailers.remove(name)));
            Ok(Frame::trailers(trailers))
        }))
    }

    fn is_end_stream(&self) -> bool {
        match self.left {
            Left::Any | Left::Octets(0) => self.body.is_end_stream(),
            // What is announced and does not come is to be found out.
            Left::Octets(_) => false,
            Left::Cut => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Any => self.body.size_hint(),
            Left::Octets(octets) => SizeHint::with_exact(octets),
            Left::Cut => SizeHint::with_exact(0),
        }
    }
}

impl Left {
    /// Takes as much of the data as was announced.
    fn take(&mut self, mut data: Bytes) -> Bytes {
        let Self::Octets(octets) = self else { return data };
        match octets.checked_sub(data.len() as u64) {
            Some(left) => *octets = left,
            None => {
                tracing::warn!("the content of a message is longer than its content-length says, and is cut");
                data.truncate(*octets as usize);
                *self = Self::Cut;
            }
        }
        data
    }
}
