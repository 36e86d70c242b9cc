//! What one stream has to send.

use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

/// Octets in their order, of which the last may be a payload that is shared with whoever sent it: a large message is not
/// copied to wait.
#[derive(Default)]
pub(crate) struct Outbox {
    octets: BytesMut,
    /// Behind them. Most streams never have one, and a pointer is what that costs.
    payload: Option<Box<Bytes>>,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.octets.len() + self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.payload.is_none()
    }

    /// All of it, to append to.
    #[inline]
    pub(crate) fn octets(&mut self) -> &mut BytesMut {
        if let Some(payload) = self.payload.take() {
            self.octets.extend_from_slice(&payload);
        }
        &mut self.octets
    }

    /// Lets `fill` append, and behind that what it returns.
    #[inline]
    pub(crate) fn append<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> T {
        let (value, payload) = fill(self.octets());
        self.payload = payload.filter(|payload| !payload.is_empty()).map(Box::new);
        value
    }

    /// The buffer of what was sent.
    pub(crate) fn take_buffer(&mut self) -> BytesMut {
        debug_assert!(self.is_empty(), "what is to be sent stays");
        mem::take(&mut self.octets)
    }
}

/// What is to be sent next is its chunk.
impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        match &self.payload {
            Some(payload) if self.octets.is_empty() => payload,
            _ => &self.octets,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = [Some(&self.octets[..]), self.payload.as_ref().map(|payload| &payload[..])];
        let chunks = chunks.into_iter().flatten().filter(|chunk| !chunk.is_empty());
        let filled = slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk));
        filled.count()
    }

    fn advance(&mut self, octets: usize) {
        let front = octets.min(self.octets.len());
        self.octets.advance(front);
        if let Some(payload) = &mut self.payload {
            payload.advance(octets - front);
            if payload.is_empty() {
                self.payload = None;
            }
        }
    }
}

impl From<BytesMut> for Outbox {
    fn from(octets: BytesMut) -> Self {
        Self { octets, payload: None }
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
        outbox.advance(9);
        assert!(outbox.is_empty());
    }
}
