//! The head of a request.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::h2;

/// Looks for the end of a request's head in octets that come bit by bit.
#[derive(Debug)]
pub struct RequestHead {
    max_size: usize,
    max_fields: usize,
    /// Octets that were looked at without finding the end.
    seen: usize,
}

/// What a connection began with.
#[derive(Debug)]
pub enum Head {
    /// More has to come.
    Partial,
    /// A request for a WebSocket, without content.
    WebSocket {
        /// Its head.
        request: Box<Request<()>>,
        /// Octets of the head; what follows belongs to the tunnel.
        length: usize,
    },
    /// Anything else: another request, no request at all, or a head past the limits. A general server is to answer it.
    Other,
}

impl RequestHead {
    /// The limits of a request's head are those of HTTP/2: `max_header_list_size`, of the head as a whole, and
    /// `max_header_fields`.
    pub fn new(config: &h2::Config) -> Self {
        Self { max_size: config.max_header_list_size as usize, max_fields: config.max_header_fields as usize, seen: 0 }
    }

    /// Looks at all that has come, from the connection's first octet.
    pub fn look(&mut self, octets: &[u8]) -> Head {
        debug_assert!(octets.len() >= self.seen, "what was looked at stays");
        // The end may have begun in what was seen.
        let from = self.seen.saturating_sub(3);
        self.seen = octets.len();
        match end_of_head(octets, from) {
            Some(length) if length <= self.max_size => self.parse(&octets[..length]).unwrap_or(Head::Other),
            None if octets.len() <= self.max_size => Head::Partial,
            _ => Head::Other,
        }
    }

    fn parse(&self, head: &[u8]) -> Option<Head> {
        // Copied: the buffer that it was read into is large, and the fields live as long as the socket's request.
        let head = Bytes::copy_from_slice(head);
        let mut fields = vec![httparse::EMPTY_HEADER; self.max_fields.min(head.len())];
        let mut parsed = httparse::Request::new(&mut fields);
        let length = match parsed.parse(&head).ok()? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return None,
        };
        // RFC 9110 §7.8: an Upgrade in an HTTP/1.0 request is ignored.
        if parsed.version != Some(1) || parsed.method != Some("GET") || length != head.len() {
            return None;
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = Uri::from_maybe_shared(head.slice_ref(parsed.path?.as_bytes())).ok()?;
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            request.headers_mut().try_append(name, HeaderValue::from_maybe_shared(head.slice_ref(field.value)).ok()?).ok()?;
        }
        is_for_websocket(request.headers()).then(|| Head::WebSocket { request: Box::new(request), length })
    }
}

/// Octets to the end of the head, which is an empty line (RFC 9112 §2.1); those before the request line are none (§2.2).
fn end_of_head(octets: &[u8], from: usize) -> Option<usize> {
    let start = octets.iter().position(|octet| !b"\r\n".contains(octet))?;
    let from = from.max(start);
    let mut feeds = octets.iter().enumerate().skip(from).filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at);
    feeds.find_map(|at| match &octets[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// RFC 9110 §7.8: what `Upgrade` names, `Connection` has to name as well. A request with content is for a general server.
fn is_for_websocket(headers: &HeaderMap) -> bool {
    let names = |name, token: &str| {
        let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|octet| *octet == b','));
        values.map(<[u8]>::trim_ascii).any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    };
    let has_content = headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    names(UPGRADE, "websocket") && names(CONNECTION, "upgrade") && !has_content
}
