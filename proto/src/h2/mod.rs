//! HTTP/2 (RFC 9113) with the extended CONNECT (RFC 8441), for both roles.
//!
//! A [`Connection`] does no I/O. Its owner goes round, from top to bottom:
//!
//! 1. octets from the transport go into [`handle_data`](Connection::handle_data), time into
//!    [`handle_timeout`](Connection::handle_timeout);
//! 2. [`poll_event`](Connection::poll_event) says what happened, until it says nothing;
//! 3. the application reads, writes, responds, with the verbs of [`Stream`];
//! 4. [`poll_transmit`](Connection::poll_transmit) yields what to send. Then `poll_event` may have more (streams that
//!    waited for room), and `handle_data` too where [`is_stopped`](Connection::is_stopped) held it back.
//!
//! A [`Pump`](crate::Pump) goes round so for any machine.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use sockeye_proto::h2::{Config, Connection, Event, Role};
//!
//! let now = Instant::now();
//! let mut client = Connection::new(Role::Client, Config::default(), now);
//! let mut server = Connection::new(Role::Server, Config::default(), now);
//!
//! let request = http::Request::get("https://example.com/").body(()).unwrap();
//! let id = client.open(&request, true)?;
//! let mut wire = BytesMut::new();
//! client.poll_transmit(&mut wire);
//! server.handle_data(now, &mut wire);
//! while let Some(event) = server.poll_event() {
//!     if let Event::Request { id, request, .. } = event {
//!         assert_eq!(request.uri().path(), "/");
//!         let mut stream = server.stream(id).unwrap();
//!         stream.respond(&http::Response::new(()), false).unwrap();
//!         stream.write(b"hello", true);
//!         stream.release();
//!     }
//! }
//! server.poll_transmit(&mut wire);
//! client.handle_data(now, &mut wire);
//! assert_eq!(client.stream(id).unwrap().read(), "hello");
//! # Ok::<(), sockeye_proto::h2::OpenError>(())
//! ```

mod config;
mod connection;
mod error;
mod event;
mod events;
mod flow;
mod frame;
mod guard;
mod input;
mod life;
mod output;
mod peer;
mod settings;
mod streams;
mod timers;

pub use self::config::{Config, Counters};
pub use self::connection::{Connection, Stream, StreamId};
pub use self::error::{ConnectionError, OpenError, Scope, SendError, Violation};
pub use self::event::Event;
pub use self::frame::PREFACE;
pub use self::settings::Settings;
pub use crate::{Rate, Reason};

/// The payload of the PING that asks whether the peer is there.
const KEEP_ALIVE: [u8; 8] = *b"sockeye?";
/// The payload of the PING that goes with the first GOAWAY.
const DRAIN: [u8; 8] = *b"sockeye!";

/// Which side of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

impl Role {
    const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
