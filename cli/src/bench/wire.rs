//! A transport, and what is on its way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

use super::dial::Transport;

/// The transport of one connection.
pub(super) struct Wire {
    transport: Transport,
    output: BytesMut,
    /// Octets at the front of the output that are written.
    written: usize,
}

impl Wire {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, output: BytesMut::new(), written: 0 }
    }

    /// Reads once, as much as `input` has room for. An end is no octets.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        poll_read_buf(Pin::new(&mut self.transport), cx, input)
    }

    /// What is to be written. After [`poll_write`](Self::poll_write) was ready it is empty.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Writes all of the output; whether there was any.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let was_empty = self.output.is_empty();
        while self.written < self.output.len() {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, &self.output[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                octets => self.written += octets,
            }
        }
        // TLS may still hold some of it.
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(!was_empty))
    }

    /// Frees the room of an output that is empty.
    pub(super) fn shrink(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }
}
