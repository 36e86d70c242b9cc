//! Compression of a message that is sent or received in pieces.
//!
//! The compressed data of a message may be cut anywhere (RFC 7692 §6.1). Each piece ends with an empty block without compression,
//! so that the peer can decompress it at once; the [`TAIL`] of that block goes before the next piece, and is missing where
//! there is none, as §7.2.1 wants it. Without context takeover no piece refers to another: then nothing has to be kept between
//! them, and all sockets of a thread share its compressor for their pieces too.

use std::mem;
use std::time::Instant;

use bytes::BytesMut;

use super::zlib::{self, Shared, TAIL};
use super::{Codec, Deflate, DeflateContext, Inflater, MIN_WINDOW_BITS};
use crate::ws::Violation;
use crate::ws::frame::{self, Fragment, Opcode};

/// The header of a block without compression, not the last, in an octet of its own (RFC 1951 §3.2.3).
const STORED: u8 = 0x00;

impl Codec {
    /// What decompresses the message that begins.
    pub(in crate::ws) fn inflater(&self) -> Inflater {
        let (older, newer) = self.history.as_slices();
        Inflater::new([older, newer])
    }

    /// Counts what the payload has become that was taken so far of messages in pieces: an error where that was too much.
    pub(in crate::ws) fn count(&mut self, now: Instant) -> Result<(), Violation> {
        let (payload, inflated) = mem::take(&mut self.uncounted);
        self.inflation.get_or_insert_default().take(payload as usize, inflated as usize, now)
    }

    /// So much payload is taken next.
    pub(in crate::ws) fn expect(&mut self, payload: usize) {
        self.uncounted.0 = self.uncounted.0.saturating_add(u32::try_from(payload).unwrap_or(u32::MAX));
    }

    /// Takes note of octets of a message that come in pieces, also for the next message, which may refer to them.
    pub(in crate::ws) fn note(&mut self, octets: &[u8]) {
        self.uncounted.1 = self.uncounted.1.saturating_add(u32::try_from(octets.len()).unwrap_or(u32::MAX));
        if self.incoming.takeover {
            self.remember(octets);
        }
    }

    /// Whether a message whose first piece has so many octets is compressed.
    pub(in crate::ws) fn is_worth(&self, octets: usize) -> bool {
        octets >= self.in_use.min_size.max(1) && self.outgoing.window_bits >= MIN_WINDOW_BITS
    }

    /// Appends a piece of a compressed message. An empty one, the last, has no data.
    pub(in crate::ws) fn encode_piece(
        &mut self,
        output: &mut BytesMut,
        fragment: Fragment,
        payload: &[u8],
        key: Option<[u8; 4]>,
    ) {
        if payload.is_empty() {
            return frame::encode_fragment(output, fragment, payload, key);
        }
        let Deflate { level, min_size, .. } = self.in_use;
        let DeflateContext { takeover, window_bits } = self.outgoing;
        zlib::with(|shared| {
            if fragment.opcode == Opcode::Continuation {
                shared.put(&TAIL);
            }
            let compressed = if takeover {
                let compress = self.compress.get_or_insert_with(|| Box::new(zlib::compress(level, window_bits)));
                shared.deflate_with(compress, payload)
            } else if payload.len() >= min_size {
                shared.deflate(level, window_bits, payload)
            } else {
                None
            };
            if let Some(compressed) = compressed {
                return frame::encode_fragment(output, fragment, compressed, key);
            }
            if takeover {
                // Nothing that zlib does; but if it did, what comes next begins anew.
                self.compress = None;
            }
            // zlib may have written a part.
            shared.clear();
            if fragment.opcode == Opcode::Continuation {
                shared.put(&TAIL);
            }
            store(shared, payload);
            frame::encode_fragment(output, fragment, shared.octets(), key);
        });
    }
}

/// Appends a payload that is not worth compressing (RFC 1951 §3.2.4), and the header of the empty block behind it.
fn store(shared: &mut Shared, payload: &[u8]) {
    for block in payload.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        shared.put(&[STORED]);
        shared.put(&length.to_le_bytes());
        shared.put(&(!length).to_le_bytes());
        shared.put(block);
    }
    shared.put(&[STORED]);
}
