//! The numbers of streams (RFC 9113 §5.1.1): which side opens which, and which were opened.

use crate::h2::{OpenError, Role, Violation};

/// The last stream number, 2³¹−1 (RFC 9113 §5.1.1).
const MAX_STREAM_ID: u32 = (1 << 31) - 1;

/// Without push (RFC 9113 §8.4) a client opens all streams that there are.
pub(in crate::h2) struct Numbers {
    role: Role,
    /// The next stream of ours.
    next: u32,
    /// The highest stream of the peer, and the highest that we acted on, which is what GOAWAY says.
    last_peer_id: u32,
    last_accepted_id: u32,
}

impl Numbers {
    pub(super) fn new(role: Role) -> Self {
        // RFC 9113 §5.1.1: a client's are odd, a server's even.
        let next = if role == Role::Client { 1 } else { 2 };
        Self { role, next, last_peer_id: 0, last_accepted_id: 0 }
    }

    /// Whether we open streams of this number.
    pub(in crate::h2) fn is_ours(&self, stream_id: u32) -> bool {
        (stream_id % 2 == 1) == (self.role == Role::Client)
    }

    /// Whether a stream was never opened (RFC 9113 §5.1).
    pub(in crate::h2) fn is_idle(&self, stream_id: u32) -> bool {
        if self.is_ours(stream_id) { stream_id >= self.next } else { stream_id > self.last_peer_id }
    }

    /// The number of the stream that we open next.
    pub(in crate::h2) fn next(&self) -> Result<u32, OpenError> {
        if self.next > MAX_STREAM_ID { Err(OpenError::StreamIdsUsedUp) } else { Ok(self.next) }
    }

    /// We opened the [next](Self::next) one.
    pub(super) fn open(&mut self, stream_id: u32) {
        debug_assert_eq!(stream_id, self.next, "our streams are opened in order");
        self.next += 2;
    }

    /// Whether we opened a stream above this one: a server never did.
    pub(in crate::h2) fn are_ours_above(&self, stream_id: u32) -> bool {
        self.next > stream_id.saturating_add(2)
    }

    /// Whether HEADERS of this number would open a stream, where it keeps to the rules.
    #[inline]
    pub(in crate::h2) fn is_new(&self, stream_id: u32) -> bool {
        stream_id > self.last_peer_id && self.role == Role::Server
    }

    /// Whether HEADERS open this stream, which is neither held nor known to be closed; a client's peer opens none.
    pub(in crate::h2) fn check_new(&self, stream_id: u32) -> Result<bool, Violation> {
        match self.role {
            Role::Client => Ok(false),
            // RFC 9113 §5.1.1
            Role::Server if self.is_ours(stream_id) => Err(Violation::StreamIdParity),
            Role::Server if !self.is_idle(stream_id) => Err(Violation::StreamIdDecreased),
            Role::Server => Ok(true),
        }
    }

    /// The peer opened a stream.
    pub(in crate::h2) fn open_peer(&mut self, stream_id: u32) {
        debug_assert!(self.is_new(stream_id), "the peer's streams are opened in order");
        self.last_peer_id = stream_id;
    }

    /// The peer's last stream is acted on.
    pub(in crate::h2) fn accept(&mut self, stream_id: u32) {
        debug_assert_eq!(stream_id, self.last_peer_id, "a stream is opened before it is accepted");
        self.last_accepted_id = stream_id;
    }

    /// The last stream of the peer that we acted on (RFC 9113 §6.8).
    pub(in crate::h2) fn last_accepted(&self) -> u32 {
        self.last_accepted_id
    }

    pub(super) fn check(&self) {
        assert!(self.last_accepted_id <= self.last_peer_id, "a stream is accepted that did not come");
        assert!(self.is_ours(self.next), "our next stream is the peer's");
        assert!(self.last_peer_id == 0 || !self.is_ours(self.last_peer_id), "the peer's last stream is ours");
    }
}
