//! TLS that is held to its content.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::PeerMisbehaved;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::engine::link::Listing;
use crate::engine::metrics::Counter;
use crate::engine::read_ahead::ReadAhead;

/// Octets of records for one of content, beyond [`BURST`]. A record of one octet has 23.
const RATIO: u64 = 64;
/// Octets of records that need no content: a handshake, and the rare messages after it.
const BURST: u64 = 128 << 10;

/// A secure transport whose peer has to have something to say: records without content, and those that have us make new keys
/// (RFC 8446 §4.6.3), are work for us, and the layers above see none of them. rustls ends a connection at the 33rd KeyUpdate in
/// a row, at the second renegotiation of TLS 1.2 and at the fifth warning; but an octet of content sets the first back, and
/// empty records have no limit there.
pub(crate) struct Sealed<T> {
    tls: TlsStream<ReadAhead<T>>,
    /// Octets of content that came.
    content: u64,
    /// Where a peer is counted that has too little of it.
    listing: Option<Arc<dyn Listing>>,
}

impl<T> Sealed<T> {
    pub(crate) fn new(tls: TlsStream<ReadAhead<T>>, listing: Option<Arc<dyn Listing>>) -> Self {
        Self { tls, content: 0, listing }
    }

    fn has_too_little_content(&self) -> bool {
        let taken = self.tls.get_ref().0.taken();
        taken > BURST && taken - BURST > self.content.saturating_mul(RATIO)
    }

    fn count(&self) {
        if let Some(listing) = &self.listing {
            listing.metrics().count(Counter::TlsFloods);
        }
    }
}

/// Whether rustls ended the connection by a limit of its own.
fn is_flood(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        error,
        Some(rustls::Error::PeerMisbehaved(
            PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyRenegotiationRequests
                | PeerMisbehaved::TooManyWarningAlertsReceived
        ))
    )
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sealed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tls).poll_read(cx, buffer);
        self.content += (buffer.filled().len() - before) as u64;
        if self.has_too_little_content() {
            self.count();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "TLS records without content")));
        }
        if matches!(&read, Poll::Ready(Err(error)) if is_flood(error)) {
            self.count();
        }
        read
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sealed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
