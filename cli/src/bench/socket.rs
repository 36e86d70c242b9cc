//! One WebSocket under load, whatever carries it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use sockeye_proto::ws::{CloseCode, CloseFrame, Config, Event, Message, Role, State, WebSocket};

use super::failure::{Failure, Kind};
use super::ledger::{Ledger, Phase};
use super::plan::Plan;
use crate::escape::printable;

/// Octets in a message of the server's, however small ours are: merged ones are to be seen.
const MIN_MESSAGE_LIMIT: usize = 1 << 20;

/// What a batch of octets did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The socket goes on.
    Messages,
    /// Both Closes are done.
    Closed,
}

/// The machine, and the messages that are on their way.
pub(super) struct Socket {
    number: u32,
    machine: WebSocket,
    /// When each message that is not answered was due, in nanoseconds, oldest first. The first ones are sent.
    due: VecDeque<u64>,
    sent: u64,
    answered: u64,
}

impl Socket {
    pub(super) fn new(number: u32, plan: &Plan) -> Self {
        let config = Config {
            max_message_size: plan.messages.sizes().max().saturating_mul(4).max(MIN_MESSAGE_LIMIT),
            // A server may cut its messages as it likes.
            max_fragments: u32::MAX,
            ..Config::default()
        };
        let machine = WebSocket::new(Role::Client { mask_key: rand::random }, config);
        Self { number, machine, due: VecDeque::new(), sent: 0, answered: 0 }
    }

    /// A message is due since then.
    #[inline]
    pub(super) fn ask(&mut self, since: u64, ledger: &mut Ledger) {
        self.due.push_back(since);
        ledger.count_due();
    }

    /// In a closed loop: the first messages are due, as many as may be in flight.
    pub(super) fn ask_first(&mut self, plan: &Plan, ledger: &mut Ledger) {
        if plan.rate.is_none() {
            for _ in 0..plan.depth {
                let now = ledger.now();
                self.ask(now, ledger);
            }
        }
    }

    /// Takes what came and checks each message. In a closed loop an answer makes the next message due.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        plan: &Plan,
        ledger: &mut Ledger,
    ) -> Result<Received, Failure> {
        while !input.is_empty() {
            self.machine.handle_data(Instant::now, input);
            match self.machine.poll_event() {
                Some(Event::Message(message)) => self.answer(&message, plan, ledger)?,
                Some(Event::Close(frame)) if self.is_closing(ledger) => {
                    tracing::trace!(code = %frame.code, "closed");
                    return Ok(Received::Closed);
                }
                Some(Event::Close(frame)) => return Err(closed(&frame)),
                Some(Event::Failed(violation)) => return Err(Failure::new(Kind::Violation, violation.to_string())),
                Some(Event::Pong(_) | Event::Eof) | None => {}
            }
        }
        Ok(Received::Messages)
    }

    #[inline]
    fn answer(&mut self, message: &Message, plan: &Plan, ledger: &mut Ledger) -> Result<(), Failure> {
        plan.messages.check(self.number, self.answered, self.sent, message).map_err(|mismatch| Failure {
            kind: Kind::Mismatch,
            what: mismatch.what.to_owned(),
            detail: Some(mismatch.text),
        })?;
        self.answered += 1;
        if let Some(due) = self.due.pop_front() {
            ledger.count_answered(due, message.len());
        }
        if matches!(ledger.phase(), Phase::Running { .. }) && plan.rate.is_none() {
            let now = ledger.now();
            self.ask(now, ledger);
        }
        Ok(())
    }

    /// Appends the next message that is due, and what the protocol has to say; whether there was anything.
    #[inline]
    pub(super) fn encode(&mut self, output: &mut BytesMut, plan: &Plan, ledger: &mut Ledger) -> bool {
        let in_flight = self.sent - self.answered;
        if in_flight < plan.depth
            && let Some(&due) = self.due.get(in_flight as usize)
            && self.machine.send_into(&plan.messages.get(self.number, self.sent), output).is_ok()
        {
            self.sent += 1;
            if plan.rate.is_some() {
                ledger.count_late(due);
            }
            return true;
        }
        if self.machine.is_transmit_pending() {
            self.machine.poll_transmit(output);
            return true;
        }
        false
    }

    /// Begins the closing handshake.
    pub(super) fn close(&mut self) {
        // What is closed already needs no other Close.
        self.machine.close(CloseCode::NORMAL, "").ok();
    }

    /// Whether we have asked for the end, or are about to.
    fn is_closing(&self, ledger: &Ledger) -> bool {
        self.machine.state() == State::Closing || ledger.phase() == Phase::Closing
    }

    /// Messages that are due, or sent, and not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.due.len()
    }

    /// # Errors
    ///
    /// The oldest of them has been waiting for too long.
    pub(super) fn check_time(&self, plan: &Plan, ledger: &Ledger) -> Result<(), Failure> {
        let waited = self.due.front().map_or(0, |due| ledger.received().saturating_sub(*due));
        if u128::from(waited) > plan.timeout.as_nanos() {
            Err(Failure::timeout("the answer to a message"))
        } else {
            Ok(())
        }
    }

    /// Frees what an idle socket does not need.
    pub(super) fn shrink(&mut self) {
        self.due.shrink_to_fit();
    }
}

fn closed(frame: &CloseFrame) -> Failure {
    let what = match frame.code {
        CloseCode::NO_STATUS => "the server closed the socket without a code".to_owned(),
        code => format!("the server closed the socket with {code}"),
    };
    let detail = (!frame.reason.is_empty()).then(|| printable(&frame.reason).into_owned());
    Failure { detail, ..Failure::new(Kind::Closed, what) }
}
