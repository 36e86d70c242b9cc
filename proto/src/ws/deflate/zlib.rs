//! DEFLATE by zlib, a message at a time, with what the sockets of a thread share.

use std::cell::RefCell;
use std::mem;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::ws::Violation;

/// What ends a message's compressed data and is not sent (RFC 7692 §7.2.1): the length of an empty block without
/// compression, whose header is there.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The tail and an empty final block: zlib says of a stream only at its end that it is whole.
pub(super) const END: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];

/// Room for what a flush appends, of which zlib wants to see more than six octets.
const FLUSH: usize = 16;

/// Octets of the buffer that a thread keeps.
const KEPT: usize = 64 * 1024;

/// What one thread has for all its sockets. Between two messages it means nothing.
pub(super) struct Shared {
    compress: Option<(u8, u8, Compress)>,
    decompress: Option<Decompress>,
    buffer: Vec<u8>,
}

thread_local! {
    static SHARED: RefCell<Shared> =
        const { RefCell::new(Shared { compress: None, decompress: None, buffer: Vec::new() }) };
}

/// Lends what this thread has.
pub(super) fn with<T>(use_it: impl FnOnce(&mut Shared) -> T) -> T {
    SHARED.with_borrow_mut(|shared| {
        let value = use_it(shared);
        shared.buffer.clear();
        shared.buffer.shrink_to(KEPT);
        value
    })
}

/// A compressor of raw DEFLATE.
pub(super) fn compress(level: u8, window_bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(level.into()), false, window_bits)
}

impl Shared {
    /// Lets what is compressed next come behind these octets.
    pub(super) fn put(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Drops what was put.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// What was [put](Self::put).
    pub(super) fn octets(&self) -> &[u8] {
        &self.buffer
    }

    /// Compresses a message that refers to none before it.
    pub(super) fn deflate(&mut self, level: u8, window_bits: u8, message: &[u8]) -> Option<&[u8]> {
        let kept = self.compress.take().filter(|(l, bits, _)| (*l, *bits) == (level, window_bits));
        let (_, _, compress) = self.compress.insert(match kept {
            Some(mut kept) => {
                kept.2.reset();
                kept
            }
            None => (level, window_bits, compress(level, window_bits)),
        });
        deflate(compress, message, &mut self.buffer)
    }

    /// Compresses a message that may refer to those before it.
    pub(super) fn deflate_with(&mut self, compress: &mut Compress, message: &[u8]) -> Option<&[u8]> {
        deflate(compress, message, &mut self.buffer)
    }

    /// Decompresses a message of at most `max` octets that may refer to `history`.
    pub(super) fn inflate(&mut self, history: [&[u8]; 2], payload: &[u8], max: usize) -> Result<Bytes, Violation> {
        let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        for octets in history {
            decompress.set_dictionary(octets).map_err(|_| Violation::Deflate)?;
        }
        inflate(decompress, payload, &mut self.buffer, max)?;
        let length = self.buffer.len();
        let is_ended = inflate(decompress, &END, &mut self.buffer, max)?;
        // The tail completes an empty block (RFC 7692 §7.2.1). In data that was cut off it can be anything else.
        if !is_ended || self.buffer.len() > length {
            return Err(Violation::Deflate);
        }
        // A small message is copied, so that the buffer stays; a large one is the buffer.
        Ok(if self.buffer.capacity() > KEPT {
            mem::take(&mut self.buffer).into()
        } else {
            Bytes::copy_from_slice(&self.buffer)
        })
    }
}

/// Appends `message` compressed, up to and without the [`TAIL`]. `None` is a fault of zlib's.
fn deflate<'a>(compress: &mut Compress, mut message: &[u8], output: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        output.reserve(message.len() / 2 + FLUSH);
        let before = compress.total_in();
        compress.compress_vec(message, output, FlushCompress::Sync).ok()?;
        message = &message[(compress.total_in() - before) as usize..];
        // The flush is done once it has left room.
        if message.is_empty() && output.len() < output.capacity() {
            return output.strip_suffix(&TAIL);
        }
    }
}

/// Appends what `octets` decompress to, and says whether they end with a final block.
pub(super) fn inflate(
    decompress: &mut Decompress,
    octets: &[u8],
    output: &mut Vec<u8>,
    max: usize,
) -> Result<bool, Violation> {
    let mut rest = octets;
    loop {
        if output.len() == output.capacity() {
            let growth = output.len().max(2 * octets.len()).max(256);
            output.reserve_exact(growth.min(max.saturating_add(1) - output.len()));
        }
        let before = decompress.total_in();
        let status = decompress.decompress_vec(rest, output, FlushDecompress::None).map_err(|_| Violation::Deflate)?;
        rest = &rest[(decompress.total_in() - before) as usize..];
        if output.len() > max {
            return Err(Violation::MessageTooBig);
        }
        let is_final = status == Status::StreamEnd;
        if is_final {
            // RFC 7692 §7.2.3.4: a message may have final blocks; what follows one refers to nothing before it.
            decompress.reset(false);
        }
        // Output that found no room would still be to come.
        if rest.is_empty() && (is_final || output.len() < output.capacity()) {
            return Ok(is_final);
        }
    }
}
