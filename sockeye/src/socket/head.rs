//! The head of the request that opened a socket, in as little memory as it can be: a socket keeps it for as long as it lives,
//! and few ever look at it.

use http::uri::{self, Uri};
use http::{HeaderName, HeaderValue, Method, Version, request};

/// A request's head, but for its extensions, and the subprotocol that was settled on.
///
/// It stands in one piece of memory, as strings one after the other, each behind its length: subprotocol (empty for none),
/// method, version, scheme, authority and path (empty where the URI has none), then name, value and sensitivity of each field.
pub(crate) struct Head(Box<[u8]>);

/// Lengths up to this take one octet; others follow this octet in four.
const LONG: u8 = u8::MAX;

impl Head {
    pub(crate) fn new(request: &request::Parts, protocol: Option<&str>) -> Self {
        let mut octets = Vec::with_capacity(strings(request, protocol).map(size).sum());
        for string in strings(request, protocol) {
            match u8::try_from(string.len()) {
                Ok(length) if length < LONG => octets.push(length),
                _ => {
                    octets.push(LONG);
                    octets.extend_from_slice(&(string.len() as u32).to_ne_bytes());
                }
            }
            octets.extend_from_slice(string);
        }
        Self(octets.into_boxed_slice())
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        Strings(&self.0).text()
    }

    pub(crate) fn uri(&self) -> Uri {
        let mut strings = Strings(&self.0);
        // Behind the subprotocol, the method and the version.
        strings.nth(2);
        strings.uri()
    }

    /// The request's head as it was.
    pub(crate) fn request(&self) -> request::Parts {
        let mut strings = Strings(&self.0);
        let (mut head, ()) = http::Request::new(()).into_parts();
        strings.next();
        // All of it was valid: nothing is left out.
        head.method = strings.next().and_then(|method| Method::from_bytes(method).ok()).unwrap_or_default();
        head.version = VERSIONS[strings.next().map_or(0, <[u8]>::len).min(VERSIONS.len() - 1)];
        head.uri = strings.uri();
        while let (Some(name), Some(value), Some(sensitive)) = (strings.next(), strings.next(), strings.next()) {
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                value.set_sensitive(!sensitive.is_empty());
                head.headers.append(name, value);
            }
        }
        head
    }
}

/// By the length of the string that stands for each.
const VERSIONS: [Version; 4] = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10, Version::HTTP_3];

fn strings<'a>(request: &'a request::Parts, protocol: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> {
    let uri = &request.uri;
    let version = VERSIONS.iter().position(|version| *version == request.version).unwrap_or(0);
    let start = [
        protocol.unwrap_or_default().as_bytes(),
        request.method.as_str().as_bytes(),
        &[0; VERSIONS.len()][..version],
        uri.scheme_str().unwrap_or_default().as_bytes(),
        uri.authority().map_or("", uri::Authority::as_str).as_bytes(),
        uri.path_and_query().map_or("", uri::PathAndQuery::as_str).as_bytes(),
    ];
    let fields = request.headers.iter().flat_map(|(name, value)| {
        let sensitive: &[u8] = if value.is_sensitive() { &[1] } else { &[] };
        [name.as_str().as_bytes(), value.as_bytes(), sensitive]
    });
    start.into_iter().chain(fields)
}

/// What a string takes.
fn size(string: &[u8]) -> usize {
    string.len() + if string.len() < LONG.into() { 1 } else { 5 }
}

struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    /// The three strings of a URI.
    fn uri(&mut self) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = self.text().and_then(|scheme| scheme.parse().ok());
        parts.authority = self.text().and_then(|authority| authority.parse().ok());
        parts.path_and_query = self.text().and_then(|path| path.parse().ok());
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// One that is not empty.
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.next()?).ok().filter(|text| !text.is_empty())
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = match self.take(1)? {
            [LONG] => u32::from_ne_bytes(self.take(4)?.try_into().ok()?) as usize,
            length => length.first().copied()?.into(),
        };
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn check(request: Request<()>, protocol: Option<&str>) {
        let (before, ()) = request.into_parts();
        let head = Head::new(&before, protocol);
        assert_eq!(head.protocol(), protocol);
        let after = head.request();
        assert_eq!((&after.method, &after.uri, after.version), (&before.method, &before.uri, before.version));
        assert_eq!(head.uri(), before.uri);
        assert_eq!(
            after.uri.path_and_query().map(|path| path.as_str()),
            before.uri.path_and_query().map(|path| path.as_str())
        );
        assert_eq!(after.headers, before.headers);
        let sensitive = |(_, value): (&HeaderName, &HeaderValue)| value.is_sensitive();
        assert!(after.headers.iter().map(sensitive).eq(before.headers.iter().map(sensitive)));
    }

    /// Whatever a request says is there again.
    #[test]
    fn a_head_comes_back_as_it_was() {
        for (method, uri, version) in [
            (Method::CONNECT, "https://user@example.com:444/chat?room=1", Version::HTTP_2),
            (Method::CONNECT, "example.com:443", Version::HTTP_2),
            (Method::GET, "/chat", Version::HTTP_11),
            (Method::OPTIONS, "*", Version::HTTP_10),
            (Method::from_bytes(b"WHATEVER").unwrap(), "odd+scheme://[::1]", Version::HTTP_3),
        ] {
            let mut cookie = HeaderValue::from_static("secret");
            cookie.set_sensitive(true);
            for length in [0, 1, 253, 254, 255, 256, 70_000] {
                let request = Request::builder()
                    .method(method.clone())
                    .uri(uri)
                    .version(version)
                    .header("x-name", "a".repeat(length))
                    .header("cookie", cookie.clone())
                    .header("x-name", HeaderValue::from_bytes(b"\xFF").unwrap())
                    .header("x-empty", "");
                check(request.body(()).unwrap(), Some("chat"));
            }
            check(Request::builder().method(method).uri(uri).version(version).body(()).unwrap(), None);
        }
    }

    /// A socket of HTTP/1.1 keeps none of hyper's read buffer, of which the parts of a request's head are slices.
    #[test]
    fn a_head_does_not_pin_the_buffer_it_was_read_into() {
        let buffer = Bytes::from([&b"/chat?room=1 value "[..], &[b'.'; 8000]].concat());
        let request = Request::get(Uri::from_maybe_shared(buffer.slice(..12)).unwrap())
            .header("x-name", HeaderValue::from_maybe_shared(buffer.slice(13..18)).unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = Head::new(&parts, None);
        drop(parts);
        assert!(buffer.is_unique());
        assert_eq!(head.request().uri, "/chat?room=1");
    }
}
