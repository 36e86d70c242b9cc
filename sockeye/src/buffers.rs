//! Buffers for reading and writing, lent by the thread: a connection owns none while it is idle.

use std::cell::RefCell;

use bytes::BytesMut;

/// Octets of one buffer: one read or write takes at most as many.
pub(crate) const SIZE: usize = 256 * 1024;
/// Buffers that a thread keeps for the next connection that wakes.
const KEPT: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for `SIZE` octets in `buffer`, which may hold some already.
pub(crate) fn fill(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        *buffer = POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(SIZE));
    } else {
        buffer.reserve(SIZE.saturating_sub(buffer.len()));
    }
}

/// Takes an empty buffer back; one that holds something stays where it is, no larger than it must be.
pub(crate) fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        let mut buffer = std::mem::take(buffer);
        // The start may have moved: with nothing in it this gives the whole back.
        if buffer.try_reclaim(SIZE) {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(buffer);
                }
            });
        }
    } else if buffer.capacity() > 2 * buffer.len() {
        *buffer = BytesMut::from(&buffer[..]);
    }
}
