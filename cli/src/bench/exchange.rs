//! How octets pass between a socket and the stream that carries it.

use bytes::{Buf as _, BytesMut};
use sockeye_proto::{Loan, MachineStream};

use super::buffers::Spares;
use super::ledger::Ledger;
use super::plan::{Plan, Task};
use super::socket::Socket;

/// Octets of the largest DATA frame that the machine takes at once.
const QUANTUM: usize = 16 << 10;

/// What passing octets takes.
pub(super) struct Means<'a> {
    pub(super) loan: &'a mut Loan,
    pub(super) spares: &'a Spares,
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
}

impl Means<'_> {
    /// Takes what came for a socket where it stands, and sends what comes of it, unless that goes on beside the load. False
    /// where there is more than messages as they were sent: the rest is to be read.
    #[inline]
    pub(super) fn exchange(
        &mut self,
        stream: &mut impl MachineStream,
        socket: &mut Socket,
        unsent: &mut Option<Box<BytesMut>>,
    ) -> bool {
        stream.lend(self.loan);
        let taken = socket.take(self.loan.unread(), self.plan, self.ledger);
        self.loan.read(taken);
        let is_all = self.loan.unread().is_empty();
        let sends = is_all && socket.task() != Task::Beside;
        if sends && unsent.is_none() && socket.is_ready(self.plan, self.ledger) {
            self.put(socket);
        }
        stream.settle(self.loan);
        if sends {
            self.send(stream, socket, unsent, usize::MAX);
        }
        is_all
    }

    /// Sends what a socket has, as far as it goes, in so many DATA frames at most: each message in one of its own, or in
    /// several. Whether anything was sent.
    #[inline]
    pub(super) fn send(
        &mut self,
        stream: &mut impl MachineStream,
        socket: &mut Socket,
        unsent: &mut Option<Box<BytesMut>>,
        max_frames: usize,
    ) -> bool {
        let (mut frames, mut has_sent) = (0, false);
        while frames < max_frames && (unsent.is_some() || socket.is_ready(self.plan, self.ledger)) {
            frames += 1;
            if unsent.is_none() {
                stream.lend(self.loan);
                let is_put = self.put(socket);
                stream.settle(self.loan);
                if is_put {
                    has_sent = true;
                    continue;
                }
                let mut octets = self.spares.take();
                socket.encode(&mut octets, self.plan, self.ledger);
                *unsent = Some(octets);
            }
            let taken = self.send_piece(stream, unsent);
            has_sent |= taken > 0;
            if unsent.is_some() && taken < QUANTUM {
                break; // Event::Writable follows
            }
        }
        has_sent
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

    /// Sends what one DATA frame holds of what was held back; how many octets went.
    fn send_piece(&mut self, stream: &mut impl MachineStream, unsent: &mut Option<Box<BytesMut>>) -> usize {
        let Some(octets) = unsent else { return 0 };
        let taken = stream.write(&octets[..octets.len().min(QUANTUM)], false);
        octets.advance(taken);
        if octets.is_empty()
            && let Some(octets) = unsent.take()
        {
            self.spares.give_back(octets);
        }
        taken
    }
}
