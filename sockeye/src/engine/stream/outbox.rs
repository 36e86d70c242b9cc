//! What one stream has to send.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

/// Octets of the least payload that waits to be sent without a copy: sharing a smaller one costs about as much.
pub(crate) const LEAST_SHARED: usize = 4096;

/// Octets in their order, among which there may be payloads that are shared with whoever sent them: a large message, or the
/// content of a response that many streams wait with, is not copied to wait. That is rare, and boxed: so this is as large as a
/// buffer alone.
pub(crate) enum Outbox {
    Octets(BytesMut),
    Shared(Box<Shared>),
}

/// Octets with payloads between them.
#[derive(Default)]
pub(crate) struct Shared {
    /// Each payload with the octets before it; none is empty.
    payloads: VecDeque<(BytesMut, Bytes)>,
    /// Behind the last payload.
    behind: BytesMut,
    /// Octets of all.
    length: usize,
}

const _: () = assert!(size_of::<Outbox>() == size_of::<BytesMut>());

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Octets(octets) => octets.len(),
            Self::Shared(shared) => shared.length,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `fill` append, and behind that what it returns.
    #[inline]
    pub(crate) fn append<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> T {
        let octets = match self {
            Self::Octets(octets) => octets,
            Self::Shared(shared) => return shared.append(fill),
        };
        let (value, payload) = fill(octets);
        if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
            let length = octets.len() + payload.len();
            let mut payloads = VecDeque::with_capacity(1);
            payloads.push_back((mem::take(octets), payload));
            *self = Self::Shared(Box::new(Shared { payloads, behind: BytesMut::new(), length }));
        }
        value
    }

    /// Takes an empty buffer over where there is none: what is appended needs no other.
    #[inline]
    pub(crate) fn take_room(&mut self, spare: &mut BytesMut) {
        debug_assert!(spare.is_empty(), "only room is taken over");
        if let Self::Octets(octets) = self
            && octets.capacity() == 0
        {
            mem::swap(octets, spare);
        }
    }

    /// Appends octets that others have too: by a copy where that costs less than to share them.
    pub(crate) fn append_shared(&mut self, octets: Bytes) {
        self.append(|outbox| {
            if octets.len() >= LEAST_SHARED {
                return ((), Some(octets));
            }
            outbox.extend_from_slice(&octets);
            ((), None)
        });
    }

    /// Puts octets before all others.
    pub(crate) fn prepend(&mut self, octets: Bytes) {
        let behind = mem::take(self);
        if behind.is_empty() {
            // The rest of a message to many is held once, however many of them have no room for it.
            self.append(|_| ((), Some(octets)));
            return;
        }
        self.append_shared(octets);
        match behind {
            Self::Octets(behind) => self.append(|outbox| (outbox.extend_from_slice(&behind), None)),
            Self::Shared(shared) => {
                for (before, payload) in shared.payloads {
                    self.append(|outbox| (outbox.extend_from_slice(&before), Some(payload)));
                }
                self.append(|outbox| (outbox.extend_from_slice(&shared.behind), None));
            }
        }
    }

    /// All of it, where that is few octets and no payload.
    #[inline]
    pub(crate) fn take_few(&mut self) -> Option<BytesMut> {
        match self {
            Self::Octets(octets) if !octets.is_empty() && octets.len() <= LEAST_SHARED => Some(mem::take(octets)),
            _ => None,
        }
    }

    /// The buffer alone, empty, where all that it held was sent.
    #[inline]
    pub(crate) fn into_spare(self) -> BytesMut {
        let mut spare = match self {
            Self::Octets(octets) => octets,
            Self::Shared(shared) => shared.behind,
        };
        // Unlike `advance`, which would leave the room that was read behind.
        spare.clear();
        spare
    }
}

impl Shared {
    fn append<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> T {
        let before = self.behind.len();
        let (value, payload) = fill(&mut self.behind);
        self.length += self.behind.len() - before;
        if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
            self.length += payload.len();
            self.payloads.push_back((mem::take(&mut self.behind), payload));
        }
        value
    }

    /// All that is in one piece, from the front on.
    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let payloads = self.payloads.iter().flat_map(|(before, payload)| [&before[..], &payload[..]]);
        payloads.chain([&self.behind[..]]).filter(|chunk| !chunk.is_empty())
    }

    fn advance(&mut self, mut octets: usize) {
        debug_assert!(octets <= self.length, "no more is sent than there is");
        self.length -= octets;
        while let Some((before, payload)) = self.payloads.front_mut() {
            let front = octets.min(before.len());
            before.advance(front);
            let middle = (octets - front).min(payload.len());
            payload.advance(middle);
            octets -= front + middle;
            if !payload.is_empty() {
                return;
            }
            self.payloads.pop_front();
        }
        self.behind.advance(octets);
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::Octets(BytesMut::new())
    }
}

impl From<BytesMut> for Outbox {
    fn from(octets: BytesMut) -> Self {
        Self::Octets(octets)
    }
}

/// What is to be sent next is its chunk.
impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Octets(octets) => octets,
            Self::Shared(shared) => shared.chunks().next().unwrap_or_default(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let octets: &[u8] = if let Self::Octets(octets) = self { octets } else { &[] };
        let shared = if let Self::Shared(shared) = self { Some(shared.chunks()) } else { None };
        let chunks = Some(octets).filter(|octets| !octets.is_empty()).into_iter().chain(shared.into_iter().flatten());
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, octets: usize) {
        match self {
            Self::Octets(all) => all.advance(octets),
            Self::Shared(shared) => {
                shared.advance(octets);
                if shared.payloads.is_empty() {
                    *self = Self::Octets(mem::take(&mut shared.behind));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payloads are sent behind what was there, and before what comes after them.
    #[test]
    fn payloads_keep_their_places() {
        let mut outbox = Outbox::from(BytesMut::from("one "));
        outbox.append(|octets| {
            octets.extend_from_slice(b"two ");
            ((), Some(Bytes::from_static(b"three ")))
        });
        assert_eq!((outbox.len(), outbox.chunk()), (14, &b"one two "[..]));
        let mut slices = [IoSlice::new(&[]); 3];
        assert_eq!(outbox.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"one two "[..], &b"three "[..]));
        outbox.advance(9);
        assert_eq!(outbox.chunk(), b"hree ");
        outbox.append(|octets| (octets.extend_from_slice(b"four"), None));
        outbox.append(|_| ((), Some(Bytes::from_static(b" five"))));
        outbox.prepend(Bytes::from_static(b"t"));
        assert_eq!(outbox.len(), 15);
        let mut all = Vec::new();
        while !outbox.is_empty() {
            all.push(outbox.chunk()[0]);
            outbox.advance(1);
        }
        assert_eq!(all, b"three four five");
        assert!(matches!(outbox, Outbox::Octets(_)));
    }

    /// A payload that waits is the very one that others have, whatever is put before it or behind.
    #[test]
    fn a_payload_is_not_copied() {
        let payload = Bytes::from(vec![7; LEAST_SHARED]);
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.append_shared(payload.clone());
            outbox.append(|octets| (octets.extend_from_slice(b"behind"), None));
        }
        outbox.prepend(Bytes::from_static(b"before"));
        let Outbox::Shared(shared) = &outbox else { panic!("copied") };
        assert_eq!(shared.payloads.len(), 3);
        assert!(shared.payloads.iter().all(|(_, waiting)| waiting.as_ptr() == payload.as_ptr()));
        assert_eq!(outbox.len(), 3 * LEAST_SHARED + 4 * 6);
    }
}
