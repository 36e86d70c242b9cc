//! The header of a frame (RFC 6455 §5.2), in and out.

use bytes::{BufMut, BytesMut};

use super::{Violation, mask};

/// The longest header: 2 octets, a 64-bit length and a key.
pub(super) const MAX_HEADER_SIZE: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
/// Of the second octet.
const MASK: u8 = 0x80;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(super) const MAX_CONTROL_SIZE: usize = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The header's own octets.
    pub(super) size: usize,
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// Whether this frame begins a compressed message.
    pub(super) compressed: bool,
    /// The payload's octets.
    pub(super) length: usize,
    /// The key as [`mask::apply`] takes it; zero where there is no mask.
    pub(super) key: u32,
}

/// What the next header is judged by: the rules that depend on more than the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Whether frames are masked: as the role says, until an extension says otherwise.
    pub(super) masked: bool,
    /// Whether a fragmented message is open, so that a data frame must continue it.
    pub(super) continuation: bool,
    /// Whether messages may be compressed.
    pub(super) deflate: bool,
    /// Octets that the message may still grow by.
    pub(super) room: usize,
}

/// What the payloads of a compressed message may be in all, where the message itself may have `max` octets: no encoder
/// adds more to what cannot be compressed.
pub(super) fn compressed_limit(max: usize) -> usize {
    max.saturating_add(max / 8).saturating_add(64)
}

/// [`compressed_limit`] of a message that is received in pieces.
pub(super) fn streamed_compressed_limit(max: u64) -> u64 {
    max.saturating_add(max / 8).saturating_add(64)
}

impl Header {
    /// Reads the header of a message that comes in one frame as it is, which is what most frames are: `None` for any
    /// other, of which [`decode`](Self::decode) knows what to make.
    #[inline]
    pub(super) fn decode_message(octets: &[u8], expected: Expected) -> Option<Self> {
        let &[first, second, ..] = octets else { return None };
        let opcode = match first {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            _ => return None,
        };
        let Ok(Some((length, mut size))) = decode_length(octets, second & 0x7F) else { return None };
        let length = usize::try_from(length).ok()?;
        if expected.masked != (second & MASK != 0) || expected.continuation || length > expected.room {
            return None;
        }
        let mut key = 0;
        if expected.masked {
            key = u32::from_le_bytes(*octets[size..].first_chunk()?);
            size += 4;
        }
        Some(Self { size, fin: true, opcode, compressed: false, length, key })
    }

    /// Reads the header at the front of `octets`: `None` if it is not whole. A violation shows as soon as its octet is
    /// there.
    ///
    /// Inlined by force, as the header then stays in registers: its way through memory is a sixth of an echo's time.
    #[inline(always)]
    pub(super) fn decode(octets: &[u8], expected: Expected) -> Result<Option<Self>, Violation> {
        let Some(&first) = octets.first() else { return Ok(None) };
        let (fin, opcode, compressed) = decode_first(first, expected)?;
        let Some(&second) = octets.get(1) else { return Ok(None) };
        // RFC 6455 §5.1: a client masks all its frames, a server none.
        match (expected.masked, second & MASK != 0) {
            (true, false) => return Err(Violation::Unmasked),
            (false, true) => return Err(Violation::Masked),
            _ => {}
        }
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_SIZE {
            return Err(Violation::ControlTooLong);
        }
        let Some((length, mut size)) = decode_length(octets, short)? else { return Ok(None) };
        let length = match usize::try_from(length) {
            Ok(length) if length <= expected.room || opcode.is_control() => length,
            Ok(length) if compressed && length <= compressed_limit(expected.room) => length,
            _ => return Err(Violation::MessageTooBig),
        };
        let mut key = 0;
        if expected.masked {
            let Some(octets) = octets[size..].first_chunk() else { return Ok(None) };
            key = u32::from_le_bytes(*octets);
            size += 4;
        }
        Ok(Some(Self { size, fin, opcode, compressed, length, key }))
    }
}

#[inline]
fn decode_first(first: u8, expected: Expected) -> Result<(bool, Opcode, bool), Violation> {
    let fin = first & FIN != 0;
    let compressed = match first & 0x70 {
        0 => false,
        // RFC 7692 §6: RSV1 of a message's first frame says that the message is compressed. It means nothing in others.
        RSV1 if expected.deflate && matches!(first & 0x0F, 0x1 | 0x2) => true,
        _ => return Err(Violation::ReservedBits),
    };
    let opcode = match first & 0x0F {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        _ => return Err(Violation::ReservedOpcode),
    };
    match opcode {
        // RFC 6455 §5.5: control frames "MUST NOT be fragmented".
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => Err(Violation::FragmentedControl),
        // RFC 6455 §5.4: "the fragments of one message MUST NOT be interleaved between the fragments of another".
        Opcode::Text | Opcode::Binary if expected.continuation => Err(Violation::InterleavedMessage),
        Opcode::Continuation if !expected.continuation => Err(Violation::UnexpectedContinuation),
        _ => Ok((fin, opcode, compressed)),
    }
}

/// The payload's length and where it ends in `octets`; `None` if it is not whole.
#[inline]
fn decode_length(octets: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    // RFC 6455 §5.2: "in all cases, the minimal number of bytes MUST be used to encode the length".
    match short {
        126 => match octets[2..].first_chunk().map(|length| u16::from_be_bytes(*length)) {
            None => Ok(None),
            Some(..126) => Err(Violation::LengthNotMinimal),
            Some(length) => Ok(Some((length.into(), 4))),
        },
        127 => match octets[2..].first_chunk().map(|length| u64::from_be_bytes(*length)) {
            None => Ok(None),
            Some(..0x1_0000) => Err(Violation::LengthNotMinimal),
            // RFC 6455 §5.2: "the most significant bit MUST be 0".
            Some(length) if length >> 63 != 0 => Err(Violation::LengthOutOfRange),
            Some(length) => Ok(Some((length, 10))),
        },
        short => Ok(Some((short.into(), 2))),
    }
}

/// Appends one frame with FIN, masked where there is a key.
#[inline]
pub(super) fn encode(output: &mut BytesMut, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    encode_first(output, FIN | opcode as u8, payload, key);
}

/// The same for a message whose payload is compressed (RFC 7692 §6.1).
#[cfg(feature = "deflate")]
pub(super) fn encode_compressed(output: &mut BytesMut, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    encode_first(output, FIN | RSV1 | opcode as u8, payload, key);
}

/// Appends the header of one frame with FIN and without a mask.
pub(super) fn encode_head(output: &mut BytesMut, opcode: Opcode, length: usize) {
    encode_length(output, FIN | opcode as u8, 0, length);
}

/// What the first octet of a fragment says (RFC 6455 §5.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    /// Of the message in its first fragment, and a continuation in any other.
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// RSV1 of a first fragment: the message is compressed (RFC 7692 §6.1).
    pub(super) compressed: bool,
}

impl Fragment {
    fn first_octet(self) -> u8 {
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.compressed { RSV1 } else { 0 };
        fin | rsv1 | self.opcode as u8
    }
}

/// Appends one fragment, masked where there is a key.
pub(super) fn encode_fragment(output: &mut BytesMut, fragment: Fragment, payload: &[u8], key: Option<[u8; 4]>) {
    encode_first(output, fragment.first_octet(), payload, key);
}

/// Appends the header of one fragment without a mask.
pub(super) fn encode_fragment_head(output: &mut BytesMut, fragment: Fragment, length: usize) {
    encode_length(output, fragment.first_octet(), 0, length);
}

fn encode_first(output: &mut BytesMut, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    output.reserve(MAX_HEADER_SIZE + payload.len());
    let Some(key @ [one, two, three, four]) = key else {
        encode_length(output, first, 0, payload.len());
        return output.put_slice(payload);
    };
    if payload.len() < 126 {
        output.put_slice(&[first, MASK | payload.len() as u8, one, two, three, four]);
    } else {
        encode_length(output, first, MASK, payload.len());
        output.put_slice(&key);
    }
    mask::append(output, payload, u32::from_le_bytes(key));
}

/// Inlined by force, since it stands between the two writes of each message.
#[inline(always)]
fn encode_length(output: &mut BytesMut, first: u8, mask: u8, length: usize) {
    if length < 126 {
        output.put_slice(&[first, mask | length as u8]);
    } else if let Ok(length) = u16::try_from(length) {
        let [high, low] = length.to_be_bytes();
        output.put_slice(&[first, mask | 126, high, low]);
    } else {
        output.put_slice(&[first, mask | 127]);
        output.put_u64(length as u64);
    }
}
