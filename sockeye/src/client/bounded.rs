//! A transport from which no more than so much is read before a response is there, and no TLS where there is cleartext.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sockeye_proto::is_tls_alert;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::transport::AnyTransport;
use crate::error::{Error, Missing};

/// Octets of a response that makes a tunnel, of all that are interim before it (RFC 9110 §15.2), and of what stands behind it;
/// or of a refusal with the start of its content. All of that is a few kilobytes, or some 64 KiB behind a 101.
const MOST: usize = 1 << 20;

/// Fails once its peer has sent more than an answer can take: a server may send interim responses without end, each of which
/// hyper reads and forgets.
pub(super) struct Bounded {
    transport: AnyTransport,
    left: usize,
}

impl Bounded {
    pub(super) fn new(transport: AnyTransport) -> Self {
        Self { transport, left: MOST }
    }

    pub(super) fn into_inner(self) -> AnyTransport {
        self.transport
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the answer has no end")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buffer))?;
        if self.left == MOST && is_tls_alert(&buffer.filled()[before..]) {
            return Poll::Ready(Err(io::Error::other(Error::NotOffered(Missing::Cleartext))));
        }
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
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
