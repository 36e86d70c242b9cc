//! How the sockets of a connection come to be open.

use http::Response;
use sockeye_proto::h2::StreamId;
use sockeye_proto::ws::handshake::Carrier;

use super::super::failure::{Failure, Kind};
use super::super::ledger::Ledger;
use super::super::plan::Task;
use super::super::socket::Socket;
use super::failure::not_opened;
use super::tunnel::{State, Tunnel};
use super::{Connection, tunnel};

/// Handshakes of a connection that wait for their answers at the same time.
const MAX_OPENING: usize = 1000;

impl Connection {
    /// The server's first SETTINGS have come.
    pub(super) fn begin(&mut self, ledger: &mut Ledger) {
        if !self.machine().extended_connect_allowed() {
            // RFC 8441 §3
            let what = "the server does not offer the extended CONNECT by its SETTINGS";
            return self.end_all(&Failure::new(Kind::NotOffered, what), ledger);
        }
        self.is_offered = true;
        self.tunnels.reserve_exact(self.to_open);
        ledger.count_connected();
        self.open(ledger);
    }

    /// Opens streams for sockets that have none.
    fn open(&mut self, ledger: &mut Ledger) {
        while self.to_open > 0 && self.opening < MAX_OPENING {
            let plan = &self.worker.plan;
            let id = match self.wire.pump.machine().open(&plan.request, false) {
                Ok(id) => id,
                Err(error) => {
                    let failure = not_opened(error, self.machine().peer_settings());
                    ledger.count_unopened(failure, std::mem::take(&mut self.to_open));
                    return self.close_if_empty();
                }
            };
            let (number, task) = plan.socket(self.number, plan.sockets_each() - self.to_open);
            self.to_open -= 1;
            self.opening += 1;
            self.held += 1;
            if self.tunnels.len() <= id.slot() {
                self.tunnels.resize_with(id.slot() + 1, || None);
            }
            let state = State::Asked { since: ledger.received(), number, task };
            self.tunnels[id.slot()] = Some(Tunnel { id, state, unsent: None });
        }
    }

    pub(super) fn respond(&mut self, id: StreamId, response: &Response<()>, ledger: &mut Ledger) {
        let Some(tunnel) = tunnel(&mut self.tunnels, id) else { return };
        let State::Asked { number, task, .. } = tunnel.state else { return };
        if response.status().is_informational() {
            return;
        }
        let plan = &self.worker.plan;
        if let Err(error) = plan.handshake.check(Carrier::Http2, response) {
            self.end(id, Failure::new(Kind::Refused, error.to_string()), ledger);
            return self.open(ledger);
        }
        if task == Task::Beside {
            self.beside.slot = Some(id.slot());
        }
        tunnel.state = State::Open(Socket::new(number, task, plan));
        self.opening -= 1;
        ledger.count_opened();
        self.open(ledger);
    }

    /// Gives up the sockets that have been waiting for their answer for so many nanoseconds.
    pub(super) fn end_opening(&mut self, failure: &Failure, timeout: u64, ledger: &mut Ledger) {
        if timeout == 0 && self.to_open > 0 {
            ledger.count_unopened(failure.clone(), std::mem::take(&mut self.to_open));
            self.close_if_empty();
        }
        if self.opening == 0 {
            return;
        }
        for slot in 0..self.tunnels.len() {
            if let Some(Tunnel { id, state: State::Asked { since, .. }, .. }) = self.tunnels[slot]
                && ledger.received().saturating_sub(since) >= timeout
            {
                self.end(id, failure.clone(), ledger);
            }
        }
        self.open(ledger);
    }
}
