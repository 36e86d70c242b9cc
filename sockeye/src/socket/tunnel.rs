//! A stream as the octets of a WebSocket that somebody else speaks: what a gateway relays.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sockeye_proto::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::slice;
use crate::engine::stream::{Ending, ErrorCode, Input, Notice, PeersHalf, Room, StreamHandle};

/// Octets that one write takes at most: as much as waits for a stream before its sender does.
const MAX_WRITE: usize = 64 * 1024;

/// The same while much waits for the peer on the streams of its connection: each stream may hold one write past the bound of all.
const MAX_WRITE_IN_CROWD: usize = 4 * 1024;

/// A stream that was taken over as octets, both ways: a WebSocket whose frames nobody here reads, for a gateway that relays them.
///
/// It is made by [`Upgrade::tunnel`](crate::Upgrade::tunnel) on a server and by [`Client::tunnel`](crate::Client::tunnel) on a client,
/// over an extended CONNECT (RFC 8441 §4) or an upgrade of HTTP/1.1 (RFC 9110 §7.8), and implements tokio's [`AsyncRead`] and
/// [`AsyncWrite`]. None of the rules of RFC 6455 is looked after: to close by Close frames is the affair of the two ends.
///
/// # Back-pressure
///
/// A write takes at most 64 KiB, and waits while as much waits to be sent on the stream, or the whole connection's bound is
/// reached; near that bound it takes [no more than 4 KiB](Self::poll_room). While nobody reads, the peer is held back by the
/// window of its stream (RFC 9113 §5.2), and no other stream is. An idle tunnel owns no buffers.
///
/// # The end
///
/// [`poll_shutdown`](AsyncWrite::poll_shutdown) ends our half behind what was written, by END_STREAM (RFC 9113 §5.1) or a FIN, and is
/// ready at once: the connection's task sends it. A read of 0 octets is the peer's. [`reset`](Self::reset) breaks the stream off, both
/// ways; what waited to be sent is dropped. A tunnel that is dropped with its own half open is reset with CANCEL (RFC 9113 §7). Over
/// HTTP/1.1 either closes the connection: by a RST of TCP (RFC 9293 §3.10.5) or without the close_notify of TLS (RFC 8446 §6.1), where
/// our half is open and the reason is not NO_ERROR.
///
/// # Errors
///
/// A stream that was reset or lost its connection fails reads, behind the octets that had arrived, and writes; [`peer`](Self::peer)
/// says what happened. A write after a shutdown is `BrokenPipe`.
///
/// # Cancel safety
///
/// A `read` or a `write` whose future is dropped before it is ready has taken no octet and sent none.
///
/// ```
/// use sockeye::Tunnel;
/// use tokio::net::TcpStream;
///
/// /// Octets go to a server and come from it until both have ended, or one breaks off.
/// async fn relay(mut tunnel: Tunnel, mut server: TcpStream) -> std::io::Result<()> {
///     tokio::io::copy_bidirectional(&mut tunnel, &mut server).await?;
///     Ok(())
/// }
/// ```
pub struct Tunnel {
    handle: StreamHandle,
    draining: bool,
}

/// How far the peer of a [`Tunnel`] is with its half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelPeer {
    /// It may send still.
    Open,
    /// It has ended its half, by END_STREAM or a FIN; ours may be open.
    Finished,
    /// The stream was reset with this code, by either side (RFC 9113 §6.4).
    Reset(Reason),
    /// The connection that carried the stream is gone.
    Disconnected,
}

impl TunnelPeer {
    /// Whether the stream broke off, so that nothing goes either way any more.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Reset(_) | Self::Disconnected)
    }
}

impl Tunnel {
    pub(crate) fn new(handle: StreamHandle) -> Self {
        Self { handle, draining: false }
    }

    /// How far the peer is with its half. Octets that came before its end may be unread.
    pub fn peer(&self) -> TunnelPeer {
        match self.handle.peers_half() {
            PeersHalf::Open => TunnelPeer::Open,
            PeersHalf::Finished => TunnelPeer::Finished,
            PeersHalf::Reset(code) => TunnelPeer::Reset(code.reason()),
            PeersHalf::Disconnected => TunnelPeer::Disconnected,
        }
    }

    /// Ready once the stream broke off, with [how](Self::peer); an end of the peer's half alone is none. For whoever waits
    /// elsewhere and does not read meanwhile: a read that waits is woken too, and the two must not wait in different tasks.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<TunnelPeer> {
        // Where the peer's half has ended, only the end of all is left to be waited for.
        let may_be_broken = self.handle.is_ended(cx) && self.handle.poll_over(cx).is_ready();
        let peer = self.peer();
        if may_be_broken && peer.is_broken() { Poll::Ready(peer) } else { Poll::Pending }
    }

    /// Whether our side of the connection drains, which a read that waits learns: whoever relays a WebSocket may let it close
    /// with 1001 (RFC 6455 §7.4.1). A read that waits is not ready for it, but its task is woken.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Ready with the octets that the next write takes at most: 64 KiB, or 4 where the streams of the connection have much that the
    /// peer does not take. There it waits, too, until nothing waits on this stream and the peer takes more. Who asks before it reads
    /// elsewhere, and reads no more, has next to nothing in hand while the write would wait.
    ///
    /// # Errors
    ///
    /// As for a write.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.handle.poll_turn(cx))?;
        Poll::Ready(Ok(self.max_write()))
    }

    fn max_write(&self) -> usize {
        if self.handle.link().is_crowded() { MAX_WRITE_IN_CROWD } else { MAX_WRITE }
    }

    /// Breaks the stream off, both ways, by RST_STREAM with this code (RFC 9113 §6.4), over HTTP/1.1 by [the end](Self#the-end) of
    /// the connection.
    /// What waits to be sent is dropped. Nothing happens where the stream is over.
    pub fn reset(self, reason: Reason) {
        self.handle.reset(ErrorCode::new(reason));
    }

    fn poll_read_some(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let read = |octets: &mut [u8]| {
                let taken = octets.len().min(buffer.remaining());
                buffer.put_slice(&octets[..taken]);
                (taken, ())
            };
            // What happens for nearly every batch: it lies in the connection's own buffer, and after it nothing comes.
            if self.handle.read_in_place(read).is_some() {
                return Poll::Ready(Ok(()));
            }
            if self.handle.is_listening(cx) {
                return Poll::Pending;
            }
            match ready!(self.handle.poll_read_into(cx, buffer))? {
                Input::Octets | Input::End => return Poll::Ready(Ok(())),
                Input::Notice(Notice::GoingAway) => self.draining = true,
                // No member of a group.
                Input::Notice(Notice::TooSlow) => {}
            }
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(slice::poll_go_on(cx));
        self.get_mut().poll_read_some(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let octets = &octets[..octets.len().min(self.max_write())];
        if !octets.is_empty() {
            ready!(self.handle.poll_append(octets.len(), Room::Wait(cx), |outbox| {
                outbox.extend_from_slice(octets);
                ((), None)
            }))?;
        }
        Poll::Ready(Ok(octets.len()))
    }

    /// Ready once the transport has all that was written. Without it the connection's task sends as soon as it can.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.handle.poll_flush(cx))?))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.append_last(Ending::Now(None), |_| {});
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    /// A half that nobody ended was given up.
    fn drop(&mut self) {
        if self.handle.check_open().is_ok() {
            self.handle.reset(ErrorCode::new(Reason::CANCEL));
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("peer", &self.peer()).finish_non_exhaustive()
    }
}
