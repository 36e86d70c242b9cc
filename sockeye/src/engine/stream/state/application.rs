//! What the application does with a stream.

use std::mem;
use std::task::{Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use sockeye_proto::Reason;
use tokio::io::ReadBuf;

use super::waiters::{Wait, Who};
use super::{
    CANCEL, Ending, GOING_AWAY, INTERNAL_ERROR, Kind, REFUSED_STREAM, StreamState, Telling, UNEXPECTED_CONDITION,
};
use crate::engine::link::{Flush, Link, Side};
use crate::engine::stream::Outbox;
use crate::engine::stream::ends::{Closer, ErrorCode, Input, Parting, PeersHalf, Received, Sent};
use crate::engine::tunnel::Handler;
use crate::error::{Error, Result};

/// Octets that are worth no more than a look under the lock. A larger message is taken out first, and read without it.
const FEW: usize = 4096;
/// Interim responses that wait to be sent: a server has one or two, and the connection takes them in its next turn.
const MAX_INTERIMS: usize = 16;

/// The application's verbs.
impl StreamState {
    pub(in crate::engine::stream) fn share(&mut self) {
        self.handles += 1;
    }

    /// Another share of an exchange that is to become a tunnel: none once it is abandoned or answered.
    pub(in crate::engine::stream) fn take_over(&mut self) -> bool {
        let may = self.handles > 0 && !self.is_tunnel() && self.sent == Sent::Open;
        self.handles += u8::from(may);
        may
    }

    /// Appends what has arrived to `input`. Then the connection may be to give [more](Self::wants_more).
    pub(in crate::engine::stream) fn receive(&mut self, who: Who<'_>, input: &mut BytesMut) -> Poll<Result<Input>> {
        if !self.inbox.is_empty() {
            if input.is_empty() {
                mem::swap(input, &mut self.inbox);
            } else {
                input.unsplit(mem::take(&mut self.inbox));
            }
            return Poll::Ready(Ok(Input::Octets));
        }
        match self.received {
            Received::Open => {
                if let Telling::Due(notice) = self.telling {
                    self.telling = Telling::Told;
                    return Poll::Ready(Ok(Input::Notice(notice)));
                }
                self.put_receiver(who);
                // Even when it is empty, a buffer holds memory. The connection, which is about to look, has a use for it.
                if input.is_empty() {
                    let spare = mem::take(input);
                    if matches!(who, Who::Handler) {
                        self.inbox = spare;
                    }
                }
                Poll::Pending
            }
            Received::Finished => Poll::Ready(Ok(Input::End)),
            Received::Dead(death) => Poll::Ready(Err(death.into())),
        }
    }

    /// Reads what has arrived into `buffer`, as much of it as there is room for; the others stay. For the rest as
    /// [`receive`](Self::receive).
    pub(in crate::engine::stream) fn receive_into(
        &mut self,
        who: Who<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<Input>> {
        if self.inbox.is_empty() {
            let mut spare = mem::take(&mut self.inbox);
            return self.receive(who, &mut spare);
        }
        let octets = self.inbox.len().min(buffer.remaining());
        buffer.put_slice(&self.inbox[..octets]);
        self.inbox.advance(octets);
        Poll::Ready(Ok(Input::Octets))
    }

    /// [`receive`](Self::receive) of no more octets than are worth a look under a lock: `read` takes some off their front, and
    /// says how many; the others are left in `rest`, which is empty. None where there is more, or something else, to receive.
    #[inline]
    pub(in crate::engine::stream) fn receive_few<T>(
        &mut self,
        who: Who<'_>,
        rest: &mut BytesMut,
        read: impl FnOnce(&mut [u8]) -> (usize, T),
    ) -> Poll<Option<T>> {
        debug_assert!(rest.is_empty(), "what was received before is read before");
        if self.inbox.is_empty() {
            if self.received != Received::Open || matches!(self.telling, Telling::Due(_)) {
                return Poll::Ready(None);
            }
            self.put_receiver(who);
            if matches!(who, Who::Task(_)) && self.inbox.capacity() > 0 {
                // Even when it is empty, a buffer holds memory. The handler's is taken by the connection, which is about to look.
                self.inbox = BytesMut::new();
            }
            return Poll::Pending;
        }
        if self.inbox.len() > FEW {
            return Poll::Ready(None);
        }
        let (octets, value) = read(&mut self.inbox);
        if octets == self.inbox.len() {
            self.inbox.clear();
        } else {
            self.inbox.advance(octets);
            mem::swap(&mut self.inbox, rest);
        }
        Poll::Ready(Some(value))
    }

    /// Whether the connection is to look at what was read: somebody waits for octets that it keeps, or the peer for credit.
    #[inline]
    pub(in crate::engine::stream) fn wants_more(&self) -> bool {
        let is_awaited = self.waits.has(Wait::HeldBack) && self.awaits_octets();
        is_awaited || self.waits.has(Wait::Peer) && self.inbox.len() < self.uncredited as usize
    }

    /// Whether all that the peer sends is there; otherwise `who` is woken when something arrives.
    pub(in crate::engine::stream) fn wait_for_end(&mut self, who: Who<'_>) -> bool {
        let is_open = self.received == Received::Open;
        if is_open {
            self.put_receiver(who);
            self.waits.set(Wait::ForEndAlone, true);
        }
        !is_open
    }

    pub(in crate::engine::stream) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.take_rare(|rare| rare.trailers_in.take()).map(|trailers| trailers.fields)
    }

    /// Client: the response.
    pub(in crate::engine::stream) fn response(&mut self, who: Who<'_>) -> Poll<Result<Response<()>>> {
        if let Some(response) = self.take_rare(|rare| rare.response.take()) {
            return Poll::Ready(Ok(response));
        }
        if let Received::Dead(death) = self.received {
            return Poll::Ready(Err(death.into()));
        }
        self.put_receiver(who);
        Poll::Pending
    }

    /// Client: the response made a tunnel of the stream.
    pub(in crate::engine::stream) fn start_tunnel(&mut self) {
        debug_assert!(!self.is_tunnel(), "a tunnel starts once");
        self.kind = Kind::Tunnel(Parting::Open);
    }

    /// Server: the response to send; a tunnel's octets or the content follow. An error where the stream was answered or
    /// taken over before, or is dead.
    pub(in crate::engine::stream) fn respond(&mut self, head: Response<()>, end_stream: bool, tunnel: bool) -> Result {
        self.check_open()?;
        if self.is_tunnel() || self.head_waits() {
            return Err(Error::Closed);
        }
        if tunnel {
            self.kind = Kind::Tunnel(Parting::Open);
        }
        let rare = self.rare();
        rare.head = Some((head, end_stream));
        if !tunnel {
            // Nobody waits for a 100 any more (RFC 9110 §10.1.1). Before a tunnel begins it is said still (§7.8).
            rare.interims.retain(|head| head.status() != StatusCode::CONTINUE);
        }
        if end_stream {
            self.sent = Sent::Finishing;
        }
        Ok(())
    }

    /// Server: tells the peer to send its content (RFC 9110 §10.1.1), unless the response goes before.
    pub(in crate::engine::stream) fn send_continue(&mut self) -> bool {
        let may = self.sent == Sent::Open && !self.is_tunnel() && !self.head_waits();
        if may {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            self.rare().interims.push(head);
        }
        may
    }

    /// Server: sends an interim response (RFC 9110 §15.2), unless the response goes before; whether it goes.
    pub(in crate::engine::stream) fn send_interim(&mut self, head: Response<()>) -> bool {
        debug_assert!(head.status().is_informational(), "another one is the response");
        let may = self.sent == Sent::Open && !self.is_tunnel() && !self.head_waits();
        let may = may && !self.is_dead() && self.rare().interims.len() < MAX_INTERIMS;
        if may {
            self.rare().interims.push(head);
        }
        may
    }

    /// Nothing was done for this request: its peer may try it again elsewhere (RFC 9113 §8.7).
    pub(in crate::engine::stream) fn refuse(&mut self) {
        if self.sent == Sent::Open {
            self.reset(REFUSED_STREAM);
        }
    }

    /// Breaks the stream off, both ways, where it is not over. With NO_ERROR nothing went wrong (RFC 9113 §7): our last octets go
    /// all the same.
    pub(in crate::engine::stream) fn break_off(&mut self, code: ErrorCode) {
        let goes_on = self.sent == Sent::Finishing && code.reason() == Reason::NO_ERROR;
        if !self.is_over() && !goes_on && !matches!(self.sent, Sent::Resetting(_)) {
            self.reset(code);
        }
    }

    pub(in crate::engine::stream) fn peers_half(&self) -> PeersHalf {
        self.received.into()
    }

    pub(super) fn reset(&mut self, code: ErrorCode) {
        self.void_outbox();
        self.sent = Sent::Resetting(code);
    }

    /// Nothing of what waits goes out.
    pub(super) fn void_outbox(&mut self) {
        self.outbox = Outbox::default();
        self.take_pending();
    }

    fn take_pending(&mut self) -> Option<u32> {
        self.take_rare(|rare| Some(mem::take(&mut rare.pending)).filter(|pending| *pending > 0))
    }

    /// Lets `fill` append to what is sent, and behind that what it returns.
    #[inline]
    pub(in crate::engine::stream) fn append<T>(&mut self, fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>)) -> T {
        debug_assert!(self.sent == Sent::Open, "nothing follows the end: {:?}", self.sent);
        self.forget_flush();
        if self.inbox.is_empty() {
            // The buffer of the message that this one answers will do.
            self.outbox.take_room(&mut self.inbox);
        }
        self.outbox.append(fill)
    }

    /// What finds no room waits with its sender, and counts for the connection as if it stood in the outbox.
    pub(in crate::engine::stream) fn hold_sender(&mut self, octets: usize, link: &Link) {
        self.rare().pending = u32::try_from(octets).unwrap_or(u32::MAX);
        self.rebook(link);
    }

    /// It has found room.
    pub(in crate::engine::stream) fn admit_sender(&mut self, link: &Link) {
        if self.take_pending().is_some() {
            self.rebook(link);
        }
    }

    /// Whether what is sent next may be [handed over](crate::engine::link::Link::hand_over) at once: nothing waits that was sent
    /// before, and nobody asks how far it is.
    #[inline]
    pub(in crate::engine::stream) fn may_hand_over(&self) -> bool {
        self.is_open() && self.outbox.is_empty() && self.flush == Flush::None && !self.head_waits()
    }

    /// What is to be handed over.
    #[inline]
    pub(in crate::engine::stream) fn take_few(&mut self) -> Option<BytesMut> {
        self.outbox.take_few()
    }

    /// The connection takes no more that is handed over for now.
    pub(in crate::engine::stream) fn put_few_back(&mut self, octets: BytesMut) {
        debug_assert!(self.outbox.is_empty(), "nothing was sent meanwhile");
        self.outbox = octets.into();
    }

    /// Appends the last octets, whatever the room: they are few. The end of our half goes with them, or behind the peer's end.
    pub(in crate::engine::stream) fn finish(&mut self, ending: Ending, fill: impl FnOnce(&mut BytesMut)) {
        if self.sent != Sent::Open {
            return;
        }
        self.append(|outbox| (fill(outbox), None));
        self.sent = match ending {
            Ending::AfterPeer if self.received == Received::Open => Sent::Following,
            Ending::AfterPeer | Ending::Now(None) => Sent::Finishing,
            Ending::Now(trailers) => {
                self.rare().trailers_out = trailers;
                Sent::Finishing
            }
        };
    }

    /// Both sides of this tunnel have said their last words, or the peer broke its protocol: what is left to say is sent, if
    /// it can be, and the peer gets a moment to end its half.
    pub(in crate::engine::stream) fn part(&mut self, parting: Parting) {
        debug_assert!(self.is_tunnel(), "only a tunnel has last words");
        self.kind = Kind::Tunnel(parting);
    }

    /// How to end the tunnel once the last handle has left, and what was received and not looked at.
    pub(in crate::engine::stream) fn close_by(&mut self, closer: Box<dyn Closer>, mut unread: BytesMut) {
        if !unread.is_empty() {
            unread.unsplit(mem::take(&mut self.inbox));
            self.inbox = unread;
        }
        self.rare().closer = Some(closer);
    }

    /// Gives an open stream a handler for the connection to poll; hands it back where the stream is over.
    pub(in crate::engine::stream) fn adopt(&mut self, handler: Handler) -> std::result::Result<(), Handler> {
        if self.is_over() {
            return Err(handler);
        }
        self.rare().handler = Some(handler);
        Ok(())
    }

    /// The close code for the closer.
    pub(in crate::engine::stream) fn close_with(&mut self, code: u16) {
        self.rare().close_code = Some(code);
    }

    /// The handler panicked: the tunnel ends as by an error.
    pub(in crate::engine::stream) fn panicked(&mut self) {
        self.close_with(UNEXPECTED_CONDITION);
    }

    /// How far a flush is; `None` where the connection is to be asked. What was flushed stays so until something is sent, however
    /// often it is asked: who flushes two things, or flushes and then closes, asks for all of it each time that it is woken.
    pub(in crate::engine::stream) fn flush(&mut self, who: Who<'_>) -> Option<Poll<Result>> {
        if let Sent::Dead(death) = self.sent {
            return Some(Poll::Ready(Err(death.into())));
        }
        let waits = !self.outbox.is_empty() || self.head_waits() || self.sent == Sent::Finishing;
        match self.flush {
            _ if waits => {}
            Flush::Done => return Some(Poll::Ready(Ok(()))),
            Flush::Lost => return Some(Poll::Ready(Err(Error::Disconnected))),
            Flush::Asked => {}
            Flush::None => {
                self.flush = Flush::Asked;
                self.put_sender(who);
                return None;
            }
        }
        self.put_sender(who);
        Some(Poll::Pending)
    }

    /// What had been flushed says nothing of what is sent now. (Nor is it remembered once something has come: the cell is to be
    /// quiet again.)
    pub(in crate::engine::stream) fn forget_flush(&mut self) {
        if self.flush == Flush::Done {
            self.flush = Flush::None;
        }
    }

    /// The connection had ended before it could be asked.
    pub(in crate::engine::stream) fn unask_flush(&mut self) {
        self.flush = Flush::None;
    }

    /// Whether the stream is over; otherwise `watcher` is woken when it is. One task may wait so.
    pub(in crate::engine::stream) fn watch(&mut self, watcher: &Waker) -> bool {
        let is_over = self.is_over();
        if !is_over {
            self.rare().watcher = Some(watcher.clone());
        }
        is_over
    }

    /// A handle leaves. The last ends the stream: a tunnel by its closer, what is not whole by a reset. Whether it was the
    /// last.
    pub(in crate::engine::stream) fn leave(&mut self, side: Side) -> bool {
        debug_assert!(self.handles > 0, "who leaves was counted");
        self.handles -= 1;
        if self.handles == 0 && self.sent == Sent::Open {
            self.abandon(side);
        }
        self.handles == 0
    }

    fn abandon(&mut self, side: Side) {
        let closes = self.is_tunnel() && self.rare.as_ref().is_some_and(|rare| rare.closer.is_some());
        if !closes {
            return self.reset(if side == Side::Server { INTERNAL_ERROR } else { CANCEL });
        }
        self.forget_flush();
        let Self { rare, outbox, .. } = self;
        if let Some(rare) = rare
            && let Some(closer) = &mut rare.closer
        {
            let code = rare.close_code.unwrap_or(GOING_AWAY);
            outbox.append(|outbox| (closer.close(code, outbox), None));
        }
        self.sent = match (side, self.received) {
            // RFC 6455 §7.1.1: the server ends first.
            (Side::Client, Received::Open) => Sent::Following,
            _ => Sent::Finishing,
        };
        // The peer's last words may be there already.
        self.hear(BytesMut::new());
    }
}
