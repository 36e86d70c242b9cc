//! What is held of a frame or a message that is not whole.

use bytes::Bytes;
use bytestring::ByteString;

use super::deflate::Codec;
use super::frame::{Expected, Header, MAX_HEADER_SIZE, Opcode, compressed_limit};
use super::streamed::Streamed;
use super::utf8::Utf8Buffer;
use super::{Message, Violation, mask};

/// Octets from which on memory that is not written to costs nothing: many pages.
const LARGE: usize = 64 << 10;
/// Octets that are copied, and then unmasked.
const UNMASKED_AT_ONCE: usize = 1 << 10;

/// Octets of a message that explain one of its frames, where it has more than may be of any size. Writers that cut a
/// message up do so by their buffers, which have some kilobytes; a frame of less costs more to handle than its octets do.
pub(super) const LEAST_MEAN_FRAGMENT: usize = 256;

/// Octets held between two reads. A socket that is idle, or whose frames come whole, has none of this.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub(super) reading: Reading,
    /// The message whose last frame has not ended.
    pub(super) message: Option<Assembly>,
    /// The frames of that message that have begun; where it is received in pieces, those since its last octet.
    pub(super) fragments: u32,
    pub(super) delivery: Delivery,
    /// Octets of payload since somebody began to [watch](super::WebSocket::watch) the message, or the frame, that is under way.
    pub(super) watched: Option<usize>,
}

/// How the next message is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    #[default]
    Whole,
    Pieces,
}

/// Where in a frame the last read ended.
#[derive(Debug)]
pub(super) enum Reading {
    /// Between two frames, or in a header, of which these octets came.
    Header { octets: [u8; MAX_HEADER_SIZE], length: usize },
    /// In a payload. Of its header, the length is what is missing and the key stands for what comes next. The payload
    /// of a control frame is kept here; that of any other goes on to the message.
    Payload { header: Header, control: Vec<u8> },
}

impl Default for Reading {
    fn default() -> Self {
        Self::Header { octets: [0; MAX_HEADER_SIZE], length: 0 }
    }
}

impl Reading {
    /// Takes the next header off `input`: `None` if it is not whole, and then `input` is empty.
    pub(super) fn take_header(
        &mut self,
        input: &mut &mut [u8],
        expected: Expected,
    ) -> Result<Option<Header>, Violation> {
        let Self::Header { octets, length } = self else { return Ok(None) };
        // One octet at a time, since only the header's own octets say how many it has.
        while let Some(octet) = input.split_off_first_mut() {
            octets[*length] = *octet;
            *length += 1;
            if let Some(header) = Header::decode(&octets[..*length], expected)? {
                *length = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

impl Partial {
    /// Whether nothing is held.
    pub(super) fn is_idle(&self) -> bool {
        let is_between_frames = matches!(self.reading, Reading::Header { length: 0, .. });
        self.message.is_none() && self.delivery == Delivery::Whole && is_between_frames
    }

    /// Whether more has to come: of a frame, or of a message that is to be whole.
    pub(super) fn is_midway(&self) -> bool {
        let is_between_frames = matches!(self.reading, Reading::Header { length: 0, .. });
        !is_between_frames || self.message.as_ref().is_some_and(|message| !matches!(message, Assembly::Streamed(_)))
    }

    /// Whether the message's frames so far had [`LEAST_MEAN_FRAGMENT`] octets in the mean.
    pub(super) fn explains_its_fragments(&self) -> bool {
        let fragments = usize::try_from(self.fragments).unwrap_or(usize::MAX);
        self.message_len() >= fragments.saturating_mul(LEAST_MEAN_FRAGMENT)
    }

    /// Octets that are still to come of the message's frame under way, and whether that frame is its last.
    pub(super) fn announced(&self) -> (usize, bool) {
        match &self.reading {
            Reading::Payload { header, .. } if !header.opcode.is_control() => (header.length, header.fin),
            Reading::Payload { .. } | Reading::Header { .. } => (0, false),
        }
    }

    /// Octets held of the message.
    pub(super) fn message_len(&self) -> usize {
        self.message.as_ref().map_or(0, Assembly::len)
    }

    /// Memory that is reserved beyond the message's octets, as far as the system has given it: all of a small one's, and none of
    /// that of a large one, which nothing was written to.
    pub(super) fn spare(&self) -> usize {
        let Some(message) = &self.message else { return 0 };
        // The beginning of a character stands beside a text's memory.
        let spare = message.capacity().saturating_sub(message.len());
        if message.len() < LARGE { spare.min(LARGE) } else { 0 }
    }

    /// Drops the message's octets, now and as they come.
    pub(super) fn discard_message(&mut self) {
        self.delivery = Delivery::Whole;
        match &mut self.message {
            None => {}
            // What comes next is no part of it, though its pieces were not all taken.
            Some(Assembly::Streamed(streamed)) if streamed.has_come() => self.message = None,
            Some(Assembly::Streamed(streamed)) => streamed.discard(),
            Some(message) => *message = Assembly::Discarded(message.len()),
        }
    }
}

/// A message that comes in pieces: payload octets, unmasked.
#[derive(Debug)]
pub(super) enum Assembly {
    Text(Utf8Buffer),
    Binary(Vec<u8>),
    /// Decompressed once it is whole: until then it is the smaller thing to hold, and no decompressor is.
    Compressed(Opcode, Vec<u8>),
    /// Handed out in pieces.
    Streamed(Box<Streamed>),
    /// Only its length is kept, for the limits.
    Discarded(usize),
}

impl Assembly {
    /// The message that this frame begins.
    pub(super) fn new(header: Header) -> Self {
        match header.opcode {
            opcode if header.compressed => Self::Compressed(opcode, Vec::new()),
            Opcode::Text => Self::Text(Utf8Buffer::default()),
            _ => Self::Binary(Vec::new()),
        }
    }

    /// The message's octets so far, as far as they are held.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Streamed(_) => 0,
            Self::Text(text) => text.len(),
            Self::Binary(octets) | Self::Compressed(_, octets) => octets.len(),
            Self::Discarded(length) => *length,
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Streamed(_) => 0,
            Self::Text(text) => text.capacity(),
            Self::Binary(octets) | Self::Compressed(_, octets) => octets.capacity(),
            Self::Discarded(length) => *length,
        }
    }

    /// The message in pieces, of at most `max` octets, with what came as its first. That may be more than `max`, which shows in
    /// the [room](Streamed::room) for the rest.
    pub(super) fn into_streamed(self, max: u64, codec: Option<&Codec>) -> Streamed {
        match self {
            Self::Text(text) => Streamed::of_text(text, max),
            Self::Binary(octets) => Streamed::of_binary(fitted(octets), max),
            Self::Compressed(opcode, octets) => Streamed::of_compressed(opcode, &octets, max, codec),
            Self::Streamed(streamed) => *streamed,
            Self::Discarded(length) => Streamed::of_discarded(length, max),
        }
    }

    /// Appends a piece that is masked with `key`, and returns the key for what comes next. `limit` octets, this piece's included,
    /// may come at most: memory grows with what came, never
    /// with what a length announces, and never past that. It doubles, and from [`LARGE`] on becomes sixteen times what there
    /// is, which the system gives only once it is written to: to double that too would move a large message once more.
    pub(super) fn push(&mut self, piece: &mut [u8], mut key: u32, limit: usize) -> Result<u32, Violation> {
        let growth = if self.len() < LARGE { self.len() } else { self.len().saturating_mul(15) };
        let growth = growth.max(piece.len()).min(limit);
        match self {
            Self::Text(text) => {
                key = mask::apply(piece, key);
                text.push(piece, growth).map_err(|_| Violation::Text)?;
            }
            Self::Binary(octets) | Self::Compressed(_, octets) => {
                if octets.capacity() - octets.len() < piece.len() {
                    octets.reserve_exact(growth);
                }
                // It is the copy that is unmasked, little by little: while it is in the nearest cache.
                for part in piece.chunks(UNMASKED_AT_ONCE) {
                    let start = octets.len();
                    octets.extend_from_slice(part);
                    key = mask::apply(&mut octets[start..], key);
                }
            }
            Self::Streamed(_) => debug_assert!(false, "a piece goes where it is masked still"),
            Self::Discarded(length) => {
                *length += piece.len();
                key = mask::skip(piece.len(), key);
            }
        }
        Ok(key)
    }

    /// How many more octets may come, where a message that is to be whole may have `max`.
    pub(super) fn room(&self, max: usize) -> usize {
        match self {
            Self::Streamed(streamed) => usize::try_from(streamed.room()).unwrap_or(usize::MAX),
            Self::Compressed(_, octets) => compressed_limit(max) - octets.len(),
            // One that was compressed before it was discarded may have passed the limit of others.
            _ => max.saturating_sub(self.len()),
        }
    }

    /// The message, unless it is discarded. `inflate` decompresses.
    pub(super) fn finish(
        self,
        inflate: impl FnOnce(&[u8]) -> Result<Bytes, Violation>,
    ) -> Result<Option<Message>, Violation> {
        match self {
            Self::Text(text) => text.finish().map(|text| Some(text.into())).map_err(|_| Violation::Text),
            Self::Binary(octets) => Ok(Some(fitted(octets).into())),
            Self::Compressed(Opcode::Text, octets) => {
                let text = ByteString::try_from(inflate(&octets)?).map_err(|_| Violation::Text)?;
                Ok(Some(text.into()))
            }
            Self::Compressed(_, octets) => Ok(Some(inflate(&octets)?.into())),
            Self::Streamed(_) | Self::Discarded(_) => Ok(None),
        }
    }
}

/// What follows may never have come, and whoever keeps the octets would keep the room for it as well.
fn fitted(mut octets: Vec<u8>) -> Vec<u8> {
    if octets.capacity() / 2 > octets.len() {
        octets.shrink_to_fit();
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory follows what came, not what was announced: at most twice as much, of a large
    /// message sixteen times, and no more than can still come.
    #[test]
    fn memory_follows_what_came() {
        for message in [|| Assembly::Text(Utf8Buffer::default()), || Assembly::Binary(Vec::new())] {
            for piece in [1, 3, 1000, 16_384] {
                let total = 1 << 19;
                let mut message = message();
                while message.len() < total {
                    let piece = piece.min(total - message.len());
                    message.push(&mut vec![b'x'; piece], 0, total - message.len()).unwrap();
                    let capacity = match &message {
                        Assembly::Text(text) => text.capacity(),
                        Assembly::Binary(octets) => octets.capacity(),
                        _ => unreachable!(),
                    };
                    // A text has room for an incomplete character as well, and the allocator rounds up to 8.
                    let factor = if message.len() <= LARGE { 2 } else { 16 };
                    assert!(capacity <= (factor * message.len()).min(total) + 8, "{capacity} for {}", message.len());
                }
                assert_eq!(message.finish(|_| unreachable!()).unwrap().map(|message| message.len()), Some(total));
            }
        }
    }
}
