//! The two ends of a relay, as it uses them.

use std::task::{Context, Poll};

use sockeye::socket::TunnelPeer;
use sockeye::{Reason, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::reach::Stream;

/// One end of a relay: its octets, and how it breaks off.
pub(super) trait End: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// RFC 6455 §7.1.1: whether an upstream here ends its connection first. Over TCP those of Erlang, among others, take a FIN behind
    /// the client's Close for a connection that is gone, and answer nothing.
    const ENDS_FIRST: bool;

    /// Ready with a reason once this end broke off, as far as that is known without a read.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Reason>;

    /// Why a read or a write of it failed.
    fn reason(&self) -> Reason;

    /// Breaks this end off as the other was.
    fn abort(self, reason: Reason);

    /// Ready with the octets to be read at once from the other end, for this one.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>>;

    /// Has what was written sent, where that takes more than the write.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>>;
}

impl End for Tunnel {
    /// Browsers end a stream of HTTP/2 together with their Close.
    const ENDS_FIRST: bool = false;

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        Tunnel::poll_broken(self, cx).map(of_peer)
    }

    fn reason(&self) -> Reason {
        of_peer(self.peer())
    }

    fn abort(self, reason: Reason) {
        self.reset(reason);
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        Tunnel::poll_room(self, cx)
    }

    fn poll_send(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The reason to go on to the other end. Others than these say something of one connection: HTTP_1_1_REQUIRED would cost a browser
/// the whole of its own.
fn of_peer(peer: TunnelPeer) -> Reason {
    match peer {
        TunnelPeer::Reset(reason @ (Reason::NO_ERROR | Reason::INTERNAL_ERROR)) => reason,
        _ => Reason::CANCEL,
    }
}

impl End for Stream {
    const ENDS_FIRST: bool = true;

    /// A reset of TCP is seen by a read or a write alone.
    fn poll_broken(&mut self, _: &mut Context<'_>) -> Poll<Reason> {
        Poll::Pending
    }

    fn reason(&self) -> Reason {
        Reason::CANCEL
    }

    fn abort(self, _: Reason) {
        Stream::abort(self);
    }

    /// What TCP does not take is bounded by the window of the one client that sends it.
    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(usize::MAX))
    }

    /// Under TLS a record may wait for room.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(self).poll_flush(cx)
    }
}
