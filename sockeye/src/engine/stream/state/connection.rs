//! What the connection's task does with a stream.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use sockeye_proto::{MachineStream, Reason};

use super::waiters::{Wait, Waiter, Waiting};
use super::{Delivered, Exchanged, FAILED, INTERNAL_ERROR, Kind, Look, Next, Notice, StreamState, Telling, Trailers};
use crate::engine::link::{Flush, Link, Side};
use crate::engine::stream::ends::{Awaited, Death, Interims, Parting, Received, Sent};

/// Octets that are read of a peer after it broke the tunnel's protocol: some windows, in which it has seen our last words.
const ENOUGH: usize = 256 * 1024;

/// The connection's verbs.
impl StreamState {
    /// Fills an empty inbox. While it is in use, and while something waits to be sent and nobody for octets, the connection keeps
    /// them. Where nobody reads any more, credit for a tunnel's last frames lets its peer get to its end.
    #[inline]
    pub(in crate::engine::stream) fn deliver(&mut self, stream: &mut impl MachineStream) -> Delivered {
        if self.is_abandoned() && self.is_tunnel() {
            if self.has_heard_enough() {
                return Delivered::HeldBack;
            }
            self.hear(stream.read());
            return Delivered::Heard;
        }
        if !self.takes_octets() {
            self.waits.set(Wait::HeldBack, true);
            return Delivered::HeldBack;
        }
        self.credit(stream);
        self.inbox = stream.take();
        self.uncredited = self.inbox.len() as u32;
        let is_held = i64::from(stream.recv_window()) <= i64::from(self.uncredited);
        self.waits.set(Wait::Peer, is_held);
        self.forget_flush();
        Delivered::Put(self.take_receiver())
    }

    /// Gives the peer credit for what was read (RFC 9113 §6.9). Who reads has this done where the peer waits for it, and else leaves
    /// it to whatever comes next: most messages are far smaller than a window.
    #[inline]
    fn credit(&mut self, stream: &mut impl MachineStream) {
        let read = (self.uncredited as usize).saturating_sub(self.inbox.len());
        if read > 0 {
            stream.credit(read);
            self.uncredited -= read as u32;
        }
    }

    /// The connection keeps octets that have come, for now.
    pub(in crate::engine::stream) fn hold_back(&mut self) {
        self.waits.set(Wait::HeldBack, true);
    }

    /// A handler has left octets unread, which the connection keeps: it does not wait for them, though it did before. Whether
    /// another task does.
    pub(in crate::engine::stream) fn leave_unread(&mut self) -> bool {
        self.waits.set(Wait::HeldBack, true);
        let for_end = self.waits.has(Wait::HandlerReceives) && self.waits.has(Wait::ForEndAlone);
        self.waits.set(Wait::HandlerReceives, for_end);
        self.awaits_octets()
    }

    /// Ends the receiving half, `rest` being the last that arrived. A dead stream's sending half ends with it.
    pub(in crate::engine::stream) fn end(
        &mut self,
        rest: BytesMut,
        trailers: Option<Trailers>,
        received: Received,
        side: Side,
    ) -> Waiting {
        if self.inbox.is_empty() {
            self.inbox = rest;
        } else {
            self.inbox.unsplit(rest);
        }
        self.waits.set(Wait::HeldBack, false);
        if trailers.is_some() {
            self.rare().trailers_in = trailers;
        }
        let received = match received {
            Received::Dead(death) if self.is_tunnel() => Received::Dead(death.of_tunnel(side)),
            received => received,
        };
        if !self.is_dead() && !self.stays_whole(received, side) {
            self.received = received;
        }
        match received {
            // All that there was to send has gone out.
            Received::Dead(_) if self.sent == Sent::Finished => {}
            Received::Dead(death) => {
                self.sent = Sent::Dead(death);
                self.void_outbox();
            }
            Received::Finished if self.sent == Sent::Following => self.sent = Sent::Finishing,
            Received::Finished | Received::Open => {}
        }
        let (sender, receiver) = (self.take_sender(), self.take_receiver());
        Waiting { sender, receiver, watcher: self.take_watcher() }
    }

    /// RFC 9113 §8.1: a response that has come whole is not taken back where the server wants no more of the request, whatever word it
    /// has for that, be it the end of its connection. A request is, but by NO_ERROR.
    fn stays_whole(&self, received: Received, side: Side) -> bool {
        let wants_no_more = match received {
            Received::Dead(Death::Reset(code, by)) if by != side && code.reason() == Reason::NO_ERROR => true,
            Received::Dead(_) => side == Side::Client,
            Received::Open | Received::Finished => false,
        };
        wants_no_more && self.received == Received::Finished && !self.is_tunnel()
    }

    /// What was to come has had its time: whoever receives looks again.
    pub(in crate::engine::stream) fn wake_receiver(&mut self) -> Waiting {
        Waiting { receiver: self.take_receiver(), ..Waiting::default() }
    }

    /// Client: from now on this hears of interim responses.
    pub(in crate::engine::stream) fn hear_interims(&mut self, interims: Interims) {
        self.rare().interims_in = Some(interims);
    }

    pub(in crate::engine::stream) fn interims(&self) -> Option<Interims> {
        self.rare.as_ref()?.interims_in.clone()
    }

    /// Client: the response came, which nothing interim follows.
    pub(in crate::engine::stream) fn put_response(&mut self, response: Response<()>) -> Waiting {
        let rare = self.rare();
        rare.response = Some(response);
        rare.interims_in = None;
        Waiting { receiver: self.take_receiver(), ..Waiting::default() }
    }

    /// What has become of a flush that was asked for; whoever waits looks again.
    pub(in crate::engine::stream) fn flushed(&mut self, flush: Flush) -> Waiting {
        if self.flush != Flush::Asked {
            return Waiting::default();
        }
        // What was sent since then is waited for first.
        self.flush = if flush == Flush::Done && !self.outbox.is_empty() { Flush::None } else { flush };
        Waiting { sender: self.take_sender(), ..Waiting::default() }
    }

    /// The connection is draining; to say so again changes nothing.
    pub(in crate::engine::stream) fn go_away(&mut self) -> Waiting {
        if self.telling != Telling::Nothing {
            return Waiting::default();
        }
        self.telling = Telling::Due(Notice::GoingAway);
        Waiting { receiver: self.take_receiver(), ..Waiting::default() }
    }

    /// The peer of a tunnel does not read: its application is to close it, and has the close timeout for that.
    pub(in crate::engine::stream) fn close_slow(&mut self) -> Waiting {
        if self.sent != Sent::Open || self.kind != Kind::Tunnel(Parting::Open) {
            return Waiting::default();
        }
        self.kind = Kind::Tunnel(Parting::Slow);
        self.telling = Telling::Due(Notice::TooSlow);
        Waiting { receiver: self.take_receiver(), ..Waiting::default() }
    }

    /// Gives the machine a whole frame of a group's, unless something waits to go before it. How much the machine took: what it
    /// did not take of a frame waits, where that is not all of it.
    pub(in crate::engine::stream) fn send_frame(&mut self, stream: &mut impl MachineStream, frame: &Bytes) -> usize {
        if !self.outbox.is_empty() || self.head_waits() {
            return 0;
        }
        let taken = stream.write(frame, false);
        if taken > 0 {
            self.forget_flush();
            if taken < frame.len() {
                self.put_first(frame.slice(taken..));
            }
        }
        taken
    }

    /// Appends a frame from elsewhere, such as a Ping of the keep-alive.
    pub(in crate::engine::stream) fn append_frame(&mut self, frame: Bytes) {
        self.forget_flush();
        self.outbox.append_shared(frame);
    }

    /// Whether messages from elsewhere may be sent still.
    pub(in crate::engine::stream) fn takes_frames(&self) -> bool {
        self.sent == Sent::Open && self.handles > 0
    }

    /// What the connection could not take of a frame goes before whatever has come to wait meanwhile.
    pub(in crate::engine::stream) fn put_first(&mut self, rest: Bytes) {
        if !matches!(self.sent, Sent::Finished | Sent::Dead(_) | Sent::Resetting(_)) {
            self.outbox.prepend(rest);
        }
    }

    /// Tells the connection how much waits to be sent.
    pub(in crate::engine::stream) fn rebook(&mut self, link: &Link) {
        let left = u32::try_from(self.outbox.len()).unwrap_or(u32::MAX).saturating_add(self.pending());
        link.rebook(mem::replace(&mut self.booked, left) as usize, left as usize);
    }

    /// Takes what the peer of a tunnel sends that nobody holds any more, behind what its last handle had not read. The peer's
    /// last words may be among it.
    pub(super) fn hear(&mut self, input: BytesMut) {
        if self.kind == FAILED && !input.is_empty() {
            self.rare().dropped += input.len();
        }
        let Self { inbox, rare, .. } = self;
        let mut closer = rare.as_mut().and_then(|rare| rare.closer.as_mut());
        let mut is_said = false;
        for octets in [mem::take(inbox), input] {
            if let Some(closer) = closer.as_mut().filter(|_| !octets.is_empty()) {
                is_said |= closer.hear(octets);
            }
        }
        if is_said {
            self.kind = Kind::Tunnel(Parting::Said);
        }
    }

    /// Whether so much has come of a peer that broke the tunnel's protocol that no more of it is read: it waits for its window
    /// then, for what is left of its time. What comes of others has an end, which is worth waiting for.
    fn has_heard_enough(&self) -> bool {
        self.kind == FAILED && self.rare.as_ref().is_some_and(|rare| rare.dropped >= ENOUGH)
    }

    /// Moves octets between the application and the machine, both ways, and finds out what becomes of the stream.
    pub(crate) fn exchange<S>(&mut self, stream: &mut S, link: &Link, look: Look) -> Exchanged
    where
        S: MachineStream,
    {
        let (mut refill, mut spare) = (false, BytesMut::new());
        if self.is_abandoned() {
            // Nobody reads any more; credit for a tunnel's last frames lets its peer get to its end.
            if self.is_tunnel() && !self.has_heard_enough() {
                self.hear(stream.read());
            }
        } else if self.inbox.is_empty() {
            refill = self.waits.has(Wait::HeldBack) && self.takes_octets() && self.waits.take(Wait::HeldBack);
            spare = mem::take(&mut self.inbox);
        }
        self.credit(stream);
        let mut waiting = self.send(stream, &mut spare, link);
        let handler = self.take_rare(|rare| rare.handler.take());
        let look = Look { has_handler: look.has_handler || handler.is_some(), ..look };
        let next = self.next(stream.is_closed(), look);
        let awaited = match next {
            Next::GoOn => Awaited::Nothing,
            Next::Await(awaited) => awaited,
            Next::LetGo => {
                self.void_outbox();
                self.rebook(link);
                waiting.watcher = self.take_watcher();
                Awaited::Nothing
            }
        };
        let before = mem::replace(&mut self.awaited, awaited);
        // A connection that is over gives no place to anybody.
        if awaited.is_peers() && !before.is_peers() && stream.is_send_closed() {
            stream.dismiss();
        }
        self.check();
        Exchanged { waiting, next, before, awaited, refill, handler, spare }
    }

    /// Gives the machine what the application wants sent, as far as it takes it.
    fn send<S: MachineStream>(&mut self, stream: &mut S, spare: &mut BytesMut, link: &Link) -> Waiting {
        let mut progress = self.send_heads(stream, link.info.side);
        let finishing = self.sent == Sent::Finishing;
        if (finishing || !self.outbox.is_empty()) && !stream.is_send_closed() {
            progress |= self.send_octets(stream, finishing, spare);
        }
        // A stream that was broken off meanwhile has sent less than all, and is about to be told.
        if finishing && stream.is_send_closed() && self.outbox.is_empty() {
            progress = true;
            self.sent = Sent::Finished;
        }
        self.rebook(link);
        if let (Sent::Dead(death), Received::Open) = (self.sent, self.received) {
            // RFC 9113 §5.4.2: our own reset ends both halves.
            self.received = Received::Dead(death);
            self.waits.set(Wait::HeldBack, false);
            let (sender, receiver) = (self.take_sender(), self.take_receiver());
            return Waiting { sender, receiver, watcher: self.take_watcher() };
        }
        let mut waiting = if progress { self.take_waiting(link) } else { Waiting::default() };
        if self.awaits_turn() && self.sent == Sent::Open && self.may_make(stream, link) {
            self.give_turn();
            if matches!(waiting.sender, Waiter::Nobody) {
                waiting.sender = self.take_sender();
            }
        }
        waiting
    }

    /// Whether the sender that waits for its turn may go on: where so much waits for the peer already, only if nothing waits on this
    /// stream and its peer takes more.
    fn may_make<S: MachineStream>(&self, stream: &mut S, link: &Link) -> bool {
        if !link.is_crowded() {
            return true;
        }
        if stream.has_room() {
            return self.outbox.is_empty();
        }
        // What is offered finds no room: so the machine says when there is some, and gives the peer no longer than all have.
        let taken = stream.write(&[0], false);
        debug_assert_eq!(taken, 0, "there is no room");
        false
    }

    /// What goes before all octets, or in their place; whether there was anything.
    fn send_heads<S: MachineStream>(&mut self, stream: &mut S, side: Side) -> bool {
        let mut progress = false;
        if self.rare.is_some() {
            let interims = self.take_rare(|rare| Some(mem::take(&mut rare.interims))).unwrap_or_default();
            for head in interims {
                // The machine declines where the response has begun: then nobody waits for it.
                progress |= stream.respond(&head, false).is_ok();
            }
            if let Some((head, end_stream)) = self.take_rare(|rare| rare.head.take()) {
                progress = true;
                if let Err(error) = stream.respond(&head, end_stream) {
                    tracing::debug!(%error, "a response could not be sent");
                    self.reset(INTERNAL_ERROR);
                }
            }
        }
        if let Sent::Resetting(code) = self.sent {
            stream.reset(code.reason());
            self.sent = Sent::Dead(Death::Reset(code, side));
            progress = true;
        }
        progress
    }

    /// Octets of the outbox, with the end of our half if it is to follow; whether any were taken.
    fn send_octets<S: MachineStream>(&mut self, stream: &mut S, finishing: bool, spare: &mut BytesMut) -> bool {
        let mut progress = false;
        let trailers = self.rare.as_ref().is_some_and(|rare| rare.trailers_out.is_some());
        let is_whole = loop {
            let chunk = self.outbox.chunk();
            let is_last = chunk.len() == self.outbox.len();
            let taken = stream.write(chunk, is_last && finishing && !trailers);
            let is_whole = taken == chunk.len();
            progress |= taken > 0;
            if is_last && is_whole {
                break true;
            }
            self.outbox.advance(taken);
            if !is_whole {
                break false;
            }
        };
        if is_whole {
            *spare = mem::take(&mut self.outbox).into_spare();
            let trailers = if finishing { self.take_rare(|rare| rare.trailers_out.take()) } else { None };
            if let Some(Err(error)) = trailers.map(|trailers| stream.send_trailers(&trailers)) {
                tracing::debug!(%error, "trailers could not be sent");
                stream.write(&[], true);
            }
        }
        progress
    }

    /// Who waits for room, to be woken after the connection took from the outbox.
    ///
    /// Only when it did take something: whoever waits has octets in the outbox, and to wake it for nothing would go on for
    /// ever.
    fn take_waiting(&mut self, link: &Link) -> Waiting {
        self.forget_flush();
        let waiting = self.outbox.len();
        if waiting > link.limits.stream_send / 2 || !link.admits(waiting) {
            return Waiting::default();
        }
        self.admit_sender(link);
        let answers = self.waits.take(Wait::Answers);
        let receiver = if answers { self.take_receiver() } else { Waiter::Nobody };
        Waiting { sender: self.take_sender(), receiver, watcher: None }
    }

    /// As if the machine had taken all.
    #[cfg(test)]
    pub(crate) fn sent_all(&mut self) {
        self.outbox = super::Outbox::default();
    }
}
