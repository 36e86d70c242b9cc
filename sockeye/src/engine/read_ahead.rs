//! Reading by more than is asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::engine::driver::yield_now;
use crate::engine::{buffers, slice};

/// A transport for those that read by little: rustls asks for 4 KiB or one record at a time, which would make a system call
/// for each. The buffer is the thread's, and goes back as soon as it is empty.
pub(crate) struct ReadAhead<T> {
    transport: T,
    ahead: BytesMut,
    /// Octets that were taken of it.
    taken: u64,
}

/// Pieces of work that one take may bring: 4 KiB are up to two hundred records without content, each to be decrypted.
const TAKE: u32 = 32;

impl<T> ReadAhead<T> {
    /// `ahead` is what was read already.
    pub(crate) fn new(transport: T, ahead: BytesMut) -> Self {
        Self { transport, ahead, taken: 0 }
    }

    /// The transport, and what was read ahead of it.
    pub(crate) fn into_parts(self) -> (T, BytesMut) {
        (self.transport, self.ahead)
    }

    /// Octets that were taken.
    #[cfg(feature = "tls")]
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn transport(&mut self) -> &mut T {
        &mut self.transport
    }
}

impl<T: AsyncRead + Unpin> ReadAhead<T> {
    /// Reads on while there is room for more, though nobody asks for it: ready at the transport's end. Behind more than one
    /// buffer's octets that nobody takes, the end is not seen.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < buffers::SIZE {
            buffers::fill(&mut self.ahead);
            let room = buffers::SIZE - self.ahead.len();
            let read = poll_read_buf(Pin::new(&mut self.transport), cx, &mut (&mut self.ahead).limit(room));
            if !matches!(read, Poll::Ready(Ok(1..))) {
                buffers::give_back(&mut self.ahead);
                return read.map_ok(|_| ());
            }
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { transport, ahead, taken } = self.get_mut();
        // Who takes does so until there is content, which may never come.
        if !slice::goes_on() && slice::is_within() {
            yield_now(cx);
            return Poll::Pending;
        }
        if ahead.is_empty() {
            if buffer.remaining() >= buffers::SIZE {
                let before = buffer.filled().len();
                let read = Pin::new(transport).poll_read(cx, buffer);
                *taken += (buffer.filled().len() - before) as u64;
                slice::spend(TAKE);
                return read;
            }
            buffers::fill(ahead);
            let read = poll_read_buf(Pin::new(transport), cx, &mut (&mut *ahead).limit(buffers::SIZE));
            if ahead.is_empty() {
                buffers::give_back(ahead);
            }
            ready!(read)?;
        }
        let length = ahead.len().min(buffer.remaining());
        buffer.put_slice(&ahead[..length]);
        *taken += length as u64;
        slice::spend(TAKE);
        ahead.advance(length);
        if ahead.is_empty() {
            buffers::give_back(ahead);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
