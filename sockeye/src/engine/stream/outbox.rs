//! What one stream has to send.

use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

/// Octets of the least payload that waits to be sent without a copy: sharing a smaller one costs about as much.
pub(crate) const LEAST_SHARED: usize = 4096;

/// Octets in their order, of which the last may be a payload that is shared with whoever sent it: a large message is not
/// copied to wait. That is rare, and boxed: so this is as large as a buffer alone.
pub(crate) enum Outbox {
    Octets(BytesMut),
    Payload(Box<(BytesMut, Bytes)>),
}

const _: () = assert!(size_of::<Outbox>() == size_of::<BytesMut>());

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Octets(octets) => octets.len(),
            Self::Payload(both) => both.0.len() + both.1.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `fill` append, and behind that what it returns.
    #[inline]
    pub(crate) fn append<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> T {
        if let Self::Payload(_) = self {
            // What is appended goes behind the payload, which has to be copied for that.
            *self = Self::Octets(mem::take(self).into_octets());
        }
        let octets = match self {
            Self::Octets(octets) => octets,
            Self::Payload(both) => &mut both.0,
        };
        let (value, payload) = fill(octets);
        if let Some(payload) = payload {
            *self = Self::Payload(Box::new((mem::take(octets), payload)));
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
            *self = Self::Payload(Box::new((BytesMut::new(), octets)));
        } else {
            self.append_shared(octets);
            self.append(|outbox| (outbox.extend_from_slice(&behind.into_octets()), None));
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
            Self::Payload(both) => both.0,
        };
        // Unlike `advance`, which would leave the room that was read behind.
        spare.clear();
        spare
    }

    /// All of it in one buffer.
    pub(crate) fn into_octets(self) -> BytesMut {
        match self {
            Self::Octets(octets) => octets,
            Self::Payload(both) => {
                let (mut octets, payload) = *both;
                octets.extend_from_slice(&payload);
                octets
            }
        }
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
            Self::Payload(both) if both.0.is_empty() => &both.1,
            Self::Payload(both) => &both.0,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks: [&[u8]; 2] = match self {
            Self::Octets(octets) => [octets, &[]],
            Self::Payload(both) => [&both.0, &both.1],
        };
        let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, octets: usize) {
        match self {
            Self::Octets(all) => all.advance(octets),
            Self::Payload(both) => {
                let front = octets.min(both.0.len());
                both.0.advance(front);
                both.1.advance(octets - front);
                if both.1.is_empty() {
                    *self = Self::Octets(mem::take(&mut both.0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload is sent behind what was there, and before what comes after it.
    #[test]
    fn a_payload_keeps_its_place() {
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
        assert_eq!(outbox.chunk(), b"hree four");
        outbox.prepend(Bytes::from_static(b"t"));
        assert_eq!(outbox.chunk(), b"three four");
        outbox.advance(10);
        assert!(outbox.is_empty());
    }
}
