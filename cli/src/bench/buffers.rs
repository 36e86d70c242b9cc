//! Buffers that the connections of a thread use in turns.

use std::cell::RefCell;

use bytes::BytesMut;

/// Octets of one read.
const READ_SIZE: usize = 256 << 10;
/// Buffers that are kept for the next message.
const MAX_SPARES: usize = 16;

/// What the connection reads into that is awake: one for all of them.
#[derive(Default)]
pub(super) struct ReadBuffer(RefCell<BytesMut>);

impl ReadBuffer {
    /// Exchanges `input` for a buffer that begins with the same octets and has room for one read behind them. To be
    /// [taken back](Self::take_back).
    pub(super) fn lend(&self, input: &mut BytesMut) {
        let mut lent = self.0.take();
        lent.clear();
        if !lent.try_reclaim(input.len() + READ_SIZE) {
            lent = BytesMut::with_capacity(input.len() + READ_SIZE);
        }
        lent.extend_from_slice(input);
        *input = lent;
    }

    /// Leaves what is left in `input` in a buffer of its own.
    pub(super) fn take_back(&self, input: &mut BytesMut) {
        let rest = BytesMut::from(&input[..]);
        self.keep(std::mem::replace(input, rest));
    }

    /// The larger of two is kept.
    pub(super) fn keep(&self, buffer: BytesMut) {
        let mut kept = self.0.borrow_mut();
        if buffer.capacity() >= kept.capacity() {
            *kept = buffer;
        }
    }
}

/// Buffers for messages that windows hold back.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they go to and from streams, which have room for a pointer only")]
pub(super) struct Spares(RefCell<Vec<Box<BytesMut>>>);

impl Spares {
    /// An empty one.
    pub(super) fn take(&self) -> Box<BytesMut> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut buffer: Box<BytesMut>) {
        let mut buffers = self.0.borrow_mut();
        if buffers.len() < MAX_SPARES {
            buffer.clear();
            // What was sent off its front is room again.
            let _ = buffer.try_reclaim(1);
            buffers.push(buffer);
        }
    }
}
