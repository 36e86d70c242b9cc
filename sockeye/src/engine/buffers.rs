//! Buffers for reading and writing, lent by the thread: a connection owns none while it is idle.

use std::cell::RefCell;

use bytes::BytesMut;

/// Octets of one buffer: one read takes at most as many. A larger batch costs no less per octet, but falls out of the
/// processor's nearer caches, and while it is worked on the peer has nothing to do.
///
/// Three full DATA frames fit, with their heads and some small frames between: so a read of a large message ends about
/// where a frame does, and little is left to be moved before the next.
pub(crate) const SIZE: usize = 48 * 1024 + 512;
/// Octets that hyper reads at once, and so the most that it holds of a head without end, where heads may not be larger;
/// enough for content at full speed.
#[cfg(feature = "http2")]
pub(crate) const MIN_HYPER_SIZE: usize = 64 << 10;
/// Buffers that a thread keeps for the next connection that wakes.
const KEPT: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for `SIZE` octets in `buffer`, which may hold some already.
pub(crate) fn fill(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        *buffer = lend();
    } else if buffer.capacity() < SIZE / 2 {
        let held = std::mem::replace(buffer, lend());
        buffer.extend_from_slice(&held);
    } else {
        buffer.reserve(SIZE.saturating_sub(buffer.len()));
    }
}

fn lend() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Takes a buffer back; what it holds stays, in one that is no larger than it must be.
#[inline]
pub(crate) fn give_back(buffer: &mut BytesMut) {
    // Most connections have taken none of those that they could have taken.
    if buffer.capacity() > 0 {
        take_back(buffer);
    }
}

fn take_back(buffer: &mut BytesMut) {
    let mut lent = std::mem::take(buffer);
    if !lent.is_empty() {
        buffer.extend_from_slice(&lent);
        lent.clear();
    }
    // The start may have moved: with nothing in it this gives the whole back.
    if lent.try_reclaim(SIZE) {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(lent);
            }
        });
    }
}
