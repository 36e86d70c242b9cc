//! The state of one stream (RFC 9113 §5.1), and what is known of the messages on it.

/// The state of a stream that is held. Idle streams are not held, closed ones until the application releases them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) enum State {
    /// At least one side goes on: "open" while both do, "half-closed" after.
    Active { recv: Side, send: Side },
    /// Both sides are over.
    Closed(Ending),
}

/// How far one direction of a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) enum Side {
    /// The (final) header is still to come.
    Head,
    /// DATA or trailers may come.
    Body,
    /// END_STREAM came.
    Ended,
}

/// Why a stream is closed: what is to be said to late frames depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) enum Ending {
    /// END_STREAM both ways.
    Finished,
    /// The peer's RST_STREAM.
    ResetByPeer,
    /// Our RST_STREAM, which frames of the peer may have crossed.
    ResetByUs,
}

impl State {
    pub(super) fn new(recv: Side, send: Side) -> Self {
        match (recv, send) {
            (Side::Ended, Side::Ended) => Self::Closed(Ending::Finished),
            _ => Self::Active { recv, send },
        }
    }

    /// The receiving side, `Ended` when closed.
    #[inline]
    pub(in crate::h2) fn recv(self) -> Side {
        match self {
            Self::Active { recv, .. } => recv,
            Self::Closed(_) => Side::Ended,
        }
    }

    /// The sending side, `Ended` when closed.
    #[inline]
    pub(in crate::h2) fn send(self) -> Side {
        match self {
            Self::Active { send, .. } => send,
            Self::Closed(_) => Side::Ended,
        }
    }

    pub(in crate::h2) fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// What the request's method means for what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) enum Exchange {
    /// A message each way.
    Ordinary,
    /// HEAD: the response has no content, whatever its content-length says (RFC 9113 §8.1.1).
    Head,
    /// CONNECT, plain or extended: a tunnel (RFC 9113 §8.5), unless the response says otherwise.
    Tunnel,
}

impl Exchange {
    pub(in crate::h2) fn new(method: &http::Method) -> Self {
        match *method {
            http::Method::HEAD => Self::Head,
            http::Method::CONNECT => Self::Tunnel,
            _ => Self::Ordinary,
        }
    }

    /// What it is once the (final) response is known.
    pub(in crate::h2) fn after_response(self, status: http::StatusCode) -> Self {
        match self {
            // RFC 9110 §9.3.6: only a 2xx makes a tunnel.
            Self::Tunnel if !status.is_success() => Self::Ordinary,
            exchange => exchange,
        }
    }
}

/// What a stream whose `write` took less than it was offered waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) enum Wait {
    /// Nothing.
    None,
    /// Its own window.
    Window,
    /// Its turn: it stands in the queue.
    Turn,
}

/// How much DATA may still come (RFC 9113 §8.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::h2) struct ContentLength(u64);

impl ContentLength {
    /// As much as comes.
    pub(in crate::h2) const ANY: Self = Self(u64::MAX);
    /// Nothing.
    pub(in crate::h2) const NONE: Self = Self(0);

    pub(in crate::h2) fn exactly(octets: u64) -> Self {
        Self(octets)
    }

    /// Takes octets of DATA; false where they are too many, or too few at the end.
    #[inline]
    pub(in crate::h2) fn take(&mut self, octets: usize, end_stream: bool) -> bool {
        if *self == Self::ANY {
            return true;
        }
        let left = self.0.checked_sub(octets as u64);
        self.0 = left.unwrap_or(0);
        left.is_some() && (!end_stream || self.0 == 0)
    }
}
