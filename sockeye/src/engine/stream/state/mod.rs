//! What one stream may do, what is to be done for it, and what becomes of it: the only file that says so.
//!
//! The application's verbs and the connection's are transitions of one [`StreamState`], which does nothing itself: it says who is to be
//! woken ([`Waiting`]), and whoever holds it puts a lock around it. A stream is an exchange, a request and its response,
//! until a response makes a tunnel of it.

mod application;
mod connection;
#[cfg(test)]
mod tests;
pub(super) mod waiters;

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use http::{HeaderMap, Response, Version};

use self::waiters::{Turn, Wait, Waiter, Waiting, WhoWaits};
use super::ends::{Awaited, Closer, ErrorCode, Interims, Notice, Parting, Received, Sent};
use super::outbox::Outbox;
use crate::engine::heads::Charge;
use crate::engine::link::{Flush, Link};
use crate::engine::tunnel::Handler;
use crate::error::{Error, Result};
use sockeye_proto::Reason;

/// A server of a million sockets has a million of these.
#[derive(Default)]
pub(crate) struct StreamState {
    /// Received, and not yet taken by the application.
    inbox: BytesMut,
    /// Octets that went into the inbox and that the peer has no credit for. It gets it for those that are read.
    uncredited: u32,
    received: Received,
    /// To be sent, and not yet taken by the connection.
    outbox: Outbox,
    /// What the connection counts as waiting to be sent.
    booked: u32,
    sent: Sent,
    kind: Kind,
    /// Another task that waits for what comes.
    receiver: Option<Waker>,
    waits: WhoWaits,
    /// How many [handles](super::StreamHandle) there are, which are a few; the last to leave ends the stream.
    handles: u8,
    /// What the connection has to tell whoever receives.
    telling: Telling,
    /// What the connection waits for, with a time to it, before it lets go of the stream.
    awaited: Awaited,
    flush: Flush,
    rare: Option<Box<Rare>>,
}

/// What the connection tells whoever receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telling {
    #[default]
    Nothing,
    Due(Notice),
    /// Something was told; that the connection is draining is told once.
    Told,
}

/// What a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Kind {
    /// A request and its response.
    #[default]
    Exchange,
    /// Octets of another protocol, both ways. The connection gives it some time for the peer's end after the last handle has
    /// left.
    Tunnel(Parting),
}

/// What a stream has at most once, and not for long.
#[derive(Default)]
struct Rare {
    /// Client: the response that came.
    response: Option<Response<()>>,
    /// Client: what hears of the interim responses before it.
    interims_in: Option<Interims>,
    /// Server: the response to send, and whether it ends the stream.
    head: Option<(Response<()>, bool)>,
    /// Server: the interim responses to send, a 100 among them, which go before the response.
    interims: Vec<Response<()>>,
    trailers_out: Option<HeaderMap>,
    trailers_in: Option<Trailers>,
    closer: Option<Box<dyn Closer>>,
    close_code: Option<u16>,
    /// Octets that were read and dropped of a peer that broke the tunnel's protocol.
    dropped: usize,
    /// What the connection is to poll for the stream from now on.
    handler: Option<Handler>,
    /// Who waits for room, where that is not the handler.
    sender: Option<Waker>,
    /// Octets that find no room in the outbox: whoever sends them holds them, and waits.
    pending: u32,
    turn: Turn,
    /// Who is to know that the stream is over, besides those who wait for either half.
    watcher: Option<Waker>,
}

/// The trailers that came, which are counted among what the connection holds until they are taken.
pub(crate) struct Trailers {
    fields: HeaderMap,
    _charge: Option<Charge>,
}

impl Trailers {
    /// None past the limit of what the connection may hold. HTTP/1.1 has none here that could be many.
    pub(crate) fn new(link: &Arc<Link>, fields: HeaderMap) -> Option<Self> {
        let _charge = match link.info.version {
            Version::HTTP_2 => Some(Charge::new(link, &fields, 0)?),
            _ => None,
        };
        Some(Self { fields, _charge })
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self {
            response, interims_in, head, interims, trailers_out, trailers_in, closer, close_code, dropped, ..
        } = self;
        let no_answer = response.is_none() && interims_in.is_none();
        let no_head = no_answer && head.is_none() && interims.is_empty();
        let no_trailers = trailers_out.is_none() && trailers_in.is_none();
        let nobody = self.sender.is_none() && self.watcher.is_none() && self.handler.is_none();
        let nothing_waits = self.pending == 0 && self.turn == Turn::Nobodys && *dropped == 0;
        no_head && no_trailers && nothing_waits && closer.is_none() && close_code.is_none() && nobody
    }
}

/// What becomes of a stream that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    GoOn,
    /// It is at its end, which is waited for.
    Await(Awaited),
    /// The connection has nothing to do with it any more; its cell has all that there will be.
    LetGo,
}

/// What the end of a peer's half says about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeersEnd {
    /// It reads on: END_STREAM ends one half of a stream (RFC 9113 §5.1).
    OfItsHalf,
    /// It is most likely gone: a FIN of TCP is all that is heard of a process that ended (RFC 9112 §9.6).
    OfAll,
}

/// What the connection knows of a stream that it looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Whether the connection polls a handler for the stream.
    pub(crate) has_handler: bool,
    pub(crate) peers_end: PeersEnd,
}

/// What an [exchange](StreamState::exchange) has come to.
#[must_use = "who waits is to be woken, and the connection has to act"]
pub(crate) struct Exchanged {
    pub(crate) waiting: Waiting,
    pub(crate) next: Next,
    /// What was awaited before, and is now.
    pub(crate) before: Awaited,
    pub(crate) awaited: Awaited,
    /// The inbox has been emptied of what kept more from it.
    pub(crate) refill: bool,
    /// A handler that the stream was given.
    pub(crate) handler: Option<Handler>,
    /// An emptied buffer.
    pub(crate) spare: BytesMut,
}

/// RFC 6455 §7.4.1: what a dropped WebSocket closes with, unless its handler's result says another.
const GOING_AWAY: u16 = 1001;
/// RFC 6455 §7.4.1.
const UNEXPECTED_CONDITION: u16 = 1011;
/// RFC 9113 §7: what ends a response that is not whole.
const INTERNAL_ERROR: ErrorCode = ErrorCode::new(Reason::INTERNAL_ERROR);
/// RFC 9113 §7: what ends a request whose response nobody awaits any more.
pub(in crate::engine::stream) const CANCEL: ErrorCode = ErrorCode::new(Reason::CANCEL);
/// RFC 9113 §7.
const REFUSED_STREAM: ErrorCode = ErrorCode::new(Reason::REFUSED_STREAM);

/// What is asked of a stream.
impl StreamState {
    /// The only stream of an upgraded connection.
    pub(in crate::engine::stream) fn tunnel() -> Self {
        Self { kind: Kind::Tunnel(Parting::Open), ..Self::default() }
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.kind, Kind::Tunnel(_))
    }

    /// No application holds the stream any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.handles == 0
    }

    pub(crate) fn awaited(&self) -> Awaited {
        self.awaited
    }

    /// Neither half has anything to move any more.
    fn is_ended(&self) -> bool {
        self.received != Received::Open && self.sent.is_over()
    }

    /// Dead, or ended both ways.
    pub(in crate::engine::stream) fn is_over(&self) -> bool {
        self.is_ended() || self.is_dead()
    }

    pub(in crate::engine::stream) fn is_dead(&self) -> bool {
        matches!(self.received, Received::Dead(_))
    }

    /// Whether nobody holds the stream any more, and its last words have not all gone out.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.is_abandoned() && !self.sent.is_over()
    }

    /// Whether octets go both ways.
    fn is_open(&self) -> bool {
        self.is_tunnel() && self.received == Received::Open && self.sent == Sent::Open && self.handles > 0
    }

    /// Whether there is nothing for the connection to see to, and octets may go both ways.
    pub(in crate::engine::stream) fn is_quiet(&self) -> bool {
        let is_empty = self.inbox.is_empty() && self.outbox.is_empty();
        let has_nothing_to_tell = !matches!(self.telling, Telling::Due(_));
        let is_unasked =
            !self.waits.has(Wait::HeldBack) && has_nothing_to_tell && self.flush == Flush::None && !self.head_waits();
        self.is_open() && is_empty && is_unasked
    }

    /// Whether, besides, the handler waits for what is received.
    pub(in crate::engine::stream) fn is_handler_receiving(&self) -> bool {
        self.waits.has(Wait::HandlerReceives) && !self.waits.has(Wait::ForEndAlone)
    }

    /// Whether a Ping may be sent: messages go both ways, and all that was sent before is with the connection.
    pub(in crate::engine::stream) fn takes_ping(&self) -> bool {
        self.is_open() && self.outbox.is_empty() && !self.head_waits()
    }

    pub(in crate::engine::stream) fn waits(&self) -> Waits {
        Waits { octets: self.waiting_octets() + self.pending() as usize, for_octets: self.awaits_octets() }
    }

    /// Octets that a sender holds.
    fn pending(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.pending)
    }

    /// Octets in the inbox.
    pub(in crate::engine::stream) fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// Octets that wait to be sent in the outbox.
    pub(in crate::engine::stream) fn waiting_octets(&self) -> usize {
        self.outbox.len()
    }

    /// Whether the application may send.
    pub(in crate::engine::stream) fn check_open(&self) -> Result {
        match self.sent {
            Sent::Open => Ok(()),
            Sent::Dead(death) => Err(death.into()),
            Sent::Following | Sent::Finishing | Sent::Finished | Sent::Resetting(_) => Err(Error::Closed),
        }
    }

    /// Whether the response was given, and the connection has not taken it yet.
    fn head_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.head.is_some())
    }

    /// The octets that are left to be read, where all that the peer sends has come, and no trailers behind them: who knows a length
    /// leaves no room for these (RFC 9112 §7.1.2).
    pub(in crate::engine::stream) fn rest(&self) -> Option<usize> {
        (self.received == Received::Finished && !self.has_trailers()).then(|| self.inbox.len())
    }

    fn has_trailers(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.trailers_in.is_some())
    }

    /// Whether all that the peer sends has come and was read, the head of a response and trailers included.
    pub(in crate::engine::stream) fn is_all_read(&self) -> bool {
        let has_response = self.rare.as_ref().is_some_and(|rare| rare.response.is_some());
        self.received == Received::Finished && self.inbox.is_empty() && !has_response && !self.has_trailers()
    }

    /// What must hold whenever nobody is in the middle of a transition.
    pub(in crate::engine::stream) fn check(&self) {
        let Self { waits, received, outbox, sent, kind, flush, awaited, .. } = self;
        let held_back = waits.has(Wait::HeldBack);
        debug_assert!(!held_back || *received == Received::Open, "after the peer's end the connection keeps nothing");
        debug_assert!(
            !matches!(sent, Sent::Finished | Sent::Dead(_) | Sent::Resetting(_)) || outbox.is_empty(),
            "nothing goes out any more: {sent:?} with {} octets",
            outbox.len()
        );
        debug_assert!(
            *sent != Sent::Following || *received == Received::Open,
            "the peer's end is there to be followed"
        );
        debug_assert!(
            !matches!(received, Received::Dead(_)) || sent.is_over(),
            "both halves of a dead stream are over: {received:?}, {sent:?}"
        );
        debug_assert!(*awaited == Awaited::Nothing || *kind != Kind::Exchange, "an exchange is not waited for");
        debug_assert!(*flush != Flush::Done || outbox.is_empty(), "what was sent since is not flushed");
        debug_assert!(self.rare.as_ref().is_none_or(|rare| rare.sender.is_none() || !waits.has(Wait::HandlerSends)));
    }

    /// What becomes of the stream. `is_closed` says that the machine has nothing more for it.
    fn next(&self, is_closed: bool, look: Look) -> Next {
        let Look { has_handler, peers_end } = look;
        let abandoned = self.is_abandoned();
        if self.received == Received::Open
            && self.sent == Sent::Open
            && self.kind != SAID
            && self.kind != FAILED
            && self.kind != SLOW
            && !abandoned
        {
            // Nearly always.
            return Next::GoOn;
        }
        if is_closed && self.is_ended() {
            // An answer that nobody awaits is dropped; a WebSocket's handler gets to see the end.
            return if self.is_tunnel() && has_handler { Next::Await(Awaited::Handler) } else { Next::LetGo };
        }
        if abandoned && (is_closed || self.sent.is_over() && !self.is_tunnel()) {
            return Next::LetGo;
        }
        let Kind::Tunnel(parting) = self.kind else { return Next::GoOn };
        match self.received {
            Received::Open if self.sent.is_over() => {
                return Next::Await(if parting == Parting::Said { Awaited::PeersEnd } else { Awaited::LastWords });
            }
            // A peer that is gone would let its handler go on for ever.
            Received::Finished if peers_end == PeersEnd::OfAll && has_handler => return Next::Await(Awaited::Handler),
            _ => {}
        }
        match parting {
            Parting::Failed if !self.sent.is_over() => Next::Await(Awaited::Room),
            Parting::Slow if !self.sent.is_over() => Next::Await(Awaited::OurEnd),
            _ if abandoned || self.sent == Sent::Following => Next::Await(Awaited::OurEnd),
            _ => Next::GoOn,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn take_rare<T>(&mut self, take: impl FnOnce(&mut Rare) -> Option<T>) -> Option<T> {
        let rare = self.rare.as_mut()?;
        let taken = take(rare);
        if rare.is_empty() {
            // Most streams have nothing more of it.
            self.rare = None;
        }
        taken
    }
}

const SAID: Kind = Kind::Tunnel(Parting::Said);
const FAILED: Kind = Kind::Tunnel(Parting::Failed);
const SLOW: Kind = Kind::Tunnel(Parting::Slow);

/// What waits on a stream.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    /// Octets to be sent, those that a sender holds included.
    pub(crate) octets: usize,
    /// Whether somebody waits for what the peer sends.
    pub(crate) for_octets: bool,
}

/// How our half ends.
pub(crate) enum Ending {
    /// As soon as all before it is sent, with these trailers.
    Now(Option<HeaderMap>),
    /// Once the peer's half has ended.
    AfterPeer,
}

/// Where octets went that arrived.
pub(in crate::engine::stream) enum Delivered {
    /// Into the inbox; beside it who waited for them.
    Put(Waiter),
    /// Nowhere, for now.
    HeldBack,
    /// To the closer of a tunnel that nobody holds.
    Heard,
}
