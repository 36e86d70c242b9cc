//! One connection: its transport, and the machine that speaks on it.

use std::io;
use std::time::Instant;

use bytes::BytesMut;
use sockeye_proto::h2::{ConnectionError, Event, Reason};
use sockeye_proto::{Machine, Pump, Step};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::attempt::Ending;
use super::tunnel::describe_end;
use crate::beginning::Beginning;
use crate::dial::Transport;

/// Octets that are read at a time, at least.
const READ_SIZE: usize = 16 << 10;
/// A transport, and what drives its machine.
pub(super) struct Link<M> {
    transport: Transport,
    pump: Pump<M>,
    beginning: Beginning,
    /// What the server's GOAWAY said, if one came (RFC 9113 §6.8).
    goaway: Option<Reason>,
    /// Why nothing goes any more.
    failure: Option<io::Error>,
}

impl<M: Machine> Link<M> {
    /// `read` is what was read from the transport before.
    pub(super) fn new(transport: Transport, machine: M, read: BytesMut) -> Self {
        let mut pump = Pump::new(machine);
        pump.input().unsplit(read);
        pump.handle_input(Instant::now());
        Self { transport, pump, beginning: Beginning::default(), goaway: None, failure: None }
    }

    pub(super) fn machine(&mut self) -> &mut M {
        self.pump.machine()
    }

    /// Why the transport failed, if it did.
    pub(super) fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Why the server reset a stream, or has the machine say so: what a GOAWAY gives up is reset with REFUSED_STREAM, or with its
    /// error where it was answered, and the GOAWAY is the reason then.
    pub(super) fn reset_by_server(&self, reason: Reason) -> Ending {
        match self.goaway {
            Some(goaway) if reason == Reason::REFUSED_STREAM || reason == goaway => {
                Ending::Broken(describe_end(Some(ConnectionError::GoAway(goaway))))
            }
            _ => Ending::Reset(reason),
        }
    }

    /// The first octets that came.
    pub(super) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// Waits for the next event. [`Event::Closed`] is the last one; who waits for another waits for ever. Dropping the future
    /// loses nothing.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            match self.step().await {
                Step::Event(event) => {
                    if let Event::GoAway { reason, .. } = event {
                        self.goaway = Some(reason);
                    }
                    return event;
                }
                Step::Write | Step::Shutdown => {}
                Step::Await | Step::Closed => self.wait().await,
            }
        }
    }

    /// Sends what is left to be sent, and ends the transport.
    pub(super) async fn finish(&mut self) {
        while !matches!(self.step().await, Step::Await | Step::Closed) {}
        self.transport.shutdown().await.ok();
    }

    /// Does the next step, as far as it is the transport's.
    async fn step(&mut self) -> Step {
        let step = self.pump.step(Instant::now());
        match step {
            Step::Event(_) => {}
            Step::Write => match self.transport.write(self.pump.output()).await {
                Ok(octets @ 1..) => self.pump.handle_written(octets),
                Ok(0) => self.fail(io::ErrorKind::WriteZero.into()),
                Err(error) => self.fail(error),
            },
            Step::Shutdown => self.transport.shutdown().await.unwrap_or_default(),
            // TLS may still hold some of what was written.
            Step::Await => {
                if let Err(error) = self.transport.flush().await {
                    self.fail(error);
                    return self.pump.step(Instant::now());
                }
            }
            Step::Closed => self.transport.flush().await.unwrap_or_default(),
        }
        step
    }

    /// Waits until something has come, or time has passed.
    async fn wait(&mut self) {
        let (deadline, wants_input) = (self.pump.poll_timeout(), self.pump.wants_input());
        let input = self.pump.input();
        let before = input.len();
        input.reserve(READ_SIZE);
        tokio::select! {
            read = self.transport.read_buf(input), if wants_input => match read {
                Ok(0) => self.pump.handle_eof(Instant::now()),
                Ok(_) => {
                    let came = &self.pump.input()[before..];
                    self.beginning.add(came);
                    self.pump.handle_input(Instant::now());
                }
                // What TLS calls the end of TCP without a close_notify, which an end in the tunnel makes up for.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.pump.handle_eof(Instant::now()),
                Err(error) => self.fail(error),
            },
            () = sleep_until(deadline) => self.pump.handle_timeout(Instant::now()),
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.pump.handle_failure(Instant::now());
        self.failure.get_or_insert(error);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
