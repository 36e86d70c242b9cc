//! The head of a request (RFC 9112 §2 to §6), read just as far as to know whether it asks for a WebSocket.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::settle_host;
use crate::h2::Config;

/// The only requests that we serve begin with it (RFC 6455 §4.1).
const GET: &[u8] = b"GET ";

/// Reads the head of a connection's first request, while its octets come in.
///
/// Each octet is looked at once until the end of the head is there, and then once more by the parser, whatever the pieces
/// are in which they come.
#[derive(Clone, Debug)]
pub struct HeadReader {
    max_size: usize,
    max_fields: usize,
    /// Octets of the empty lines before the head.
    start: usize,
    /// Octets in which the end of the head does not begin.
    scanned: usize,
}

/// What stands at the front of a connection.
#[derive(Debug)]
pub enum Head {
    /// The head is not whole, and may yet ask for a WebSocket.
    Partial,
    /// A whole head that asks for a WebSocket.
    WebSocket {
        /// The request, whose Host was [settled](settle_host). Its parts share one allocation of their own.
        request: Box<Request<()>>,
        /// Octets of the head: the tunnel's first octets may follow.
        length: usize,
    },
    /// A head that a whole server of HTTP/1.1 is to read and to answer, as far as it is there.
    Other(NotOurs),
}

/// Why a head is not served here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotOurs {
    /// No request for a WebSocket, or not beyond doubt.
    Ordinary,
    /// A rule of the syntax is broken (RFC 9112 §2 to §5).
    Malformed,
    /// Our limit: the head's octets, or its fields.
    TooLarge,
}

impl HeadReader {
    /// A reader for a new connection. The limits are [`Config::max_header_list_size`], in octets of the head as it stands on
    /// the wire, and [`Config::max_header_fields`].
    pub fn new(config: &Config) -> Self {
        Self {
            max_size: config.max_header_list_size as usize,
            max_fields: config.max_header_fields as usize,
            start: 0,
            scanned: 0,
        }
    }

    /// Looks at all octets that came so far. To be called with the same ones and more until it is no longer
    /// [`Head::Partial`].
    pub fn read(&mut self, octets: &[u8]) -> Head {
        self.skip_empty_lines(octets);
        let begin = octets.get(self.start..).unwrap_or_default();
        let is_possible = GET.starts_with(begin) || begin.starts_with(GET) || begin == b"\r";
        match self.find_end(octets) {
            _ if !is_possible => Head::Other(NotOurs::Ordinary),
            Some(length) if length > self.max_size => Head::Other(NotOurs::TooLarge),
            Some(length) => match parse(&octets[self.start..length], self.max_fields) {
                Ok(request) => Head::WebSocket { request: Box::new(request), length },
                Err(reason) => Head::Other(reason),
            },
            None if octets.len() >= self.max_size => Head::Other(NotOurs::TooLarge),
            None => Head::Partial,
        }
    }

    /// RFC 9112 §2.2: a server should ignore empty lines before the request line.
    fn skip_empty_lines(&mut self, octets: &[u8]) {
        while let Some(rest) = octets.get(self.start..) {
            self.start += match rest {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => break,
            };
        }
        self.scanned = self.scanned.max(self.start);
    }

    /// Where the head ends: behind an empty line. RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line
    /// terminator", which the parser does.
    fn find_end(&mut self, octets: &[u8]) -> Option<usize> {
        loop {
            let rest = octets.get(self.scanned..)?;
            let Some(line_feed) = rest.iter().position(|&octet| octet == b'\n') else {
                self.scanned = octets.len();
                return None;
            };
            let at = self.scanned + line_feed;
            match &octets[at + 1..] {
                [b'\n', ..] => return Some(at + 2),
                [b'\r', b'\n', ..] => return Some(at + 3),
                [] | [b'\r'] => {
                    self.scanned = at;
                    return None;
                }
                _ => self.scanned = at + 1,
            }
        }
    }
}

/// Parses a whole head, and makes a request of it if it is one of ours.
fn parse(octets: &[u8], max_fields: usize) -> Result<Request<()>, NotOurs> {
    // The caller's buffer is large, and its own.
    let head = Bytes::copy_from_slice(octets);
    let lines = head.iter().filter(|&&octet| octet == b'\n').count();
    let mut fields = vec![EMPTY_HEADER; lines.min(max_fields)];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(&head) {
        Ok(Status::Complete(length)) => debug_assert_eq!(length, octets.len(), "the head ends where it was found to"),
        Ok(Status::Partial) => return Err(NotOurs::Malformed),
        Err(Error::TooManyHeaders) => return Err(NotOurs::TooLarge),
        Err(_) => return Err(NotOurs::Malformed),
    }
    if !asks_for_websocket(&parsed) {
        return Err(NotOurs::Ordinary);
    }
    let target = head.slice_ref(parsed.path.unwrap_or_default().as_bytes());
    let uri = Uri::from_maybe_shared(target).map_err(|_| NotOurs::Malformed)?;
    // RFC 9112 §3.2: `origin-form` or `absolute-form`, which the other two are not for this method.
    if !uri.path().starts_with('/') {
        return Err(NotOurs::Ordinary);
    }
    let mut headers = HeaderMap::try_with_capacity(parsed.headers.len()).map_err(|_| NotOurs::TooLarge)?;
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| NotOurs::Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| NotOurs::Malformed)?;
        headers.try_append(name, value).map_err(|_| NotOurs::TooLarge)?;
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    settle_host(&mut request).map_err(|_| NotOurs::Malformed)?;
    Ok(request)
}

/// Whether a head asks for a WebSocket, and for nothing else that only a whole server knows.
fn asks_for_websocket(parsed: &httparse::Request<'_, '_>) -> bool {
    let fields = &*parsed.headers;
    let mut lengths = values(fields, "content-length");
    // RFC 6455 §4.1; RFC 9110 §7.8: an Upgrade in HTTP/1.0 is ignored.
    parsed.method == Some("GET")
        && parsed.version == Some(1)
        && has_token(fields, "upgrade", b"websocket")
        && has_token(fields, "connection", b"upgrade")
        // RFC 9112 §6.3: no content, in which the first octets of a tunnel could hide.
        && values(fields, "transfer-encoding").next().is_none()
        && lengths.all(|value| value == b"0")
}

/// Whether one of a field's lines lists this token, in any letter case.
fn has_token(fields: &[Header<'_>], name: &str, token: &[u8]) -> bool {
    let mut elements = values(fields, name).flat_map(|value| value.split(|&octet| octet == b','));
    elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

fn values<'a>(fields: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}
