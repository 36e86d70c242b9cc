//! What comes in: each frame's rules (RFC 9113 §4 to §6, §8), as functions of the parts that a frame may touch.

mod blocks;
mod control;
mod data;
mod header_list;
mod messages;
mod pseudo;
mod short;

use super::Violation;
use super::frame::{Head, flag};

pub(super) use self::blocks::{Block, Input};
pub(super) use self::control::{OwnPings, check_settings_ack, handle_goaway, handle_ping, handle_settings};
pub(super) use self::data::{DataFrame, handle_data};
pub(super) use self::messages::Messages;
pub(super) use self::short::{handle_priority, handle_rst_stream, handle_window_update};

/// What a frame came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It was taken, or may be ignored.
    Taken,
    /// It carried so many octets of content.
    Data(usize),
    /// It ended a header block of so many octets that was accepted.
    Block(usize),
    /// It did nothing, which only so many frames may.
    Nothing,
    /// It reset a stream before its answer had begun, which has cost us and not the peer.
    EarlyReset,
    /// The peer has seen our first GOAWAY.
    Drained,
}

/// How a frame broke a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A stream error (RFC 9113 §5.4.2): the stream, held or not, is not idle.
    Stream(u32, Violation),
    /// A connection error (RFC 9113 §5.4.1).
    Connection(Violation),
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Connection(violation)
    }
}

/// What becomes of a frame.
pub(super) type Handled = Result<Effect, Fault>;

/// RFC 9113 §6: the frames of a stream name one.
#[inline]
fn checked_stream_id(head: &Head) -> Result<u32, Violation> {
    if head.stream_id == 0 { Err(Violation::StreamIdZero) } else { Ok(head.stream_id) }
}

/// RFC 9113 §6: the frames of the connection name none.
fn check_no_stream_id(head: &Head) -> Result<(), Violation> {
    if head.stream_id == 0 { Ok(()) } else { Err(Violation::StreamIdNotZero) }
}

/// The payload of DATA or HEADERS without its padding (RFC 9113 §6.1).
#[inline]
fn strip_padding<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], Violation> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Violation::FrameLength)?;
    // RFC 9113 §6.1: "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat
    // this as a connection error (Section 5.4.1) of type PROTOCOL_ERROR."
    let length = rest.len().checked_sub(padding.into()).ok_or(Violation::Padding)?;
    Ok(&rest[..length])
}
