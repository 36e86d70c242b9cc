//! A handler that runs inside its connection's task needs no lock for what it receives and sends.
//!
//! While the connection polls a handler, it lays its own buffers on the desk of the thread, by way of the machine's
//! [`Loan`]. What a socket does meanwhile finds the desk to be its cell's, and reads and writes there. Anything else goes
//! through the cell and its lock: other tasks, other threads, other sockets, what finds no room, and every step that is not
//! a matter of octets.
//!
//! Why that is right:
//!
//! - **Only a calm cell gets the desk.** Calm means: a tunnel open both ways, nothing in inbox and outbox, nothing to be said
//!   or done. The carrier finds this out under the lock, and whoever takes the lock afterwards ends it ([`StreamCell::lock`]).
//! - **What is received stays in order.** Nobody but the carrier fills the inbox, and during a visit the carrier is busy with
//!   the handler. What is left on the desk goes to the inbox, before anything that comes later, and wakes whoever waits there.
//! - **What is sent stays in order.** The carrier sends what was put on the desk before it looks into the outbox. So nothing
//!   may be put on the desk once the outbox has been used. It is then calm no more, which every sender sees: to send at all
//!   it must have, or have been given, the socket that was used, and that orders it behind what was done with it.
//! - **No wake-up is lost.** A calm cell may be [listening](StreamCell::is_listening), which says that its receiver waits as
//!   the handler. That stays so until the lock is taken, through any number of visits.
//!
//! A handler may leave the visit with its socket gone, split, or sent to another thread; it may panic, or run a runtime of
//! its own, whose connections find the desk taken and use their locks.

use std::cell::{Cell, RefCell};
use std::ptr;

use bytes::{Bytes, BytesMut};
use sockeye_proto::Loan;

use super::StreamCell;

thread_local! {
    /// Whose visit it is, as an address that is only ever compared.
    static VISITED: Cell<*const StreamCell> = const { Cell::new(ptr::null()) };
    /// Whether something on the desk is not read yet.
    static UNREAD: Cell<bool> = const { Cell::new(false) };
    static DESK: RefCell<Loan> = RefCell::default();
}

/// For the carrier while it polls the handler of a calm cell: its buffers lie on the desk until this is dropped, also by a
/// panic. The cell lives for as long, so that no other has its address.
pub(crate) struct Visit<'a, L: Lender> {
    cell: &'a StreamCell,
    lender: L,
}

/// Who lays buffers on the desk.
pub(crate) trait Lender {
    fn lend(&mut self, loan: &mut Loan);
    /// Takes the buffers back.
    fn settle(&mut self, loan: &mut Loan);
}

impl<'a, L: Lender> Visit<'a, L> {
    /// Lets `lender` lay something on the desk; none where the desk is taken.
    #[inline]
    pub(crate) fn begin(cell: &'a StreamCell, mut lender: L) -> Option<Self> {
        if !VISITED.get().is_null() {
            return None;
        }
        let laid = DESK.try_with(|desk| {
            let mut loan = desk.borrow_mut();
            lender.lend(&mut loan);
            UNREAD.set(!loan.unread().is_empty());
            VISITED.set(cell);
        });
        // A thread that ends has no desk any more.
        laid.is_ok().then_some(Self { cell, lender })
    }
}

impl<L: Lender> Drop for Visit<'_, L> {
    /// Clears the desk: what the handler left there waits in the cell.
    #[inline]
    fn drop(&mut self) {
        debug_assert!(ptr::eq(VISITED.get(), self.cell), "a visit ends before another begins");
        VISITED.set(ptr::null());
        let left = DESK.with_borrow_mut(|loan| {
            let octets = loan.unread();
            let left = (!octets.is_empty()).then(|| BytesMut::from(&*octets));
            loan.read(usize::MAX);
            self.lender.settle(loan);
            left
        });
        if let Some(left) = left {
            self.cell.put_back(left);
        }
    }
}

/// For the handler, if the desk is laid for this cell: lets `read` take octets off what is left there, if anything is. It
/// says how many.
#[inline(always)]
pub(super) fn read<T>(cell: &StreamCell, read: impl FnOnce(&mut [u8]) -> (usize, T)) -> Option<T> {
    if !ptr::eq(VISITED.get(), cell) || !UNREAD.get() {
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

/// For the handler, if the desk is laid for this cell and has room for `size` octets: sends what `fill` appends, and behind
/// that what it returns. What turned out to be too much is handed back, and so is `fill` where there is no such desk.
#[inline]
pub(super) fn put<T, F>(cell: &StreamCell, size: usize, fill: F) -> Result<(T, Option<BytesMut>), F>
where
    F: FnOnce(&mut BytesMut) -> (T, Option<Bytes>),
{
    if !ptr::eq(VISITED.get(), cell) {
        return Err(fill);
    }
    DESK.with_borrow_mut(|loan| {
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
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Version;

    use super::*;
    use crate::carrier::{Carrier, Facts, Limits, Side};
    use crate::registry::Registry;

    /// A lender without anything to read, or room to send.
    struct Nothing;

    impl Lender for Nothing {
        fn lend(&mut self, _: &mut Loan) {}

        fn settle(&mut self, _: &mut Loan) {}
    }

    fn cell() -> Arc<StreamCell> {
        let facts = Facts { side: Side::Server, peer: None, version: Version::HTTP_2, secure: false };
        StreamCell::new(Carrier::new(&Arc::<Registry>::default(), Limits::default(), facts), 0)
    }

    /// A handler that was woken by something else than DATA finds nothing to read, and so takes no lock to see that.
    #[test]
    fn a_desk_without_data_is_not_read() {
        let cell = cell();
        let visit = Visit::begin(&cell, Nothing);
        assert!(visit.is_some());
        assert!(Visit::begin(&cell, Nothing).is_none(), "the desk is taken");
        assert_eq!(read(&cell, |octets| (0, octets.len())), None);
        drop(visit);
        assert!(Visit::begin(&cell, Nothing).is_some(), "the desk is free again");
    }

    /// A visit that a panic ends leaves no desk behind that another cell could take for its own.
    #[test]
    fn a_panic_clears_the_desk() {
        let cell = cell();
        let visited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _visit = Visit::begin(&cell, Nothing);
            panic!("a handler does");
        }));
        assert!(visited.is_err());
        assert!(put(&cell, 0, |_| ((), None)).is_err(), "the desk is not the cell's any more");
        assert!(Visit::begin(&cell, Nothing).is_some());
    }
}
