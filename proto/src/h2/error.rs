//! What can go wrong, by whose fault: [`Violation`] is the peer's, [`OpenError`] and [`SendError`] are the caller's.

use std::fmt;

use crate::Reason;

/// How far a [`Violation`] reaches (RFC 9113 §5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Its stream is reset, the connection goes on (§5.4.2).
    Stream,
    /// The connection is over (§5.4.1).
    Connection,
}

/// A rule that the peer broke, or a limit of ours that it went past: one variant each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Violation {
    /// The connection does not open with the client's 24 octets.
    Preface,
    /// The first frame is not SETTINGS.
    FirstFrame,
    /// A server's first octets are an alert of TLS, which it wants in place of cleartext (RFC 8446 §6).
    TlsAlert,
    /// A frame is longer than our SETTINGS_MAX_FRAME_SIZE.
    FrameTooLarge,
    /// A frame of this type cannot have this length.
    FrameLength,
    /// A PRIORITY frame is not 5 octets long.
    PriorityLength,
    /// A frame that belongs to a stream names stream 0.
    StreamIdZero,
    /// A frame that belongs to the connection names a stream.
    StreamIdNotZero,
    /// Padding is as long as its frame, or longer.
    Padding,
    /// Another frame came where a CONTINUATION had to.
    ContinuationMissing,
    /// A CONTINUATION without an unfinished header block before it.
    ContinuationUnexpected,
    /// A header block cannot be decoded.
    HeaderCompression,
    /// The stream's number belongs to the other side.
    StreamIdParity,
    /// A new stream's number is not above all before it.
    StreamIdDecreased,
    /// A frame on a stream that was never opened.
    StreamIdle,
    /// A frame on a stream that both sides had ended.
    StreamClosed,
    /// A frame on a stream that the peer had reset.
    StreamReset,
    /// A frame on a stream that the peer had ended.
    StreamHalfClosed,
    /// A stream depends on itself.
    SelfDependency,
    /// The length of SETTINGS is not a multiple of 6.
    SettingsLength,
    /// An acknowledgement of SETTINGS has a payload.
    SettingsAckLength,
    /// SETTINGS_ENABLE_PUSH is neither 0 nor 1, or a server set it to 1.
    SettingEnablePush,
    /// SETTINGS_INITIAL_WINDOW_SIZE is above 2³¹−1.
    SettingInitialWindowSize,
    /// SETTINGS_MAX_FRAME_SIZE is not within 2¹⁴ and 2²⁴−1.
    SettingMaxFrameSize,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1, or went back to 0.
    SettingEnableConnectProtocol,
    /// SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1, or changed.
    SettingNoRfc7540Priorities,
    /// A PUSH_PROMISE, which we never allow.
    PushPromise,
    /// A WINDOW_UPDATE of 0 for the connection.
    ConnectionWindowUpdateZero,
    /// A WINDOW_UPDATE of 0 for a stream.
    StreamWindowUpdateZero,
    /// The connection's window passed 2³¹−1.
    ConnectionWindowOverflow,
    /// A stream's window passed 2³¹−1.
    StreamWindowOverflow,
    /// A change of SETTINGS_INITIAL_WINDOW_SIZE took a stream's window past 2³¹−1.
    InitialWindowOverflow,
    /// More DATA than the connection's window allowed.
    ConnectionWindowExceeded,
    /// More DATA than the stream's window allowed.
    StreamWindowExceeded,

    /// A pseudo-header field after a regular one.
    PseudoHeaderOrder,
    /// A pseudo-header field twice.
    PseudoHeaderRepeated,
    /// A pseudo-header field that is not defined for this kind of message.
    PseudoHeaderUnknown,
    /// A pseudo-header field is missing.
    PseudoHeaderMissing,
    /// A pseudo-header field in trailers.
    PseudoHeaderInTrailers,
    /// A field name has uppercase or forbidden characters.
    FieldName,
    /// A field value has forbidden characters or outer white space.
    FieldValue,
    /// A field that speaks of a connection of HTTP/1.1.
    ConnectionSpecificField,
    /// `te` holds something else than `trailers`.
    TeField,
    /// `:method` is not a method.
    Method,
    /// `:scheme` is not a scheme.
    SchemeSyntax,
    /// `:path` is empty or not a path.
    Path,
    /// `:authority` or `host` is empty, malformed, repeated, or holds user information.
    Authority,
    /// `host` names something else than `:authority`.
    HostMismatch,
    /// `:status` is not a status.
    Status,
    /// A response with 101 (Switching Protocols), which HTTP/2 does not have.
    SwitchingProtocols,
    /// CONNECT with `:scheme` or `:path`, or without `:authority`.
    ConnectPseudoHeaders,
    /// `:protocol` without our SETTINGS_ENABLE_CONNECT_PROTOCOL.
    ProtocolNotOffered,
    /// `:protocol` on another method than CONNECT.
    ProtocolWithoutConnect,
    /// An extended CONNECT that ends its stream at once.
    ExtendedConnectEnded,
    /// HEADERS in the tunnel of a CONNECT.
    HeadersInTunnel,
    /// `content-length` is not one number.
    ContentLength,
    /// The DATA is not as long as `content-length`, or a response that has no content (HEAD, 204, 304), said.
    ContentLengthMismatch,
    /// DATA before the response's header.
    DataBeforeHead,
    /// An informational response ended the stream.
    InformationalEnded,
    /// Trailers that do not end the stream.
    TrailersNotLast,

    /// Our limit: streams at once.
    TooManyStreams,
    /// Our limit: a header list's size or fields.
    HeaderListTooLarge,
    /// Our limit: a header list four times past the size or fields.
    HeaderListFarTooLarge,
    /// Our limit: CONTINUATION frames of one header block.
    TooManyContinuations,
    /// Our limit: streams reset, by the peer or for its faults.
    TooManyResets,
    /// Our limit: tunnels in which the peer broke the protocol.
    TooManyFailedTunnels,
    /// Our limit: SETTINGS after the first.
    TooManySettings,
    /// Our limit: frames that do nothing.
    TooManyGlitches,
    /// Our limit: octets that carry nothing.
    TooMuchOverhead,
    /// Our limit: a stream blocked for too long.
    NoProgress,
    /// Our limit: the time to the preface and the first SETTINGS.
    PrefaceTimeout,
    /// Our limit: the time to the acknowledgement of SETTINGS.
    SettingsTimeout,
    /// Our limit: the time to END_HEADERS.
    HeaderTimeout,
    /// Our limit: the time to the answer of a keep-alive PING.
    KeepAliveTimeout,
}

impl Violation {
    /// The error code that goes to the peer.
    pub const fn reason(self) -> Reason {
        self.rule().1
    }

    /// Whether the stream or the connection is over.
    pub const fn scope(self) -> Scope {
        self.rule().0
    }

    /// The section of the RFC with the rule (RFC 9113 where it names no other).
    pub const fn section(self) -> &'static str {
        self.rule().2
    }

    /// One row per rule: scope, error code, section, and what happened.
    const fn rule(self) -> (Scope, Reason, &'static str, &'static str) {
        use Scope::{Connection as C, Stream as S};
        use Violation as V;
        const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
        const FLOW: Reason = Reason::FLOW_CONTROL_ERROR;
        const SIZE: Reason = Reason::FRAME_SIZE_ERROR;
        const CLOSED: Reason = Reason::STREAM_CLOSED;
        const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
        match self {
            V::Preface => (C, PROTOCOL, "§3.4", "not the preface of HTTP/2"),
            V::FirstFrame => (C, PROTOCOL, "§3.4", "the first frame is not SETTINGS"),
            V::TlsAlert => (C, PROTOCOL, "§3.4", "an alert of TLS in place of SETTINGS"),
            V::FrameTooLarge => (C, SIZE, "§4.2", "frame above SETTINGS_MAX_FRAME_SIZE"),
            V::FrameLength => (C, SIZE, "§4.2", "impossible length for this frame type"),
            V::PriorityLength => (S, SIZE, "§6.3", "PRIORITY is not 5 octets long"),
            V::StreamIdZero => (C, PROTOCOL, "§6", "stream 0 for a frame of a stream"),
            V::StreamIdNotZero => (C, PROTOCOL, "§6", "a stream for a frame of the connection"),
            V::Padding => (C, PROTOCOL, "§6.1", "padding as long as its frame"),
            V::ContinuationMissing => (C, PROTOCOL, "§6.10", "header block interrupted"),
            V::ContinuationUnexpected => (C, PROTOCOL, "§6.10", "CONTINUATION without HEADERS"),
            V::HeaderCompression => (C, Reason::COMPRESSION_ERROR, "§4.3", "header block cannot be decoded"),
            V::StreamIdParity => (C, PROTOCOL, "§5.1.1", "stream number of the other side"),
            V::StreamIdDecreased => (C, PROTOCOL, "§5.1.1", "stream number below an earlier one"),
            V::StreamIdle => (C, PROTOCOL, "§5.1", "frame on an idle stream"),
            V::StreamClosed => (C, CLOSED, "§5.1", "frame on a closed stream"),
            V::StreamReset => (S, CLOSED, "§5.1", "frame after RST_STREAM"),
            V::StreamHalfClosed => (S, CLOSED, "§5.1", "frame after END_STREAM"),
            V::SelfDependency => (S, PROTOCOL, "RFC 7540 §5.3.1", "a stream depends on itself"),
            V::SettingsLength => (C, SIZE, "§6.5", "SETTINGS length is not a multiple of 6"),
            V::SettingsAckLength => (C, SIZE, "§6.5", "acknowledgement of SETTINGS with a payload"),
            V::SettingEnablePush => (C, PROTOCOL, "§6.5.2", "bad SETTINGS_ENABLE_PUSH"),
            V::SettingInitialWindowSize => (C, FLOW, "§6.5.2", "bad SETTINGS_INITIAL_WINDOW_SIZE"),
            V::SettingMaxFrameSize => (C, PROTOCOL, "§6.5.2", "bad SETTINGS_MAX_FRAME_SIZE"),
            V::SettingEnableConnectProtocol => (C, PROTOCOL, "RFC 8441 §3", "bad SETTINGS_ENABLE_CONNECT_PROTOCOL"),
            V::SettingNoRfc7540Priorities => (C, PROTOCOL, "RFC 9218 §2.1", "bad SETTINGS_NO_RFC7540_PRIORITIES"),
            V::PushPromise => (C, PROTOCOL, "§8.4", "PUSH_PROMISE is not allowed"),
            V::ConnectionWindowUpdateZero => (C, PROTOCOL, "§6.9", "WINDOW_UPDATE of 0"),
            V::StreamWindowUpdateZero => (S, PROTOCOL, "§6.9", "WINDOW_UPDATE of 0"),
            V::ConnectionWindowOverflow => (C, FLOW, "§6.9.1", "connection window above 2^31-1"),
            V::StreamWindowOverflow => (S, FLOW, "§6.9.1", "stream window above 2^31-1"),
            V::InitialWindowOverflow => (C, FLOW, "§6.9.2", "stream window above 2^31-1 by SETTINGS"),
            V::ConnectionWindowExceeded => (C, FLOW, "§6.9", "DATA beyond the connection window"),
            V::StreamWindowExceeded => (S, FLOW, "§6.9", "DATA beyond the stream window"),

            V::PseudoHeaderOrder => (S, PROTOCOL, "§8.3", "pseudo-header field after a regular one"),
            V::PseudoHeaderRepeated => (S, PROTOCOL, "§8.3", "pseudo-header field repeated"),
            V::PseudoHeaderUnknown => (S, PROTOCOL, "§8.3", "undefined pseudo-header field"),
            V::PseudoHeaderMissing => (S, PROTOCOL, "§8.3", "pseudo-header field missing"),
            V::PseudoHeaderInTrailers => (S, PROTOCOL, "§8.1", "pseudo-header field in trailers"),
            V::FieldName => (S, PROTOCOL, "§8.2.1", "forbidden character in a field name"),
            V::FieldValue => (S, PROTOCOL, "§8.2.1", "forbidden character in a field value"),
            V::ConnectionSpecificField => (S, PROTOCOL, "§8.2.2", "connection-specific field"),
            V::TeField => (S, PROTOCOL, "§8.2.2", "te other than trailers"),
            V::Method => (S, PROTOCOL, "§8.3.1", "bad :method"),
            V::SchemeSyntax => (S, PROTOCOL, "§8.3.1", "bad :scheme"),
            V::Path => (S, PROTOCOL, "§8.3.1", "bad :path"),
            V::Authority => (S, PROTOCOL, "§8.3.1", "bad :authority or host"),
            V::HostMismatch => (S, PROTOCOL, "§8.3.1", "host differs from :authority"),
            V::Status => (S, PROTOCOL, "§8.3.2", "bad :status"),
            V::SwitchingProtocols => (S, PROTOCOL, "§8.6", "101 (Switching Protocols) over HTTP/2"),
            V::ConnectPseudoHeaders => (S, PROTOCOL, "§8.5", "bad pseudo-header fields for CONNECT"),
            V::ProtocolNotOffered => (S, PROTOCOL, "RFC 8441 §3", ":protocol was not offered"),
            V::ProtocolWithoutConnect => (S, PROTOCOL, "RFC 8441 §4", ":protocol without CONNECT"),
            V::ExtendedConnectEnded => (S, PROTOCOL, "RFC 8441 §5", "extended CONNECT with END_STREAM"),
            V::HeadersInTunnel => (S, PROTOCOL, "§8.5", "HEADERS in a tunnel"),
            V::ContentLength => (S, PROTOCOL, "§8.1.1", "bad content-length"),
            V::ContentLengthMismatch => (S, PROTOCOL, "§8.1.1", "DATA of another length than announced"),
            V::DataBeforeHead => (S, PROTOCOL, "§8.1", "DATA before the header"),
            V::InformationalEnded => (S, PROTOCOL, "§8.1", "informational response with END_STREAM"),
            V::TrailersNotLast => (S, PROTOCOL, "§8.1", "trailers without END_STREAM"),

            V::TooManyStreams => (S, Reason::REFUSED_STREAM, "§5.1.2", "too many streams"),
            V::HeaderListTooLarge => (S, CALM, "§10.5.1", "header list too large"),
            V::HeaderListFarTooLarge => (C, CALM, "§10.5.1", "header list far too large"),
            V::TooManyContinuations => (C, CALM, "§10.5", "too many CONTINUATION frames"),
            V::TooManyResets => (C, CALM, "§10.5", "too many streams reset"),
            V::TooManyFailedTunnels => (C, CALM, "§10.5", "too many tunnels whose protocol was broken"),
            V::TooManySettings => (C, CALM, "§10.5", "too many SETTINGS"),
            V::TooManyGlitches => (C, CALM, "§10.5", "too many frames without effect"),
            V::TooMuchOverhead => (C, CALM, "§10.5", "too many octets without content"),
            V::NoProgress => (S, Reason::CANCEL, "§10.5", "blocked for too long"),
            V::PrefaceTimeout => (C, PROTOCOL, "§3.4", "no preface in time"),
            V::SettingsTimeout => (C, Reason::SETTINGS_TIMEOUT, "§6.5.3", "SETTINGS not acknowledged in time"),
            V::HeaderTimeout => (C, CALM, "§10.5", "header block not finished in time"),
            V::KeepAliveTimeout => (C, Reason::NO_ERROR, "§6.7", "PING not answered in time"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, reason, section, text) = self.rule();
        write!(f, "{reason}: {text} ({section})")
    }
}

impl std::error::Error for Violation {}

/// Why a connection ended that did not end well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke a rule or went past a limit; it was told by GOAWAY.
    Violation(Violation),
    /// The peer ended the connection by a GOAWAY with this error.
    GoAway(Reason),
    /// The transport ended while streams were open.
    Eof,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "the peer was at fault: {violation}"),
            Self::GoAway(reason) => write!(f, "the peer ended the connection: {reason}"),
            Self::Eof => f.write_str("the transport ended while streams were open"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// Why [`Connection::open`](super::Connection::open) opened nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer has not offered the extended CONNECT (RFC 8441 §3), or its SETTINGS have not come yet.
    ExtendedConnectNotAllowed,
    /// As many streams are open as the peer, or [`Config::max_concurrent_streams`](super::Config), allows. Try again
    /// when one has been released.
    TooManyStreams,
    /// One of the sides has sent GOAWAY.
    GoingAway,
    /// The 2³⁰ stream numbers of this connection are used up.
    StreamIdsUsedUp,
    /// The request cannot be sent over HTTP/2: its URI lacks a scheme, an authority or a path, or we are the server.
    Malformed,
    /// The connection is closed.
    Closed,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExtendedConnectNotAllowed => "the peer has not offered the extended CONNECT",
            Self::TooManyStreams => "too many streams are open",
            Self::GoingAway => "the connection is going away",
            Self::StreamIdsUsedUp => "the stream numbers are used up",
            Self::Malformed => "the request cannot be sent over HTTP/2",
            Self::Closed => "the connection is closed",
        })
    }
}

impl std::error::Error for OpenError {}

/// Why a header block was not sent on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The stream was ended or reset, or the connection is closed.
    Closed,
    /// Not at this point of the message: a second response, trailers before the header or in a tunnel, an
    /// informational response that ends the stream, a response from a client.
    OutOfOrder,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the stream is closed",
            Self::OutOfOrder => "not at this point of the message",
        })
    }
}

impl std::error::Error for SendError {}
