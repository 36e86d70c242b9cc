//! The steps that take time, and what a server may lack.

use std::fmt;

/// A step that failed or took too long: what [`Error::Timeout`](super::Error::Timeout) and
/// [`Error::Connect`](super::Error::Connect) name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The look-up of a host's name, and a TCP connection to one of its addresses.
    Tcp,
    /// A client's own [connector](crate::client::ClientBuilder::connector).
    Connector,
    /// An HTTP proxy's answer to CONNECT (RFC 9110 §9.3.6).
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// The first SETTINGS of a server (RFC 9113 §3.4).
    Settings,
    /// A free stream on one of the client's connections (RFC 9113 §5.1.2).
    FreeStream,
    /// A server's answer to the handshake of a WebSocket.
    Answer,
    /// The first octets of a connection, which tell what it speaks.
    FirstOctets,
    /// The head of an HTTP/1.1 request.
    RequestHead,
    /// The rest of the content of a request or a response.
    Content,
    /// The peer's Pong to a Ping that asked for a sign of life (RFC 6455 §5.5.2).
    Pong,
    /// The peer's part of the closing handshake (RFC 6455 §7.1.2).
    Closing,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "name resolution and TCP",
            Self::Connector => "the connector",
            Self::Proxy => "the proxy's answer",
            Self::Tls => "TLS",
            Self::Settings => "the server's SETTINGS",
            Self::FreeStream => "a free stream",
            Self::Answer => "the answer to the handshake",
            Self::FirstOctets => "the first octets of HTTP",
            Self::RequestHead => "the head of a request",
            Self::Content => "the rest of the content",
            Self::Pong => "the answer to a Ping",
            Self::Closing => "the closing handshake",
        })
    }
}

/// What a server does not offer, in [`Error::NotOffered`](super::Error::NotOffered).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// Neither HTTP/2 nor HTTP/1.1, by ALPN (RFC 7301).
    Http,
    /// HTTP/1.1, by ALPN (RFC 7301).
    Http1,
    /// HTTP/2, by ALPN (RFC 9113 §3.2).
    Http2,
    /// HTTP/2 with prior knowledge: what came first are no SETTINGS (RFC 9113 §3.4).
    Http2Preface,
    /// TLS: what it answered to the first octets of a handshake is none of it (RFC 8446 §5.1), as where an URL says `wss://` and the
    /// port is for `ws://`.
    Tls,
    /// HTTP in cleartext: it answered with an alert of TLS (RFC 8446 §6), as where an URL says `ws://` and the port is for `wss://`.
    Cleartext,
    /// The extended CONNECT that WebSockets over HTTP/2 need (RFC 8441 §3).
    ExtendedConnect,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP/2 or HTTP/1.1, by ALPN (RFC 7301)",
            Self::Http1 => "HTTP/1.1, by ALPN (RFC 7301)",
            Self::Http2 => "HTTP/2, by ALPN (RFC 9113 §3.2)",
            Self::Http2Preface => "HTTP/2, by its first octets (RFC 9113 §3.4)",
            Self::Tls => "TLS on this port (try ws://)",
            Self::Cleartext => "HTTP in cleartext on this port (try wss://)",
            Self::ExtendedConnect => "the extended CONNECT, by its SETTINGS (RFC 8441 §3)",
        })
    }
}
