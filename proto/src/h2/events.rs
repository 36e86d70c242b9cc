//! What the application has not heard yet.

use std::collections::VecDeque;

use super::{ConnectionError, Event, Reason, StreamId, Violation};

/// The events of a connection, oldest first.
#[derive(Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// Octets of header lists among them, since the application had last heard all.
    list_octets: usize,
}

impl Events {
    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        debug_assert!(!self.is_ended(), "nothing happens on a connection that is closed");
        self.queue.push_back(event);
    }

    /// A header list of so many octets came.
    pub(super) fn push_list(&mut self, event: Event, octets: usize) {
        if self.queue.is_empty() {
            self.list_octets = 0;
        }
        self.list_octets += octets;
        self.push(event);
    }

    /// Octets of header lists that the application has not heard, or not many more.
    pub(super) fn list_octets(&self) -> usize {
        if self.queue.is_empty() { 0 } else { self.list_octets }
    }

    /// Out of line, so that the event is written where it stays: to move what was written in pieces makes the processor wait.
    #[inline(never)]
    pub(super) fn push_readable(&mut self, id: StreamId) {
        self.queue.push_back(Event::Readable(id));
    }

    /// A stream was reset by us for its peer's fault.
    pub(super) fn push_reset(&mut self, id: StreamId, violation: Violation) {
        self.push(Event::Reset { id, reason: violation.reason(), remote: false, violation: Some(violation) });
    }

    /// A stream made its place for another (RFC 9113 §8.1).
    pub(super) fn push_replaced(&mut self, id: StreamId) {
        self.push(Event::Reset { id, reason: Reason::NO_ERROR, remote: false, violation: None });
    }

    /// The last event.
    pub(super) fn push_closed(&mut self, error: Option<ConnectionError>) {
        self.push(Event::Closed(error));
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Gives up room that is not used.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
    }

    fn is_ended(&self) -> bool {
        matches!(self.queue.back(), Some(Event::Closed(_)))
    }

    pub(super) fn check(&self, is_closed: bool) {
        let before = self.queue.len().saturating_sub(1);
        let is_last = !self.queue.iter().take(before).any(|event| matches!(event, Event::Closed(_)));
        assert!(is_last, "an event follows the last");
        assert!(is_closed || !self.is_ended(), "a connection that goes on says that it is closed");
    }
}
