//! The head of a response (RFC 9112 §4), and how its content is framed (§6).

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Response, StatusCode};

/// How the content of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length, which the head says, or which is nothing.
    Length,
    /// RFC 9112 §7.1
    Chunked,
}

/// RFC 9110 §7.6.1: what only concerns this connection is ours to say.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding"];

/// Appends a head as it is: an interim one (RFC 9110 §15.2), or a 101.
pub(super) fn put_switch(response: &Response<()>, date: Option<&[u8; 29]>, output: &mut BytesMut) {
    put_status(response.status(), output);
    put_date(response.headers(), date, output);
    put_fields(response.headers(), |name| *name != TRANSFER_ENCODING, output);
    output.put_slice(b"\r\n");
}

/// Appends the head of a response that is the connection's last; `is_empty` says that no content follows.
pub(super) fn put_last(
    response: &Response<()>,
    is_empty: bool,
    date: Option<&[u8; 29]>,
    output: &mut BytesMut,
) -> Framing {
    let (status, headers) = (response.status(), response.headers());
    put_status(status, output);
    put_date(headers, date, output);
    put_fields(headers, |name| !OF_THE_CONNECTION.contains(&name.as_str()), output);
    // RFC 9110 §7.8, §15.5.22: an `Upgrade` that is offered is named here, too.
    let connection: &[u8] = if headers.contains_key(UPGRADE) { b"upgrade, close" } else { b"close" };
    put_field(CONNECTION.as_str(), connection, output);
    // RFC 9112 §6.3
    let is_bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = if is_bare || headers.contains_key(CONTENT_LENGTH) {
        Framing::Length
    } else if is_empty {
        put_field(CONTENT_LENGTH.as_str(), b"0", output);
        Framing::Length
    } else {
        put_field(TRANSFER_ENCODING.as_str(), b"chunked", output);
        Framing::Chunked
    };
    output.put_slice(b"\r\n");
    framing
}

/// Octets of a chunk's head and end, at most.
pub(super) const CHUNK_OVERHEAD: usize = 2 * size_of::<usize>() + 4;

/// Appends a chunk (RFC 9112 §7.1), which is not empty: that would be the last.
pub(super) fn put_chunk(data: &[u8], output: &mut BytesMut) {
    debug_assert!(!data.is_empty(), "an empty chunk is the last");
    output.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
    output.put_slice(data);
    output.put_slice(b"\r\n");
}

/// Appends the last chunk, with the trailers (RFC 9112 §7.1.2).
pub(super) fn put_last_chunk(trailers: Option<&HeaderMap>, output: &mut BytesMut) {
    output.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        let is_allowed = |name: &HeaderName| !OF_THE_CONNECTION.contains(&name.as_str()) && *name != CONTENT_LENGTH;
        put_fields(trailers, is_allowed, output);
    }
    output.put_slice(b"\r\n");
}

fn put_status(status: StatusCode, output: &mut BytesMut) {
    output.put_slice(b"HTTP/1.1 ");
    output.put_slice(status.as_str().as_bytes());
    output.put_slice(b" ");
    output.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.put_slice(b"\r\n");
}

/// RFC 9110 §6.6.1
fn put_date(headers: &HeaderMap, date: Option<&[u8; 29]>, output: &mut BytesMut) {
    if let Some(date) = date.filter(|_| !headers.contains_key(DATE)) {
        put_field(DATE.as_str(), date, output);
    }
}

fn put_fields(headers: &HeaderMap, is_allowed: impl Fn(&HeaderName) -> bool, output: &mut BytesMut) {
    for (name, value) in headers.iter().filter(|(name, _)| is_allowed(name)) {
        put_field(name.as_str(), value.as_bytes(), output);
    }
}

fn put_field(name: &str, value: &[u8], output: &mut BytesMut) {
    output.put_slice(name.as_bytes());
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}
