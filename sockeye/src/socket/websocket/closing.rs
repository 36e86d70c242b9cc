//! The end of a socket (RFC 6455 §7): its Close, the peer's, and what becomes of a socket that is dropped.

use std::mem;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use sockeye_proto::ws::{self, CloseCode, Event, State, Violation};

use super::{Inner, WebSocket};
use crate::engine::link::Side;
use crate::engine::metrics::Counter;
use crate::engine::stream::{Closer, Ending, Parting};
use crate::error::{self, Error, Result};

impl WebSocket {
    /// Queues our Close, unless one was sent.
    pub(crate) fn start_close(&mut self, code: CloseCode, reason: &str) -> Result {
        if self.0.machine.state() != State::Open {
            return Ok(());
        }
        self.0.machine.close(code, reason).map_err(Error::invalid)?;
        self.0.handle.start_closing();
        // What is unfinished is of no use any more: the machine has let go of it.
        self.0.handle.link().budget.release(&mut self.0.ticket);
        match self.0.handle.append_now(0, |outbox| (self.0.machine.poll_transmit(outbox), None)) {
            Ok(()) | Err(Error::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The machine's last event: what is left to say goes out with the END_STREAM.
    pub(super) fn end(&mut self, event: Event) -> Result {
        self.mark_ended();
        if !matches!(event, Event::Eof) {
            self.0.handle.start_closing();
        }
        self.0.handle.link().budget.release(&mut self.0.ticket);
        match event {
            Event::Failed(Violation::TooSlow) => self.0.handle.part(Parting::Slow),
            Event::Failed(_) => {
                self.0.handle.link().blame();
                self.0.handle.part(Parting::Failed);
            }
            Event::Close(_) => self.0.handle.part(Parting::Said),
            _ => {}
        }
        if matches!(event, Event::Close(_)) && !self.0.machine.is_transmit_pending() {
            self.finish_closing();
        } else {
            self.finish();
        }
        match event {
            Event::Close(frame) => {
                self.rare().close_frame.get_or_init(|| frame);
                Ok(())
            }
            Event::Failed(violation) => {
                self.0.handle.link().metrics().count(match violation {
                    Violation::MessageTooBig | Violation::StreamedMessageTooBig | Violation::TooManyFragments => {
                        Counter::MessagesTooBig
                    }
                    Violation::TooManyPings => Counter::PingFloods,
                    Violation::InflatedTooMuch => Counter::InflationFloods,
                    Violation::MessageStalled => Counter::UnfinishedMessagesGivenUp,
                    Violation::NoProgress => Counter::ReceiveTimeouts,
                    Violation::TooSlow => Counter::SlowMembersClosed,
                    _ => Counter::WebSocketViolations,
                });
                tracing::debug!(%violation, "a WebSocket failed");
                let limit = self.0.machine.limit_passed(violation);
                Err(Error::Violation(error::Violation::WebSocket { violation, limit }))
            }
            _ => Err(Error::Abnormal),
        }
    }

    pub(super) fn finish(&mut self) {
        self.0.handle.append_last(Ending::Now(None), |outbox| self.0.machine.poll_transmit(outbox));
    }

    /// The closing handshake that we began is done, or as good as done: now the server ends first (RFC 6455 §7.1.1). Some
    /// servers end their connection, with all its streams, over what comes on a stream after its Close.
    pub(super) fn finish_closing(&mut self) {
        let Inner { machine, handle, .. } = &mut *self.0;
        let ending = match handle.link().info.side {
            Side::Client => Ending::AfterPeer,
            Side::Server => Ending::Now(None),
        };
        handle.append_last(ending, |outbox| machine.poll_transmit(outbox));
    }

    /// What is left to say, and to hear, is the machine's without the socket.
    pub(super) fn leave_to_owner(&mut self) {
        let idle = ws::WebSocket::new(ws::Role::Server, ws::Config::default());
        let machine = mem::replace(&mut self.0.machine, idle);
        let unread = mem::take(&mut self.0.input);
        self.0.handle.close_by(Box::new(machine), unread);
    }

    /// The stream is dead: an unfinished message goes with it.
    pub(super) fn give_up(&mut self) {
        self.mark_ended();
        self.0.machine.handle_eof();
        self.0.machine.poll_event();
        self.0.handle.link().budget.release(&mut self.0.ticket);
    }

    /// Nothing more comes, no Pong either.
    pub(super) fn mark_ended(&mut self) {
        self.0.ended = true;
        self.wake_round_trip();
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        let link = self.0.handle.link();
        link.sockets.fetch_sub(1, Ordering::Relaxed);
        link.metrics().count(Counter::WebSocketsClosed);
        link.budget.release(&mut self.0.ticket);
        self.let_go_of_heads();
        if self.0.machine.state() == State::Open {
            // The last handle knows the handler's result, and so the code.
            self.leave_to_owner();
        } else {
            self.finish_closing();
            if self.0.machine.state() == State::Closing {
                self.leave_to_owner();
            }
        }
    }
}

impl Closer for ws::WebSocket {
    fn close(&mut self, code: u16, output: &mut BytesMut) {
        if ws::WebSocket::close(self, code.into(), "").is_ok() {
            self.poll_transmit(output);
        }
    }

    fn hear(&mut self, mut input: BytesMut) -> bool {
        while !input.is_empty() {
            self.handle_data(crate::engine::now, &mut input);
            self.poll_event();
        }
        self.state() == State::Closed
    }
}
