//! The head of a response, and how its content is framed (RFC 9112 §4 to §7). What frames a message is ours to say:
//! whatever a response says of it is left out.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::connection_option::is_connection_option;

/// How the content of a response goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// Its head announced as many octets, of which so many are left.
    Length(u64),
    /// RFC 9112 §7.1
    Chunked,
}

/// What a response's head says of its content (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// There can be none, and no more is said.
    None,
    /// There can be none, and the length is that of what there would be: a 304 (RFC 9110 §8.6).
    Unsent(u64),
    /// As framed.
    Framed(Framing),
}

impl Content {
    /// The content of a final response; `is_over` where the application has none.
    pub(super) fn new(response: &Response<()>, is_over: bool) -> Self {
        let length = announced_length(response.headers());
        match response.status() {
            status if status.is_informational() => Self::None,
            StatusCode::NO_CONTENT => Self::None,
            StatusCode::NOT_MODIFIED => length.map_or(Self::None, Self::Unsent),
            // RFC 9110 §15.3.6: a 205 has no content, and says so.
            StatusCode::RESET_CONTENT => Self::Framed(Framing::Length(0)),
            _ if is_over => Self::Framed(Framing::Length(0)),
            _ => Self::Framed(length.map_or(Framing::Chunked, Framing::Length)),
        }
    }

    /// What is left to be sent, if anything is.
    pub(super) fn framing(self) -> Option<Framing> {
        match self {
            Self::Framed(framing) if framing != Framing::Length(0) => Some(framing),
            _ => None,
        }
    }
}

/// RFC 9110 §8.6: one number, which may stand there more than once.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let first = values.next()?;
    let digits = first.to_str().ok()?.trim_ascii();
    // `parse` would take a sign.
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit()) && values.all(|value| value == first);
    digits.parse().ok().filter(|_| is_number)
}

/// Appends the head of a response: an informational one, a 101, or another final one, which ends the connection unless that
/// `persists` (RFC 9112 §9.3). `date` is for one that lacks its own (RFC 9110 §6.6.1).
pub(super) fn put_head(
    output: &mut BytesMut,
    response: &Response<()>,
    content: Content,
    date: Option<[u8; 29]>,
    persists: bool,
) {
    let (status, headers) = (response.status(), response.headers());
    output.put_slice(b"HTTP/1.1 ");
    output.put_slice(status.as_str().as_bytes());
    output.put_u8(b' ');
    // RFC 9112 §4: the phrase may be empty, the space before it may not be left out.
    output.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.put_slice(b"\r\n");
    if let Some(date) = date {
        put_field(output, DATE.as_str(), &date);
    }
    put_connection(output, status, headers, persists);
    match content {
        Content::None => {}
        Content::Unsent(length) | Content::Framed(Framing::Length(length)) => {
            put_field(output, CONTENT_LENGTH.as_str(), length.to_string().as_bytes());
        }
        Content::Framed(Framing::Chunked) => put_field(output, TRANSFER_ENCODING.as_str(), b"chunked"),
    }
    put_end_to_end_fields(output, headers);
    output.put_slice(b"\r\n");
}

/// `Connection`, and the `Upgrade` that it names (RFC 9110 §7.6.1, §7.8).
fn put_connection(output: &mut BytesMut, status: StatusCode, headers: &HeaderMap, persists: bool) {
    let has_upgrade = headers.contains_key(UPGRADE);
    match status {
        // RFC 6455 §4.2.2: as it is spelled there, since not every client heeds that letter case means nothing.
        StatusCode::SWITCHING_PROTOCOLS => put_field(output, CONNECTION.as_str(), b"Upgrade"),
        _ if status.is_informational() => return,
        _ if has_upgrade && persists => put_field(output, CONNECTION.as_str(), b"upgrade"),
        _ if has_upgrade => put_field(output, CONNECTION.as_str(), b"close, upgrade"),
        _ if persists => {}
        _ => put_field(output, CONNECTION.as_str(), b"close"),
    }
    for protocol in headers.get_all(UPGRADE) {
        put_field(output, UPGRADE.as_str(), protocol.as_bytes());
    }
    // RFC 9110 §15.2.2: a 101 must say to what it switches.
    if status == StatusCode::SWITCHING_PROTOCOLS && !has_upgrade {
        put_field(output, UPGRADE.as_str(), b"websocket");
    }
}

/// All fields but those that speak of the connection or the framing, or that `Connection` names.
fn put_end_to_end_fields(output: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if !is_ours(name) && !is_connection_option(headers, name) {
            put_field(output, name.as_str(), value.as_bytes().trim_ascii());
        }
    }
}

fn is_ours(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn put_field(output: &mut BytesMut, name: &str, value: &[u8]) {
    output.put_slice(name.as_bytes());
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

/// Appends a chunk (RFC 9112 §7.1), unless there is nothing in it: that would be the last one.
pub(super) fn put_chunk(output: &mut BytesMut, data: &[u8]) {
    if !data.is_empty() {
        output.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
        output.put_slice(data);
        output.put_slice(b"\r\n");
    }
}

/// Appends the last chunk, and the trailers behind it (RFC 9112 §7.1.2).
pub(super) fn put_last_chunk(output: &mut BytesMut, trailers: &HeaderMap) {
    output.put_slice(b"0\r\n");
    put_end_to_end_fields(output, trailers);
    output.put_slice(b"\r\n");
}
