//! WebSocket frames (RFC 6455 §5.2) as a client sends them, and as an attacker does.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

pub const CONTINUED: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

pub const FIN: u8 = 0x80;
/// Of a compressed message (RFC 7692 §6).
pub const COMPRESSED: u8 = 0x40;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A whole message or a control frame, masked.
pub fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | opcode, payload)
}

/// A frame of these first octet and payload, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = head(first, payload.len() as u64);
    octets.extend_from_slice(&MASK);
    octets.extend(payload.iter().enumerate().map(|(index, octet)| octet ^ MASK[index % 4]));
    octets
}

/// A frame without a mask, which no client may send (RFC 6455 §5.1).
pub fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = head(first, payload.len() as u64);
    octets[1] &= 0x7F;
    octets.extend_from_slice(payload);
    octets
}

/// The head of a masked frame, whose length may lie.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut octets = vec![first];
    match length {
        0..126 => octets.push(0x80 | length as u8),
        126..65_536 => {
            octets.push(0x80 | 126);
            octets.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            octets.push(0x80 | 127);
            octets.extend_from_slice(&length.to_be_bytes());
        }
    }
    octets
}

pub fn close(code: u16) -> Vec<u8> {
    message(CLOSE, &code.to_be_bytes())
}

/// Text that compresses, as permessage-deflate has it (RFC 7692 §7.2.1): a flushed block, without its last four octets.
pub fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(payload).and_then(|()| encoder.flush());
    let mut octets = written.map(|()| encoder.get_ref().clone()).unwrap_or_default();
    octets.truncate(octets.len().saturating_sub(4));
    octets
}

/// A mebibyte, compressed to 47 kB, that repeats at a distance which a window of 2¹⁵ undoes (RFC 1951 §3.2.5) and compressors do
/// not look for, as they keep 262 octets of it for themselves: its echo stays a mebibyte.
pub fn far_repeats() -> Vec<u8> {
    const SIZE: usize = 1 << 20;
    const DISTANCE: usize = 32_700;
    const LONGEST: usize = 258;
    let mut bits = Bits::default();
    // A block that is not the last, with fixed codes (RFC 1951 §3.2.6).
    bits.low_first(0b010, 3);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..DISTANCE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state as u8 {
            literal @ 0..144 => bits.high_first(0x30 + u32::from(literal), 8),
            literal => bits.high_first(0x190 + u32::from(literal) - 144, 9),
        }
    }
    for _ in 0..(SIZE - DISTANCE) / LONGEST {
        bits.high_first(0xC5, 8);
        bits.high_first(29, 5);
        bits.low_first((DISTANCE - 24_577) as u32, 13);
    }
    bits.high_first(0, 7);
    // The head of a stored block, which RFC 7692 §7.2.1 cuts off after it.
    bits.low_first(0, 3);
    bits.octets
}

/// Bits as deflate packs them (RFC 1951 §3.1.1).
#[derive(Default)]
struct Bits {
    octets: Vec<u8>,
    free: u32,
}

impl Bits {
    fn low_first(&mut self, value: u32, count: u32) {
        (0..count).for_each(|bit| self.push(value >> bit & 1));
    }

    fn high_first(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|bit| self.push(value >> bit & 1));
    }

    fn push(&mut self, bit: u32) {
        if self.free == 0 {
            self.octets.push(0);
            self.free = 8;
        }
        if let Some(last) = self.octets.last_mut() {
            *last |= (bit as u8) << (8 - self.free);
        }
        self.free -= 1;
    }
}

/// What a server has sent, whole frames of it: (first octet, payload). The rest stays.
pub fn take(octets: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let second = *octets.get(1)?;
    let (start, length) = match second & 0x7F {
        126 => (4, u64::from(u16::from_be_bytes(octets.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(octets.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).ok()?;
    let payload = octets.get(start..end)?.to_vec();
    let first = octets[0];
    octets.drain(..end);
    Some((first, payload))
}
