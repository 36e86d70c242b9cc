//! Waiting until all that a connection has taken is with the transport.

use std::sync::Arc;

use super::{Ended, FLUSHING, Link, TOLD};

/// How a connection has ended, to those who flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not.
    #[default]
    None,
    /// The transport took all that it was given.
    Flushed,
    /// The transport failed, or was given up.
    Lost,
}

/// Whoever waits until all that a connection has taken is with the transport.
pub(crate) trait Flusher: Send + Sync {
    fn flushed(&self, flush: Flush);
}

/// How far it is that whoever flushes waits for. A cell is not quiet meanwhile, so that what is sent passes by its outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Flush {
    /// Nobody has asked.
    #[default]
    None,
    /// The connection is to tell.
    Asked,
    /// All that the connection had taken is with the transport, and it has taken nothing since.
    Done,
    /// The transport did not take it, and never will.
    Lost,
}

impl Link {
    /// The transport takes nothing more: whoever flushes is told so, and whoever waits to send to a group when what is returned
    /// is dropped.
    pub(crate) fn end(&self, end: End) -> Ended {
        let (end, groups, flushes) = {
            let mut ready = self.ready();
            // What was handed over and not taken by now is lost.
            let end = if ready.handed.take().is_some_and(|handed| !handed.is_empty()) { End::Lost } else { end };
            if ready.end == End::None {
                ready.end = end;
            }
            if let Some(rare) = &mut ready.rare {
                // Nobody is to be told any more.
                rare.blames = 0;
            }
            self.set_news(if ready.slots.is_empty() { 0 } else { TOLD });
            (ready.end, ready.end_groups(), ready.take_flushes())
        };
        for cell in flushes {
            cell.flushed(if end == End::Flushed { Flush::Done } else { Flush::Lost });
        }
        groups
    }

    /// Asks the connection to tell a cell once all that it has taken is with the transport; says how it has ended, if it has.
    pub(crate) fn ask_flush(&self, cell: Arc<dyn Flusher>) -> End {
        let sleeper = {
            let mut ready = self.ready();
            if ready.end != End::None {
                return ready.end;
            }
            ready.rare().flushes.push(cell);
            self.set_news(self.news() | FLUSHING);
            ready.call(self.is_awake())
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        End::None
    }

    /// For the connection at a moment when it has nothing left to write and the transport is flushed: tells those who wait
    /// for that. Whether there were any.
    pub(crate) fn settle_flushes(&self) -> bool {
        if self.news() & FLUSHING == 0 {
            return false;
        }
        let flushes = {
            let mut ready = self.ready();
            if ready.has_handed() {
                // It was handed over before this was asked, and is still to be written.
                return false;
            }
            self.set_news(self.news() & !FLUSHING);
            ready.take_flushes()
        };
        for cell in &flushes {
            cell.flushed(Flush::Done);
        }
        !flushes.is_empty()
    }
}
