//! What the phases of a run, and the clock, ask of a connection.

use std::time::Instant;

use super::super::failure::{Failure, Kind};
use super::super::ledger::{Ledger, Phase};
use super::super::plan::Task;
use super::super::socket::Socket;
use super::Connection;
use super::tunnel::{State, Tunnel};

impl Connection {
    /// Does what the phase and the clock ask for.
    pub(super) fn follow(&mut self, ledger: &mut Ledger) {
        let before = std::mem::replace(&mut self.phase, ledger.phase());
        if self.phase != before {
            if before == Phase::Opening {
                self.end_opening(&Failure::unopened(), 0, ledger);
            }
            self.enter(before, ledger);
        }
        while let Some((number, due)) = self.schedule.as_mut().and_then(|schedule| schedule.take(ledger.received())) {
            // Sockets take turns; the turn of one that failed is lost.
            let slot = if self.worker.plan.is_broadcast { 0 } else { number as usize % self.worker.plan.sockets };
            if let Some(Some(Tunnel { state: State::Open(socket), .. })) = self.tunnels.get_mut(slot) {
                socket.ask(due, ledger);
                self.pump(slot, ledger);
            }
        }
        if self.ticks != self.worker.ticks() {
            self.ticks = self.worker.ticks();
            self.check_time(ledger);
        }
    }

    fn enter(&mut self, before: Phase, ledger: &mut Ledger) {
        let plan = self.worker.plan.clone();
        match self.phase {
            Phase::Opening => {}
            Phase::Exchange(_) => self.each(ledger, |socket, ledger| socket.ask(ledger.received(), ledger)),
            Phase::Running { .. } if matches!(before, Phase::Running { .. }) => {}
            Phase::Running { .. } => {
                self.schedule = plan.schedule(self.phase, self.number);
                self.each(ledger, |socket, ledger| socket.begin(&plan, ledger));
            }
            Phase::Hold => {
                self.each(ledger, |socket, _| socket.shrink());
                self.shrink();
            }
            Phase::Draining => self.schedule = None,
            Phase::Closing => {
                self.schedule = None;
                self.each(ledger, |socket, _| socket.close());
                self.end_stalled(ledger);
            }
        }
    }

    /// Does something with each open socket, and sends what comes of it.
    fn each(&mut self, ledger: &mut Ledger, mut action: impl FnMut(&mut Socket, &mut Ledger)) {
        for slot in 0..self.tunnels.len() {
            if let Some(Tunnel { state: State::Open(socket), .. }) = &mut self.tunnels[slot] {
                action(socket, ledger);
                self.pump(slot, ledger);
            }
        }
    }

    /// Frees what a quiet connection does not need. Where it matters thousands of them are quiet most of the time.
    pub(super) fn shrink(&mut self) {
        self.wire.pump.shrink();
    }

    /// Resets the streams that are not read: no Close of theirs could come.
    fn end_stalled(&mut self, ledger: &mut Ledger) {
        if self.worker.plan.stalled == 0 {
            return;
        }
        for slot in 0..self.tunnels.len() {
            if let Some(Tunnel { id, state: State::Open(socket), .. }) = &self.tunnels[slot]
                && socket.task() == Task::Stall
            {
                self.end(*id, Failure::new(Kind::Closed, "the end of the run"), ledger);
            }
        }
    }

    /// Gives up what has taken too long.
    fn check_time(&mut self, ledger: &mut Ledger) {
        self.wire.pump.handle_timeout(Instant::now());
        let plan = self.worker.plan.clone();
        let timeout = u64::try_from(plan.timeout.as_nanos()).unwrap_or(u64::MAX);
        self.end_opening(&Failure::timeout("the answer to the handshake"), timeout, ledger);
        if !ledger.is_waiting() {
            return;
        }
        for slot in 0..self.tunnels.len() {
            if let Some(Tunnel { id, state: State::Open(socket), .. }) = &self.tunnels[slot]
                && let Err(failure) = socket.check_time(&plan, ledger)
            {
                self.end(*id, failure, ledger);
            }
        }
    }
}
