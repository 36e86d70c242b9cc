use std::ops::Range;

use bytes::BytesMut;

/// The octets of a frame's head that [`Loan::put`] leaves room for.
pub(crate) const HEAD: [u8; 9] = [0; 9];

/// The buffers of a connection, lent to the application of one stream: it reads what arrived where the transport put it,
/// and writes to where the transport takes it from. Nothing is copied between and nothing is allocated.
///
/// The one that lends, such as [`h2::Stream::lend`](crate::h2::Stream::lend), exchanges its buffers for those of the loan,
/// so that one loan serves any number of streams, one at a time, without a cost of its own.
#[derive(Debug)]
pub struct Loan {
    pub(crate) buffers: Box<Buffers>,
    /// What arrived for the stream, where that is not in the batch.
    pub(crate) kept: BytesMut,
    /// What of `kept` or the batch is the stream's, and not read yet.
    pub(crate) unread: Range<usize>,
    /// What `output` held before.
    pub(crate) start: usize,
    /// Octets of the head that goes before the payload: none where the payload goes out as it is.
    pub(crate) head: usize,
    /// Octets of payload that `output` may take.
    pub(crate) room: usize,
}

impl Default for Loan {
    fn default() -> Self {
        Self {
            buffers: Box::default(),
            kept: BytesMut::new(),
            unread: 0..0,
            start: 0,
            // A machine whose payload has no head says so for as long as it lends.
            head: HEAD.len(),
            room: 0,
        }
    }
}

/// What can be lent: boxed, so that it changes hands as one word.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The octets handled last, while there is DATA among them to be read.
    pub(crate) batch: BytesMut,
    pub(crate) output: BytesMut,
}

impl Loan {
    /// What arrived and was not read.
    #[inline(always)]
    pub fn unread(&mut self) -> &mut [u8] {
        let input = if self.kept.is_empty() { &mut self.buffers.batch } else { &mut self.kept };
        input.get_mut(self.unread.clone()).unwrap_or_default()
    }

    /// Whether anything arrived and was not read.
    #[inline]
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
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
        let output = &mut self.buffers.output;
        // One comparison, whatever the machine: where there is no head, never.
        if output.len() < self.start + self.head {
            output.extend_from_slice(&HEAD);
        }
        let before = output.len();
        let value = fill(output);
        let rest = (self.sent().len() > self.room).then(|| self.buffers.output.split_off(before));
        (value, rest)
    }

    /// What was sent.
    #[inline]
    pub(crate) fn sent(&self) -> &[u8] {
        self.buffers.output.get(self.start + self.head..).unwrap_or_default()
    }
}
