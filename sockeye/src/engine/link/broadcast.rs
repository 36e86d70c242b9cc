//! A message to many streams of a connection.

use bytes::Bytes;

/// A message to many streams of one connection, as a frame.
pub(crate) trait Broadcast: Send {
    /// Octets that it holds, with what goes with them.
    fn size(&self) -> usize;
    /// Gives the frame to each member by `send`, which says whether there was room. Under a lock: nothing in it may end a
    /// stream.
    fn deliver(&self, send: &mut dyn FnMut(Address, &Bytes) -> bool);
}

/// Which stream of a connection something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Tells its cell from every other that there was or will be.
    pub(crate) key: u64,
    pub(crate) slot: u32,
}

impl Address {
    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }
}
