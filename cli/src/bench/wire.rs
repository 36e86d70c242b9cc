//! One connection: its transport, and the machine that speaks on it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use sockeye_proto::{Machine, Pump, Step};
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

use super::buffers::ReadBuffer;
use super::ledger::Ledger;
use crate::dial::Transport;
use crate::words::{of_tls, tls_of};

/// A transport, and what drives its machine.
pub(super) struct Wire<M> {
    transport: Transport,
    pub(super) pump: Pump<M>,
    /// When something last came.
    now: Instant,
    /// What TLS said in place of an answer.
    pub(super) refusal: Option<String>,
}

impl<M: Machine> Wire<M> {
    pub(super) fn new(transport: Transport, pump: Pump<M>) -> Self {
        Self { transport, pump, now: Instant::now(), refusal: None }
    }

    /// Reads once, where it is time to read, and hands over what came; whether anything did. The ledger's batch begins before
    /// any of it is handled.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, buffer: &ReadBuffer, ledger: &mut Ledger) -> bool {
        if !self.pump.wants_input() {
            ledger.begin_batch();
            return false;
        }
        buffer.lend(self.pump.input());
        let read = poll_read_buf(Pin::new(&mut self.transport), cx, self.pump.input());
        ledger.begin_batch();
        let received = read.is_ready();
        if let Poll::Ready(read) = read {
            self.now = Instant::now();
            match read {
                Ok(0) => self.pump.handle_eof(self.now),
                Ok(_) => self.pump.handle_input(self.now),
                Err(error) => {
                    self.refusal = tls_of(&error).map(of_tls);
                    self.pump.handle_failure(self.now);
                }
            }
        }
        buffer.take_back(self.pump.input());
        received
    }

    /// What is next, from [`Pump::step`]. What the transport can do about it is done; `Pending` where it can do nothing yet.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let step = self.pump.step(self.now);
        match step {
            Step::Write => match ready!(Pin::new(&mut self.transport).poll_write(cx, self.pump.output())) {
                Ok(octets @ 1..) => self.pump.handle_written(octets),
                Ok(0) | Err(_) => self.pump.handle_failure(self.now),
            },
            // TLS may still hold some of what was written.
            Step::Await if ready!(Pin::new(&mut self.transport).poll_flush(cx)).is_err() => {
                self.pump.handle_failure(self.now);
                return Poll::Ready(self.pump.step(self.now));
            }
            Step::Closed => drop(ready!(Pin::new(&mut self.transport).poll_flush(cx))),
            // HTTP/2 ends its streams, and never half of its transport.
            Step::Event(_) | Step::Await | Step::Shutdown => {}
        }
        Poll::Ready(step)
    }
}
