//! How a connection ends: by the transport, by either side's wish, or by a fault.

use std::time::Instant;

use super::config::MAX_WINDOW;
use super::timer::deadline;
use super::{Connection, ConnectionError, DRAIN, Event, Phase, Reason, Role, Violation, frame};

/// Our own graceful end (RFC 9113 §6.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shutdown {
    No,
    /// A GOAWAY that still lets every stream in, so that none that is on its way is lost.
    Announced,
    /// The GOAWAY with the last stream; a client's comes at the end.
    Final,
}

impl Connection {
    /// The transport has ended: no octets follow.
    pub fn handle_eof(&mut self, now: Instant) {
        self.now = now;
        let error = match self.peer_goaway {
            Some((_, reason)) if reason != Reason::NO_ERROR => Some(ConnectionError::GoAway(reason)),
            _ if self.streams.iter().any(|entry| !entry.state.is_closed()) => Some(ConnectionError::Eof),
            _ => None,
        };
        self.end(error);
    }

    /// Begins a graceful end: no stream is lost that the peer opens before it knows (RFC 9113 §6.8). Streams go on;
    /// [`Event::Closed`] follows when the last one was released.
    pub fn drain(&mut self, now: Instant) {
        if self.phase == Phase::Closed || self.shutdown != Shutdown::No {
            return;
        }
        if self.role == Role::Client {
            // A server opens no streams: there are none to wait for.
            return self.finish_drain();
        }
        self.shutdown = Shutdown::Announced;
        self.timers.drain = deadline(now, self.config.drain_timeout);
        frame::put_goaway(&mut self.buffers.output, MAX_WINDOW, Reason::NO_ERROR, "");
        frame::put_ping(&mut self.buffers.output, DRAIN, false);
    }

    /// Ends the connection at once: GOAWAY, and nothing after.
    pub fn close(&mut self, reason: Reason) {
        if self.phase != Phase::Closed {
            frame::put_goaway(&mut self.buffers.output, self.last_accepted_id, reason, "");
            self.end(None);
        }
    }

    /// A connection error (RFC 9113 §5.4.1): GOAWAY, and not an octet more is parsed.
    pub(super) fn fail(&mut self, violation: Violation) {
        self.counters.connection_errors += 1;
        let debug = violation.to_string();
        frame::put_goaway(&mut self.buffers.output, self.last_accepted_id, violation.reason(), &debug);
        self.end(Some(ConnectionError::Violation(violation)));
    }

    pub(super) fn end(&mut self, error: Option<ConnectionError>) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.stopped = false;
            self.error = error;
            self.events.push_back(Event::Closed(error));
        }
    }

    /// The peer knows that we go away: what comes from now on is not acted on.
    pub(super) fn finish_drain(&mut self) {
        self.timers.drain = None;
        self.shutdown = Shutdown::Final;
        // A client's says nothing of its own streams, and there are servers that take it for the end of them.
        if self.role == Role::Server {
            frame::put_goaway(&mut self.buffers.output, self.last_accepted_id, Reason::NO_ERROR, "");
        }
        self.end_if_drained();
    }

    /// Ends a connection on which nothing can happen any more.
    pub(super) fn end_if_drained(&mut self) {
        if !self.streams.is_empty() {
            return;
        }
        match (self.shutdown, self.peer_goaway) {
            (Shutdown::Final, ..) if self.role == Role::Server => self.end(None),
            (Shutdown::Final, ..) => self.close(Reason::NO_ERROR),
            (.., Some((_, Reason::NO_ERROR))) => self.close(Reason::NO_ERROR),
            (.., Some((_, reason))) => self.end(Some(ConnectionError::GoAway(reason))),
            _ => {}
        }
    }
}
