//! The last connections of a listener that a drain closes.

use std::io::ErrorKind::{ConnectionAborted, Interrupted};
use std::io::Result;

use tokio::net::TcpStream;

use crate::engine::peer::PeerAddress;
use crate::server::accepted::Accepted;
use crate::server::listener::Listener;
#[cfg(unix)]
use crate::server::listener::of_unix;

/// Connections that are let in at most, as where others go on to arrive at a listener that several processes share: more than
/// any queue holds by default (`net.core.somaxconn`, which is 4096).
const MAX_WAITING: usize = 8192;

/// Lets in whoever waits in the listener's queue, then closes it: the system has accepted these connections, and would reset
/// them. Who arrives between the last look and the close is lost, unless another process holds the same socket, or none is sent
/// here any more: see docs/src/how-to/deploys.md.
pub(super) fn accept_waiting(listener: Listener, accept: impl FnMut(Accepted)) {
    // The runtime may not know yet of what waits; the system does.
    match listener {
        Listener::Tcp(listener) => {
            let Ok(listener) = listener.into_std() else { return };
            take_all(
                || {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::new(TcpStream::from_std(stream)?, Some(PeerAddress::Tcp(peer))))
                },
                accept,
            );
        }
        #[cfg(unix)]
        Listener::Unix(listener) => {
            let Ok(listener) = listener.into_std() else { return };
            take_all(
                || {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    let stream = tokio::net::UnixStream::from_std(stream)?;
                    let peer = of_unix(&stream);
                    Ok(Accepted::new(stream, peer))
                },
                accept,
            );
        }
    }
}

fn take_all(mut take: impl FnMut() -> Result<Accepted>, mut accept: impl FnMut(Accepted)) {
    for _ in 0..MAX_WAITING {
        match take() {
            Ok(accepted) => accept(accepted),
            Err(error) if matches!(error.kind(), Interrupted | ConnectionAborted) => {}
            // Mostly because nobody waits.
            Err(_) => return,
        }
    }
}
