//! All that is kept of one stream.

use std::num::NonZeroU32;

use super::state::{ContentLength, Exchange, Side, State, Wait};
use crate::h2::StreamId;
use crate::h2::flow::{RecvWindow, SendWindow};
use crate::unread::Unread;

/// One stream that is held. The table alone changes its state and its windows, since the sums of the table depend on them.
pub(in crate::h2) struct Entry {
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) exchange: Exchange,
    wait: Wait,
    /// One more than the octets sent since the stream began to be watched for progress, `None` while it is not.
    progress: Option<NonZeroU32>,
    pub(super) send_window: SendWindow,
    pub(super) recv_window: RecvWindow,
    pub(super) expected: ContentLength,
    pub(super) unread: Unread,
}

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<Entry>() <= 56 || cfg!(debug_assertions));

impl Entry {
    pub(super) fn new(
        id: u32,
        state: State,
        exchange: Exchange,
        recv_window: RecvWindow,
        expected: ContentLength,
    ) -> Self {
        Self {
            id,
            state,
            exchange,
            wait: Wait::None,
            progress: None,
            send_window: SendWindow::default(),
            recv_window,
            expected,
            unread: Unread::default(),
        }
    }

    #[inline]
    pub(in crate::h2) fn state(&self) -> State {
        self.state
    }

    #[inline]
    pub(in crate::h2) fn exchange(&self) -> Exchange {
        self.exchange
    }

    #[inline]
    pub(in crate::h2) fn send_window(&self) -> SendWindow {
        self.send_window
    }

    /// Octets of DATA that the peer may still send (RFC 9113 §6.9).
    pub(in crate::h2) fn recv_credit(&self) -> i32 {
        self.recv_window.credit()
    }

    /// Octets received and not read yet.
    #[inline]
    pub(in crate::h2) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// What the stream's writer waits for.
    #[inline]
    pub(in crate::h2) fn wait(&self) -> Wait {
        self.wait
    }

    #[inline]
    pub(in crate::h2) fn set_wait(&mut self, wait: Wait) {
        debug_assert!(wait == Wait::None || self.state.send() != Side::Ended, "a side that is ended waits for nothing");
        self.wait = wait;
    }

    /// Books octets of DATA that were sent; `is_all` where the application had no more.
    #[inline]
    pub(in crate::h2) fn account_sent(&mut self, octets: usize, is_all: bool) {
        debug_assert!(self.state.send() == Side::Body, "only an open side sends");
        self.send_window.consume(octets as u32);
        if let Some(progress) = &mut self.progress {
            // A stream that has sent all it had is not blocked.
            *progress = progress.saturating_add(if is_all { u32::MAX } else { octets as u32 });
        }
    }

    /// Whether the stream is watched for progress.
    pub(in crate::h2) fn is_watched(&self) -> bool {
        self.progress.is_some()
    }

    /// From now on the octets count that the stream sends.
    pub(in crate::h2) fn watch(&mut self) {
        self.progress = Some(NonZeroU32::MIN);
    }

    /// The stream is watched no more. Returns the octets that it sent meanwhile, `None` where it was not watched.
    pub(in crate::h2) fn end_watch(&mut self) -> Option<u32> {
        self.progress.take().map(|progress| progress.get() - 1)
    }

    /// The (final) response to this stream's request is known.
    pub(in crate::h2) fn set_response(&mut self, status: http::StatusCode) {
        self.exchange = self.exchange.after_response(status);
    }

    /// How much DATA the peer has announced.
    pub(in crate::h2) fn expect(&mut self, expected: ContentLength) {
        self.expected = expected;
    }

    /// Whether as much DATA came as was announced, and may come to its end.
    pub(in crate::h2) fn is_content_whole(&self) -> bool {
        self.expected.clone().take(0, true)
    }

    /// Whether this is the entry of that stream, and the stream is not closed.
    pub(super) fn is_active(&self, id: StreamId) -> bool {
        self.id == id.value() && !self.state.is_closed()
    }
}
