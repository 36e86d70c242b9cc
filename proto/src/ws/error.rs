use std::{error, fmt};

use super::partial::LEAST_MEAN_FRAGMENT;
use super::{CloseCode, Config};

/// A rule that the peer broke: one variant per rule.
///
/// The machine has then queued a Close with [`code`](Self::code), unless it had sent its Close before, and parses no
/// octet after the offending one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set that no negotiated extension has given a meaning (§5.2).
    ReservedBits,
    /// An opcode from 0x3 to 0x7 or from 0xB to 0xF (§5.2).
    ReservedOpcode,
    /// A payload length that fits a shorter encoding (§5.2).
    LengthNotMinimal,
    /// A 64-bit payload length whose most significant bit is set (§5.2).
    LengthOutOfRange,
    /// A client's frame without a mask (§5.1).
    Unmasked,
    /// A frame with a mask that must have none: a server's (§5.1), or a client's where `no-masking` is in use.
    Masked,
    /// A continuation frame outside of a fragmented message (§5.4).
    UnexpectedContinuation,
    /// A text or binary frame inside of a fragmented message (§5.4).
    InterleavedMessage,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 octets (§5.5).
    ControlTooLong,
    /// A Close frame with a body of one octet, which is no code (§5.5.1).
    CloseBody,
    /// A Close frame with a code that must not be sent (§7.4).
    CloseCode,
    /// A Close frame whose reason is not UTF-8 (§5.5.1).
    CloseReason,
    /// A text message that is not UTF-8 (§8.1).
    Text,
    /// A compressed message that is not DEFLATE data, or not whole (RFC 7692 §7.2.2).
    Deflate,
    /// A message of more than [`max_message_size`](super::Config::max_message_size) octets (§10.4).
    MessageTooBig,
    /// A message received in pieces of more than [`max_streamed_message_size`](super::Config::max_streamed_message_size)
    /// octets (§10.4).
    StreamedMessageTooBig,
    /// A message of more frames than [`max_fragments`](super::Config::max_fragments) admits (§10.4).
    TooManyFragments,
    /// A message that did not go on while others waited for the room it took (§10.4): what
    /// [`give_up`](super::WebSocket::give_up) says.
    MessageStalled,
    /// A frame or a message that has begun and did not go on in time (§10.4): what
    /// [`time_out`](super::WebSocket::time_out) says.
    NoProgress,
    /// A peer that did not read what others were sent with it, and was waited for in vain (§10.4): what
    /// [`give_up_slow`](super::WebSocket::give_up_slow) says.
    TooSlow,
    /// More pings than [`ping_burst`](super::Config::ping_burst) and
    /// [`pings_per_second`](super::Config::pings_per_second) admit (§10.4).
    TooManyPings,
    /// Compressed messages that decompress to more beyond what came than [`Inflation`](super::Inflation) admits (§10.4).
    InflatedTooMuch,
}

impl Violation {
    /// The code that the peer is told in the Close frame (RFC 6455 §7.4.1).
    pub const fn code(self) -> CloseCode {
        match self {
            // RFC 7692 names no code for data that does not decompress. RFC 6455 §7.4.1 describes it as 1007: "data
            // within a message that was not consistent with the type of the message".
            Self::CloseReason | Self::Text | Self::Deflate => CloseCode::INVALID_PAYLOAD,
            Self::TooManyPings | Self::MessageStalled | Self::NoProgress | Self::InflatedTooMuch => {
                CloseCode::POLICY_VIOLATION
            }
            Self::TooSlow => CloseCode::TRY_AGAIN_LATER,
            Self::MessageTooBig | Self::StreamedMessageTooBig | Self::TooManyFragments => CloseCode::MESSAGE_TOO_BIG,
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::LengthNotMinimal
            | Self::LengthOutOfRange
            | Self::Unmasked
            | Self::Masked
            | Self::UnexpectedContinuation
            | Self::InterleavedMessage
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::CloseBody
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The section that has the rule, such as `RFC 6455 §5.1`.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Unmasked | Self::Masked => "RFC 6455 §5.1",
            Self::ReservedBits | Self::ReservedOpcode | Self::LengthNotMinimal | Self::LengthOutOfRange => {
                "RFC 6455 §5.2"
            }
            Self::UnexpectedContinuation | Self::InterleavedMessage => "RFC 6455 §5.4",
            Self::FragmentedControl | Self::ControlTooLong => "RFC 6455 §5.5",
            Self::CloseBody | Self::CloseReason => "RFC 6455 §5.5.1",
            Self::CloseCode => "RFC 6455 §7.4",
            Self::Text => "RFC 6455 §8.1",
            Self::Deflate => "RFC 7692 §7.2.2",
            Self::MessageTooBig
            | Self::StreamedMessageTooBig
            | Self::TooManyFragments
            | Self::MessageStalled
            | Self::NoProgress
            | Self::TooSlow
            | Self::TooManyPings
            | Self::InflatedTooMuch => "RFC 6455 §10.4",
        }
    }

    /// What is wrong, in a few words of ASCII: also the reason that the peer reads in the Close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::LengthNotMinimal => "payload length not in its shortest encoding",
            Self::LengthOutOfRange => "payload length out of range",
            Self::Unmasked => "frame of a client without a mask",
            Self::Masked => "frame with a mask that must have none",
            Self::UnexpectedContinuation => "continuation frame outside of a message",
            Self::InterleavedMessage => "data frame inside of a fragmented message",
            Self::FragmentedControl => "fragmented control frame",
            Self::ControlTooLong => "control frame of more than 125 octets",
            Self::CloseBody => "close frame of one octet",
            Self::CloseCode => "close code that must not be sent",
            Self::CloseReason => "close reason is not UTF-8",
            Self::Text => "text is not UTF-8",
            Self::Deflate => "compressed message is not DEFLATE data",
            Self::MessageTooBig | Self::StreamedMessageTooBig => "message too big",
            Self::TooManyFragments => "too many fragments",
            Self::MessageStalled => "message did not go on while others waited",
            Self::NoProgress => "message did not go on in time",
            Self::TooSlow => "too slow to read",
            Self::TooManyPings => "too many pings",
            Self::InflatedTooMuch => "messages decompress to far more than came",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.reason(), self.section())
    }
}

impl error::Error for Violation {}

/// A limit of ours that a peer passed, for whoever may set it: the peer's own words are
/// [`reason`](Violation::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitPassed {
    /// [`Violation::MessageTooBig`]: more than so many octets.
    MessageSize(usize),
    /// [`Violation::StreamedMessageTooBig`]: more than so many octets.
    StreamedMessageSize(u64),
    /// [`Violation::TooManyFragments`]: more than so many frames, and less than 256 octets in the mean.
    Fragments(u32),
    /// [`Violation::TooManyPings`]: more than a burst, and so many a second.
    Pings(u32, u32),
    /// [`Violation::InflatedTooMuch`]: more than so many octets of surplus at once, and so many a second.
    Inflation(u32, u32),
}

impl LimitPassed {
    pub(super) fn new(violation: Violation, config: &Config) -> Option<Self> {
        match violation {
            Violation::MessageTooBig => Some(Self::MessageSize(config.max_message_size)),
            Violation::StreamedMessageTooBig => Some(Self::StreamedMessageSize(config.max_streamed_message_size)),
            Violation::TooManyFragments => Some(Self::Fragments(config.max_fragments)),
            Violation::TooManyPings => Some(Self::Pings(config.ping_burst, config.pings_per_second)),
            _ => None,
        }
    }

    /// The violation that it was.
    pub const fn violation(self) -> Violation {
        match self {
            Self::MessageSize(_) => Violation::MessageTooBig,
            Self::StreamedMessageSize(_) => Violation::StreamedMessageTooBig,
            Self::Fragments(_) => Violation::TooManyFragments,
            Self::Pings(..) => Violation::TooManyPings,
            Self::Inflation(..) => Violation::InflatedTooMuch,
        }
    }
}

impl fmt::Display for LimitPassed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = self.violation();
        write!(formatter, "{}: our limit is ", violation.reason())?;
        match self {
            Self::MessageSize(octets) => write!(formatter, "{octets} octets")?,
            Self::StreamedMessageSize(octets) => write!(formatter, "{octets} octets in a message received in pieces")?,
            Self::Fragments(count) => {
                write!(formatter, "{count}, and more where they have {LEAST_MEAN_FRAGMENT} octets in the mean")?;
            }
            Self::Pings(burst, rate) => write!(formatter, "{burst} at once and {rate} a second")?,
            Self::Inflation(burst, rate) => {
                write!(formatter, "{burst} octets beyond 64 times what came, and {rate} a second")?;
            }
        }
        write!(formatter, " ({})", violation.section())
    }
}

impl error::Error for LimitPassed {}

/// Why [`send`](super::WebSocket::send) or [`send_piece`](super::WebSocket::send_piece) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close was sent or received, or the transport has ended: no message can follow (RFC 6455 §5.5.1).
    Closed,
    /// A message in pieces is not finished: no other can go between its fragments (RFC 6455 §5.4).
    Unfinished,
    /// The message in pieces is text and the piece is not, or the other way round.
    OtherKind,
}

impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closed => "the WebSocket is closed",
            Self::Unfinished => "a message in pieces is not finished",
            Self::OtherKind => "the pieces of a message are all text, or all binary",
        })
    }
}

impl error::Error for SendError {}

/// Why [`ping`](super::WebSocket::ping) or [`pong`](super::WebSocket::pong) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingError {
    /// A Close was sent or received, or the transport has ended.
    Closed,
    /// The payload has more than 125 octets (RFC 6455 §5.5).
    PayloadTooLong,
}

impl fmt::Display for PingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closed => "the WebSocket is closed",
            Self::PayloadTooLong => "a Ping or a Pong carries at most 125 octets",
        })
    }
}

impl error::Error for PingError {}

/// Why [`close`](super::WebSocket::close) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseError {
    /// A Close was sent or received already, or the transport has ended.
    Closed,
    /// The code must not be sent (RFC 6455 §7.4), or there is a reason without a code.
    InvalidCode,
    /// The reason has more than 123 octets (RFC 6455 §5.5).
    ReasonTooLong,
}

impl fmt::Display for CloseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closed => "the WebSocket is closed",
            Self::InvalidCode => "the close code must not be sent",
            Self::ReasonTooLong => "a close reason has at most 123 octets",
        })
    }
}

impl error::Error for CloseError {}
