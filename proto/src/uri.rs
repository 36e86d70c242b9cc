//! What HTTP and WebSocket read out of a URI, said once.

#[cfg(any(feature = "http2", feature = "web-socket"))]
mod host;
#[cfg(feature = "web-socket")]
mod target;

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

#[cfg(any(feature = "http2", feature = "web-socket"))]
pub(crate) use self::host::is_host_and_port;
#[cfg(feature = "web-socket")]
pub use self::target::{Target, TargetError};

/// The port that a scheme implies (RFC 9110 §4.2.1, §4.2.2; RFC 6455 §3), `None` where the scheme is none of the four. A
/// scheme is compared in lower case, in which [`http::uri::Scheme`] and [`Uri`] keep those of HTTP.
///
/// ```
/// use sockeye_proto::uri::default_port;
///
/// assert_eq!(default_port("wss"), Some(443));
/// assert_eq!(default_port("ftp"), None);
/// ```
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" | "wss" => Some(443),
        "http" | "ws" => Some(80),
        _ => None,
    }
}

/// The path and query to ask a server for: an empty path is "/", before a lone query too (RFC 9110 §4.2.3, RFC 6455 §3).
///
/// ```
/// use http::Uri;
/// use sockeye_proto::uri::request_path;
///
/// assert_eq!(request_path(&Uri::from_static("wss://example.com?a=b")), "/?a=b");
/// ```
pub fn request_path(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query().map_or("", PathAndQuery::as_str) {
        "" => Cow::Borrowed("/"),
        query if query.starts_with('?') => Cow::Owned(format!("/{query}")),
        path => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §4.2: each scheme of HTTP has a port, and RFC 6455 §3 gives its own the same two.
    #[test]
    fn a_scheme_implies_a_port() {
        let ports = ["http", "ws", "https", "wss", "HTTP", "", "h2"].map(default_port);
        assert_eq!(ports, [Some(80), Some(80), Some(443), Some(443), None, None, None]);
    }

    /// RFC 6455 §3: "The path component is '/' if the path is empty."
    #[test]
    fn an_empty_path_is_a_slash() {
        for (uri, path) in [
            ("https://a", "/"),
            ("https://a/", "/"),
            ("https://a?b", "/?b"),
            ("https://a/b?c", "/b?c"),
            ("a:1", "/"),
            ("*", "*"),
        ] {
            assert_eq!(request_path(&uri.parse().unwrap()), path, "{uri}");
        }
    }
}
