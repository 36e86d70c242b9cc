//! `permessage-deflate` (RFC 7692): what an endpoint asks of it, and one socket's compression.

mod inflater;
mod parameters;
mod pieces;
mod shared;
mod zlib;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use flate2::Compress;

use super::frame::{self, Opcode};
use super::{Inflation, Role, Violation};
use crate::Rate;

pub(super) use inflater::{Inflated, Inflater};
pub use shared::SharedDeflate;

/// How messages are compressed (RFC 7692): what an endpoint is willing to do, and then what the handshake settled on.
///
/// # Memory
///
/// By default neither side keeps anything of one message for the next. Then a socket owns no memory for compression: a
/// thread has one compressor (at most 372 KiB), one decompressor (47 KiB) and one buffer (at most 64 KiB) for all its
/// sockets, from their first use. A compressed message that is received in pieces has a decompressor of its own while it
/// comes; what is sent in pieces needs nothing more.
///
/// A side with [`takeover`](DeflateContext::takeover) makes small messages much smaller, since they refer to those
/// before them. It has its memory for as long as the socket, from the first message that is compressed:
///
/// | [`window_bits`](DeflateContext::window_bits) | to compress, KiB | to decompress, KiB at most |
/// | --: | --: | --: |
/// | 15 | 372 | 32 |
/// | 13 | 276 | 8 |
/// | 11 | 252 | 2 |
/// | 9 | 246 | 0.5 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// The server's compression: of the messages to the client.
    pub server: DeflateContext,
    /// The client's compression: of the messages to the server.
    pub client: DeflateContext,
    /// What we may spend on compressing, from 0 (nothing) to 9 (much): 2 by default. JSON of up to some kilobytes comes
    /// out as small as with 9, within a twentieth, in half the time. The peer has its own.
    pub level: u8,
    /// Octets in a message below which we send it as it is: 128 by default. Without takeover shorter ones hardly get
    /// smaller; with it 16 is worth a try. The peer has its own.
    pub min_size: usize,
}

/// One direction's compression, as an endpoint wants it or as it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateContext {
    /// Whether a message may refer to those before it (RFC 7692 §7.1.1). False by default: it costs memory, of both
    /// sides and for as long as the socket.
    pub takeover: bool,
    /// How far back a message may refer, as the logarithm of a number of octets: 9 to 15, by default 15 (RFC 7692
    /// §7.1.2). A client that does not offer to be limited cannot be.
    ///
    /// A peer may ask for 8, which zlib cannot do. A client's messages then go uncompressed, and a server declines.
    pub window_bits: u8,
}

impl Default for DeflateContext {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}

impl DeflateContext {
    /// One that keeps nothing of a message for the next.
    pub const fn new() -> Self {
        Self { takeover: false, window_bits: MAX_WINDOW_BITS }
    }

    /// Whether a message may [refer to those before it](Self#structfield.takeover).
    #[must_use]
    pub const fn takeover(mut self, takeover: bool) -> Self {
        self.takeover = takeover;
        self
    }

    /// [How far back](Self#structfield.window_bits) a message may refer: 9 to 15, the logarithm of a number of octets.
    #[must_use]
    pub const fn window_bits(mut self, bits: u8) -> Self {
        self.window_bits = bits;
        self
    }
}

impl Deflate {
    /// What is cheap for both sides: see the default of each field.
    pub const fn new() -> Self {
        let context = DeflateContext::new();
        Self { server: context, client: context, level: 2, min_size: 128 }
    }

    /// Both directions' [contexts](DeflateContext).
    #[must_use]
    pub const fn contexts(self, context: DeflateContext) -> Self {
        self.server(context).client(context)
    }

    /// The [server's compression](Self#structfield.server).
    #[must_use]
    pub const fn server(mut self, context: DeflateContext) -> Self {
        self.server = context;
        self
    }

    /// The [client's compression](Self#structfield.client).
    #[must_use]
    pub const fn client(mut self, context: DeflateContext) -> Self {
        self.client = context;
        self
    }

    /// [What we may spend](Self#structfield.level) on compressing: 0 to 9.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// [Octets in a message](Self#structfield.min_size) below which we send it as it is.
    #[must_use]
    pub const fn min_size(mut self, octets: usize) -> Self {
        self.min_size = octets;
        self
    }
}

impl Deflate {
    /// The same, within what zlib has.
    fn bounded(mut self) -> Self {
        for context in [&mut self.server, &mut self.client] {
            context.window_bits = context.window_bits.min(MAX_WINDOW_BITS);
        }
        self.level = self.level.min(MAX_LEVEL);
        self
    }
}

const MAX_LEVEL: u8 = 9;

/// The least that zlib compresses with in the raw format, and the most that there is (RFC 7692 §7.1.2).
const MIN_WINDOW_BITS: u8 = 9;
const MAX_WINDOW_BITS: u8 = 15;

/// One socket's compression, both ways.
#[derive(Debug)]
pub(super) struct Codec {
    in_use: Deflate,
    outgoing: DeflateContext,
    incoming: DeflateContext,
    /// With context takeover, from the first message on.
    compress: Option<Box<Compress>>,
    /// With context takeover: what the next message may refer to, the end of those that came.
    history: VecDeque<u8>,
    /// Shared, or from the first compressed message on.
    inflation: Option<Arc<Inflation>>,
    /// Of messages in pieces: octets of payload that were taken since the last count, and what they have become.
    uncounted: (u32, u32),
}

impl Codec {
    pub(super) fn new(role: Role, in_use: Deflate) -> Self {
        let in_use = in_use.bounded();
        let (outgoing, incoming) = match role {
            Role::Server => (in_use.server, in_use.client),
            Role::Client { .. } => (in_use.client, in_use.server),
        };
        let (inflation, uncounted) = (None, (0, 0));
        Self { in_use, outgoing, incoming, compress: None, history: VecDeque::new(), inflation, uncounted }
    }

    pub(super) fn in_use(&self) -> Deflate {
        self.in_use
    }

    pub(super) fn share_inflation(&mut self, limit: Arc<Inflation>) {
        self.inflation = Some(limit);
    }

    /// The limit on what messages may decompress to.
    pub(super) fn inflation(&self) -> Rate {
        self.inflation.as_ref().map_or(Inflation::DEFAULT, |inflation| inflation.rate())
    }

    /// How messages are compressed that refer to no other, where none does.
    pub(super) fn shared(&self) -> Option<SharedDeflate> {
        SharedDeflate::new(self.in_use.min_size, self.in_use.level, self.outgoing)
    }

    /// Appends a message, compressed if that makes it smaller.
    pub(super) fn encode(&mut self, output: &mut BytesMut, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
        let is_small = payload.len() < self.in_use.min_size.max(1);
        if is_small || self.outgoing.window_bits < MIN_WINDOW_BITS {
            return frame::encode(output, opcode, payload, key);
        }
        let Deflate { level, .. } = self.in_use;
        let DeflateContext { takeover, window_bits } = self.outgoing;
        zlib::with(|shared| {
            let compressed = if takeover {
                let compress = self.compress.get_or_insert_with(|| Box::new(zlib::compress(level, window_bits)));
                shared.deflate_with(compress, payload)
            } else {
                shared.deflate(level, window_bits, payload)
            };
            match compressed {
                // With takeover the peer has to see every message that ours may refer to.
                Some(compressed) if takeover || compressed.len() < payload.len() => {
                    frame::encode_compressed(output, opcode, compressed, key);
                }
                Some(_) => frame::encode(output, opcode, payload, key),
                None => {
                    // Nothing that zlib does; but if it did, the next message begins anew.
                    self.compress = None;
                    frame::encode(output, opcode, payload, key);
                }
            }
        });
    }

    /// The octets of a message, of `max` at most, from the payload of all its frames.
    pub(super) fn inflate(&mut self, payload: &[u8], max: usize, now: Instant) -> Result<Bytes, Violation> {
        let inflation = self.inflation.get_or_insert_default();
        let allowed = inflation.allowed(payload.len(), now);
        let (older, newer) = self.history.as_slices();
        let message = zlib::with(|shared| shared.inflate([older, newer], payload, max.min(allowed)));
        // What fails was decompressed for nothing, up to what is not known.
        let inflated = message.as_ref().map_or(max.min(allowed), Bytes::len);
        inflation.take(payload.len(), inflated, now)?;
        let message = message.map_err(|violation| match violation {
            Violation::MessageTooBig if allowed < max => Violation::InflatedTooMuch,
            violation => violation,
        })?;
        if self.incoming.takeover {
            self.remember(&message);
        }
        Ok(message)
    }

    fn remember(&mut self, message: &[u8]) {
        let window = 1 << self.incoming.window_bits;
        let message = &message[message.len().saturating_sub(window)..];
        let surplus = (self.history.len() + message.len()).saturating_sub(window);
        self.history.drain(..surplus);
        // The window is a power of two, which bounds this.
        let capacity = (self.history.len() + message.len()).next_power_of_two();
        self.history.reserve_exact(capacity - self.history.len());
        self.history.extend(message);
    }
}
