//! One stream of a connection, and how octets pass between it and its socket.

use bytes::{Buf as _, BytesMut};
use sockeye_proto::Loan;
use sockeye_proto::h2::{Stream, StreamId};

use super::super::ledger::Ledger;
use super::super::plan::Plan;
use super::super::socket::{Socket, Task};
use super::super::worker::Spares;

/// Octets of the largest DATA frame that the machine takes at once.
const QUANTUM: usize = 16 << 10;

/// One stream.
pub(super) struct Tunnel {
    pub(super) id: StreamId,
    pub(super) state: State,
    /// Octets of frames that windows held back.
    pub(super) unsent: Option<Box<BytesMut>>,
}

pub(super) enum State {
    /// The request was sent, at this time in nanoseconds.
    Asked {
        since: u64,
        number: u32,
        task: Task,
    },
    Open(Socket),
    /// Both Closes are done, and our END_STREAM is sent.
    Closed,
}

/// A load of a million sockets has a million of these.
const _: () = assert!(size_of::<Option<Tunnel>>() <= 232);

/// What passing octets takes.
pub(super) struct Means<'a> {
    pub(super) loan: &'a mut Loan,
    pub(super) spares: &'a Spares,
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
}

impl Means<'_> {
    /// Takes what came for a socket where it stands, and sends what comes of it. False where there is more than messages as
    /// they were sent: the rest is to be read.
    #[inline]
    pub(super) fn exchange(
        &mut self,
        stream: &mut Stream<'_>,
        socket: &mut Socket,
        unsent: &mut Option<Box<BytesMut>>,
    ) -> bool {
        stream.lend(self.loan);
        let taken = socket.take(self.loan.unread(), self.plan, self.ledger);
        self.loan.read(taken);
        let is_all = self.loan.unread().is_empty();
        if is_all && unsent.is_none() && socket.is_ready(self.plan, self.ledger) {
            self.put(socket);
        }
        stream.settle(self.loan);
        if is_all {
            self.send(stream, socket, unsent);
        }
        is_all
    }

    /// Sends what a socket has, as far as it goes: each message in a DATA frame of its own, or in several.
    #[inline]
    pub(super) fn send(&mut self, stream: &mut Stream<'_>, socket: &mut Socket, unsent: &mut Option<Box<BytesMut>>) {
        while unsent.is_some() || socket.is_ready(self.plan, self.ledger) {
            if unsent.is_none() {
                stream.lend(self.loan);
                let is_put = self.put(socket);
                stream.settle(self.loan);
                if is_put {
                    continue;
                }
                let mut octets = self.spares.take();
                socket.encode(&mut octets, self.plan, self.ledger);
                *unsent = Some(octets);
            }
            if !self.send_rest(stream, unsent) {
                break; // Event::Writable follows
            }
        }
    }

    /// Encodes what is next where the transport takes it from, if all of it is sure to find room there.
    #[inline]
    fn put(&mut self, socket: &mut Socket) -> bool {
        let largest = self.plan.messages(socket.task()).largest_frame();
        let fits = self.loan.room() >= largest;
        if fits {
            self.loan.put(|output| socket.encode(output, self.plan, self.ledger));
        }
        fits
    }

    /// Sends what was held back; whether that was all of it.
    fn send_rest(&mut self, stream: &mut Stream<'_>, unsent: &mut Option<Box<BytesMut>>) -> bool {
        while let Some(octets) = unsent {
            let piece = &octets[..octets.len().min(QUANTUM)];
            let taken = stream.write(piece, false);
            if taken < piece.len() {
                octets.advance(taken);
                return false;
            }
            octets.advance(taken);
            if octets.is_empty()
                && let Some(octets) = unsent.take()
            {
                self.spares.give_back(octets);
            }
        }
        true
    }
}
