//! What a client asked for, checked: the server's side of the handshake.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::fields::{has_token, join, single, unique_tokens};
use super::{Extension, Refusal, VERSION, accept_for};
use crate::Protocol;
use crate::ws::Extensions;

/// A client's request for a WebSocket: every rule about a handshake's form holds for it. Whether the page's origin is
/// welcome is for an [`OriginPolicy`](super::OriginPolicy) to say.
#[derive(Clone, Debug)]
pub struct Offer {
    answer: Answer,
    secure: bool,
    authority: Authority,
    origin: Option<HeaderValue>,
    protocols: Vec<String>,
    extensions: Vec<Extension>,
}

/// What opens the socket.
#[derive(Clone, Debug)]
enum Answer {
    /// HTTP/1.1: 101, with this `Sec-WebSocket-Accept`.
    SwitchingProtocols(HeaderValue),
    /// HTTP/2: 200, with this `Sec-WebSocket-Accept` where a key came.
    Ok(Option<HeaderValue>),
}

impl Offer {
    /// Reads the handshake out of a request.
    ///
    /// `Ok(None)` where it is none: neither an extended CONNECT, which has a [`Protocol`] among its extensions, nor an
    /// HTTP/1.1 request that asks for an upgrade to WebSocket.
    ///
    /// # Errors
    ///
    /// The rule that the handshake breaks; [`Refusal::response`] is what to answer.
    pub fn from_request<B>(request: &Request<B>) -> Result<Option<Self>, Refusal> {
        let headers = request.headers();
        let answer = match request.extensions().get::<Protocol>() {
            Some(protocol) => check_connect(request.method(), headers, protocol)?,
            // RFC 9110 §7.8: an Upgrade in an HTTP/1.0 request is ignored.
            None if request.version() == Version::HTTP_11 && has_token(headers, &UPGRADE, "websocket") => {
                check_upgrade(request.method(), headers)?
            }
            None => return Ok(None),
        };
        Ok(Some(Self {
            answer,
            secure: request.uri().scheme() == Some(&Scheme::HTTPS),
            authority: authority(request)?,
            origin: single(headers, &ORIGIN).map_err(|_| Refusal::Origin)?.cloned(),
            protocols: unique_tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
                .map_err(|error| error.refusal(Refusal::Protocols))?,
            extensions: Extension::parse_all(headers).map_err(|error| error.refusal(Refusal::Extensions))?,
        }))
    }

    /// The subprotocols offered, in the client's order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(String::as_str)
    }

    /// The first subprotocol offered that is also among `supported`, letter for letter.
    pub fn select_protocol(&self, supported: &[impl AsRef<str>]) -> Option<&str> {
        self.protocols().find(|offered| supported.iter().any(|name| name.as_ref() == *offered))
    }

    /// The extensions offered, in the client's order of preference.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The origin of the page that opens the socket; `None` where the client is no browser.
    pub fn origin(&self) -> Option<&HeaderValue> {
        self.origin.as_ref()
    }

    /// The host and port asked for: of the request's target (`:authority`), else of its `Host`.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Says that the connection is encrypted by TLS, which a request of HTTP/1.1 does not tell: the page has to have come so,
    /// too, for its origin to be the [same](super::OriginPolicy::SameOrigin). A target of `https` says it in any case, as one
    /// does behind a proxy where TLS ends.
    #[must_use]
    pub fn on_secure_connection(mut self, secure: bool) -> Self {
        self.secure |= secure;
        self
    }

    /// Whether the connection is encrypted, or the request's target says `https`.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The answer that opens the socket, over HTTP/1.1 101 with `Sec-WebSocket-Accept`, over HTTP/2 200, with
    /// `Sec-WebSocket-Accept` where a `Sec-WebSocket-Key` came; and the
    /// extensions that are in use then, for [`WebSocket::with_extensions`](crate::ws::WebSocket::with_extensions).
    ///
    /// RFC 6455 §4.2.2 lets a server name only a subprotocol that was offered: another `protocol` is left out. Of the
    /// extensions that the server is `willing` to use those are in use that the client offers in terms that can be met.
    /// `secure` says whether the connection is encrypted.
    pub fn accept(&self, protocol: Option<&str>, willing: &Extensions, secure: bool) -> (Response<()>, Extensions) {
        let mut response = Response::new(());
        let accept = match &self.answer {
            Answer::SwitchingProtocols(accept) => {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *response.version_mut() = Version::HTTP_11;
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                Some(accept)
            }
            Answer::Ok(accept) => {
                *response.version_mut() = Version::HTTP_2;
                accept.as_ref()
            }
        };
        if let Some(accept) = accept {
            response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
        if let Some(protocol) = self.protocols().find(|offered| Some(*offered) == protocol) {
            let value = HeaderValue::from_str(protocol).expect("a token is a field value");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        let (in_use, answers) = willing.accept(&self.extensions, secure);
        if !answers.is_empty() {
            let value = HeaderValue::from_str(&join(&answers)).expect("tokens are a field value");
            response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, value);
        }
        (response, in_use)
    }
}

/// The rules of an extended CONNECT (RFC 8441 §5). A `Sec-WebSocket-Key` has no part in it, so none that a proxy left in does
/// harm. A good one is answered all the same: where the client before a proxy speaks HTTP/1.1, it waits for that.
fn check_connect(method: &Method, headers: &HeaderMap, protocol: &Protocol) -> Result<Answer, Refusal> {
    if !protocol.is_websocket() {
        return Err(Refusal::UnknownProtocol);
    }
    if method != Method::CONNECT {
        return Err(Refusal::ConnectRequired);
    }
    check_version(headers)?;
    Ok(Answer::Ok(once(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).map(accept_for)))
}

/// The rules of an HTTP/1.1 upgrade (RFC 6455 §4.2.1).
fn check_upgrade(method: &Method, headers: &HeaderMap) -> Result<Answer, Refusal> {
    if method != Method::GET {
        return Err(Refusal::GetRequired);
    }
    // RFC 9112 §3.2: asked for even where the target is absolute.
    if !matches!(single(headers, &HOST), Ok(Some(_))) {
        return Err(Refusal::Host);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::Connection);
    }
    // Before the key, so that a client of another version hears about the version.
    check_version(headers)?;
    if headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0") {
        return Err(Refusal::Content);
    }
    match once(headers, &SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key) => Ok(Answer::SwitchingProtocols(accept_for(key))),
        _ => Err(Refusal::Key),
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match once(headers, &SEC_WEBSOCKET_VERSION) {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        _ => Err(Refusal::Version),
    }
}

/// The value of a field that has to stand exactly once.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    single(headers, name).ok().flatten().map(|value| value.as_bytes().trim_ascii())
}

/// Whether this is base64 that decodes to sixteen octets (RFC 6455 §4.2.1): 22 digits and the padding. The four bits
/// that belong to no octet may be anything: the RFC does not ask for zeros there.
pub(super) fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22 && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'))
    })
}

fn authority<B>(request: &Request<B>) -> Result<Authority, Refusal> {
    // RFC 9112 §3.2.2: the target's authority goes before Host.
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let host = once(request.headers(), &HOST).ok_or(Refusal::Host)?;
    let authority = Authority::try_from(host).map_err(|_| Refusal::Host)?;
    // RFC 9110 §4.2.4: user information has no place here.
    let is_host = !authority.host().is_empty() && !host.contains(&b'@');
    if is_host { Ok(authority) } else { Err(Refusal::Host) }
}
