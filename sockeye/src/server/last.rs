//! The last connections of a listener that a drain closes.

use std::io::ErrorKind::{ConnectionAborted, Interrupted};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// Connections that are let in at most, as where others go on to arrive at a listener that several processes share: more than
/// any queue holds by default (`net.core.somaxconn`, which is 4096).
const MAX_WAITING: usize = 8192;

/// Lets in whoever waits in the listener's queue, then closes it: the system has accepted these connections, and would reset
/// them. Who arrives between the last look and the close is lost, unless another process holds the same socket, or none is sent
/// here any more: see docs/deploys.md.
pub(super) fn accept_waiting(listener: TcpListener, mut accept: impl FnMut(TcpStream, SocketAddr)) {
    // The runtime may not know yet of what waits; the system does.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..MAX_WAITING {
        match listener.accept() {
            Ok((stream, peer)) => {
                if let Ok(()) = stream.set_nonblocking(true)
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    accept(stream, peer);
                }
            }
            Err(error) if matches!(error.kind(), Interrupted | ConnectionAborted) => {}
            // Mostly because nobody waits.
            Err(_) => return,
        }
    }
}
