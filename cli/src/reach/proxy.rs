//! Proxies: which one is for a server, and how it is asked for a way there. CONNECT is spoken by hyper, SOCKS 5 by tokio-socks.

use std::env;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::IpAddr;

use anyhow::Result;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use tokio_socks::Error;
use tokio_socks::tcp::Socks5Stream;

use crate::dial::{Stream, Tls};
use crate::usage::Usage;
use crate::words::not_tls;
use sockeye_proto::uri::Target;

/// Where proxies listen that nobody gave a port (as curl has it), and those under TLS.
const PORT: u16 = 1080;
const SECURE_PORT: u16 = 443;
/// What says which hosts no proxy is for.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What is said of one that has `https://` before it, and speaks cleartext.
const NOT_TLS: &str = "it does not offer TLS on this port (try http://)";

/// A proxy, without what it asks for in its `Debug` or `Display`.
#[derive(Clone)]
pub(super) struct Proxy {
    protocol: Protocol,
    host: String,
    port: u16,
    /// The option or the variable that it was given by.
    source: &'static str,
}

#[derive(Clone)]
enum Protocol {
    /// RFC 9110 §9.3.6
    Http { secure: bool, authorization: Option<HeaderValue> },
    /// RFC 1928
    Socks { names: Names, credentials: Option<(String, String)> },
}

/// Who looks the server's name up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Here,
    ByProxy,
}

impl Proxy {
    /// The one for a server: what the option says, else the environment; none where it is not for this host.
    ///
    /// # Errors
    ///
    /// What it says is no proxy's URL.
    pub(super) fn choose(option: Option<&str>, no_proxy: Option<&str>, target: &Target) -> Result<Option<Self>> {
        let given = match option {
            Some(url) => Some(("--proxy", url.to_owned())),
            None => from_environment(variables(target.is_secure)),
        };
        let Some((source, url)) = given.filter(|(_, url)| !url.is_empty()) else { return Ok(None) };
        let no_proxy = no_proxy.map(str::to_owned).or_else(|| from_environment(&NO_PROXY).map(|(_, hosts)| hosts));
        if no_proxy.is_some_and(|hosts| is_exempt(&hosts, &target.uri, target.port)) {
            return Ok(None);
        }
        // The URL may hold a password, and is not repeated.
        let proxy =
            Self::parse(&url, source).map_err(|what| Usage::new(format!("{source} is no proxy's URL: {what}")))?;
        Ok(Some(proxy))
    }

    fn parse(url: &str, source: &'static str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https", "socks5", "socks5h"].contains(&&*scheme) {
            return Err("it begins with none of http://, https://, socks5:// and socks5h://".to_owned());
        }
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = rest.rsplit('@').next().unwrap_or_default();
        let Target { host, authorization, .. } =
            format!("http://{rest}").parse().map_err(|error: sockeye_proto::uri::TargetError| error.to_string())?;
        let authority: Authority = place.parse().map_err(|_| "it names no host".to_owned())?;
        let port = authority.port_u16().unwrap_or(if scheme == "https" { SECURE_PORT } else { PORT });
        let protocol = match &*scheme {
            "http" | "https" => Protocol::Http { secure: scheme == "https", authorization },
            _ => Protocol::Socks {
                names: if scheme == "socks5h" { Names::ByProxy } else { Names::Here },
                credentials: rest.rsplit_once('@').map(|(user_information, _)| credentials(user_information)),
            },
        };
        Ok(Self { protocol, host, port, source })
    }

    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(super) fn source(&self) -> &'static str {
        self.source
    }

    /// Whether it is spoken to under TLS.
    pub(super) fn is_secure(&self) -> bool {
        matches!(self.protocol, Protocol::Http { secure: true, .. })
    }

    /// Whether it is given the server's name, not an address.
    pub(super) fn takes_names(&self) -> bool {
        !matches!(self.protocol, Protocol::Socks { names: Names::Here, .. })
    }

    pub(super) async fn secure(&self, stream: Stream, config: &ClientConfig) -> Result<Stream, String> {
        let tls = Tls::new(config, &self.host, &[b"http/1.1"]).map_err(|error| error.to_string())?;
        let secured = tls.secure(stream).await;
        let secured = secured.map_err(|what| if what == not_tls() { NOT_TLS.to_owned() } else { what })?;
        Ok(Stream::Right(secured))
    }

    /// Has it connect to the server, by `address` where it takes no names.
    pub(super) async fn tunnel(
        &self,
        stream: Stream,
        host: &str,
        port: u16,
        address: Option<IpAddr>,
    ) -> Result<Stream, String> {
        let host = address.map_or_else(|| host.to_owned(), |address| address.to_string());
        match &self.protocol {
            Protocol::Http { authorization, .. } => {
                let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                connect(stream, &place, authorization.as_ref()).await
            }
            Protocol::Socks { credentials, .. } => socks(stream, &host, port, credentials.as_ref()).await,
        }
    }
}

/// As a URL, without user information.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http { secure: false, .. } => "http",
            Protocol::Http { secure: true, .. } => "https",
            Protocol::Socks { names: Names::Here, .. } => "socks5",
            Protocol::Socks { names: Names::ByProxy, .. } => "socks5h",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Where the environment says what is for a server with or without TLS: the first one counts that is there.
fn variables(is_secure: bool) -> &'static [&'static str] {
    const SECURE: &[&str] = &["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    const PLAIN: &[&str] = &["ws_proxy", "WS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    if is_secure { SECURE } else { PLAIN }
}

fn from_environment(names: &[&'static str]) -> Option<(&'static str, String)> {
    // A web server that runs this for a request sets HTTP_PROXY to whatever the request's field `Proxy` says (RFC 3875 §4.1.18).
    let is_cgi = env::var_os("REQUEST_METHOD").is_some();
    let names = names.iter().filter(|name| !(is_cgi && **name == "HTTP_PROXY"));
    names.filter_map(|name| Some((*name, env::var(name).ok()?))).next()
}

fn is_exempt(hosts: &str, uri: &Uri, port: u16) -> bool {
    let list = hosts.split([',', ' ']).filter_map(|host| match host.rsplit_once(':') {
        // Without brackets an IPv6 address has no port behind it.
        Some((host, of)) if !host.contains(':') || host.ends_with(']') => (of.parse() == Ok(port)).then_some(host),
        _ => Some(host),
    });
    let list = list.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let list: Vec<_> = list.filter(|host| !host.is_empty()).collect();
    // A matcher's * is for names alone.
    if list.contains(&"*") {
        return true;
    }
    let matcher = Matcher::builder().all("http://proxy.invalid").no(list.join(",")).build();
    matcher.intercept(uri).is_none()
}

/// A user and a password, out of their escapes (RFC 3986 §2.1).
fn credentials(user_information: &str) -> (String, String) {
    let (user, password) = user_information.split_once(':').unwrap_or((user_information, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (decode(user), decode(password))
}

/// Asks for a tunnel (RFC 9110 §9.3.6). What the server says first may come with the proxy's answer.
async fn connect(stream: Stream, place: &str, authorization: Option<&HeaderValue>) -> Result<Stream, String> {
    let mut request = Request::builder().method(Method::CONNECT).uri(place).header(HOST, place);
    if let Some(authorization) = authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let no_answer = |error: hyper::Error| {
        // What is cancelled names what ended the connection before.
        let error = error.source().and_then(|source| source.downcast_ref()).unwrap_or(&error);
        let is_of_transport = error.source().is_some_and(|source| source.is::<io::Error>());
        // By a FIN, a reset, or an alert of TLS, as where it wants a certificate.
        match is_of_transport || error.is_incomplete_message() || error.is_canceled() {
            true => "it ended the connection without an answer".to_owned(),
            false => format!("its answer is no HTTP/1.1: {error}"),
        }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    // Queued before the connection runs, so that what ends the connection at once is told with the request.
    let response = sender.send_request(request);
    tokio::spawn(connection.with_upgrades());
    let response = response.await.map_err(no_answer)?;
    match response.status() {
        status if status.is_success() => {
            let upgraded = hyper::upgrade::on(response).await.map_err(no_answer)?;
            Ok(Stream::Right(Box::new(TokioIo::new(upgraded))))
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED if authorization.is_some() => {
            Err("it does not take this user and password (407)".to_owned())
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err("it asks for a user and a password (407): http://USER:PASSWORD@HOST:PORT".to_owned())
        }
        status => Err(format!("it answered {status} to a CONNECT to {place}")),
    }
}

/// Asks for a connection (RFC 1928 §4), and reads nothing beyond the answer.
async fn socks(
    stream: Stream,
    host: &str,
    port: u16,
    credentials: Option<&(String, String)>,
) -> Result<Stream, String> {
    let goal = (host, port);
    let connected = match credentials {
        Some((user, password)) => Socks5Stream::connect_with_password_and_socket(stream, goal, user, password).await,
        None => Socks5Stream::connect_with_socket(stream, goal).await,
    };
    match connected {
        Ok(stream) => Ok(stream.into_inner()),
        Err(Error::PasswordAuthFailure(_)) => Err("it does not take this user and password".to_owned()),
        Err(Error::NoAcceptableAuthMethods | Error::AuthorizationRequired) if credentials.is_none() => {
            Err("it asks for a user and a password: socks5://USER:PASSWORD@HOST:PORT".to_owned())
        }
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it ended the connection without an answer".to_owned())
        }
        Err(Error::InvalidResponseVersion) => Err("it does not speak SOCKS 5".to_owned()),
        Err(error) => Err(format!("it does not connect to {host}:{port}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{Protocol, Proxy, Stream, is_exempt};

    fn proxy(url: &str) -> Proxy {
        Proxy::parse(url, "--proxy").unwrap()
    }

    #[test]
    fn a_url_says_what_is_spoken_and_where() {
        let rows = [
            ("localhost:3128", "http://localhost:3128"),
            ("HTTP://Proxy.example", "http://proxy.example:1080"),
            ("https://user:secret@proxy.example/", "https://proxy.example:443"),
            ("socks5://user:secret@[::1]:1081", "socks5://[::1]:1081"),
            ("socks5h://127.0.0.1:80", "socks5h://127.0.0.1:80"),
        ];
        for (url, shown) in rows {
            let proxy = proxy(url);
            assert_eq!(proxy.to_string(), shown, "{url}");
            assert!(!format!("{proxy:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn credentials_come_out_of_their_escapes() {
        let Protocol::Http { authorization: Some(value), .. } = proxy("http://us%65r:p%40ss@h:1").protocol else {
            panic!("no authorization")
        };
        assert_eq!(value, "Basic dXNlcjpwQHNz");
        assert!(value.is_sensitive());
        let Protocol::Socks { credentials, .. } = proxy("socks5://us%65r:p%40ss@h:1").protocol else {
            panic!("not SOCKS")
        };
        assert_eq!(credentials, Some(("user".to_owned(), "p@ss".to_owned())));
    }

    #[test]
    fn what_is_no_proxy_says_why_and_not_what_it_holds() {
        for url in ["ftp://user:secret@h", "socks4://user:secret@h", "http://", "http://user:secret@h:99999", "://h"] {
            let Err(error) = Proxy::parse(url, "--proxy") else { panic!("{url} was taken") };
            assert!(!error.contains("secret") && !error.is_empty(), "{url}: {error}");
        }
    }

    /// The server may speak first, as with its SETTINGS (RFC 9113 §3.4): what comes in one piece with the proxy's answer is not lost.
    #[tokio::test]
    async fn what_the_server_says_at_once_is_read() {
        let socks_answer: &[u8] = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0hello";
        for (url, answer) in [("http://h", b"HTTP/1.1 200 OK\r\n\r\nhello" as &[u8]), ("socks5h://h", socks_answer)] {
            let (ours, mut theirs) = tokio::io::duplex(1 << 10);
            tokio::spawn(async move {
                // An answer to nothing would be none.
                let asked = theirs.read(&mut [0; 1000]).await.unwrap();
                assert_ne!(asked, 0);
                theirs.write_all(answer).await.unwrap();
                // It stays open.
                std::future::pending::<()>().await;
                drop(theirs);
            });
            let stream = Stream::Right(Box::new(ours));
            let mut tunnel = proxy(url).tunnel(stream, "example.com", 443, None).await.unwrap();
            let mut octets = [0; 5];
            tunnel.read_exact(&mut octets).await.unwrap();
            assert_eq!(&octets, b"hello", "{url}");
        }
    }

    #[test]
    fn hosts_are_exempt_by_name_address_and_network() {
        let rows = [
            ("example.com", "http://example.com/", true),
            ("example.com", "https://www.example.com:8443/", true),
            (".example.com", "http://www.example.com/", true),
            ("example.com", "http://notexample.com/", false),
            ("localhost, 127.0.0.1", "http://127.0.0.1:8080/", true),
            ("localhost 10.0.0.0/8", "http://10.1.2.3/", true),
            ("[::1],::2", "http://[::1]:8080/", true),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("::1", "http://[::1]:8080/", true),
            ("example.com:8080", "http://www.example.com:8080/", true),
            ("example.com:8081,[::1]:8081", "http://example.com:8080/", false),
            ("*", "http://192.0.2.1/", true),
            ("", "http://example.com/", false),
        ];
        for (hosts, uri, expected) in rows {
            let uri: http::Uri = uri.parse().unwrap();
            assert_eq!(is_exempt(hosts, &uri, uri.port_u16().unwrap_or(80)), expected, "{hosts:?} {uri}");
        }
    }
}
