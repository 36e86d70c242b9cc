//! The words for how far the halves of a stream are, and how they end.

use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use http::Response;

use crate::engine::link::Side;
use crate::error::{Error, Step, Violation};
use sockeye_proto::{Reason, h2};

/// Client: what hears of interim responses (RFC 9110 §15.2), inside the connection's task.
pub(crate) type Interims = Arc<dyn Fn(Response<()>) + Send + Sync>;

/// How far the receiving half is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Received {
    #[default]
    Open,
    /// The peer ended its half; all it sent stands in the inbox.
    Finished,
    /// The stream is dead; what had arrived stands in the inbox.
    Dead(Death),
}

/// How far the sending half is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    #[default]
    Open,
    /// The outbox is the last of it, but its end is to follow the peer's.
    Following,
    /// The outbox is the last of it.
    Finishing,
    /// All of it is with the connection.
    Finished,
    /// To be reset with this code; the outbox is void.
    Resetting(ErrorCode),
    Dead(Death),
}

impl Sent {
    /// Whether nothing more goes out.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Dead(_))
    }
}

/// What a receiver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Octets were appended.
    Octets,
    /// The clean end of the peer's half.
    End,
    /// Nothing, but the connection has something to tell; said once.
    Notice(Notice),
}

/// What the connection tells whoever receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Notice {
    /// It is draining: a WebSocket says Close 1001.
    GoingAway,
    /// The peer has not read what a group has sent: a WebSocket says Close 1013.
    TooSlow,
}

/// Why a stream is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Death {
    /// Reset, by this side of its connection.
    Reset(ErrorCode, Side),
    /// A tunnel whose peer gave it up without a fault, and without a word in the tunnel's protocol: a page that was closed.
    Abandoned(ErrorCode),
    /// Its connection went away.
    Disconnected,
    /// The peer broke this rule, and was told by RST_STREAM, or by GOAWAY where it is a rule of the connection.
    Violation(h2::Violation),
    /// The server ended its connection by a GOAWAY with this error. That this is no field keeps a cell small.
    GoAwayOfServer(ErrorCode),
    /// The client did.
    GoAwayOfClient(ErrorCode),
    /// The peer did not answer a Ping of the keep-alive.
    Silent,
}

impl Death {
    /// What a death means to one side of a tunnel: CANCEL and NO_ERROR end it without anybody's fault (RFC 9113 §7).
    pub(super) fn of_tunnel(self, side: Side) -> Self {
        match self {
            Self::Reset(code, by) if by != side && [Reason::CANCEL, Reason::NO_ERROR].contains(&code.reason()) => {
                Self::Abandoned(code)
            }
            death => death,
        }
    }

    /// What becomes of the streams of a connection that ended by this error, if by any.
    pub(crate) fn of_connection(error: Option<&Error>) -> Self {
        match error {
            Some(Error::Violation(Violation::Http2(violation))) => Self::Violation(*violation),
            Some(Error::GoAway { reason, by, .. }) if *reason != Reason::NO_ERROR => match by {
                Side::Server => Self::GoAwayOfServer(ErrorCode::new(*reason)),
                Side::Client => Self::GoAwayOfClient(ErrorCode::new(*reason)),
            },
            _ => Self::Disconnected,
        }
    }
}

/// What of the peer's half is known to whoever relays a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeersHalf {
    Open,
    Finished,
    Reset(ErrorCode),
    Disconnected,
}

impl From<Received> for PeersHalf {
    fn from(received: Received) -> Self {
        match received {
            Received::Open => Self::Open,
            Received::Finished => Self::Finished,
            Received::Dead(Death::Reset(code, _) | Death::Abandoned(code)) => Self::Reset(code),
            Received::Dead(Death::Violation(violation)) if violation.scope() == h2::Scope::Stream => {
                Self::Reset(ErrorCode::new(violation.reason()))
            }
            Received::Dead(_) => Self::Disconnected,
        }
    }
}

impl From<Death> for Error {
    fn from(death: Death) -> Self {
        match death {
            Death::Reset(code, by) => Self::Reset { reason: code.reason(), by },
            Death::Abandoned(_) => Self::Abnormal,
            Death::Disconnected => Self::Disconnected,
            Death::Violation(violation) => Self::Violation(violation.into()),
            Death::GoAwayOfServer(code) => goaway(code, Side::Server),
            Death::GoAwayOfClient(code) => goaway(code, Side::Client),
            Death::Silent => Self::Timeout(Step::Pong),
        }
    }
}

/// What else the peer said is not kept for each of its streams.
fn goaway(code: ErrorCode, by: Side) -> Error {
    Error::GoAway { reason: code.reason(), by, debug: Box::default() }
}

/// An error code of RFC 9113 §7, which takes no more room for its alignment.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ErrorCode([u8; 4]);

impl ErrorCode {
    pub(crate) const fn new(reason: Reason) -> Self {
        Self(reason.code().to_ne_bytes())
    }

    pub(crate) const fn reason(self) -> Reason {
        Reason::new(u32::from_ne_bytes(self.0))
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

/// How far the two sides of a tunnel are with their last words, which say in its own protocol that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parting {
    /// Not both have said them.
    Open,
    /// The peer broke the protocol, and is told so.
    Failed,
    /// The peer does not read, and is told so, in the time that it has to close.
    Slow,
    /// Both have: nothing but the ends of their halves is to come.
    Said,
}

/// What a connection waits for, no longer than some time, at the end of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Awaited {
    /// Nothing: the tunnel goes on.
    #[default]
    Nothing,
    /// Room to tell a peer that it broke the protocol.
    Room,
    /// Our own end, which the peer has no window for, or which is to follow the peer's.
    OurEnd,
    /// The peer's last words and the end of its half.
    LastWords,
    /// The end of the half of a peer that has said its last words.
    PeersEnd,
    /// The end of a handler whose stream is over.
    Handler,
}

impl Awaited {
    /// Whether all that we say has been sent, and only the peer is waited for.
    pub(crate) fn is_peers(self) -> bool {
        matches!(self, Self::LastWords | Self::PeersEnd)
    }
}

/// What ends a tunnel in the words of its protocol once nobody holds it any more.
pub(crate) trait Closer: Send {
    /// Appends the last words, with this close code.
    fn close(&mut self, code: u16, output: &mut BytesMut);

    /// Takes what the peer still sends; whether it has said its last words.
    fn hear(&mut self, input: BytesMut) -> bool;
}
