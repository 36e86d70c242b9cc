//! WebSocket (RFC 6455): one end of one socket, once its handshake is done.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use sockeye_proto::ws::{Config, Event, Message, Role, WebSocket};
//!
//! let mask_key = || [0x37, 0xFA, 0x21, 0x3D]; // in earnest: from a strong source of randomness
//! let mut client = WebSocket::new(Role::Client { mask_key }, Config::default());
//! let mut server = WebSocket::new(Role::Server, Config::default());
//!
//! client.send(&Message::from("Hello"))?;
//! let mut wire = BytesMut::new();
//! client.poll_transmit(&mut wire);
//!
//! server.handle_data(Instant::now, &mut wire);
//! assert_eq!(server.poll_event(), Some(Event::Message("Hello".into())));
//! # Ok::<(), sockeye_proto::ws::SendError>(())
//! ```

mod close;
mod config;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "deflate/absent.rs"]
mod deflate;
mod error;
mod extensions;
mod fragments;
mod frame;
pub mod handshake;
mod inflation;
mod mask;
mod message;
mod partial;
mod pieces;
mod receive;
mod send;
mod streamed;
#[cfg(feature = "tungstenite")]
mod tungstenite;
mod utf8;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

#[cfg(feature = "tungstenite")]
pub use self::tungstenite::NotAMessage;
pub use close::{CloseCode, CloseFrame};
pub use config::Config;
pub use deflate::SharedDeflate;
#[cfg(feature = "deflate")]
pub use deflate::{Deflate, DeflateContext};
pub use error::{CloseError, LimitPassed, PingError, SendError, Violation};
pub use extensions::Extensions;
pub use inflation::Inflation;
pub use message::{Message, MessageKind};
pub use pieces::Piece;
pub use send::{encode, encode_ping};

use deflate::Codec;
use fragments::Fragmenting;
use partial::Partial;
use send::Outgoing;

use crate::rate::Bucket;

/// Which end of the socket this is.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Takes masked frames and sends them bare (RFC 6455 §5.1).
    Server,
    /// Takes bare frames and masks what it sends.
    Client {
        /// Draws the key of one frame, which must be unpredictable (RFC 6455 §5.3).
        mask_key: fn() -> [u8; 4],
    },
}

/// What is known of a message that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Octets held of it: see [`WebSocket::buffered`].
    pub held: usize,
    /// Octets of memory that are taken for it besides, as it grows by doubling: as many again at most, and none of 64 KiB or
    /// more, whose room the system gives as it is written to.
    pub spare: usize,
    /// Octets that are still to come of its frame under way; 0 between two frames.
    pub announced: usize,
    /// Whether that frame is its last (FIN, RFC 6455 §5.2): then nothing comes but what is announced.
    pub is_last: bool,
}

/// What has happened to a [`WebSocket`].
///
/// It is exhaustive on purpose: an event more is for whoever runs a socket to act on, and so a new major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// A Pong, which answers our [`ping`](WebSocket::ping) or comes unasked (RFC 6455 §5.5.3). Pings make no event:
    /// they are answered.
    Pong(Bytes),
    /// The peer's Close. Ours was sent before or has been queued as the answer. The last event.
    Close(CloseFrame),
    /// The peer broke a rule. Our Close has been queued, unless one was sent before. The last event.
    Failed(Violation),
    /// The transport ended without the peer's Close, which is code 1006 to the application (RFC 6455 §7.1.5). The last
    /// event.
    Eof,
}

/// How far the closing handshake is (RFC 6455 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages go both ways.
    Open,
    /// Our Close is sent, the peer's is awaited; what else it sends is discarded.
    Closing,
    /// Both Closes are done, or a rule was broken, or the transport has ended: nothing is read any more, and nothing
    /// follows what [`poll_transmit`](WebSocket::poll_transmit) hands out, so that END_STREAM can go with it.
    Closed,
}

/// One end of a WebSocket whose handshake is done.
///
/// Octets of the transport go in by [`handle_data`](Self::handle_data), events come out of
/// [`poll_event`](Self::poll_event), and what is to be sent out of [`poll_transmit`](Self::poll_transmit). Pings and the
/// peer's Close are answered without being asked. While nothing is under way it owns no memory but itself.
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    // The fields of the configuration. As one field they would leave a gap.
    max_message_size: usize,
    max_streamed_message_size: u64,
    max_fragments: u32,
    ping_burst: u32,
    pings_per_second: u32,
    progress: Progress,
    no_masking: bool,
    event: Option<Event>,
    /// What waits to be sent; boxed, since most of the time nothing does.
    outgoing: Option<Box<Outgoing>>,
    pings: Bucket,
    partial: Option<Box<Partial>>,
    /// Where `permessage-deflate` is in use.
    codec: Option<Box<Codec>>,
}

/// A server of a million sockets has a million of these.
const _: () = assert!(size_of::<WebSocket>() <= 128);

/// [`State`], and what of it is still to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Open,
    /// Open, and between two fragments of a message that we send: no other message can be sent.
    Fragmenting(Fragmenting),
    CloseSent,
    /// Closed by the end of the transport, of which [`Event::Eof`] is to tell.
    Eof,
    Closed,
}

impl WebSocket {
    /// A socket in the open state.
    pub fn new(role: Role, config: Config) -> Self {
        let Config { max_message_size, max_streamed_message_size, max_fragments, ping_burst, pings_per_second } =
            config;
        Self {
            role,
            max_message_size,
            max_streamed_message_size,
            max_fragments,
            ping_burst,
            pings_per_second,
            progress: Progress::Open,
            no_masking: false,
            event: None,
            outgoing: None,
            pings: Bucket::default(),
            partial: None,
            codec: None,
        }
    }

    /// The socket with the extensions that its handshake settled on, before anything is sent or received.
    #[must_use]
    pub fn with_extensions(mut self, in_use: Extensions) -> Self {
        self.no_masking = in_use.no_masking;
        self.codec = in_use.deflate.map(|deflate| Box::new(Codec::new(self.role, deflate)));
        self
    }

    /// The socket with a limit on what its messages may decompress to that it shares with others: to be called once the
    /// extensions are settled. By default it has one of its own.
    #[must_use]
    pub fn with_inflation(mut self, limit: Arc<Inflation>) -> Self {
        if let Some(codec) = &mut self.codec {
            codec.share_inflation(limit);
        }
        self
    }

    /// The extensions in use.
    pub fn extensions(&self) -> Extensions {
        Extensions { deflate: self.codec.as_ref().map(|codec| codec.in_use()), no_masking: self.no_masking }
    }

    /// How messages to the peer may be compressed once for it and others: where compression is in use, none of ours
    /// refers to those before it (RFC 7692 §7.1.1), and we do not mask.
    pub fn shared_deflate(&self) -> Option<SharedDeflate> {
        self.codec.as_ref().filter(|_| !self.is_masking())?.shared()
    }

    /// Takes octets from the front of `input` until one event is pending, a Pong is due, or `input` is empty. Then call
    /// [`poll_event`](Self::poll_event), and this again while `input` is not empty. Who sends between the calls answers
    /// every Ping; who cannot answers the latest.
    ///
    /// A frame that is not whole is taken into the machine, so that nothing is left in `input` but what follows the
    /// event. Octets after the last event are dropped. `now` is asked only where a limit needs the time, at most once.
    pub fn handle_data(&mut self, now: impl FnOnce() -> Instant, input: &mut BytesMut) {
        let taken = self.handle_frames(now, input);
        input.advance(taken);
    }

    /// The transport's end, END_STREAM or a TCP FIN, once all octets before it were taken by
    /// [`handle_data`](Self::handle_data). Without the peer's Close it makes an [`Event::Eof`].
    pub fn handle_eof(&mut self) {
        if self.is_reading() {
            self.progress = Progress::Eof;
            self.partial = None;
        }
    }

    /// The next event, if one is pending.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.event.is_none() && self.progress == Progress::Eof {
            self.progress = Progress::Closed;
            return Some(Event::Eof);
        }
        self.event.take()
    }

    /// Makes a message the next event again, which [`poll_event`](Self::poll_event) has handed out. No event may be pending.
    pub fn put_back(&mut self, message: Message) {
        debug_assert!(self.event.is_none(), "the pending event would be lost");
        self.event = Some(Event::Message(message));
    }

    /// Takes the message that was [put back](Self::put_back), or that is the next event in any other way.
    pub fn take_back(&mut self) -> Option<Message> {
        match self.event.take() {
            Some(Event::Message(message)) => Some(message),
            event => {
                self.event = event;
                None
            }
        }
    }

    /// What is known of the message that is not whole, if some of it is held.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let held = self.buffered();
        let partial = self.partial.as_ref().filter(|_| held > 0)?;
        let (announced, is_last) = partial.announced();
        Some(Unfinished { held, spare: partial.spare(), announced, is_last })
    }

    /// Fails the socket over a message that is not whole and does not go on, which no octet can tell: as after any other
    /// violation, a Close is queued, and [`Event::Failed`] tells of it. Of a socket that reads no more this does nothing.
    pub fn give_up(&mut self) {
        if self.is_reading() {
            self.fail(Violation::MessageStalled);
        }
    }

    /// Whether a frame, or a message that is to be whole, has begun and is not whole: more of it is to come. A message that is
    /// received in pieces may wait as long as it likes between two of its frames.
    pub fn is_midway(&self) -> bool {
        self.is_open() && self.partial.as_ref().is_some_and(|partial| partial.is_midway())
    }

    /// Begins to count the octets that come of what [is under way](Self::is_midway): whoever gives it a time asks for its
    /// [`progress`](Self::progress) then.
    pub fn watch(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.watched = Some(0);
        }
    }

    /// Octets of payload that have come since [`watch`](Self::watch), while what was under way then still is.
    pub fn progress(&self) -> Option<usize> {
        self.partial.as_ref()?.watched
    }

    /// What is under way does not go on: fails the WebSocket with 1008, as [`Violation::NoProgress`].
    pub fn time_out(&mut self) {
        if self.is_reading() {
            self.fail(Violation::NoProgress);
        }
    }

    /// Fails the socket over a peer that does not read, which no octet can tell either: as [`give_up`](Self::give_up), with 1013
    /// (Try Again Later).
    pub fn give_up_slow(&mut self) {
        if self.is_reading() {
            self.fail(Violation::TooSlow);
        }
    }

    /// Whether the socket is open, between two messages, and has nothing to tell or to send.
    #[inline(always)]
    pub fn is_at_rest(&self) -> bool {
        let is_open = matches!(self.progress, Progress::Open);
        is_open && self.partial.is_none() && self.event.is_none() && !self.is_transmit_pending()
    }

    /// How far the closing handshake is.
    pub fn state(&self) -> State {
        match self.progress {
            Progress::Open | Progress::Fragmenting(_) => State::Open,
            Progress::CloseSent => State::Closing,
            Progress::Eof | Progress::Closed => State::Closed,
        }
    }

    /// The limit that this violation passed, in numbers; `None` where it is of a rule and not of a limit of ours.
    pub fn limit_passed(&self, violation: Violation) -> Option<LimitPassed> {
        if violation == Violation::InflatedTooMuch {
            let rate = self.codec.as_ref()?.inflation();
            return Some(LimitPassed::Inflation(rate.burst, rate.per_second));
        }
        LimitPassed::new(violation, &self.config())
    }

    fn config(&self) -> Config {
        Config {
            max_message_size: self.max_message_size,
            max_streamed_message_size: self.max_streamed_message_size,
            max_fragments: self.max_fragments,
            ping_burst: self.ping_burst,
            pings_per_second: self.pings_per_second,
        }
    }

    /// Octets held of a message that is not whole: at most [`Config::max_message_size`], or an eighth and 64 octets more
    /// where it is compressed. The memory reserved for them is at most twice as much, or sixteen
    /// times from 64 KiB on.
    pub fn buffered(&self) -> usize {
        match self.progress {
            Progress::Open | Progress::Fragmenting(_) => {
                self.partial.as_ref().map_or(0, |partial| partial.message_len())
            }
            _ => 0, // discarded as it comes
        }
    }

    fn is_reading(&self) -> bool {
        self.is_open() || self.progress == Progress::CloseSent
    }

    fn is_open(&self) -> bool {
        matches!(self.progress, Progress::Open | Progress::Fragmenting(_))
    }
}
