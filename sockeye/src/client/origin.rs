//! Where to: what an URL says.

use std::fmt;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use sockeye_proto::uri::{self, TargetError, request_path};

use crate::error::{Error, Result};

/// A server: a scheme, a host and a port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) secure: bool,
    /// With the port even where the scheme implies it, without user information, in lower case.
    pub(super) authority: Authority,
}

impl Origin {
    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// An URL with this path, as a [`ClientHandshake`](sockeye_proto::ws::handshake::ClientHandshake) takes it.
    pub(super) fn uri(&self, path: PathAndQuery) -> Result<Uri> {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(path);
        uri.build().map_err(Error::invalid)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

/// What a whole URL says.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) origin: Origin,
    pub(super) path: PathAndQuery,
    /// Of the user information (RFC 7617).
    pub(super) authorization: Option<HeaderValue>,
}

impl Target {
    /// Reads a `wss`, `ws`, `https` or `http` URL.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let uri::Target { uri, is_secure, port, authorization, .. } =
            url.parse().map_err(|error| invalid(url, error))?;
        // RFC 6454 §4: an origin has its port, whether or not the URL says it.
        let authority = format!("{}:{port}", uri.host().unwrap_or_default());
        let authority = Authority::try_from(authority).map_err(Error::invalid)?;
        Ok(Self { origin: Origin { secure: is_secure, authority }, path: path_of(&uri)?, authorization })
    }
}

/// Reads what is to be opened on an origin: a path, or an URL of that origin.
pub(super) fn parse_path(path: &str, origin: &Origin) -> Result<PathAndQuery> {
    if path.contains("://") {
        let target = Target::parse(path)?;
        if target.origin != *origin {
            return Err(invalid(path, format!("it is not of the client's origin, {origin}")));
        }
        if target.authorization.is_some() {
            return Err(Error::invalid("user information belongs in the URL that the client connects to"));
        }
        return Ok(target.path);
    }
    match path.as_bytes().first() {
        Some(b'/') => path_of(&parse_uri(path)?),
        Some(b'?') | None => path_of(&parse_uri(&format!("/{path}"))?),
        Some(_) => Err(invalid(path, "it is neither an URL nor a path that begins with /")),
    }
}

fn parse_uri(text: &str) -> Result<Uri> {
    // RFC 6455 §3
    if text.contains('#') {
        return Err(invalid(text, TargetError::Fragment));
    }
    text.parse().map_err(|error| invalid(text, TargetError::Uri(error)))
}

fn path_of(uri: &Uri) -> Result<PathAndQuery> {
    PathAndQuery::try_from(&*request_path(uri)).map_err(Error::invalid)
}

fn invalid(url: &str, why: impl fmt::Display) -> Error {
    Error::invalid(format!("{url:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §3, RFC 6454 §4: schemes, implied ports, case.
    #[test]
    fn urls_name_origins() {
        let rows = [
            ("wss://Example.com", "https://example.com:443", "/"),
            ("https://example.com:444/chat?a=b", "https://example.com:444", "/chat?a=b"),
            ("ws://127.0.0.1:8080?x", "http://127.0.0.1:8080", "/?x"),
            ("http://[::1]/", "http://[::1]:80", "/"),
            ("ws://user:1@[::1]:8080", "http://[::1]:8080", "/"),
            ("ws://h:/", "http://h:80", "/"),
            ("WSS://user@h/%20", "https://h:443", "/%20"),
        ];
        for (url, origin, path) in rows {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.origin.to_string().as_str(), target.path.as_str()), (origin, path), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        let rows = [
            ("example.com", "begins with none of"),
            ("ftp://example.com/", "begins with none of"),
            ("/chat", "begins with none of"),
            ("wss://example.com/#top", "%23"),
            ("wss://example.com:99999/", "65535"),
            ("wss:///chat", "is no URL"),
            ("wss://exa mple/", "is no URL"),
            ("wss://a%3Ab@example.com/", ""),
        ];
        for (url, why) in rows {
            let Err(Error::Invalid(error)) = Target::parse(url) else { panic!("{url} was taken") };
            assert!(error.to_string().contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_path_is_of_the_clients_origin() {
        let origin = Target::parse("wss://example.com").unwrap().origin;
        for (path, expected) in [("/chat", "/chat"), ("", "/"), ("?a", "/?a"), ("https://EXAMPLE.com/b", "/b")] {
            assert_eq!(parse_path(path, &origin).unwrap(), expected);
        }
        for path in ["chat", "wss://user@example.com/", "wss://example.org/", "ws://example.com/", "/a#b", "/a b"] {
            assert!(matches!(parse_path(path, &origin), Err(Error::Invalid(_))), "{path}");
        }
    }
}
