//! How a connection reads its transport.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use sockeye::{Limits, http2};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::common::within;

/// Counts the reads that gave something.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.0).poll_read(cx, buffer);
        self.1.fetch_add(usize::from(poll.is_ready()), Ordering::Relaxed);
        poll
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A frame larger than what is read at once is read by as much again, whatever its size: not by one octet a read. (A DATA frame
/// of 1 MiB took a million reads.)
#[tokio::test]
async fn a_frame_larger_than_a_read_takes_few_reads() {
    for size in [20_000, 49_655, 49_656, 49_664, 60_000, 1 << 20] {
        let (ours, mut theirs) = tokio::io::duplex(4 << 20);
        let reads = Arc::new(AtomicUsize::new(0));
        let config = Limits::new().max_frame_size(1 << 20).initial_window_size(1 << 20);
        let mut connection = http2::Connection::accept(Counted(ours, reads.clone()), config);
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0".to_vec();
        octets.extend(b"\0\0\x06\x01\x04\0\0\0\x01\x83\x86\x84\x41\x01x");
        octets.extend(&(size as u32).to_be_bytes()[1..]);
        octets.extend(b"\0\x01\0\0\0\x01");
        octets.extend(vec![7; size]);
        theirs.write_all(&octets).await.unwrap();
        let mut stream = within(connection.next()).await.unwrap().unwrap();
        let content = within(stream.request().body_mut().collect()).await.unwrap().to_bytes();
        assert!(content.len() == size && content.iter().all(|octet| *octet == 7));
        let reads = reads.load(Ordering::Relaxed);
        assert!(reads <= 4 + size / 20_000, "{reads} reads of {size} octets");
    }
}
