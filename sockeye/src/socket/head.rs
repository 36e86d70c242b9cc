//! The heads that opened a socket, in as little memory as they can be: a socket keeps them for as long as it lives, and few ever
//! look at them.

use bytes::Bytes;
use http::uri::{self, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, request, response};

use crate::engine::heads::{Books, Dictionary};
use crate::engine::link::Link;

/// A request's head, but for its extensions, and the subprotocol that was settled on; or a response's.
///
/// It stands in one piece of memory, as strings one after the other, each behind its length, or by its place among the
/// [known ones](KNOWN). Of a request these are the
/// subprotocol (empty for none), method, version, scheme, authority and path (empty where the URI has none), of a response its
/// status and version; then name, value and sensitivity of each field. What heads of the same connection have in common stands
/// in its [`Dictionary`], and a reference in its place: for each string before the fields, and for each field.
pub(crate) struct Head(Box<[u8]>);

/// In the place of a length: it follows in four octets.
const LONG: u8 = u8::MAX;
/// In the place of a length: two octets follow that refer to the dictionary.
const REFERENCE: u8 = u8::MAX - 1;
/// In the place of a length: these stand for a known string each. What is less is a length.
const FIRST_KNOWN: u8 = REFERENCE - KNOWN.len() as u8;
const LAST_KNOWN: u8 = REFERENCE - 1;
/// What handshakes over HTTP/1.1 say, browsers' before all. What those over HTTP/2 say often their dictionary knows.
const KNOWN: [&str; 26] = [
    "GET",
    "host",
    "connection",
    "Upgrade",
    "upgrade",
    "keep-alive, Upgrade",
    "websocket",
    "sec-websocket-key",
    "sec-websocket-version",
    "13",
    "sec-websocket-extensions",
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "sec-websocket-protocol",
    "user-agent",
    "origin",
    "cookie",
    "authorization",
    "cache-control",
    "pragma",
    "no-cache",
    "accept-encoding",
    "gzip, deflate, br, zstd",
    "accept-language",
    "sec-fetch-site",
    "x-forwarded-for",
];
/// Octets of most heads.
const COMMON_SIZE: usize = 512;

impl Head {
    pub(crate) fn of_request(request: &request::Parts, protocol: Option<&str>, link: &Link) -> Self {
        let uri = &request.uri;
        let start = [
            request.method.as_str().as_bytes(),
            version(request.version),
            uri.scheme_str().unwrap_or_default().as_bytes(),
            uri.authority().map_or("", uri::Authority::as_str).as_bytes(),
            uri.path_and_query().map_or("", uri::PathAndQuery::as_str).as_bytes(),
        ];
        Self::keep(link, |writer| {
            // Whoever asks for it gets what stands here.
            push(&mut writer.octets, protocol.unwrap_or_default().as_bytes());
            start.into_iter().for_each(|string| writer.put([string]));
            writer.put_fields(&request.headers);
        })
    }

    /// None past the limit of what the connection may hold of heads.
    #[cfg_attr(not(feature = "http2"), allow(dead_code))]
    pub(crate) fn of_response(response: &response::Parts, link: &Link) -> Option<Self> {
        let max = link.limits.kept_heads;
        if books(link).is_some_and(|books| !books.admits(0, max)) {
            return None;
        }
        Some(Self::keep(link, |writer| {
            writer.put([response.status.as_str().as_bytes()]);
            writer.put([version(response.version)]);
            writer.put_fields(&response.headers);
        }))
    }

    fn keep(link: &Link, write: impl FnOnce(&mut Writer<'_>)) -> Self {
        let write = |dictionary: Option<&mut Dictionary>| {
            let mut writer = Writer { octets: Vec::with_capacity(COMMON_SIZE), dictionary };
            write(&mut writer);
            writer.octets.into_boxed_slice()
        };
        Self(match books(link) {
            Some(books) => books.keep(write),
            None => write(None),
        })
    }

    /// The socket is gone.
    pub(crate) fn let_go(&self, link: &Link) {
        if let Some(books) = books(link) {
            books.let_go(&self.0);
        }
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        std::str::from_utf8(Strings(&self.0).next()?).ok().filter(|protocol| !protocol.is_empty())
    }

    pub(crate) fn uri(&self, link: &Link) -> Uri {
        self.read(link, |reader| {
            // Behind the subprotocol, the method and the version.
            let [_, _, _] = [reader.string(), reader.string(), reader.string()];
            reader.uri()
        })
    }

    /// The request's head as it was. The application holds it besides until [`drop_parts`](Self::drop_parts).
    pub(crate) fn request(&self, link: &Link) -> request::Parts {
        let (mut head, ()) = http::Request::new(()).into_parts();
        self.read(link, |reader| {
            reader.string();
            // All of it was valid: nothing is left out.
            head.method = Method::from_bytes(reader.string()).unwrap_or_default();
            head.version = reader.version();
            head.uri = reader.uri();
            head.headers = reader.fields();
        });
        add_parts(&head.headers, link);
        head
    }

    /// The response's head as it was, likewise.
    pub(crate) fn response(&self, link: &Link) -> response::Parts {
        let (mut head, ()) = http::Response::new(()).into_parts();
        self.read(link, |reader| {
            head.status = StatusCode::from_bytes(reader.string()).unwrap_or_default();
            head.version = reader.version();
            head.headers = reader.fields();
        });
        add_parts(&head.headers, link);
        head
    }

    fn read<T>(&self, link: &Link, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let read = |dictionary: Option<&Dictionary>| read(&mut Reader { strings: Strings(&self.0), dictionary });
        match books(link) {
            Some(books) => books.read(read),
            None => read(None),
        }
    }
}

/// Of a connection of HTTP/1.1, which has one socket, nothing is shared.
fn books(link: &Link) -> Option<&Books> {
    (link.info.version == Version::HTTP_2).then(|| link.heads.books())
}

fn add_parts(headers: &HeaderMap, link: &Link) {
    if let Some(books) = books(link) {
        books.add_parts(headers);
    }
}

/// What the application held of a head is gone.
pub(crate) fn drop_parts(headers: &HeaderMap, link: &Link) {
    if let Some(books) = books(link) {
        books.drop_parts(headers);
    }
}

/// By the length of the string that stands for each.
const VERSIONS: [Version; 4] = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10, Version::HTTP_3];

fn version(version: Version) -> &'static [u8] {
    const ZEROS: &[u8] = &[0; VERSIONS.len()];
    &ZEROS[..VERSIONS.iter().position(|other| *other == version).unwrap_or(0)]
}

struct Writer<'a> {
    octets: Vec<u8>,
    dictionary: Option<&'a mut Dictionary>,
}

impl Writer<'_> {
    /// Appends strings that are shared together.
    fn put<const N: usize>(&mut self, strings: [&[u8]; N]) {
        let Some(dictionary) = &mut self.dictionary else {
            return strings.into_iter().for_each(|string| push_known(&mut self.octets, string));
        };
        let start = self.octets.len();
        strings.into_iter().for_each(|string| push(&mut self.octets, string));
        if let Some(place) = dictionary.refer(&self.octets[start..]) {
            self.octets.truncate(start);
            self.octets.push(REFERENCE);
            self.octets.extend_from_slice(&place.to_ne_bytes());
        }
    }

    fn put_fields(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            let sensitive: &[u8] = if value.is_sensitive() { &[1] } else { &[] };
            self.put([name.as_str().as_bytes(), value.as_bytes(), sensitive]);
        }
    }
}

fn push_known(octets: &mut Vec<u8>, string: &[u8]) {
    match KNOWN.iter().zip(FIRST_KNOWN..).find(|(known, _)| known.as_bytes() == string) {
        Some((_, octet)) => octets.push(octet),
        None => push(octets, string),
    }
}

fn push(octets: &mut Vec<u8>, string: &[u8]) {
    match u8::try_from(string.len()) {
        Ok(length) if length < FIRST_KNOWN => octets.push(length),
        _ => {
            octets.push(LONG);
            octets.extend_from_slice(&(string.len() as u32).to_ne_bytes());
        }
    }
    octets.extend_from_slice(string);
}

struct Reader<'a> {
    strings: Strings<'a>,
    dictionary: Option<&'a Dictionary>,
}

impl<'a> Reader<'a> {
    /// Strings that are shared together, and where they stand if they are.
    fn take<const N: usize>(&mut self) -> Option<([&'a [u8]; N], Option<&'a Bytes>)> {
        if let Some(place) = self.strings.reference() {
            let piece = self.dictionary?.piece(place)?;
            return Some((Strings(piece).array()?, Some(piece)));
        }
        Some((self.strings.array()?, None))
    }

    fn string(&mut self) -> &'a [u8] {
        self.take().map(|([string], _)| string).unwrap_or_default()
    }

    /// One that is not empty.
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()).ok().filter(|text| !text.is_empty())
    }

    fn version(&mut self) -> Version {
        VERSIONS[self.string().len().min(VERSIONS.len() - 1)]
    }

    /// The three strings of a URI.
    fn uri(&mut self) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = self.text().and_then(|scheme| scheme.parse().ok());
        parts.authority = self.text().and_then(|authority| authority.parse().ok());
        parts.path_and_query = self.text().and_then(|path| path.parse().ok());
        Uri::from_parts(parts).unwrap_or_default()
    }

    fn fields(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        while let Some(([name, value, sensitive], piece)) = self.take() {
            // What sockets share they share in this form, too.
            let value = match piece {
                Some(piece) => HeaderValue::from_maybe_shared(piece.slice_ref(value)),
                None => HeaderValue::from_bytes(value),
            };
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), value) {
                value.set_sensitive(!sensitive.is_empty());
                headers.append(name, value);
            }
        }
        headers
    }
}

struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    /// What a reference refers to, if one is next.
    fn reference(&mut self) -> Option<u16> {
        let [REFERENCE, place @ ..] = self.0 else { return None };
        let (place, rest) = place.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_ne_bytes(*place))
    }

    fn array<const N: usize>(&mut self) -> Option<[&'a [u8]; N]> {
        let mut strings = [&[][..]; N];
        for string in &mut strings {
            *string = self.next()?;
        }
        Some(strings)
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = match self.take(1)? {
            [LONG] => u32::from_ne_bytes(self.take(4)?.try_into().ok()?) as usize,
            [known @ FIRST_KNOWN..=LAST_KNOWN] => return Some(KNOWN[usize::from(known - FIRST_KNOWN)].as_bytes()),
            length => length.first().copied()?.into(),
        };
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};

    use super::*;
    use crate::engine::link::{ConnectionInfo, Limits, Side};

    fn link(version: Version) -> Arc<Link> {
        Link::alone(Limits::default(), ConnectionInfo { side: Side::Server, peer: None, version, secure: false })
    }

    fn check(request: Request<()>, protocol: Option<&str>, link: &Link) {
        let (before, ()) = request.into_parts();
        let head = Head::of_request(&before, protocol, link);
        assert_eq!(head.protocol(), protocol);
        let after = head.request(link);
        assert_eq!((&after.method, &after.uri, after.version), (&before.method, &before.uri, before.version));
        assert_eq!(head.uri(link), before.uri);
        assert_eq!(
            after.uri.path_and_query().map(|path| path.as_str()),
            before.uri.path_and_query().map(|path| path.as_str())
        );
        check_fields(&after.headers, &before.headers);
    }

    fn check_fields(after: &HeaderMap, before: &HeaderMap) {
        assert_eq!(after, before);
        let sensitive = |(_, value): (&HeaderName, &HeaderValue)| value.is_sensitive();
        assert!(after.iter().map(sensitive).eq(before.iter().map(sensitive)));
    }

    /// Whatever a request says is there again, also where it was said before.
    #[test]
    fn a_head_comes_back_as_it_was() {
        for link in [link(Version::HTTP_11), link(Version::HTTP_2)] {
            for (method, uri, version) in [
                (Method::CONNECT, "https://user@example.com:444/chat?room=1", Version::HTTP_2),
                (Method::CONNECT, "example.com:443", Version::HTTP_2),
                (Method::GET, "/chat", Version::HTTP_11),
                (Method::OPTIONS, "*", Version::HTTP_10),
                (Method::from_bytes(b"WHATEVER").unwrap(), "odd+scheme://[::1]", Version::HTTP_3),
            ] {
                let mut cookie = HeaderValue::from_static("secret");
                cookie.set_sensitive(true);
                for length in [0, 1, 226, 227, 228, 229, 253, 254, 255, 256, 70_000] {
                    let request = Request::builder()
                        .method(method.clone())
                        .uri(uri)
                        .version(version)
                        .header("x-name", "a".repeat(length))
                        .header("cookie", cookie.clone())
                        .header("x-name", HeaderValue::from_bytes(b"\xFF").unwrap())
                        .header("x-empty", "");
                    check(request.body(()).unwrap(), Some("chat"), &link);
                }
                let request = Request::builder().method(method).uri(uri).version(version);
                check(request.body(()).unwrap(), None, &link);
            }
        }
    }

    #[test]
    fn a_response_comes_back_as_it_was() {
        let link = link(Version::HTTP_2);
        for _ in 0..5 {
            let response = Response::builder().status(299).version(Version::HTTP_2).header("server", "somebody's own");
            let (before, ()) = response.body(()).unwrap().into_parts();
            let head = Head::of_response(&before, &link).unwrap();
            let after = head.response(&link);
            assert_eq!((after.status, after.version), (before.status, before.version));
            check_fields(&after.headers, &before.headers);
        }
    }

    /// A page's hundred sockets say the same of themselves: from the third on they keep a fraction of it.
    #[test]
    fn sockets_of_one_page_share_what_they_say() {
        let link = link(Version::HTTP_2);
        let request = Request::connect("https://example.com/chat?room=1")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
            .header("accept-language", "de,en-US;q=0.7,en;q=0.3")
            .header("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let heads: Vec<_> = (0..4).map(|_| Head::of_request(&parts, None, &link).0.len()).collect();
        assert!(heads[0] > 150 && heads[1] >= heads[0], "{heads:?}");
        assert!(heads[2] < 40 && heads[3] == heads[2], "{heads:?}");
    }

    /// What every handshake over HTTP/1.1 says takes an octet each.
    #[test]
    fn known_strings_take_an_octet_each() {
        let link = link(Version::HTTP_11);
        let request = Request::get("/chat")
            .header("host", "example.com")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = Head::of_request(&parts, None, &link);
        check_fields(&head.request(&link).headers, &parts.headers);
        assert!(head.0.len() < 70, "{}", head.0.len());
    }

    /// A socket of HTTP/1.1 keeps none of hyper's read buffer, of which the parts of a request's head are slices.
    #[test]
    fn a_head_does_not_pin_the_buffer_it_was_read_into() {
        let link = link(Version::HTTP_11);
        let buffer = Bytes::from([&b"/chat?room=1 value "[..], &[b'.'; 8000]].concat());
        let request = Request::get(Uri::from_maybe_shared(buffer.slice(..12)).unwrap())
            .header("x-name", HeaderValue::from_maybe_shared(buffer.slice(13..18)).unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = Head::of_request(&parts, None, &link);
        drop(parts);
        assert!(buffer.is_unique());
        assert_eq!(head.request(&link).uri, "/chat?room=1");
    }
}
