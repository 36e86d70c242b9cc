//! Why a server refuses a handshake, and what it answers.

use std::fmt;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode, Version};

use super::VERSION;

/// Why a handshake is refused: one variant per rule. [`response`](Self::response) is what to answer; its text, which
/// [`Display`](fmt::Display) gives too, tells the client's author what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// An ordinary HTTP/1.1 request to a resource that is a WebSocket (RFC 9110 §15.5.22): 426.
    UpgradeRequired,
    /// Over HTTP/2, a method other than CONNECT to a resource that is a WebSocket (RFC 8441 §5): 405.
    ConnectRequired,
    /// An upgrade asked for by a method other than GET (RFC 6455 §4.1): 405.
    GetRequired,
    /// No `Host`, more than one, or not a host (RFC 9112 §3.2): 400.
    Host,
    /// `Connection` does not list `upgrade` (RFC 6455 §4.2.1): 400. Often a proxy that is not set up for WebSockets.
    Connection,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455 §4.4): 400, with the version we speak.
    Version,
    /// `Sec-WebSocket-Key` is not sixteen octets in base64, once (RFC 6455 §4.2.1): 400.
    Key,
    /// The handshake announces content, in which a socket's first frames could hide: 400.
    Content,
    /// `Sec-WebSocket-Protocol` is not a list of distinct tokens (RFC 6455 §4.1): 400.
    Protocols,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 §9.1): 400.
    Extensions,
    /// None of the subprotocols without which nothing is spoken here (RFC 6455 §4.2.2): 400.
    ProtocolRequired,
    /// More than 64 subprotocols, extensions, or parameters of an extension: 431.
    TooMany,
    /// The page's origin may not open this socket (RFC 6455 §10.2): 403.
    Origin,
    /// An extended CONNECT for something other than WebSocket (RFC 8441 §4): 501.
    UnknownProtocol,
}

impl Refusal {
    /// What a resource that is nothing but a WebSocket answers to an ordinary request: over HTTP/1.1 that it must be
    /// upgraded, over HTTP/2 (where there is no upgrade, RFC 9113 §8.6) that the method must be CONNECT.
    pub fn websocket_required(version: Version) -> Self {
        if version < Version::HTTP_2 { Self::UpgradeRequired } else { Self::ConnectRequired }
    }

    /// The status code of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::ConnectRequired | Self::GetRequired => StatusCode::METHOD_NOT_ALLOWED,
            // Not 426, which RFC 6455 §4.2.2 names as an example: the client did ask for an upgrade, HTTP/2 knows none,
            // and §4.4 answers 400 itself.
            Self::Version => StatusCode::BAD_REQUEST,
            Self::Host | Self::Connection | Self::Key | Self::Content => StatusCode::BAD_REQUEST,
            Self::Protocols | Self::ProtocolRequired | Self::Extensions => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The answer to a request of this method: [`response`](Self::response), but that a CONNECT is refused without a
    /// `Content-Type`, for which Firefox gives the whole connection up, and with it the page's other requests. The text stays.
    pub fn response_to(self, method: &Method) -> Response<String> {
        let mut response = self.response();
        if method == Method::CONNECT {
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response
    }

    /// The whole answer: the status, the header fields that its rule asks for, and one line of plain text. To an extended
    /// CONNECT it is to be [`response_to`](Self::response_to), which Sockeye's own server sees to by itself.
    pub fn response(self) -> Response<String> {
        let mut response = Response::new(format!("{self}\n"));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::UpgradeRequired => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            }
            Self::ConnectRequired => drop(headers.insert(ALLOW, HeaderValue::from_static("CONNECT"))),
            Self::GetRequired => drop(headers.insert(ALLOW, HeaderValue::from_static("GET"))),
            Self::Version => drop(headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION))),
            _ => {}
        }
        response
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpgradeRequired => "This is a WebSocket: ask with Connection: Upgrade and Upgrade: websocket.",
            Self::ConnectRequired => "This is a WebSocket: open it with CONNECT and :protocol websocket.",
            Self::GetRequired => "A WebSocket is opened with GET over HTTP/1.1.",
            Self::Host => "The request must name its host, exactly once.",
            Self::Connection => "Upgrade came without Connection: Upgrade; a proxy on the way may have dropped it.",
            Self::Version => "This server speaks WebSocket version 13; send Sec-WebSocket-Version: 13, exactly once.",
            Self::Key => "Sec-WebSocket-Key must be 16 octets in base64, exactly once.",
            Self::Content => "A WebSocket handshake carries no content.",
            Self::Protocols => "Sec-WebSocket-Protocol must be a list of distinct tokens.",
            Self::ProtocolRequired => "Sec-WebSocket-Protocol must name a subprotocol that is spoken here.",
            Self::Extensions => "Sec-WebSocket-Extensions does not follow RFC 6455, section 9.1.",
            Self::TooMany => "Too many subprotocols, extensions or parameters: at most 64 of each.",
            Self::Origin => "Pages of this origin may not open WebSockets here.",
            Self::UnknownProtocol => "This server knows only :protocol websocket.",
        })
    }
}

impl std::error::Error for Refusal {}
