//! What may join a group.

use crate::socket::{Receiver, Sender, WebSocket};

/// What may join a [`Group`](crate::Group): a [`WebSocket`], or a half of one, which stands for all of it.
pub trait Join: Sealed {}

impl Join for WebSocket {}

impl Join for Sender {}

impl Join for Receiver {}

/// The socket, of whatever stands for it.
pub trait Sealed {
    #[doc(hidden)]
    fn with_socket<T>(&self, look: impl FnOnce(&WebSocket) -> T) -> T;
}

impl Sealed for WebSocket {
    fn with_socket<T>(&self, look: impl FnOnce(&WebSocket) -> T) -> T {
        look(self)
    }
}

impl Sealed for Sender {
    fn with_socket<T>(&self, look: impl FnOnce(&WebSocket) -> T) -> T {
        look(&self.look())
    }
}

impl Sealed for Receiver {
    fn with_socket<T>(&self, look: impl FnOnce(&WebSocket) -> T) -> T {
        look(&self.look())
    }
}
