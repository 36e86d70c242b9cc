//! The port: every octet that leaves a stream's application, or comes to it, passes here.
//!
//! A handler that runs inside its connection's task needs no lock for what it receives and sends. While the connection polls
//! it, a [`Visit`] lays the connection's own buffers on the desk of the thread, by way of the machine's [`Loan`]. What a
//! socket does meanwhile finds the desk to be its cell's, and reads and writes there. Everything else passes by the cell and
//! its lock: other tasks, other threads, other sockets, what finds no room, and every step that is not a matter of octets.
//! Only this file asks which of the two it is.
//!
//! Why that is right:
//!
//! - **Only a quiet cell gets the desk.** Quiet means: a tunnel open both ways, nothing in inbox and outbox, nothing to be
//!   said or done. The connection finds this out under the lock, and whoever takes the lock afterwards ends it
//!   ([`StreamCell::lock`]).
//! - **What is received stays in order.** Nobody but the connection fills the inbox, and during a visit the connection is
//!   busy with the handler. What is left on the desk stays with the machine, before anything that comes later, until somebody
//!   asks the cell for it.
//! - **What is sent stays in order.** The connection sends what was put on the desk before it looks into the outbox. So
//!   nothing may be put on the desk once the outbox has been used. It is then quiet no more, which every sender sees: to send
//!   at all it must have, or have been given, the socket that was used, and that orders it behind what was done with it.
//! - **What other tasks hand over stays in order, too.** What finds the outbox empty goes onto the connection's list
//!   ([`Link::hand_over`](crate::engine::link::Link::hand_over)) while the cell's lock is held, and all that stands there was
//!   sent before what stands in the outbox. Whoever takes from the outbox takes from the list first, under the same lock; so a
//!   cell that is found to be quiet has nothing there.
//! - **No wake-up is lost.** A quiet cell may be [listening](StreamCell::is_listening), which says that its receiver waits
//!   as the handler. That stays so until the lock is taken, through any number of visits.
//!
//! A handler may leave the visit with its socket gone, split, or sent to another thread; it may panic, or run a runtime of
//! its own, whose connections lay their buffers on top and take them off again.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use sockeye_proto::{Loan, MachineStream};
use tokio::io::ReadBuf;

use super::ends::Input;
use super::state::waiters::Who;
use super::state::{Ending, StreamState};
use super::{StreamCell, StreamHandle};
use crate::engine::members::Sent;
#[cfg(sockeye_model)]
use crate::engine::sync::keys::{CellKey as _, RefCellKey as _};
use crate::error::Result;

crate::engine::sync::thread_local! {
    /// Whose visit it is, by its key; 0 is nobody's.
    static VISITED: Cell<u64> = const { Cell::new(0) };
    /// Whether something on the desk is not read yet.
    static UNREAD: Cell<bool> = const { Cell::new(false) };
    static DESK: RefCell<Loan> = RefCell::default();
    /// What lies under the buffers of a visit within a visit.
    static BENEATH: RefCell<Vec<Loan>> = const { RefCell::new(Vec::new()) };
}

/// For the connection while it polls the handler of a quiet cell: its buffers lie on the desk until this is dropped, also
/// by a panic.
pub(crate) struct Visit<'a, S: MachineStream> {
    cell: &'a StreamCell,
    stream: S,
    /// Whose visit this one lies on, by its key.
    outer: u64,
}

impl<'a, S: MachineStream> Visit<'a, S> {
    /// Lays the buffers of the machine's `stream` on the desk; none in a thread that ends, which has no desk any more.
    #[inline]
    pub(crate) fn begin(cell: &'a StreamCell, mut stream: S) -> Option<Self> {
        let outer = VISITED.get();
        debug_assert!(outer != cell.key(), "no handler is polled within itself");
        if outer != 0 {
            clear_desk();
        }
        let laid = DESK.try_with(|desk| {
            let mut loan = desk.borrow_mut();
            stream.lend(&mut loan);
            UNREAD.set(loan.has_unread());
            VISITED.set(cell.key());
        });
        laid.is_ok().then_some(Self { cell, stream, outer })
    }
}

/// For a visit within a visit.
#[cold]
fn clear_desk() {
    BENEATH.with_borrow_mut(|beneath| beneath.push(DESK.take()));
}

/// What lay beneath lies on top again.
#[cold]
fn uncover_desk() {
    if let Some(loan) = BENEATH.with_borrow_mut(Vec::pop) {
        DESK.with_borrow_mut(|desk| {
            *desk = loan;
            UNREAD.set(desk.has_unread());
        });
    }
}

impl<S: MachineStream> Drop for Visit<'_, S> {
    /// Clears the desk: what the handler left there stays with the connection.
    #[inline]
    fn drop(&mut self) {
        debug_assert_eq!(VISITED.get(), self.cell.key(), "a visit within this one has ended");
        VISITED.set(self.outer);
        let is_left = UNREAD.get();
        DESK.with_borrow_mut(|loan| {
            debug_assert_eq!(is_left, loan.has_unread(), "the handler reads by the port alone");
            self.stream.settle(loan);
        });
        if is_left {
            self.cell.leave_unread();
        }
        if self.outer != 0 {
            uncover_desk();
        }
    }
}

/// Who wants to send, and whether it waits for room.
pub(crate) enum Room<'a, 'b> {
    /// A sender, who waits.
    Wait(&'a Context<'b>),
    /// A receiver, who has to answer: it is woken when there is room.
    Answer(&'a Context<'b>),
    /// Nobody waits: the limit is looked at elsewhere, or the octets are the last and few.
    Now,
}

/// The application's side.
impl StreamHandle {
    /// Lets `read` take octets off the front of what has just arrived, if this is the handler and some of it is left: it says
    /// how many.
    #[inline(always)]
    pub(crate) fn read_in_place<T>(&self, read: impl FnOnce(&mut [u8]) -> (usize, T)) -> Option<T> {
        // In this order: behind the last message of a visit nothing is left, whosever visit it is.
        if !UNREAD.get() || VISITED.get() != self.cell().key() {
            return None;
        }
        DESK.with_borrow_mut(|loan| {
            let unread = loan.unread();
            let (octets, value) = read(unread);
            UNREAD.set(octets < unread.len());
            loan.read(octets);
            Some(value)
        })
    }

    /// Lets `read` take octets off the front of what waits in the cell, and says how many, where they are few: the others are
    /// left in `rest`. None where there is anything else for [`poll_read`](Self::poll_read).
    #[inline]
    pub(crate) fn poll_read_few<T>(
        &self,
        cx: &mut Context<'_>,
        rest: &mut BytesMut,
        read: impl FnOnce(&mut [u8]) -> (usize, T),
    ) -> Poll<Option<T>> {
        self.receive(cx, |state, who| state.receive_few(who, rest, read))
    }

    /// Appends what has arrived, and is not to be read in place, to `input`.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<Result<Input>> {
        self.receive(cx, |state, who| state.receive(who, input))
    }

    /// Reads what has arrived, and is not to be read in place, into `buffer`, as much of it as there is room for.
    pub(crate) fn poll_read_into(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<Input>> {
        self.receive(cx, |state, who| state.receive_into(who, buffer))
    }

    /// Reads by `receive` what waits in the cell; the connection hears of it where it or the peer waits for that.
    #[inline]
    fn receive<T>(&self, cx: &mut Context<'_>, receive: impl FnOnce(&mut StreamState, Who<'_>) -> T) -> T {
        let cell = self.cell();
        let mut state = cell.lock();
        let received = receive(&mut state, self.who(cx));
        let wants_more = state.wants_more();
        drop(state);
        if wants_more {
            cell.queue();
        }
        received
    }

    /// Lets `fill` append `size` octets, or not many more, to what is sent, and what it returns behind that, where the
    /// connection's own buffer lies on the desk; hands `fill` back where it does not.
    #[inline]
    pub(crate) fn append_in_place<T, F>(&self, size: usize, fill: F) -> std::result::Result<T, F>
    where
        F: FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    {
        let cell = self.cell();
        if !cell.is_quiet() || VISITED.get() != cell.key() {
            return Err(fill);
        }
        let put = DESK.with_borrow_mut(|loan| {
            if loan.room() < size {
                return Err(fill);
            }
            Ok(loan.put(|output| {
                let (value, payload) = fill(output);
                if let Some(payload) = payload {
                    output.extend_from_slice(&payload);
                }
                value
            }))
        });
        let (value, rest) = put?;
        if let Some(rest) = rest {
            // In the rare case that it turned out to be too much. The outbox is empty: the cell is quiet.
            cell.lock().append(|outbox| (*outbox = rest, None));
            cell.queue();
        }
        Ok(value)
    }

    /// Reserves room, and lets `fill` append to what is sent: `size` octets, or not many more. What it returns is sent behind
    /// that.
    #[inline]
    pub(crate) fn poll_append<T>(
        &self,
        size: usize,
        room: Room<'_, '_>,
        fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    ) -> Poll<Result<T>> {
        match self.append_in_place(size, fill) {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(fill) => self.poll_append_in_cell(size, room, fill),
        }
    }

    /// [`poll_append`](Self::poll_append) of what there is no desk for.
    #[inline(never)]
    pub(crate) fn poll_append_in_cell<T>(
        &self,
        size: usize,
        room: Room<'_, '_>,
        fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    ) -> Poll<Result<T>> {
        let cell = self.cell();
        let mut state = cell.lock();
        state.check_open()?;
        let has_room = cell.link().admits(state.waiting_octets());
        match room {
            Room::Wait(cx) if !has_room => {
                state.put_sender(self.who(cx));
                state.hold_sender(size, cell.link());
                return Poll::Pending;
            }
            Room::Answer(cx) => {
                state.put_answerer(self.who(cx), has_room);
                if !has_room {
                    return Poll::Pending;
                }
            }
            Room::Wait(_) => state.admit_sender(cell.link()),
            Room::Now => {}
        }
        let is_elsewhere = match room {
            Room::Wait(cx) | Room::Answer(cx) => !self.is_handler(cx),
            Room::Now => false,
        };
        // A group that waits for the end of this message is told by the connection, which looks at the cell.
        let may_hand_over = is_elsewhere && state.may_hand_over() && !cell.is_behind();
        let value = state.append(fill);
        // Another task's goes past the cell. Under the lock: what is sent later, by whichever way, comes later.
        let handed_over = match may_hand_over.then(|| state.take_few()).flatten() {
            Some(octets) => cell.link().hand_over(cell.address(), octets).map_err(|octets| state.put_few_back(octets)),
            None => Err(()),
        };
        drop(state);
        match handed_over {
            Ok(sleeper) => sleeper.wake(),
            Err(()) => cell.queue(),
        }
        Poll::Ready(Ok(value))
    }

    /// Ready where what is sent next may be made. While so much waits for the peer that the connection is
    /// [crowded](crate::engine::link::Link::is_crowded), that is only where nothing waits on this stream and its peer takes more: or each
    /// of many streams would hold a piece, and one more to follow, that nobody takes.
    pub(crate) fn poll_turn(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        let cell = self.cell();
        if !cell.link().is_crowded() {
            return Poll::Ready(Ok(()));
        }
        let mut state = cell.lock();
        state.check_open()?;
        let is_given = state.take_turn(self.who(cx));
        drop(state);
        if is_given {
            return Poll::Ready(Ok(()));
        }
        cell.queue();
        Poll::Pending
    }

    /// [`poll_append`](Self::poll_append), whatever the room.
    pub(crate) fn append_now<T>(
        &self,
        size: usize,
        fill: impl FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
    ) -> Result<T> {
        match self.poll_append(size, Room::Now, fill) {
            Poll::Ready(appended) => appended,
            Poll::Pending => unreachable!("who does not wait for room has it"),
        }
    }

    /// Appends the last octets, whatever the room: they are few. The end of our half goes with them.
    pub(crate) fn append_last(&self, ending: Ending, fill: impl FnOnce(&mut BytesMut)) {
        self.cell().lock().finish(ending, fill);
        self.cell().queue();
    }
}

/// For the connection: sends a whole frame of a group's, where messages may be sent still and nothing waits to go before it.
/// `stream` is the machine's, if it has it.
pub(crate) fn send_frame<S: MachineStream>(cell: &StreamCell, stream: Option<S>, frame: &Bytes) -> Sent {
    debug_assert!(VISITED.get() != cell.key(), "a frame from elsewhere goes behind all that a handler has put");
    let Some(mut stream) = stream else { return Sent::Never };
    if cell.takes_no_message() || !cell.is_quiet() {
        let sent = cell.send_frame(&mut stream, frame);
        cell.queue();
        return sent;
    }
    let taken = stream.write(frame, false);
    if taken == 0 {
        // The machine tells when there is room.
        cell.fall_behind();
        return Sent::Full;
    }
    if taken < frame.len() {
        cell.put_first(frame.slice(taken..));
    }
    Sent::Taken
}

/// [`send_frame`] of what had to wait, for the connection that has just looked at all of the cell.
pub(crate) fn send_late_frame<S: MachineStream>(cell: &StreamCell, stream: Option<S>, frame: &Bytes) -> Sent {
    stream.map_or(Sent::Never, |mut stream| cell.send_frame(&mut stream, frame))
}

#[cfg(test)]
mod tests;
