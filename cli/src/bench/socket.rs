//! One WebSocket under load, whatever carries it.

use std::cell::Cell;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use sockeye_proto::ws::{CloseCode, CloseFrame, Config, Event, Message, Role, State, WebSocket};

use super::broadcast::SENDER;
use super::due::Due;
use super::failure::{Failure, Kind};
use super::ledger::{Ledger, Phase};
use super::messages::mix;
use super::plan::{Plan, Task};

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
    machine: WebSocket,
    /// Echoes: when each message that is not answered was due. The first ones, so many, are sent.
    due: Due,
    in_flight: u32,
    /// Octets of the message that comes next that have come, just as they are to be; the machine has not seen them.
    matched: u32,
    /// Messages that came as they were sent.
    answered: u64,
    number: u32,
    task: Task,
}

/// A load of a million sockets has a million of these.
const _: () = assert!(size_of::<Socket>() <= 216);

impl Socket {
    pub(super) fn new(number: u32, task: Task, plan: &Plan) -> Self {
        let config = Config::default().with(|config| {
            config.max_message_size = plan
                .max_message_size
                .unwrap_or_else(|| plan.messages(task).sizes().max().saturating_mul(4).max(MIN_MESSAGE_LIMIT));
            // A server may cut its messages as it likes.
            config.max_fragments = u32::MAX;
        });
        let machine = WebSocket::new(Role::Client { mask_key }, config);
        Self { machine, due: Due::None, in_flight: 0, matched: 0, answered: 0, number, task }
    }

    /// The load is on: the first messages are due, as many as may be in flight where no clock says when.
    pub(super) fn begin(&mut self, plan: &Plan, ledger: &mut Ledger) {
        let first = match self.task {
            Task::Echo | Task::Broadcast if plan.rate.is_none() => plan.depth,
            Task::Beside => 1,
            Task::Echo | Task::Broadcast | Task::Silent | Task::Stall => 0,
        };
        for _ in 0..first {
            let now = ledger.now();
            self.ask(now, ledger);
        }
    }

    /// A message is due since then.
    #[inline]
    pub(super) fn ask(&mut self, since: u64, ledger: &mut Ledger) {
        match self.task {
            Task::Echo | Task::Beside => {
                self.due.push(since);
                ledger.count_due(1);
            }
            Task::Broadcast if self.number == SENDER => ask_all(since, ledger),
            Task::Broadcast | Task::Silent | Task::Stall => {}
        }
    }

    /// Takes messages off the front of `octets` that are as their server is to send them, each in one frame, and as much as
    /// has come of the last one; returns how many octets that is. Nothing is decoded, copied or allocated for that. The
    /// rest, if there is any, is for [`receive`](Self::receive).
    #[inline]
    pub(super) fn take(&mut self, octets: &[u8], plan: &Plan, ledger: &mut Ledger) -> usize {
        let mut taken = 0;
        if plan.is_limit_below_messages {
            // The machine is to see them, which says so.
            return taken;
        }
        while taken < octets.len() && self.machine.is_at_rest() && self.answered < self.sent(ledger) {
            let frame = plan.messages(self.task).frame(self.origin(), self.answered);
            let Some(length) = frame.matches(self.matched as usize, &octets[taken..]) else { break };
            taken += length;
            self.matched += length as u32;
            if self.matched as usize == frame.length() {
                self.matched = 0;
                self.count_answer(frame.payload().len(), plan, ledger);
            }
        }
        taken
    }

    /// Takes what came and checks each message. In a closed loop an answer makes the next message due.
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        plan: &Plan,
        ledger: &mut Ledger,
    ) -> Result<Received, Failure> {
        loop {
            let taken = self.take(input, plan, ledger);
            input.advance(taken);
            if input.is_empty() {
                return Ok(Received::Messages);
            }
            if self.matched > 0 {
                // It goes on otherwise than it began: the machine is to see all of it.
                let frame = plan.messages(self.task).frame(self.origin(), self.answered);
                self.machine.handle_data(Instant::now, &mut frame.front(self.matched as usize));
                self.matched = 0;
            }
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
    }

    /// Checks a message that came in a way of its own.
    fn answer(&mut self, message: &Message, plan: &Plan, ledger: &mut Ledger) -> Result<(), Failure> {
        let checked = plan.messages(self.task).check(self.origin(), self.answered, self.sent(ledger), message);
        checked.map_err(|mismatch| Failure {
            kind: Kind::Mismatch,
            what: mismatch.what.to_owned(),
            detail: Some(format!("socket {}, {}", self.number, mismatch.text)),
        })?;
        self.count_answer(message.len(), plan, ledger);
        Ok(())
    }

    /// The next message of so many octets came as it was sent.
    #[inline]
    fn count_answer(&mut self, octets: usize, plan: &Plan, ledger: &mut Ledger) {
        let number = self.answered;
        self.answered += 1;
        let is_running = matches!(ledger.phase(), Phase::Running { .. });
        match self.task {
            Task::Broadcast => {
                ledger.count_answered(ledger.broadcast.due(number).unwrap_or_default(), octets);
                let arrived = ledger.broadcast.count_arrived(number);
                go_on(arrived, plan, ledger);
            }
            Task::Echo | Task::Beside | Task::Silent | Task::Stall => {
                self.in_flight -= 1;
                let due = self.due.pop().unwrap_or_default();
                let is_closed_loop = if self.task == Task::Beside {
                    ledger.count_beside(octets);
                    true
                } else {
                    ledger.count_answered(due, octets);
                    plan.rate.is_none()
                };
                if is_running && is_closed_loop {
                    let now = ledger.now();
                    self.ask(now, ledger);
                }
            }
        }
    }

    /// Whether [`encode`](Self::encode) has anything to append.
    #[inline]
    pub(super) fn is_ready(&self, plan: &Plan, ledger: &Ledger) -> bool {
        self.next(plan, ledger).is_some() || self.machine.is_transmit_pending()
    }

    /// Appends the next message that is due, and what the protocol has to say; whether there was anything.
    #[inline]
    pub(super) fn encode(&mut self, output: &mut BytesMut, plan: &Plan, ledger: &mut Ledger) -> bool {
        if let Some((number, due)) = self.next(plan, ledger)
            && self.machine.send_into(&plan.messages(self.task).get(self.number, number), output).is_ok()
        {
            match self.task {
                Task::Broadcast => ledger.broadcast.count_sent(),
                Task::Echo | Task::Beside | Task::Silent | Task::Stall => self.in_flight += 1,
            }
            if plan.rate.is_some() && matches!(self.task, Task::Echo | Task::Broadcast) {
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

    /// The message to send next: its number, and when it was due.
    #[inline]
    fn next(&self, plan: &Plan, ledger: &Ledger) -> Option<(u64, u64)> {
        let in_flight = u64::from(self.in_flight);
        match self.task {
            _ if self.machine.state() != State::Open => None,
            Task::Echo if in_flight >= plan.depth => None,
            Task::Echo | Task::Beside => self.due.get(in_flight as usize).map(|due| (self.answered + in_flight, due)),
            Task::Broadcast if self.number == SENDER => ledger.broadcast.next(plan.depth),
            Task::Broadcast | Task::Silent => None,
            Task::Stall => matches!(ledger.phase(), Phase::Running { .. }).then_some((in_flight, 0)),
        }
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

    /// The socket is of no more use: nobody waits for its messages.
    pub(super) fn abandon(&self, plan: &Plan, ledger: &mut Ledger) {
        match self.task {
            Task::Echo | Task::Beside => ledger.forget(self.due.len() as u64),
            Task::Broadcast => {
                if self.number == SENDER {
                    let unsent = ledger.broadcast.end();
                    ledger.forget(unsent);
                }
                let (missed, arrived) = ledger.broadcast.count_lost(self.answered);
                ledger.forget(missed);
                go_on(arrived, plan, ledger);
            }
            Task::Silent | Task::Stall => {}
        }
    }

    /// # Errors
    ///
    /// The oldest message that it waits for has been on its way for too long.
    pub(super) fn check_time(&self, plan: &Plan, ledger: &Ledger) -> Result<(), Failure> {
        let oldest = match self.task {
            Task::Broadcast => ledger.broadcast.due(self.answered),
            Task::Echo | Task::Beside | Task::Silent | Task::Stall => self.due.get(0),
        };
        let waited = oldest.map_or(0, |due| ledger.received().saturating_sub(due));
        if u128::from(waited) > plan.timeout.as_nanos() {
            Err(Failure::timeout("the answer to a message"))
        } else {
            Ok(())
        }
    }

    pub(super) fn task(&self) -> Task {
        self.task
    }

    /// Frees what an idle socket does not need.
    pub(super) fn shrink(&mut self) {
        self.due.shrink();
    }

    /// Whose messages come.
    #[inline]
    fn origin(&self) -> u32 {
        if self.task == Task::Broadcast { SENDER } else { self.number }
    }

    /// How many messages have been sent that are to come.
    #[inline]
    fn sent(&self, ledger: &Ledger) -> u64 {
        match self.task {
            Task::Broadcast => ledger.broadcast.sent(),
            Task::Echo | Task::Beside | Task::Silent | Task::Stall => self.answered + u64::from(self.in_flight),
        }
    }
}

/// The key of a frame. Nobody can turn what is no secret, and not theirs to choose, against those in between (RFC 6455 §10.3):
/// keys need only differ, which takes a tenth of the time of unpredictable ones.
fn mask_key() -> [u8; 4] {
    thread_local! {
        static NUMBER: Cell<u64> = Cell::new(rand::random());
    }
    let number = NUMBER.get().wrapping_add(1);
    NUMBER.set(number);
    (mix(number) as u32).to_ne_bytes()
}

/// A message to all sockets is due since then.
fn ask_all(since: u64, ledger: &mut Ledger) {
    let sockets = ledger.live();
    if ledger.broadcast.ask(since, sockets) {
        ledger.count_due(sockets);
    }
}

/// So many messages have arrived everywhere. In a closed loop as many others are due then.
#[inline]
fn go_on(arrived: usize, plan: &Plan, ledger: &mut Ledger) {
    if plan.rate.is_none() && matches!(ledger.phase(), Phase::Running { .. }) {
        for _ in 0..arrived {
            let now = ledger.now();
            ask_all(now, ledger);
        }
    }
}

fn closed(frame: &CloseFrame) -> Failure {
    let what = match frame.code {
        CloseCode::NO_STATUS => "the server closed the socket without a code".to_owned(),
        code => format!("the server closed the socket with {code}"),
    };
    let detail = (!frame.reason.is_empty()).then(|| frame.reason.to_string());
    Failure { detail, ..Failure::new(Kind::Closed, what) }
}
