//! A message as members get it: as it is, or compressed. Each is made once for all of them, and only where one gets it so.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sockeye_proto::ws::{self, Message, MessageKind, SharedDeflate};

use super::AT_ONCE;

/// A message as frames. A clone is the same.
#[derive(Clone)]
pub(crate) struct Frame(Arc<Forms>);

struct Forms {
    kind: MessageKind,
    /// Octets of the payload, which ends the frame.
    payload: usize,
    plain: Bytes,
    /// For windows of [`MIN_WINDOW_BITS`] and one more each; none where it is not worth it.
    compressed: OnceLock<Box<[OnceLock<Option<Bytes>>; WINDOWS]>>,
}

/// Windows that there are (RFC 7692 §7.1.2), but for that of 8 bits, with which nothing is compressed.
const WINDOWS: usize = 7;
const MIN_WINDOW_BITS: usize = 9;

impl Frame {
    pub(crate) fn new(message: &Message) -> Self {
        let (kind, payload, plain) = (message.kind(), message.len(), ws::encode(message));
        Self(Arc::new(Forms { kind, payload, plain, compressed: OnceLock::new() }))
    }

    /// Octets that it holds as it is. What it is compressed to is less, for each window that some member has.
    pub(crate) fn len(&self) -> usize {
        self.0.plain.len()
    }

    /// Whether it takes so long to compress that nobody is to wait for a lock meanwhile.
    pub(super) fn is_large(&self) -> bool {
        self.0.payload >= AT_ONCE
    }

    /// The frame for a member, by how its socket compresses. The first one that needs it makes it; a level of compression
    /// is the first one's as well.
    pub(crate) fn of(&self, deflate: Option<SharedDeflate>) -> &Bytes {
        match deflate {
            Some(deflate) if deflate.is_worth(self.0.payload) => self.compressed(deflate).unwrap_or(&self.0.plain),
            _ => &self.0.plain,
        }
    }

    fn compressed(&self, deflate: SharedDeflate) -> Option<&Bytes> {
        let Forms { kind, payload, plain, compressed } = &*self.0;
        let window = usize::from(deflate.window_bits()).checked_sub(MIN_WINDOW_BITS)?;
        let make = || deflate.encode(*kind, &plain[plain.len() - payload..]);
        compressed.get_or_init(Box::default).get(window)?.get_or_init(make).as_ref()
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use sockeye_proto::ws::{Config, Deflate, DeflateContext, Extensions, Role, WebSocket};

    use super::*;

    fn deflate(context: DeflateContext) -> Option<SharedDeflate> {
        let in_use = Extensions { deflate: Some(Deflate::new().server(context)), no_masking: false };
        WebSocket::new(Role::Server, Config::default()).with_extensions(in_use).shared_deflate()
    }

    fn is_same(a: &Bytes, b: &Bytes) -> bool {
        a.as_ptr() == b.as_ptr()
    }

    /// Members of one window share the octets; those of another have others, and whose messages refer to each other get it as it is.
    #[test]
    fn a_message_is_compressed_once_for_each_window() {
        let frame = Frame::new(&Message::from("to be or not to be, ".repeat(50)));
        let context = DeflateContext::new();
        let (all, few) = (deflate(context), deflate(context.window_bits(9)));
        assert!(is_same(frame.of(all), frame.clone().of(all)));
        assert!(frame.of(all).len() < frame.len() / 10);
        assert!(!is_same(frame.of(all), frame.of(few)) && frame.of(few).len() < frame.len() / 10);
        assert_eq!(deflate(context.takeover(true)), None);
        assert!(is_same(frame.of(None), &frame.0.plain));
    }

    /// A message below the socket's threshold, and one that gets no smaller, goes as it is.
    #[test]
    fn what_is_not_worth_it_is_not_compressed() {
        let all = deflate(DeflateContext::new());
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as u8
        };
        let noise: Vec<u8> = (0..400).map(|_| noise()).collect();
        for message in [Message::from("a".repeat(127)), Message::from(noise)] {
            let frame = Frame::new(&message);
            assert!(is_same(frame.of(all), &frame.0.plain));
        }
        let frame = Frame::new(&Message::from("a".repeat(127)));
        frame.of(all);
        assert!(frame.0.compressed.get().is_none(), "nothing was tried");
    }
}
