//! The application's hold on a stream.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{HeaderMap, Response};

use super::StreamCell;
use super::ends::{Closer, ErrorCode, Parting, PeersHalf};
use super::state::CANCEL;
use super::state::waiters::Who;
use crate::engine::link::{End, Link};
use crate::engine::pulse::Mark;
use crate::engine::tunnel::Handler;
use crate::error::{Error, Result};

/// One share of the application's side of a stream. The last to be dropped ends the stream: a tunnel by its closer, a
/// response that is not whole by RST_STREAM. Octets go in and out by its [port](super::port).
pub(crate) struct StreamHandle(Arc<StreamCell>);

impl StreamHandle {
    /// The first share.
    pub(crate) fn new(cell: &Arc<StreamCell>) -> Self {
        cell.lock().share();
        Self(cell.clone())
    }

    /// A share of a stream that is to become a tunnel; none once it is abandoned or answered.
    pub(crate) fn take_over(cell: &Arc<StreamCell>) -> Option<Self> {
        cell.lock().take_over().then(|| Self(cell.clone()))
    }

    pub(crate) fn share(&self) -> Self {
        Self::new(&self.0)
    }

    #[inline]
    pub(crate) fn cell(&self) -> &Arc<StreamCell> {
        &self.0
    }

    #[inline]
    pub(crate) fn link(&self) -> &Link {
        self.0.link()
    }

    /// No message may follow what is sent next.
    pub(crate) fn start_closing(&self) {
        self.0.start_closing();
    }

    /// Whether what is sent next, while the outbox is held, is followed by other fragments of the same message.
    pub(crate) fn set_fragmenting(&self, fragmenting: bool) {
        self.0.set_fragmenting(fragmenting);
    }

    /// From what is sent next the WebSocket awaits this round trip of a Ping, or none.
    pub(crate) fn set_round_trip(&self, mark: Mark) {
        self.0.set_round_trip(mark);
    }

    /// The WebSocket's frames are masked.
    pub(crate) fn start_masking(&self) {
        self.0.start_masking();
    }

    /// Whether the handler waits here already, and nothing has happened since.
    #[inline]
    pub(crate) fn is_listening(&self, cx: &Context<'_>) -> bool {
        self.0.is_listening() && self.is_handler(cx)
    }

    /// Whether it is the handler that waits, and not another task.
    #[inline]
    pub(super) fn is_handler(&self, cx: &Context<'_>) -> bool {
        // Nothing but the cell's own waker holds the cell's address.
        cx.waker().data() == Arc::as_ptr(&self.0).cast()
    }

    pub(super) fn who<'a>(&self, cx: &Context<'a>) -> Who<'a> {
        if self.is_handler(cx) { Who::Handler } else { Who::Task(cx.waker()) }
    }

    /// Gives what has begun to come some time to go on: see [`StreamCell::watch`].
    pub(crate) fn watch(&self) {
        self.0.watch();
    }

    /// Whether that time is not over.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_watched()
    }

    /// The octets that are left to be read, where all that the peer sends has come, and no trailers behind them.
    pub(crate) fn rest(&self) -> Option<usize> {
        self.0.lock().rest()
    }

    /// Whether all that the peer sends has come and was read, the head of a response and trailers included.
    pub(crate) fn is_all_read(&self) -> bool {
        self.0.lock().is_all_read()
    }

    /// Whether all that the peer sends is there; otherwise the receiver is woken when something arrives.
    pub(crate) fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.0.lock().wait_for_end(self.who(cx))
    }

    pub(crate) fn take_trailers(&self) -> Option<HeaderMap> {
        self.0.lock().take_trailers()
    }

    /// Server: tells the peer to send its content (RFC 9110 §10.1.1), unless the response goes before.
    pub(crate) fn send_continue(&self) {
        if self.0.lock().send_continue() {
            self.0.queue();
        }
    }

    /// Client: waits for the response.
    pub(crate) fn poll_response(&self, cx: &mut Context<'_>) -> Poll<Result<Response<()>>> {
        self.0.lock().response(self.who(cx))
    }

    /// Client: the response made a tunnel of the stream.
    pub(crate) fn start_tunnel(&self) {
        self.0.lock().start_tunnel();
    }

    /// Waits until the connection has taken all of the outbox, the end of our half included, and the transport all of that.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result> {
        if let Some(known) = self.0.lock().flush(self.who(cx)) {
            return known;
        }
        // Without the lock, which the connection takes to tell.
        match self.0.link().ask_flush(self.0.clone()) {
            End::None => Poll::Pending,
            end => {
                self.0.lock().unask_flush();
                Poll::Ready(if end == End::Flushed { Ok(()) } else { Err(Error::Disconnected) })
            }
        }
    }

    /// Sends the response; the tunnel's octets or the content follow. Where the stream was answered or taken over before,
    /// or is dead, this is an error, and nothing may follow.
    pub(crate) fn respond(&self, head: Response<()>, end_stream: bool, tunnel: bool) -> Result {
        self.0.lock().respond(head, end_stream, tunnel)?;
        self.0.queue();
        Ok(())
    }

    /// Nothing was done for this request: its peer may try it again elsewhere (RFC 9113 §8.7).
    pub(crate) fn refuse(&self) {
        self.0.lock().refuse();
        self.0.queue();
    }

    /// Breaks the stream off with this code, unless it is over: what waits to be sent is void.
    pub(crate) fn reset(&self, code: ErrorCode) {
        self.0.lock().break_off(code);
        self.0.queue();
    }

    /// How far the peer's half is.
    pub(crate) fn peers_half(&self) -> PeersHalf {
        self.0.lock().peers_half()
    }

    /// Both sides of this tunnel have said their last words, or the peer broke its protocol: what is left to say is sent, if
    /// it can be, and the peer gets a moment to end its half.
    pub(crate) fn part(&self, parting: Parting) {
        self.0.lock().part(parting);
    }

    /// How to end the tunnel once the last handle has left, and what was received and not looked at.
    pub(crate) fn close_by(&self, closer: Box<dyn Closer>, unread: BytesMut) {
        self.0.lock().close_by(closer, unread);
    }

    /// Gives the stream a handler for the connection to poll from now on; hands it back where the stream is over.
    pub(crate) fn adopt(&self, handler: Handler) -> std::result::Result<(), Handler> {
        self.0.lock().adopt(handler)?;
        self.0.queue();
        Ok(())
    }

    /// The close code for the closer.
    pub(crate) fn close_with(&self, code: u16) {
        self.0.lock().close_with(code);
    }

    /// Waits until the stream is over: dead, or ended both ways. One task may wait so.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.lock().watch(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the application may send still.
    pub(crate) fn check_open(&self) -> Result {
        self.0.lock().check_open()
    }

    /// Whether the WebSocket has sent its Close, or has nothing to say any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Whether the stream is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().is_dead()
    }
}

/// Client: a response that is awaited. Where nobody does so any more, and not all of it was taken, the stream is given up by CANCEL,
/// whoever else holds it (RFC 9113 §5.4.2): how much of it had come nobody knows who gives it up.
pub(crate) struct AwaitedResponse {
    handle: StreamHandle,
    is_settled: bool,
}

impl AwaitedResponse {
    pub(crate) fn new(handle: StreamHandle) -> Self {
        Self { handle, is_settled: false }
    }

    pub(crate) fn handle(&self) -> &StreamHandle {
        &self.handle
    }

    /// It has come, and its stream lives by other rules.
    pub(crate) fn settle(mut self) -> StreamHandle {
        self.is_settled = true;
        self.handle.share()
    }
}

impl Drop for AwaitedResponse {
    fn drop(&mut self) {
        if !self.is_settled && !self.handle.is_all_read() {
            self.handle.reset(CANCEL);
        }
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamHandle of slot {}", self.0.slot())
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        let was_last = self.0.lock().leave(self.link().info.side);
        if was_last {
            self.0.queue();
        }
    }
}
