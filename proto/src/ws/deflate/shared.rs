use std::num::NonZeroU8;

use bytes::{Bytes, BytesMut};

use super::{DeflateContext, MIN_WINDOW_BITS, frame, zlib};
use crate::ws::MessageKind;
use crate::ws::send::opcode;

/// How an endpoint compresses messages of which none refers to another (RFC 7692 §7.1.1): a frame that is made so is right for every
/// socket whose peer takes as large a window, in any order among what these sockets send themselves. See
/// [`shared_deflate`](crate::ws::WebSocket::shared_deflate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedDeflate {
    /// The least that is compressed, in octets.
    min_size: u16,
    level: u8,
    window_bits: NonZeroU8,
}

/// A server of many members has one for each.
const _: () = assert!(size_of::<Option<SharedDeflate>>() == 4);

impl SharedDeflate {
    pub(super) fn new(min_size: usize, level: u8, context: DeflateContext) -> Option<Self> {
        let DeflateContext { takeover, window_bits } = context;
        // One that leaves larger messages as they are shares nothing, rather than to say so here.
        let min_size = u16::try_from(min_size.max(1)).ok()?;
        let window_bits = NonZeroU8::new(window_bits)?;
        (!takeover && window_bits.get() >= MIN_WINDOW_BITS).then_some(Self { min_size, level, window_bits })
    }

    /// How far back its frames refer at most, as the logarithm of a number of octets: 9 to 15 (RFC 7692 §7.1.2).
    pub fn window_bits(self) -> u8 {
        self.window_bits.get()
    }

    /// Whether the socket compresses a message of so many octets.
    pub fn is_worth(self, octets: usize) -> bool {
        octets >= usize::from(self.min_size)
    }

    /// A message as one compressed frame, not masked; none where that is no smaller than the message.
    pub fn encode(self, kind: MessageKind, payload: &[u8]) -> Option<Bytes> {
        zlib::with(|shared| {
            let compressed = shared.deflate(self.level, self.window_bits.get(), payload)?;
            if compressed.len() >= payload.len() {
                return None;
            }
            let mut frame = BytesMut::with_capacity(compressed.len() + frame::MAX_HEADER_SIZE);
            frame::encode_compressed(&mut frame, opcode(kind), compressed, None);
            Some(frame.freeze())
        })
    }
}
