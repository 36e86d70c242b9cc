//! Frames on the wire (RFC 9113 §4 and §6): one head to parse, and one function for each frame that we send.

use bytes::{BufMut, BytesMut};

use super::{Reason, StreamId};

/// Octets of a frame's head (RFC 9113 §4.1).
pub(super) const HEAD_LENGTH: usize = 9;
/// The octets that a client sends first (RFC 9113 §3.4), by which a server can tell HTTP/2 from HTTP/1.1.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Octets of payload of every frame that we send at most: every peer takes as much (RFC 9113 §4.2), and a longer frame
/// would only keep others waiting.
pub(super) const QUANTUM: usize = 1 << 14;
/// Octets of a whole RST_STREAM and of a whole stream's WINDOW_UPDATE.
const SHORT_FRAME: usize = HEAD_LENGTH + 4;

/// Frame types (RFC 9113 §6).
pub(super) mod kind {
    pub(in crate::h2) const DATA: u8 = 0x0;
    pub(in crate::h2) const HEADERS: u8 = 0x1;
    pub(in crate::h2) const PRIORITY: u8 = 0x2;
    pub(in crate::h2) const RST_STREAM: u8 = 0x3;
    pub(in crate::h2) const SETTINGS: u8 = 0x4;
    pub(in crate::h2) const PUSH_PROMISE: u8 = 0x5;
    pub(in crate::h2) const PING: u8 = 0x6;
    pub(in crate::h2) const GOAWAY: u8 = 0x7;
    pub(in crate::h2) const WINDOW_UPDATE: u8 = 0x8;
    pub(in crate::h2) const CONTINUATION: u8 = 0x9;
}

/// Frame flags (RFC 9113 §6).
pub(super) mod flag {
    pub(in crate::h2) const ACK: u8 = 0x1;
    pub(in crate::h2) const END_STREAM: u8 = 0x1;
    pub(in crate::h2) const END_HEADERS: u8 = 0x4;
    pub(in crate::h2) const PADDED: u8 = 0x8;
    pub(in crate::h2) const PRIORITY: u8 = 0x20;
}

/// The head of a frame.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Octets of payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream_id: u32,
}

impl Head {
    /// The head at the front of `bytes`, if it is there whole.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, ref id @ ..] = bytes.first_chunk::<HEAD_LENGTH>()?;
        Some(Self { length: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream_id: read_u31(id) })
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A whole frame.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) head: &'a Head,
    pub(super) payload: &'a [u8],
}

/// 31 bits whose reserved first bit is ignored (RFC 9113 §4.1, §6.9).
#[inline]
pub(super) fn read_u31(bytes: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*bytes) & 0x7fff_ffff
}

#[inline]
fn head(length: usize, kind: u8, flags: u8, stream_id: u32) -> [u8; HEAD_LENGTH] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream_id.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// `data` is at most [`QUANTUM`] octets.
#[inline]
pub(super) fn put_data(output: &mut BytesMut, id: StreamId, data: &[u8], end_stream: bool) {
    output.reserve(HEAD_LENGTH + data.len());
    let flags = if end_stream { flag::END_STREAM } else { 0 };
    output.extend_from_slice(&head(data.len(), kind::DATA, flags, id.value()));
    output.extend_from_slice(data);
}

/// Sets the head of a DATA frame whose payload of `length` octets, at most [`QUANTUM`], was put before.
#[inline]
pub(super) fn set_data_head(place: &mut [u8], id: StreamId, length: usize) {
    place.copy_from_slice(&head(length, kind::DATA, 0, id.value()));
}

/// HEADERS, with CONTINUATION frames where the block that `encode` appends needs them.
pub(super) fn put_headers(output: &mut BytesMut, stream_id: u32, end_stream: bool, encode: impl FnOnce(&mut BytesMut)) {
    let start = output.len();
    output.put_bytes(0, HEAD_LENGTH);
    encode(output);
    let length = output.len() - start - HEAD_LENGTH;
    let flags = if end_stream { flag::END_STREAM } else { 0 };
    if length <= QUANTUM {
        let head = head(length, kind::HEADERS, flags | flag::END_HEADERS, stream_id);
        output[start..start + HEAD_LENGTH].copy_from_slice(&head);
        return;
    }
    let block = output[start + HEAD_LENGTH..].to_vec();
    output.truncate(start);
    let last = length.div_ceil(QUANTUM) - 1;
    for (index, fragment) in block.chunks(QUANTUM).enumerate() {
        let kind = if index == 0 { kind::HEADERS } else { kind::CONTINUATION };
        let flags = if index == 0 { flags } else { 0 } | if index == last { flag::END_HEADERS } else { 0 };
        output.extend_from_slice(&head(fragment.len(), kind, flags, stream_id));
        output.extend_from_slice(fragment);
    }
}

pub(super) fn put_rst_stream(output: &mut BytesMut, stream_id: u32, reason: Reason) {
    output.reserve(SHORT_FRAME);
    output.extend_from_slice(&head(4, kind::RST_STREAM, 0, stream_id));
    output.put_u32(reason.code());
}

pub(super) fn put_settings(output: &mut BytesMut, settings: &[(u16, u32)]) {
    output.extend_from_slice(&head(6 * settings.len(), kind::SETTINGS, 0, 0));
    for &(identifier, value) in settings {
        output.put_u16(identifier);
        output.put_u32(value);
    }
}

pub(super) fn put_settings_ack(output: &mut BytesMut) {
    output.extend_from_slice(&head(0, kind::SETTINGS, flag::ACK, 0));
}

pub(super) fn put_ping(output: &mut BytesMut, payload: [u8; 8], ack: bool) {
    output.extend_from_slice(&head(8, kind::PING, if ack { flag::ACK } else { 0 }, 0));
    output.extend_from_slice(&payload);
}

pub(super) fn put_goaway(output: &mut BytesMut, last_stream_id: u32, reason: Reason, debug: &str) {
    output.extend_from_slice(&head(8 + debug.len(), kind::GOAWAY, 0, 0));
    output.put_u32(last_stream_id);
    output.put_u32(reason.code());
    output.extend_from_slice(debug.as_bytes());
}

pub(super) fn put_window_update(output: &mut BytesMut, stream_id: u32, increment: u32) {
    output.reserve(SHORT_FRAME);
    output.extend_from_slice(&head(4, kind::WINDOW_UPDATE, 0, stream_id));
    output.put_u32(increment);
}
