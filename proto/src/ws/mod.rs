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
mod error;
pub mod handshake;
mod message;

use std::time::Instant;

use bytes::{Bytes, BytesMut};

pub use close::{CloseCode, CloseFrame};
pub use error::{CloseError, PingError, SendError, Violation};
pub use message::Message;

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

/// The limits of one WebSocket. None of them is met by honest traffic.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Octets in a message, whole: 1 MiB by default. A message of exactly this size passes; a longer one fails with
    /// 1009 at its length, before its payload. It bounds what one socket can make us hold.
    pub max_message_size: usize,
    /// Frames in a message: 1024 by default, then 1009. Each costs work and, if it is empty, counts for no octet.
    pub max_fragments: u32,
    /// Pings that may come at once: 20 by default, then 1008. Each asks us for an answer that costs as much.
    pub ping_burst: u32,
    /// Pings per second in the long run: 10 by default, then 1008.
    pub pings_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_message_size: 1 << 20, max_fragments: 1024, ping_burst: 20, pings_per_second: 10 }
    }
}

/// What has happened to a [`WebSocket`].
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
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    config: Config,
}

impl WebSocket {
    /// A socket in the open state.
    pub fn new(role: Role, config: Config) -> Self {
        Self { role, config }
    }

    /// Takes octets from the front of `input` until one event is pending or `input` is empty. Then call
    /// [`poll_event`](Self::poll_event), and this again while `input` is not empty.
    ///
    /// A frame that is not whole is taken into the machine, so an empty `input` need not be kept. `now` is asked only
    /// where a limit needs the time.
    pub fn handle_data(&mut self, now: impl FnOnce() -> Instant, input: &mut BytesMut) {
        let _ = (now, input);
        todo!()
    }

    /// The transport's end: END_STREAM or a TCP FIN, once all octets before it were handed to
    /// [`handle_data`](Self::handle_data). Without the peer's Close it makes an [`Event::Eof`].
    pub fn handle_eof(&mut self) {
        todo!()
    }

    /// The next event, if one is pending.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Queues a message.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let _ = message;
        todo!()
    }

    /// [`send`](Self::send) and [`poll_transmit`](Self::poll_transmit) in one, without a buffer between: appends to
    /// `output` what is queued and then the message.
    pub fn send_into(&mut self, message: &Message, output: &mut BytesMut) -> Result<(), SendError> {
        let _ = (message, output);
        todo!()
    }

    /// Queues a Ping of at most 125 octets (RFC 6455 §5.5.2).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), PingError> {
        let _ = payload;
        todo!()
    }

    /// Queues a Close, after which nothing can be sent and of what comes only the peer's Close matters. The reason has
    /// at most 123 octets. [`CloseCode::NO_STATUS`] with an empty reason sends a Close without a code.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        let _ = (code, reason);
        todo!()
    }

    /// Appends what is to be sent to `output`; hands the buffer over where that is cheaper than a copy.
    ///
    /// A pending Pong comes first, then what was queued in its order.
    pub fn poll_transmit(&mut self, output: &mut BytesMut) {
        let _ = output;
        todo!()
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to hand out.
    pub fn is_transmit_pending(&self) -> bool {
        todo!()
    }

    /// How far the closing handshake is.
    pub fn state(&self) -> State {
        todo!()
    }

    /// Octets held of a message that is not whole yet: at most [`Config::max_message_size`].
    pub fn buffered(&self) -> usize {
        todo!()
    }
}
