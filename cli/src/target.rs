//! Where a URL leads.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// A URL of a WebSocket, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `https` or `http`, without user information, with a path.
    pub(crate) uri: Uri,
    pub(crate) is_secure: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Basic authentication (RFC 7617) from the URL's user information.
    pub(crate) authorization: Option<HeaderValue>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; a URL is such as wss://example.com/chat, or ws, https or http");
        // RFC 6455 §3
        if text.contains('#') {
            return Err(wrong("a fragment has no meaning here (write # as %23)"));
        }
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let (scheme, default_port) = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("wss" | "https") => (Scheme::HTTPS, 443),
            Some("ws" | "http") => (Scheme::HTTP, 80),
            Some(other) => return Err(wrong(&format!("{other} is no scheme of a WebSocket"))),
            None => return Err(wrong("the scheme is missing")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority.as_str()),
        };
        let place: Authority = place.parse().map_err(|_| wrong("the host is wrong"))?;
        let port = match place.as_str().strip_prefix(place.host()) {
            None | Some("") => default_port,
            Some(_) => place.port_u16().filter(|port| *port > 0).ok_or_else(|| wrong("the port is wrong"))?,
        };
        let host = place.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        // RFC 6455 §3: an empty path is "/".
        let path = uri.path_and_query().map_or("/".into(), PathAndQuery::to_string);
        let whole = Uri::builder().scheme(scheme.clone()).authority(place).path_and_query(path);
        Ok(Self {
            uri: whole.build().map_err(|error| wrong(&error.to_string()))?,
            is_secure: scheme == Scheme::HTTPS,
            host,
            port,
            authorization: user.map(basic),
        })
    }
}

impl Target {
    /// Scheme, host and port: what shares a connection (RFC 6454 §4).
    pub(crate) fn origin(&self) -> (bool, &str, u16) {
        (self.is_secure, &self.host, self.port)
    }
}

/// As a `wss` or `ws` URL, without user information.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = if self.is_secure { ("wss", "https") } else { ("ws", "http") };
        let url = self.uri.to_string();
        write!(f, "{scheme}{}", url.strip_prefix(rest).unwrap_or(&url))
    }
}

/// `user:password` of a URL as a header field's value.
fn basic(user: &str) -> HeaderValue {
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    // RFC 7617 §2: the colon is there even without a password.
    if !user.contains(':') {
        pair.push(b':');
    }
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn target(url: &str) -> Target {
        url.parse().unwrap()
    }

    #[test]
    fn a_url_says_host_port_and_path() {
        let secure = target("wss://example.com/chat?room=1");
        assert_eq!((secure.is_secure, &*secure.host, secure.port), (true, "example.com", 443));
        assert_eq!(secure.uri, "https://example.com/chat?room=1");
        assert_eq!(secure.to_string(), "wss://example.com/chat?room=1");
        let cleartext = target("ws://localhost:8080");
        assert_eq!((cleartext.is_secure, &*cleartext.host, cleartext.port), (false, "localhost", 8080));
        assert_eq!(cleartext.uri, "http://localhost:8080/");
        assert_eq!(target("https://[::1]:4433/echo").host, "::1");
        assert_eq!(target("WSS://example.com/").uri, "https://example.com/");
    }

    #[test]
    fn user_information_is_basic_authentication() {
        let authorization = |url| target(url).authorization.unwrap();
        assert_eq!(authorization("wss://Aladdin:open%20sesame@example.com/"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(authorization("wss://user@example.com/"), "Basic dXNlcjo=");
        assert_eq!(target("wss://user:pw@example.com/x").uri, "https://example.com/x");
    }

    #[test]
    fn what_is_no_url_of_a_websocket_is_refused() {
        for url in ["", "example.com", "localhost:4433/echo", "/echo", "ftp://example.com/", "wss://", "wss:///echo"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
        for url in ["wss://example.com:0/", "wss://example.com:70000/", "wss://example.com/#top", "wss://a b/"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
