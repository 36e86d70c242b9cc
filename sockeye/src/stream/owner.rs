//! The application's side of a stream's cell.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::{fmt, mem};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};

use super::{CLOSING, Closer, ErrorCode, FRAGMENTING, Flush, Input, MASKING, Parting};
use super::{Received, Sent, Shared, StreamCell, Waiter, desk};
use crate::carrier::{Carrier, End, Side};
use crate::{Error, Reason, Result};

/// RFC 6455 §7.4.1: what a dropped WebSocket closes with, unless its handler's result says another.
const GOING_AWAY: u16 = 1001;
/// RFC 9113 §7: what ends a response that is not whole.
const INTERNAL_ERROR: ErrorCode = ErrorCode::new(Reason::INTERNAL_ERROR);
/// RFC 9113 §7: what ends a request whose response nobody awaits any more.
const CANCEL: ErrorCode = ErrorCode::new(Reason::CANCEL);
/// RFC 9113 §7.
const REFUSED_STREAM: ErrorCode = ErrorCode::new(Reason::REFUSED_STREAM);

/// One share of the application's side of a stream. The last to be dropped ends the stream: a tunnel by its closer, a
/// response that is not whole by RST_STREAM.
pub(crate) struct Owner(Arc<StreamCell>);

/// The application's side.
impl Owner {
    /// The first share.
    pub(crate) fn new(cell: &Arc<StreamCell>) -> Self {
        cell.lock().owners += 1;
        Self(cell.clone())
    }

    /// A share of a stream that is to become a tunnel; none once it is abandoned or answered.
    pub(crate) fn take_over(cell: &Arc<StreamCell>) -> Option<Self> {
        let mut shared = cell.lock();
        if shared.owners == 0 || shared.tunnel || shared.sent != Sent::Open {
            return None;
        }
        shared.owners += 1;
        drop(shared);
        Some(Self(cell.clone()))
    }

    pub(crate) fn share(&self) -> Self {
        Self::new(&self.0)
    }

    pub(crate) fn cell(&self) -> &Arc<StreamCell> {
        &self.0
    }

    /// No message may follow what is sent next.
    pub(crate) fn start_closing(&self) {
        self.0.flags.fetch_or(CLOSING, Ordering::Relaxed);
    }

    /// Whether what is sent next, while the outbox is held, is followed by other fragments of the same message.
    pub(crate) fn set_fragmenting(&self, fragmenting: bool) {
        if fragmenting {
            self.0.flags.fetch_or(FRAGMENTING, Ordering::AcqRel);
        } else {
            self.0.flags.fetch_and(!FRAGMENTING, Ordering::AcqRel);
        }
    }

    /// The WebSocket's frames are masked.
    pub(crate) fn start_masking(&self) {
        self.0.flags.fetch_or(MASKING, Ordering::Relaxed);
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.0.carrier
    }

    /// Lets `read` take octets off the front of what has just arrived, if this is the handler and some of it is left: it
    /// says how many.
    #[inline(always)]
    pub(crate) fn read_at_desk<T>(&self, read: impl FnOnce(&mut [u8]) -> (usize, T)) -> Option<T> {
        desk::read(&self.0, read)
    }

    /// Whether the handler waits here already, and nothing has happened since.
    #[inline]
    pub(crate) fn is_listening(&self, cx: &Context<'_>) -> bool {
        self.0.is_listening() && self.is_handler(cx)
    }

    /// Appends what has arrived to `input`.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<Result<Input>> {
        let mut guard = self.0.lock();
        let shared = &mut *guard;
        if shared.inbox.is_empty() {
            return match shared.received {
                Received::Open if mem::take(&mut shared.going_away) => Poll::Ready(Ok(Input::GoingAway)),
                Received::Open => {
                    self.register_receiver(shared, cx);
                    // Even when it is empty, a buffer holds memory. The carrier, which is about to look, has a use for it.
                    if input.is_empty() {
                        let spare = mem::take(input);
                        if shared.handler_receives {
                            shared.inbox = spare;
                        }
                    }
                    Poll::Pending
                }
                Received::Finished => Poll::Ready(Ok(Input::End)),
                Received::Dead(death) => Poll::Ready(Err(death.into())),
            };
        }
        if input.is_empty() {
            mem::swap(input, &mut shared.inbox);
        } else {
            input.unsplit(mem::take(&mut shared.inbox));
        }
        let more = shared.more;
        drop(guard);
        if more {
            self.0.queue();
        }
        Poll::Ready(Ok(Input::Octets))
    }

    /// The octets that are left to be read, where all that the peer sends has come.
    pub(crate) fn rest(&self) -> Option<usize> {
        let shared = self.0.lock();
        (shared.received == Received::Finished).then(|| shared.inbox.len())
    }

    /// Whether all that the peer sends has come and was read, trailers included.
    pub(crate) fn is_all_read(&self) -> bool {
        let shared = self.0.lock();
        let is_read = shared.inbox.is_empty() && shared.rare.as_ref().is_none_or(|rare| rare.trailers_in.is_none());
        shared.received == Received::Finished && is_read
    }

    /// Server: tells the peer to send its content (RFC 9110 §10.1.1), unless the response goes before.
    pub(crate) fn send_continue(&self) {
        let mut shared = self.0.lock();
        if shared.sent != Sent::Open || shared.tunnel || shared.head_waits() {
            return;
        }
        shared.rare().continues = true;
        drop(shared);
        self.0.queue();
    }

    /// Client: waits for the response.
    pub(crate) fn poll_response(&self, cx: &mut Context<'_>) -> Poll<Result<Response<()>>> {
        let mut shared = self.0.lock();
        if let Some(response) = shared.take_rare(|rare| rare.response.take()) {
            return Poll::Ready(Ok(response));
        }
        if let Received::Dead(death) = shared.received {
            return Poll::Ready(Err(death.into()));
        }
        self.register_receiver(&mut shared, cx);
        Poll::Pending
    }

    /// Client: the response made a tunnel of the stream.
    pub(crate) fn start_tunnel(&self) {
        self.0.lock().tunnel = true;
    }

    /// Whether all that the peer sends is there; otherwise the receiver is woken when something arrives.
    pub(crate) fn is_ended(&self, cx: &Context<'_>) -> bool {
        let mut shared = self.0.lock();
        if shared.received == Received::Open {
            self.register_receiver(&mut shared, cx);
        }
        shared.received != Received::Open
    }

    pub(crate) fn take_trailers(&self) -> Option<HeaderMap> {
        self.0.lock().rare.as_mut()?.trailers_in.take()
    }

    /// Whether it is the handler that waits, and not another task.
    #[inline]
    fn is_handler(&self, cx: &Context<'_>) -> bool {
        // Nothing but the cell's own waker holds the cell's address.
        cx.waker().data() == Arc::as_ptr(&self.0).cast()
    }

    fn register_receiver(&self, shared: &mut Shared, cx: &Context<'_>) {
        Waiter::put(&mut shared.handler_receives, &mut shared.receiver, self.is_handler(cx), cx);
    }

    fn register_sender(&self, shared: &mut Shared, cx: &Context<'_>) {
        Waiter::put(&mut shared.handler_sends, &mut shared.sender, self.is_handler(cx), cx);
    }

    /// Sends `size` octets, or not many more, by the desk, and in the rare case that they turn out to be too many by the cell;
    /// hands `fill` back where there is no desk for them.
    #[inline]
    pub(crate) fn send_at_desk<T, F>(&self, size: usize, fill: F) -> std::result::Result<T, F>
    where
        F: FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    {
        if !self.0.is_quiet() {
            return Err(fill);
        }
        let (value, rest) = desk::put(&self.0, size, fill)?;
        if let Some(rest) = rest {
            // It was empty: the cell is quiet.
            self.0.lock().outbox = rest.into();
            self.0.queue();
        }
        Ok(value)
    }

    /// Waits for room, then lets `fill` append to what is sent: `size` octets, or not many more. What it returns is sent
    /// behind that.
    #[inline]
    pub(crate) fn poll_send<T>(
        &self,
        cx: &mut Context<'_>,
        size: usize,
        fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    ) -> Poll<Result<T>> {
        match self.send_at_desk(size, fill) {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(fill) => self.poll_send_locked(cx, fill),
        }
    }

    /// [`poll_send`](Self::poll_send) of what there is no desk for.
    #[inline(never)]
    pub(crate) fn poll_send_locked<T>(
        &self,
        cx: &mut Context<'_>,
        fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    ) -> Poll<Result<T>> {
        let mut shared = self.0.lock();
        shared.check_open()?;
        if !self.0.carrier.admits(shared.outbox.len()) {
            self.register_sender(&mut shared, cx);
            return Poll::Pending;
        }
        let value = shared.outbox.append(fill);
        drop(shared);
        self.0.queue();
        Poll::Ready(Ok(value))
    }

    /// Lets `fill` append to what is sent where there is room; otherwise wakes the receiver when there is.
    pub(crate) fn answer(&self, cx: &Context<'_>, fill: impl FnOnce(&mut BytesMut)) {
        let Err(fill) = self.send_at_desk(0, |output| (fill(output), None)) else { return };
        let mut guard = self.0.lock();
        let shared = &mut *guard;
        if shared.sent != Sent::Open {
            return;
        }
        shared.answer_waits = !self.0.carrier.admits(shared.outbox.len());
        if shared.answer_waits {
            self.register_receiver(shared, cx);
        } else {
            shared.outbox.append(fill);
            drop(guard);
            self.0.queue();
        }
    }

    /// [`poll_send`](Self::poll_send), whatever the room.
    pub(crate) fn send_now<T>(&self, size: usize, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> Result<T> {
        let fill = match self.send_at_desk(size, fill) {
            Ok(value) => return Ok(value),
            Err(fill) => fill,
        };
        let mut shared = self.0.lock();
        shared.check_open()?;
        let value = shared.outbox.append(fill);
        drop(shared);
        self.0.queue();
        Ok(value)
    }

    /// Waits until the carrier has taken all of the outbox, the end of our half included, and the transport all of that.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result> {
        let mut shared = self.0.lock();
        if let Sent::Dead(death) = shared.sent {
            return Poll::Ready(Err(death.into()));
        }
        if !shared.outbox.is_empty() || shared.head_waits() || shared.sent == Sent::Finishing {
            self.register_sender(&mut shared, cx);
            return Poll::Pending;
        }
        match mem::replace(&mut shared.flush, Flush::Asked) {
            Flush::Done => {
                shared.flush = Flush::None;
                return Poll::Ready(Ok(()));
            }
            Flush::Lost => {
                shared.flush = Flush::Lost;
                return Poll::Ready(Err(Error::Disconnected));
            }
            Flush::Asked => {
                self.register_sender(&mut shared, cx);
                return Poll::Pending;
            }
            Flush::None => self.register_sender(&mut shared, cx),
        }
        drop(shared);
        // Without the lock, which the carrier takes to tell.
        match self.0.carrier.ask_flush(&self.0) {
            End::None => Poll::Pending,
            end => {
                self.0.lock().flush = Flush::None;
                Poll::Ready(if end == End::Flushed { Ok(()) } else { Err(Error::Disconnected) })
            }
        }
    }

    /// Sends the response; the tunnel's octets or the content follow. Where the stream was answered or taken over before,
    /// or is dead, this is an error, and nothing may follow.
    pub(crate) fn respond(&self, head: Response<()>, end_stream: bool, tunnel: bool) -> Result {
        let mut shared = self.0.lock();
        shared.check_open()?;
        if shared.tunnel || shared.head_waits() {
            return Err(Error::Closed);
        }
        shared.tunnel = tunnel;
        let rare = shared.rare();
        rare.head = Some((head, end_stream));
        // RFC 9110 §15.2: nothing interim comes after it.
        rare.continues = false;
        if end_stream {
            shared.sent = Sent::Finishing;
        }
        drop(shared);
        self.0.queue();
        Ok(())
    }

    /// Appends the last octets, whatever the room: they are few. The END_STREAM goes with them.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>, fill: impl FnOnce(&mut BytesMut)) {
        let mut shared = self.0.lock();
        if shared.sent == Sent::Open {
            shared.outbox.append(|outbox| (fill(outbox), None));
            if trailers.is_some() {
                shared.rare().trailers_out = trailers;
            }
            shared.sent = Sent::Finishing;
        }
        drop(shared);
        self.0.queue();
    }

    /// The same for a side that ends after its peer.
    pub(crate) fn finish_after_peer(&self, fill: impl FnOnce(&mut BytesMut)) {
        let mut shared = self.0.lock();
        if shared.sent == Sent::Open {
            shared.outbox.append(|outbox| (fill(outbox), None));
            shared.sent = if shared.received == Received::Open { Sent::Following } else { Sent::Finishing };
        }
        drop(shared);
        self.0.queue();
    }

    /// Nothing was done for this request: its peer may try it again elsewhere (RFC 9113 §8.7).
    pub(crate) fn refuse(&self) {
        let mut shared = self.0.lock();
        if shared.sent == Sent::Open {
            shared.sent = Sent::Resetting(REFUSED_STREAM);
        }
        drop(shared);
        self.0.queue();
    }

    /// Both sides of this tunnel have said their last words, or the peer broke its protocol: what is left to say is sent, if
    /// it can be, and the peer gets a moment to end its half.
    pub(crate) fn part(&self, parting: Parting) {
        self.0.lock().parting = parting;
    }

    /// How to end the tunnel once the last owner has left, and what was received and not looked at.
    pub(crate) fn close_by(&self, closer: Box<dyn Closer>, mut unread: BytesMut) {
        let mut shared = self.0.lock();
        if !unread.is_empty() {
            unread.unsplit(mem::take(&mut shared.inbox));
            shared.inbox = unread;
        }
        shared.rare().closer = Some(closer);
    }

    /// Waits until the stream is over: dead, or ended both ways. One task may wait so.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = self.0.lock();
        if shared.is_ended() || matches!(shared.received, Received::Dead(_)) {
            return Poll::Ready(());
        }
        shared.rare().watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the stream is dead.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.0.lock().received, Received::Dead(_))
    }

    /// The close code for the closer.
    pub(crate) fn close_with(&self, code: u16) {
        self.0.lock().rare().close_code = Some(code);
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner of slot {}", self.0.slot)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.owners -= 1;
        if shared.owners > 0 {
            return;
        }
        if shared.sent == Sent::Open {
            let tunnel = shared.tunnel;
            let Shared { rare, outbox, .. } = &mut *shared;
            let rare = rare.as_mut().filter(|_| tunnel);
            let closer = rare.and_then(|rare| Some((rare.close_code.unwrap_or(GOING_AWAY), rare.closer.as_mut()?)));
            if let Some((code, closer)) = closer {
                outbox.append(|outbox| (closer.close(code, outbox), None));
                shared.sent = Sent::Finishing;
                // The peer's last words may be there already.
                let unread = mem::take(&mut shared.inbox);
                shared.hear(unread);
            } else {
                let is_server = self.0.carrier.facts.side == Side::Server;
                shared.sent = Sent::Resetting(if is_server { INTERNAL_ERROR } else { CANCEL });
            }
        }
        drop(shared);
        self.0.queue();
    }
}
