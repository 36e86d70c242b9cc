//! How a connection ends: by the transport, by either side's wish, or by a fault.

use std::time::Instant;

use super::Connection;
use crate::h2::config::MAX_WINDOW;
use crate::h2::life::Shutdown;
use crate::h2::{ConnectionError, DRAIN, Reason, Role, Violation};

impl Connection {
    /// The transport has ended: no octets follow.
    pub fn handle_eof(&mut self, now: Instant) {
        self.clock.set(now);
        let error = match self.peer.goaway() {
            Some(goaway) if goaway.reason != Reason::NO_ERROR => Some(ConnectionError::GoAway(goaway.reason)),
            _ if self.streams.active() > 0 => Some(ConnectionError::Eof),
            _ => None,
        };
        self.end(error);
    }

    /// Begins a graceful end: no stream is lost that the peer opens before it knows (RFC 9113 §6.8). Streams go on;
    /// [`Event::Closed`](crate::h2::Event::Closed) follows when the last one was released.
    pub fn drain(&mut self, now: Instant) {
        if self.life.is_closed() || self.life.shutdown() != Shutdown::No {
            return;
        }
        if self.role == Role::Client {
            // A server opens no streams: there are none to wait for.
            return self.finish_drain(false);
        }
        let numbers = self.streams.numbers();
        self.life.announce(self.streams.is_empty().then(|| numbers.last_accepted()));
        self.timers.await_drain(&self.config, now);
        self.output.put_goaway(MAX_WINDOW, Reason::NO_ERROR, "");
        self.output.put_ping(DRAIN);
    }

    /// Ends the connection at once: GOAWAY, and nothing after.
    pub fn close(&mut self, reason: Reason) {
        if !self.life.is_closed() {
            self.output.put_goaway(self.streams.numbers().last_accepted(), reason, "");
            self.end(None);
        }
    }

    /// The peer has broken the protocol of a tunnel, which HTTP/2 knows nothing of. It counts against
    /// [`Config::failed_tunnels`](crate::h2::Config::failed_tunnels), past which the connection ends with ENHANCE_YOUR_CALM.
    /// The stream of the tunnel is left as it is, for the application to tell the peer on.
    pub fn blame(&mut self, now: Instant) {
        if self.life.is_closed() {
            return;
        }
        self.clock.set(now);
        if let Err(violation) = self.guard.failed_tunnel(now) {
            self.fail(violation);
        }
    }

    /// A connection error (RFC 9113 §5.4.1): GOAWAY, and not an octet more is parsed.
    #[cold]
    pub(super) fn fail(&mut self, violation: Violation) {
        debug_assert!(!self.life.is_closed(), "nothing is parsed of a connection that is closed");
        self.guard.counters_mut().connection_errors += 1;
        let last = self.streams.numbers().last_accepted();
        self.output.put_goaway(last, violation.reason(), &violation.to_string());
        self.end(Some(ConnectionError::Violation(violation)));
    }

    fn end(&mut self, error: Option<ConnectionError>) {
        if self.life.end(error) {
            self.input.end();
            self.events.push_closed(error);
        }
    }

    /// The peer knows that we go away: what comes from now on is not acted on.
    pub(super) fn finish_drain(&mut self, is_answered: bool) {
        self.timers.end_drain();
        let is_idle = matches!(self.life.shutdown(), Shutdown::Announced { idle: Some(last) }
            if self.streams.is_empty() && last == self.streams.numbers().last_accepted());
        self.life.finish(is_answered && is_idle);
        // A client's says nothing of its own streams, and there are servers that take it for the end of them.
        if self.role == Role::Server {
            self.output.put_goaway(self.streams.numbers().last_accepted(), Reason::NO_ERROR, "");
        }
        self.end_if_drained();
    }

    /// Whether the peer is known to have received all that streams have sent: the connection had none when it began to
    /// [drain](Self::drain), and the peer has answered since. It may miss nothing then but our last GOAWAY.
    pub fn is_all_received(&self) -> bool {
        self.life.shutdown() == (Shutdown::Final { received: true }) && self.streams.is_empty()
    }

    /// Ends a connection on which nothing can happen any more.
    pub(super) fn end_if_drained(&mut self) {
        if !self.streams.is_empty() {
            return;
        }
        match (self.life.shutdown(), self.peer.goaway().map(|goaway| goaway.reason)) {
            (Shutdown::Final { .. }, _) if self.role == Role::Server => self.end(None),
            (Shutdown::Final { .. }, _) | (_, Some(Reason::NO_ERROR)) => self.close(Reason::NO_ERROR),
            (_, Some(reason)) => self.end(Some(ConnectionError::GoAway(reason))),
            _ => {}
        }
    }
}
