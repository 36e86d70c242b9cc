//! What a probe finds out on one connection.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sockeye_proto::h2;

/// One connection and the WebSocket on it, as far as it got. Fields are only ever added; one that does not apply is null.
#[derive(Serialize, Default, Debug)]
pub(crate) struct Attempt {
    /// The address that took the connection.
    pub(crate) address: Option<SocketAddr>,
    /// What stands before the server: a proxy, whose the address is then, or a socket of the system's.
    pub(crate) via: Option<String>,
    pub(crate) connect_ms: Option<Milliseconds>,
    pub(crate) tls: Option<Tls>,
    /// HTTP/2 alone: the server's SETTINGS.
    pub(crate) settings: Option<Settings>,
    pub(crate) handshake: Option<Handshake>,
    /// From a Ping to its Pong.
    pub(crate) ping_ms: Option<Milliseconds>,
    /// From a message to the same message back, where the server is one that echoes.
    pub(crate) echo_ms: Option<Milliseconds>,
    /// Other messages that came meanwhile.
    pub(crate) messages: u32,
    pub(crate) close: Option<Close>,
    /// HTTP/2 alone: many WebSockets on a connection of their own, as a page opens them.
    pub(crate) sockets: Option<Sockets>,
    /// HTTP/2 alone: one of those, closed with END_STREAM in the DATA frame of the Close, as Chromium closes.
    pub(crate) close_with_end_stream: Option<Close>,
    /// What went wrong, in order.
    pub(crate) problems: Vec<Problem>,
}

#[derive(Serialize, Debug)]
pub(crate) struct Tls {
    /// Such as `TLSv1.3`.
    pub(crate) version: String,
    pub(crate) cipher_suite: String,
    /// The protocol that the server chose by ALPN (RFC 7301).
    pub(crate) alpn: Option<String>,
    /// Whether the certificate was checked; otherwise there was `-k`.
    pub(crate) verified: bool,
    pub(crate) handshake_ms: Milliseconds,
}

/// The server's SETTINGS (RFC 9113 §6.5.2, RFC 8441 §3), with the protocol's defaults for what it did not say.
#[derive(Serialize, Debug)]
pub(crate) struct Settings {
    pub(crate) enable_connect_protocol: bool,
    /// Null: without a limit.
    pub(crate) max_concurrent_streams: Option<u32>,
    pub(crate) initial_window_size: u32,
    pub(crate) max_frame_size: u32,
    /// Null: not said.
    pub(crate) max_header_list_size: Option<u32>,
    pub(crate) header_table_size: u32,
    /// From the client's preface to the server's SETTINGS.
    pub(crate) ms: Milliseconds,
}

impl Settings {
    pub(crate) fn new(settings: &h2::Settings, elapsed: Duration) -> Self {
        Self {
            enable_connect_protocol: settings.enable_connect_protocol,
            max_concurrent_streams: settings.max_concurrent_streams,
            initial_window_size: settings.initial_window_size,
            max_frame_size: settings.max_frame_size,
            max_header_list_size: settings.max_header_list_size,
            header_table_size: settings.header_table_size,
            ms: elapsed.into(),
        }
    }
}

/// The answer to the opening handshake.
#[derive(Serialize, Debug)]
pub(crate) struct Handshake {
    /// 200 over HTTP/2 and 101 over HTTP/1.1 open a WebSocket.
    pub(crate) status: u16,
    /// Whether a WebSocket was opened.
    pub(crate) accepted: bool,
    pub(crate) subprotocol: Option<String>,
    /// As in `Sec-WebSocket-Extensions`, one element each.
    pub(crate) extensions: Vec<String>,
    /// Pairs of a name and a value, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The beginning of the content of an answer that opened nothing, or that opened what is no WebSocket.
    pub(crate) body: Option<String>,
    pub(crate) ms: Milliseconds,
}

/// The end of the WebSocket and of what carried it.
#[derive(Serialize, Debug)]
pub(crate) struct Close {
    /// The code of the server's Close frame, 1005 where it had none; null where no Close frame came.
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    /// Whether the server closed of its own accord.
    pub(crate) by_server: bool,
    /// How the stream or the connection ended; null where the server left it open.
    pub(crate) end: Option<Ending>,
    /// Whether the server ended it before we ended our half.
    pub(crate) ended_first: bool,
    /// Whether a Close frame came, and after it what every browser takes for a clean end: END_STREAM, RST_STREAM(NO_ERROR)
    /// or the end of TCP.
    pub(crate) clean: bool,
    /// From our Close frame to the server's.
    pub(crate) ms: Milliseconds,
}

/// What became of many WebSockets that were asked for at once on one connection.
#[derive(Serialize, Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Not more than the server's SETTINGS allow.
    pub(crate) asked: u32,
    pub(crate) opened: u32,
    /// Answered by another status, or reset.
    pub(crate) refused: u32,
    /// Without an answer in time.
    pub(crate) unanswered: u32,
}

/// How a server ended what carried the WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// HTTP/2: END_STREAM.
    EndStream,
    /// HTTP/2: RST_STREAM with this code.
    Reset(h2::Reason),
    /// HTTP/1.1: the end of TCP.
    Fin,
    /// Anything else, in words.
    Broken(String),
}

impl Ending {
    /// Whether every browser calls a WebSocket clean that ends so after both Close frames.
    pub(crate) fn is_clean(&self) -> bool {
        // RFC 9113 §8.1: NO_ERROR only says that nothing more is wanted.
        matches!(self, Self::EndStream | Self::Fin | Self::Reset(h2::Reason::NO_ERROR))
    }

    /// What the server did.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::EndStream => "the server ended the stream".to_owned(),
            Self::Reset(reason) => format!("the server reset the stream ({reason})"),
            Self::Fin => "the server ended the connection".to_owned(),
            Self::Broken(how) => how.clone(),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndStream => f.write_str("END_STREAM"),
            Self::Reset(reason) => write!(f, "RST_STREAM({reason})"),
            Self::Fin => f.write_str("FIN"),
            Self::Broken(how) => f.write_str(how),
        }
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A step that failed, and how.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) step: Step,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(step: Step, text: impl Into<String>) -> Self {
        Self { step, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.name(), self.text)
    }
}

/// What a probe does, in order; each has its own time.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// The host's addresses.
    Dns,
    Tcp,
    /// What a proxy does to reach the server.
    Proxy,
    Tls,
    /// What both sides speak: ALPN, and HTTP/2's SETTINGS.
    Settings,
    Handshake,
    Ping,
    Message,
    Close,
    /// Many at once, on a connection of their own.
    Sockets,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
            Self::Settings => "SETTINGS",
            Self::Handshake => "handshake",
            Self::Ping => "ping",
            Self::Message => "message",
            Self::Close => "close",
            Self::Sockets => "sockets",
        }
    }
}

/// A time in milliseconds, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Milliseconds(f64);

impl From<Duration> for Milliseconds {
    fn from(elapsed: Duration) -> Self {
        Self(elapsed.as_micros() as f64 / 1000.0)
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1.0 => write!(f, "{ms:.2} ms"),
            ms if ms < 100.0 => write!(f, "{ms:.1} ms"),
            ms => write!(f, "{ms:.0} ms"),
        }
    }
}
