//! What waits on a connection's streams for the peer to read: how much may.

use super::Link;
use crate::engine::sync::atomic::Ordering;

impl Link {
    /// Octets that wait on streams for the peer to take them.
    pub(crate) fn backlog(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether a stream whose outbox holds `outbox` octets may add to it.
    pub(crate) fn admits(&self, outbox: usize) -> bool {
        outbox == 0 || outbox < self.limits.stream_send && !self.has_blocked(|room| room)
    }

    /// Whether so much waits for the peer that streams on which something waits are not read from: what they received might
    /// have to wait as well.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.has_blocked(|room| (room / 4 * 3).max(1))
    }

    /// Whether at least a part of the octets waits for the peer that may. Those are fewer while unfinished messages hold more
    /// than their budget: one peer that does both has one bound.
    #[inline]
    fn has_blocked(&self, part: impl Fn(usize) -> usize) -> bool {
        let (blocked, all) = (self.backlog(), self.limits.connection_send);
        let least = all / 4;
        blocked >= part(least) && blocked >= part(all.saturating_sub(self.budget.beyond()).max(least))
    }

    /// For the connection: what waits on a stream grew or shrank.
    pub(crate) fn rebook(&self, before: usize, after: usize) {
        if after > before {
            self.blocked.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.blocked.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use crate::engine::budget;
    use crate::engine::link::{ConnectionInfo, Limits, Link, Side};

    /// Unfinished messages beyond their budget leave less that may wait to be sent.
    #[test]
    fn unfinished_messages_leave_less_room_to_wait() {
        const MIB: usize = 1 << 20;
        let info = ConnectionInfo { side: Side::Server, peer: None, version: http::Version::HTTP_2, secure: false };
        let link =
            Link::alone(Limits { connection_send: 4 * MIB, unfinished_messages: 4 * MIB, ..Limits::default() }, info);
        let cx = Context::from_waker(Waker::noop());
        let (some, much) = (5 * MIB / 2, 7 * MIB / 2);
        link.rebook(0, some);
        assert!(!link.is_crowded());
        let message = budget::Message { held: MIB, spare: 0, announced: 0, is_last: true };
        let mut tickets: Vec<_> = (0..6).map(|_| budget::Ticket::default()).collect();
        for ticket in &mut tickets {
            assert_eq!(link.budget.hold(&cx, ticket, message, 0), budget::Verdict::Go);
        }
        assert_eq!(link.budget.beyond(), MIB, "one of them goes on whatever the others hold");
        assert!(link.is_crowded() && link.admits(1));
        link.rebook(some, much);
        assert!(!link.admits(1));
        tickets.iter_mut().for_each(|ticket| link.budget.release(ticket));
        assert!(link.admits(1));
    }
}
