//! Where an upstream is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::Error;

/// Where an upstream is: `http://host:port`, `https://host:port`, or `unix:/path/to/socket`.
///
/// ```
/// use sockeye_gateway::Target;
///
/// let target: Target = "http://localhost:3000".parse()?;
/// assert_eq!(target.to_string(), "http://localhost:3000");
/// # Ok::<(), sockeye_gateway::reach::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    secure: bool,
    /// As a `Host` names it: without a port that the scheme implies.
    authority: Authority,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Target {
    /// Whether TLS is spoken there.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// What the upstream is called in a `Host` (RFC 9110 §7.2); `localhost` behind a Unix socket.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The name that a certificate is to have.
    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The whole URI of a path there.
    pub(crate) fn uri(&self, authority: Authority, path: PathAndQuery) -> Result<Uri, http::Error> {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///run/app.sock is what URLs make of it.
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(invalid(text, "give the socket's whole path, as in unix:/run/app.sock"));
            }
            let authority = Authority::from_static("localhost");
            return Ok(Self { place: Place::Unix(path.into()), secure: false, authority });
        }
        let uri: Uri = text.parse().map_err(|_| invalid(text, FORM))?;
        let (secure, implied) = match uri.scheme_str() {
            Some("http" | "ws") => (false, 80),
            Some("https" | "wss") => (true, 443),
            _ => return Err(invalid(text, FORM)),
        };
        let authority = uri.authority().ok_or_else(|| invalid(text, FORM))?;
        if authority.as_str().contains('@') {
            return Err(invalid(text, "no user name or password belongs there: clients send their own authorization"));
        }
        if !matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("" | "/")) {
            return Err(invalid(
                text,
                "leave its path out: paths go on as they came, and --route /path=URL says which go there",
            ));
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("" | ":") => implied,
            _ => authority.port_u16().filter(|port| *port > 0).ok_or_else(|| invalid(text, "a port is 1 to 65535"))?,
        };
        let named = if port == implied { host.to_owned() } else { format!("{host}:{port}") };
        let authority = Authority::try_from(named).map_err(|_| invalid(text, FORM))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { place: Place::Tcp { host, port }, secure, authority })
    }
}

const FORM: &str = "an upstream is http://host:port, https://host:port or unix:/path/to/socket";

fn invalid(text: &str, why: &str) -> Error {
    Error::invalid(format!("{text:?}: {why}"))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp { .. } => write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_port() {
        let rows = [
            ("http://localhost:3000", "http://localhost:3000", "localhost:3000"),
            ("http://10.0.0.5:80/", "http://10.0.0.5", "10.0.0.5"),
            ("https://example.com", "https://example.com", "example.com"),
            ("wss://[::1]:8443", "https://[::1]:8443", "[::1]:8443"),
            ("unix:/run/app.sock", "unix:/run/app.sock", "localhost"),
            ("unix:///run/app.sock", "unix:/run/app.sock", "localhost"),
        ];
        for (text, shown, authority) in rows {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.authority().as_str()), (shown, authority), "{text}");
        }
    }

    #[test]
    fn what_is_none_says_what_to_do() {
        let rows = [
            ("localhost:3000", "http://host:port"),
            ("ftp://h", "http://host:port"),
            ("http://h:99999", "65535"),
            ("http://user@h", "authorization"),
            ("http://h/app", "--route"),
            ("unix:run.sock", "whole path"),
        ];
        for (text, advice) in rows {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
