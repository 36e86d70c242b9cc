//! The client's side of the handshake.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use super::fields::{has_token, has_token_alone, is_token, join, unique_tokens};
use super::offer::{is_key, once};
use super::{Extension, VERSION, accept_for};
use crate::Protocol;
use crate::uri::{default_port, is_host_and_port, request_path};
use crate::ws::Extensions;

/// What a client asks for. It is built once, makes a request for whichever carrier there is, and then checks the answer:
///
/// ```
/// use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
///
/// let mut handshake = ClientHandshake::new("wss://example.com/chat".parse()?);
/// handshake.protocols = vec!["chat".into(), "superchat".into()];
/// let request = handshake.request(Carrier::Http2)?;
/// assert_eq!(request.method(), "CONNECT");
/// assert_eq!(request.uri(), "https://example.com/chat");
///
/// let response = http::Response::builder().header("sec-websocket-protocol", "chat").body(())?;
/// let accepted = handshake.check(Carrier::Http2, &response)?;
/// assert_eq!(accepted.protocol.as_deref(), Some("chat"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    /// Where to: `wss`, `ws`, `https` or `http`, with a host and without user information.
    pub uri: Uri,
    /// Subprotocols to offer, the preferred one first: distinct tokens.
    pub protocols: Vec<String>,
    /// Extensions to offer; `no-masking` only where the URI says that the connection is encrypted.
    pub extensions: Extensions,
    /// Other header fields to send, such as `origin`, `cookie` and `authorization`; none of the handshake's own. Over HTTP/2
    /// the handshake has no `sec-websocket-key`, so one may stand here, for a server behind a proxy that makes none. A `host`
    /// goes out in place of the URI's authority, over HTTP/2 as `:authority` (RFC 9113 §8.3.1).
    pub headers: HeaderMap,
}

/// What carries the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// An HTTP/1.1 upgrade (RFC 6455 §4.1).
    Http1 {
        /// Sixteen random octets, new for each connection, for `Sec-WebSocket-Key`.
        key: [u8; 16],
    },
    /// An extended CONNECT (RFC 8441 §5), which needs no key; one that is to be sent all the same stands in
    /// [`ClientHandshake::headers`].
    Http2,
}

/// What the server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The subprotocol, one of those offered; `None` where the server wants none.
    pub protocol: Option<String>,
    /// The extensions in use, for [`WebSocket::with_extensions`](crate::ws::WebSocket::with_extensions).
    pub extensions: Extensions,
}

impl ClientHandshake {
    /// Asks for this resource, without a subprotocol or an extension.
    pub fn new(uri: Uri) -> Self {
        Self { uri, protocols: Vec::new(), extensions: Extensions::default(), headers: HeaderMap::new() }
    }

    /// Puts this key, sixteen random octets, among the [`headers`](Self::headers): for HTTP/2 alone.
    pub fn set_key(&mut self, key: [u8; 16]) {
        self.headers.insert(SEC_WEBSOCKET_KEY, key_value(key));
    }

    /// The request to send: over HTTP/1.1 a GET whose target is the path, as [`Host`](HOST) names the rest; over HTTP/2 a
    /// CONNECT with [`Protocol::websocket`] among its extensions.
    ///
    /// # Errors
    ///
    /// Whatever cannot be sent as it is.
    pub fn request(&self, carrier: Carrier) -> Result<Request<()>, RequestError> {
        let (scheme, mut authority) = self.target()?;
        if let Some(host) = self.host()? {
            authority = host;
        }
        let mut request = Request::new(());
        *request.headers_mut() = self.checked_headers(carrier)?;
        let path = PathAndQuery::try_from(&*request_path(&self.uri)).map_err(|_| RequestError::Uri)?;
        match carrier {
            Carrier::Http1 { key } => {
                *request.uri_mut() = path.into();
                *request.version_mut() = Version::HTTP_11;
                let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestError::Uri)?;
                let headers = request.headers_mut();
                headers.insert(HOST, host);
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_KEY, key_value(key));
            }
            Carrier::Http2 => {
                let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
                *request.uri_mut() = uri.build().map_err(|_| RequestError::Uri)?;
                *request.method_mut() = Method::CONNECT;
                *request.version_mut() = Version::HTTP_2;
                request.extensions_mut().insert(Protocol::websocket());
            }
        }
        Ok(request)
    }

    /// Checks the server's answer: over HTTP/1.1 a 101 with the right `Sec-WebSocket-Accept`, over HTTP/2 any 2xx. There a
    /// `Sec-WebSocket-Accept` is looked at only where a key was sent: it may be missing then, as RFC 8441 §5 knows none, but
    /// not be wrong. `carrier` is what the request was made with.
    ///
    /// # Errors
    ///
    /// The rule that the answer breaks. The connection (over HTTP/2: the stream) is then of no use.
    pub fn check<B>(&self, carrier: Carrier, response: &Response<B>) -> Result<Accepted, ResponseError> {
        let (status, headers) = (response.status(), response.headers());
        match carrier {
            Carrier::Http1 { key } => {
                if status != StatusCode::SWITCHING_PROTOCOLS {
                    return Err(ResponseError::Status(status));
                }
                check_version(response.version())?;
                check_upgraded(headers, &accept_for(STANDARD.encode(key).as_bytes()))?;
            }
            Carrier::Http2 if !status.is_success() => return Err(ResponseError::Status(status)),
            Carrier::Http2 => {
                if let Some(key) = self.headers.get(SEC_WEBSOCKET_KEY)
                    && headers.contains_key(SEC_WEBSOCKET_ACCEPT)
                {
                    check_accept(headers, &accept_for(key.as_bytes().trim_ascii()))?;
                }
            }
        }
        let answers = Extension::parse_all(headers).map_err(|_| ResponseError::Extensions)?;
        let extensions = self.extensions.check(&answers, self.is_secure())?;
        let mut protocols = unique_tokens(headers, &SEC_WEBSOCKET_PROTOCOL).map_err(|_| ResponseError::Protocol)?;
        let protocol = protocols.pop();
        // RFC 6455 §4.1: so does a subprotocol that was not, or more than one.
        let offered = protocol.as_ref().is_none_or(|protocol| self.protocols.contains(protocol));
        if !offered || !protocols.is_empty() {
            return Err(ResponseError::Protocol);
        }
        Ok(Accepted { protocol, extensions })
    }

    fn is_secure(&self) -> bool {
        matches!(self.uri.scheme_str(), Some("wss" | "https"))
    }

    /// The `:scheme` (RFC 8441 §5: "https" for `wss`) and the authority without a port that the scheme implies.
    fn target(&self) -> Result<(Scheme, Authority), RequestError> {
        let scheme = match self.uri.scheme_str() {
            Some("wss" | "https") => Scheme::HTTPS,
            Some("ws" | "http") => Scheme::HTTP,
            _ => return Err(RequestError::Uri),
        };
        let authority = self.uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(RequestError::Uri)?.clone();
        match authority.port_u16() {
            Some(port) if default_port(scheme.as_str()) == Some(port) => {
                let host = Authority::try_from(authority.host()).map_err(|_| RequestError::Uri)?;
                Ok((scheme, host))
            }
            _ => Ok((scheme, authority)),
        }
    }

    /// What the caller names in place of the URI's authority: one host, perhaps with a port (RFC 9112 §3.2).
    fn host(&self) -> Result<Option<Authority>, RequestError> {
        if !self.headers.contains_key(HOST) {
            return Ok(None);
        }
        let host = once(&self.headers, &HOST).filter(|host| is_host_and_port(host));
        let authority = host.and_then(|host| Authority::try_from(host).ok());
        authority.filter(|authority| !authority.host().is_empty()).map(Some).ok_or(RequestError::Host)
    }

    /// The caller's fields and those that both carriers send.
    fn checked_headers(&self, carrier: Carrier) -> Result<HeaderMap, RequestError> {
        let may_have_key = carrier == Carrier::Http2;
        if let Some(name) = self.headers.keys().find(|name| is_reserved(name, may_have_key)) {
            return Err(RequestError::Header(name.clone()));
        }
        if self.headers.contains_key(SEC_WEBSOCKET_KEY) && !once(&self.headers, &SEC_WEBSOCKET_KEY).is_some_and(is_key)
        {
            return Err(RequestError::Key);
        }
        let mut headers = self.headers.clone();
        // It is the request's authority, of either version.
        headers.remove(HOST);
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        if !self.protocols.is_empty() {
            let distinct = |(index, name): (usize, &String)| is_token(name) && !self.protocols[..index].contains(name);
            if !self.protocols.iter().enumerate().all(distinct) {
                return Err(RequestError::Protocols);
            }
            let value = HeaderValue::from_str(&join(&self.protocols)).map_err(|_| RequestError::Protocols)?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        let extensions = self.extensions.offer(self.is_secure());
        if !extensions.is_empty() {
            let value = HeaderValue::from_str(&join(&extensions)).expect("tokens are a field value");
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, value);
        }
        Ok(headers)
    }
}

fn key_value(key: [u8; 16]) -> HeaderValue {
    HeaderValue::from_str(&STANDARD.encode(key)).expect("base64 is visible ASCII")
}

/// Fields that the handshake writes itself, or that would announce content.
fn is_reserved(name: &HeaderName, may_have_key: bool) -> bool {
    if name == SEC_WEBSOCKET_KEY {
        return !may_have_key;
    }
    [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

/// RFC 9110 §15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client", so that one of its own knows of none.
fn check_version(version: Version) -> Result<(), ResponseError> {
    if version < Version::HTTP_11 { Err(ResponseError::Version) } else { Ok(()) }
}

/// The rules of a 101 (RFC 6455 §4.1): "websocket" is all that Upgrade says, as the connection has one protocol from then on.
fn check_upgraded(headers: &HeaderMap, accept: &HeaderValue) -> Result<(), ResponseError> {
    if !has_token_alone(headers, &UPGRADE, "websocket") {
        return Err(ResponseError::Upgrade);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(ResponseError::Connection);
    }
    check_accept(headers, accept)
}

fn check_accept(headers: &HeaderMap, accept: &HeaderValue) -> Result<(), ResponseError> {
    // RFC 6455 §11.3.3: there is one. A second is no harm where it says the same.
    let values = headers.get_all(SEC_WEBSOCKET_ACCEPT);
    if values.iter().next().is_none() {
        return Err(ResponseError::AcceptMissing);
    }
    let is_right = values.iter().all(|value| value.as_bytes().trim_ascii() == accept.as_bytes());
    if is_right { Ok(()) } else { Err(ResponseError::Accept) }
}

/// Why a [`ClientHandshake`] cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Not a `wss`, `ws`, `https` or `http` URI with a host and without user information.
    Uri,
    /// The subprotocols are not distinct tokens.
    Protocols,
    /// A field that the handshake writes itself.
    Header(HeaderName),
    /// A `Host` of the caller's that is not one host with or without a port (RFC 9112 §3.2).
    Host,
    /// A `Sec-WebSocket-Key` of the caller's that is not sixteen octets in base64, once (RFC 6455 §4.1).
    Key,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri => {
                f.write_str("the URI must be wss, ws, https or http, with a host and without user information")
            }
            Self::Protocols => f.write_str("the subprotocols must be distinct tokens"),
            Self::Header(name) => write!(f, "the handshake writes the header field {name} itself"),
            Self::Host => f.write_str("Host must be a host, with or without a port, exactly once"),
            Self::Key => f.write_str("Sec-WebSocket-Key must be 16 octets in base64, exactly once"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why a server's answer opens no WebSocket: one variant per rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server answered something else: a refusal, a redirection, a challenge.
    Status(StatusCode),
    /// A 101 of HTTP/1.0, which has none (RFC 6455 §4.1, RFC 9110 §15.2).
    Version,
    /// A 101 for something other than WebSocket, or for more than that (RFC 6455 §4.1).
    Upgrade,
    /// A 101 whose `Connection` does not list `upgrade` (RFC 6455 §4.1).
    Connection,
    /// `Sec-WebSocket-Accept` does not match the key (RFC 6455 §4.1).
    Accept,
    /// There is no `Sec-WebSocket-Accept` (RFC 6455 §4.1).
    AcceptMissing,
    /// A subprotocol that was not offered, or more than one (RFC 6455 §4.1).
    Protocol,
    /// No subprotocol, where the client wants one of those it offered (RFC 6455 §1.9). It is the caller's to say so:
    /// [`ClientHandshake::check`] takes an answer without one.
    ProtocolMissing,
    /// An extension that was not offered, or one twice, or a field that does not follow the grammar (RFC 6455 §4.1, §9.1).
    Extensions,
    /// An extension that was offered, with parameters that do not answer the offer's (RFC 7692 §7.1).
    ExtensionParameters,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::Version => f.write_str("the server's 101 is of HTTP/1.0, which has none"),
            Self::Upgrade => f.write_str("the server switched to a protocol other than WebSocket"),
            Self::Connection => f.write_str("the server's 101 lacks Connection: Upgrade"),
            Self::Accept => f.write_str("the server's Sec-WebSocket-Accept does not match the key"),
            Self::AcceptMissing => f.write_str("the server's Sec-WebSocket-Accept is missing"),
            Self::Protocol => f.write_str("the server chose a subprotocol that was not offered"),
            Self::ProtocolMissing => f.write_str("the server chose none of the subprotocols that were offered"),
            Self::Extensions => f.write_str("the server chose an extension that was not offered"),
            Self::ExtensionParameters => {
                f.write_str("the server's parameters of an extension do not answer the offer's")
            }
        }
    }
}

impl std::error::Error for ResponseError {}
