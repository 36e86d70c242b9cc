use std::fmt;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::Violation;
use super::frame::{self, MAX_CONTROL_SIZE, Opcode};

/// The longest reason: what a control frame holds beside the code.
pub(super) const MAX_REASON_SIZE: usize = MAX_CONTROL_SIZE - 2;

/// The status code of a closing handshake (RFC 6455 §7.4).
///
/// Any 16-bit number can be held, since a peer may send any; [`is_sendable`](Self::is_sendable) says which of them may
/// stand in a Close frame.
///
/// ```
/// use sockeye_proto::ws::CloseCode;
///
/// assert_eq!(CloseCode::NORMAL, CloseCode::from(1000));
/// assert!(CloseCode::from(4321).is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser has navigated away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a type of data that this end cannot accept, such as binary where only text is understood.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close frame had no code. It stands for the absence of a code and is never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the transport ended without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit the message's type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that violates the receiver's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts (IANA's registry, RFC 6455 §11.7).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later (IANA's registry, RFC 6455 §11.7).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from its upstream (IANA's registry, RFC 6455 §11.7).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether the code may stand in a Close frame: those registered for the wire, and 3000 to 4999, which libraries
    /// and applications define (RFC 6455 §7.4.2). The same rule judges what a peer sends.
    pub const fn is_sendable(self) -> bool {
        // 1004 is reserved, 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame" (§7.4.1).
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CloseCode({})", self.0)
    }
}

/// What a Close frame says (RFC 6455 §5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the peer closes; [`CloseCode::NO_STATUS`] where the frame was empty (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// Text for people, not for programs; at most 123 octets, mostly empty.
    pub reason: ByteString,
}

impl CloseFrame {
    /// Reads the body of a Close frame.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Violation> {
        match body {
            [] => Ok(Self { code: CloseCode::NO_STATUS, reason: ByteString::new() }),
            // RFC 6455 §5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer".
            [_] => Err(Violation::CloseBody),
            [high, low, reason @ ..] => {
                let code = CloseCode(u16::from_be_bytes([*high, *low]));
                if !code.is_sendable() {
                    return Err(Violation::CloseCode);
                }
                let reason = ByteString::try_from(reason).map_err(|_| Violation::CloseReason)?;
                Ok(Self { code, reason })
            }
        }
    }
}

/// Appends a Close frame; an empty one for [`CloseCode::NO_STATUS`]. The reason has at most [`MAX_REASON_SIZE`] octets.
pub(super) fn encode(output: &mut BytesMut, code: CloseCode, reason: &str, key: Option<[u8; 4]>) {
    let mut body = BytesMut::new();
    if code != CloseCode::NO_STATUS {
        body.put_u16(code.0);
        body.put_slice(reason.as_bytes());
    }
    frame::encode(output, Opcode::Close, &body, key);
}
