//! Where the URL of a WebSocket leads.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, InvalidUri, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::{default_port, is_host_and_port, request_path};

/// What a `wss` or `ws` URL says (RFC 6455 §3), or an `https` or `http` one in its place.
///
/// ```
/// use sockeye_proto::uri::Target;
///
/// let target: Target = "wss://Aladdin:opensesame@Example.com?room=1".parse()?;
/// assert_eq!((target.is_secure, &*target.host, target.port), (true, "example.com", 443));
/// assert_eq!(target.uri, "https://example.com/?room=1");
/// assert_eq!(target.to_string(), "wss://example.com/?room=1");
/// assert_eq!(target.authorization.unwrap(), "Basic QWxhZGRpbjpvcGVuc2VzYW1l");
/// # Ok::<(), sockeye_proto::uri::TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Target {
    /// With the scheme `https` or `http`, the host in lower case, the port where the scheme does not imply it, and a path;
    /// without user information.
    pub uri: Uri,
    /// Whether there is TLS.
    pub is_secure: bool,
    /// A name in lower case, or an address; one of IPv6 without its brackets.
    pub host: String,
    /// Also where the scheme implies it.
    pub port: u16,
    /// Basic authentication (RFC 7617) by the URL's user information; sensitive, so that it is neither printed nor indexed.
    pub authorization: Option<HeaderValue>,
}

/// Why a text is no URL of a WebSocket.
#[derive(Debug)]
#[non_exhaustive]
pub enum TargetError {
    /// RFC 6455 §3: a fragment has no meaning here and must not be used.
    Fragment,
    /// It is no URI at all (RFC 3986).
    Uri(InvalidUri),
    /// Its scheme is none of the four, or missing.
    Scheme,
    /// It names no host, or what is none (RFC 3986 §3.2.2).
    Host,
    /// Its port is 0, or above 65535.
    Port,
    /// RFC 7617 §2: the colon ends the user's name.
    UserName,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.contains('#') {
            return Err(TargetError::Fragment);
        }
        let uri: Uri = text.parse().map_err(TargetError::Uri)?;
        // RFC 3986 §3.1: the case of a scheme has no meaning.
        let (scheme, is_secure) = match uri.scheme_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "wss" | "https" => (Scheme::HTTPS, true),
            "ws" | "http" => (Scheme::HTTP, false),
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or(TargetError::Host)?;
        let host = authority.host().to_ascii_lowercase();
        // A server would not take it for one either (RFC 9112 §3.2).
        if !is_host_and_port(host.as_bytes()) {
            return Err(TargetError::Host);
        }
        let implied = default_port(scheme.as_str()).ok_or(TargetError::Scheme)?;
        let port = port(authority, implied)?;
        let place = if port == implied { host.clone() } else { format!("{host}:{port}") };
        let whole = Uri::builder().scheme(scheme).authority(place).path_and_query(&*request_path(&uri));
        let user_information = authority.as_str().rsplit_once('@').map(|(user_information, _)| user_information);
        Ok(Self {
            uri: whole.build().map_err(|_| TargetError::Host)?,
            is_secure,
            // RFC 3986 §3.2.2: the brackets belong to the URL.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authorization: user_information.map(basic_authorization).transpose()?,
        })
    }
}

/// As a `wss` or `ws` URL.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = if self.is_secure { ("wss", "https") } else { ("ws", "http") };
        let url = self.uri.to_string();
        write!(f, "{scheme}{}", url.strip_prefix(rest).unwrap_or(&url))
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fragment => f.write_str("a WebSocket's URL may have no fragment: write # as %23"),
            Self::Uri(error) => write!(f, "it is no URL: {error}"),
            Self::Scheme => f.write_str("it begins with none of wss://, ws://, https:// and http://"),
            Self::Host => f.write_str("it names no host"),
            Self::Port => f.write_str("it has a port above 65535, or port 0"),
            Self::UserName => f.write_str("a user's name may not hold a colon (RFC 7617 §2)"),
        }
    }
}

impl std::error::Error for TargetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

/// What follows the host: nothing, a colon, or a colon with the port (RFC 3986 §3.2.3).
fn port(authority: &Authority, implied: u16) -> Result<u16, TargetError> {
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    match place.strip_prefix(authority.host()).unwrap_or_default() {
        "" | ":" => Ok(implied),
        port => port[1..].parse().ok().filter(|port| *port > 0).ok_or(TargetError::Port),
    }
}

/// RFC 7617 §2.
fn basic_authorization(user_information: &str) -> Result<HeaderValue, TargetError> {
    let (user, password) = user_information.split_once(':').unwrap_or((user_information, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    // A colon would move the border between the two.
    if credentials.contains(&b':') {
        return Err(TargetError::UserName);
    }
    // The colon is there even without a password.
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)));
    let mut value = value.map_err(|_| TargetError::UserName)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §3, RFC 6454 §4: schemes, implied ports, case.
    #[test]
    fn a_url_says_host_port_and_path() {
        let rows = [
            ("wss://Example.com", "https://example.com/", "example.com", 443),
            ("https://example.com:444/chat?a=b", "https://example.com:444/chat?a=b", "example.com", 444),
            ("https://example.com:443/", "https://example.com/", "example.com", 443),
            ("ws://127.0.0.1:8080?x", "http://127.0.0.1:8080/?x", "127.0.0.1", 8080),
            ("http://[::1]/", "http://[::1]/", "::1", 80),
            ("ws://user:1@[::1]:8080", "http://[::1]:8080/", "::1", 8080),
            ("ws://h:/", "http://h/", "h", 80),
            ("WSS://user@h/%20", "https://h/%20", "h", 443),
        ];
        for (url, uri, host, port) in rows {
            let target: Target = url.parse().unwrap();
            assert_eq!(
                (target.uri.to_string().as_str(), target.host.as_str(), target.port),
                (uri, host, port),
                "{url}"
            );
            assert_eq!(target.is_secure, uri.starts_with("https"), "{url}");
            assert_eq!(target.to_string(), uri.replacen("http", "ws", 1), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        let rows = [
            ("", "no URL"),
            ("example.com", "begins with none of"),
            ("localhost:4433/echo", "no URL"),
            ("/chat", "begins with none of"),
            ("ftp://example.com/", "begins with none of"),
            ("wss://", "no URL"),
            ("wss:///chat", "no URL"),
            ("wss://:443/", "no host"),
            ("ws://[z:1]/", "no host"),
            ("ws://a,b/", "no host"),
            ("wss://exa mple/", "no URL"),
            ("wss://example.com:0/", "65535"),
            ("wss://example.com:99999/", "65535"),
            ("wss://example.com/#top", "%23"),
            ("wss://a%3Ab@example.com/", "colon"),
        ];
        for (url, why) in rows {
            let error = url.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    /// RFC 7617 §2, with the octets of RFC 3986 §2.1 taken out of their escapes.
    #[test]
    fn user_information_becomes_basic_authorization() {
        let authorization = |url: &str| url.parse::<Target>().unwrap().authorization;
        let value = authorization("wss://Aladdin:open%20sesame@example.com").unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert_eq!(authorization("wss://user@example.com/").unwrap(), "Basic dXNlcjo=");
        assert!(authorization("wss://example.com").is_none());
    }
}
