//! Octets of a stream that came and were not read.

use std::ops::Range;

use bytes::BytesMut;

/// DATA received and not read: where it was received, or kept in a buffer of its own.
///
/// What comes in one frame and is read before the next batch is never copied: that is what becomes of most messages.
#[derive(Default)]
pub(crate) struct Unread {
    /// In the batch: from here on...
    start: u32,
    /// ...to here, nowhere if that is not more.
    end: u32,
    /// Not empty. Boxed, since idle streams have none.
    kept: Option<Box<BytesMut>>,
}

impl Unread {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_in_batch() && self.kept.is_none()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.in_batch().len() + self.kept.as_ref().map_or(0, |kept| kept.len())
    }

    /// Whether what is kept is not empty, and stands alone.
    pub(crate) fn is_consistent(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| !kept.is_empty() && !self.is_in_batch())
    }

    /// Where it stands in the batch, if it does.
    #[inline]
    pub(crate) fn in_batch(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    #[inline]
    pub(crate) fn is_in_batch(&self) -> bool {
        self.start < self.end
    }

    /// The first DATA since it was read stands in the batch.
    #[inline]
    pub(crate) fn place(&mut self, start: u32, end: u32) {
        (self.start, self.end) = (start, end);
    }

    /// Copies what stands in the batch, which is about to go.
    #[inline]
    pub(crate) fn keep(&mut self, batch: &[u8]) {
        if self.is_in_batch() {
            self.append(batch, &[]);
        }
    }

    /// More came before the first was read.
    pub(crate) fn append(&mut self, batch: &[u8], data: &[u8]) {
        let kept = self.kept.get_or_insert_default();
        if self.start < self.end {
            kept.extend_from_slice(batch.get(self.start as usize..self.end as usize).unwrap_or_default());
            self.end = self.start;
        }
        kept.extend_from_slice(data);
    }

    /// Puts back what was taken, and not read.
    pub(crate) fn put_back(&mut self, rest: BytesMut) {
        self.kept = Some(Box::new(rest));
    }

    /// What is kept, by move.
    #[inline(always)]
    pub(crate) fn take_kept(&mut self) -> BytesMut {
        self.kept.take().map_or_else(BytesMut::new, |kept| *kept)
    }

    /// All of it: by move, or copied from the batch into a buffer of the caller's.
    pub(crate) fn take(&mut self, batch: &[u8], buffer: impl FnOnce() -> BytesMut) -> BytesMut {
        if !self.is_in_batch() {
            return self.take_kept();
        }
        let mut taken = buffer();
        taken.extend_from_slice(batch.get(self.in_batch()).unwrap_or_default());
        self.end = self.start;
        taken
    }
}
