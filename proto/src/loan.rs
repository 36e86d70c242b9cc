use std::ops::Range;

use bytes::BytesMut;

/// The octets of a frame's head that [`Loan::put`] leaves room for.
pub(crate) const HEAD: [u8; 9] = [0; 9];

/// The buffers of a connection, lent to the application of one stream: it reads what arrived where the transport put it,
/// and writes to where the transport takes it from. Nothing is copied between and nothing is allocated.
///
/// The one that lends, such as [`h2::Stream::lend`](crate::h2::Stream::lend), exchanges its buffers for those of the loan,
/// so that one loan serves any number of streams, one at a time, without a cost of its own.
#[derive(Debug, Default)]
pub struct Loan {
    pub(crate) input: BytesMut,
    /// What of `input` is the stream's, and not read yet.
    pub(crate) unread: Range<usize>,
    pub(crate) output: BytesMut,
    /// What `output` held before.
    pub(crate) start: usize,
    /// Octets of payload that `output` may take.
    pub(crate) room: usize,
}

impl Loan {
    /// What arrived and was not read.
    #[inline]
    pub fn unread(&mut self) -> &mut [u8] {
        self.input.get_mut(self.unread.clone()).unwrap_or_default()
    }

    /// Reads octets off the front of [`unread`](Self::unread), or as many as there are.
    #[inline]
    pub fn read(&mut self, octets: usize) {
        self.unread.start += octets.min(self.unread.len());
    }

    /// Octets that may be sent now.
    #[inline]
    pub fn room(&self) -> usize {
        self.room - self.sent().len()
    }

    /// Sends what `fill` appends. What finds no [`room`](Self::room) is handed back, all of it.
    #[inline]
    pub fn put<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> T) -> (T, Option<BytesMut>) {
        if self.output.len() == self.start {
            self.output.extend_from_slice(&HEAD);
        }
        let before = self.output.len();
        let value = fill(&mut self.output);
        let rest = (self.sent().len() > self.room).then(|| self.output.split_off(before));
        (value, rest)
    }

    /// What was sent.
    #[inline]
    pub(crate) fn sent(&self) -> &[u8] {
        self.output.get(self.start + HEAD.len()..).unwrap_or_default()
    }
}
