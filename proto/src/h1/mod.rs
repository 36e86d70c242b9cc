//! One exchange of HTTP/1.1 (RFC 9112) that may become a tunnel, which is how a WebSocket opens there (RFC 6455 §4).
//!
//! A server reads with a [`HeadReader`] until it knows whether a WebSocket is asked for. If so, a [`Connection`] goes on: a
//! [`Machine`](crate::Machine) with the one stream [`STREAM`], which speaks the vocabulary of [`h2`](crate::h2). Any other
//! head is for a whole server of HTTP/1.1 to answer, with the octets that were read.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::{Buf, BytesMut};
//! use sockeye_proto::h1::{Connection, Head, HeadReader, STREAM};
//! use sockeye_proto::h2::Config;
//! use sockeye_proto::{Machine, MachineStream};
//!
//! let (config, now) = (Config::default(), Instant::now());
//! let mut wire = BytesMut::from(
//!     "GET /chat HTTP/1.1\r\nhost: example.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst octets",
//! );
//! let Head::WebSocket { request, length } = HeadReader::new(&config).read(&wire) else { panic!("not ours") };
//! wire.advance(length);
//!
//! let mut machine = Connection::server(request, &config, now);
//! machine.handle_data(now, &mut wire);
//! let mut stream = machine.stream(STREAM).unwrap();
//! let response = http::Response::builder().status(101).header("upgrade", "websocket").body(()).unwrap();
//! stream.respond(&response, false).unwrap();
//! assert_eq!(stream.read(), "first octets");
//! stream.write(b"and ours", true);
//! machine.poll_transmit(&mut wire);
//! assert!(wire.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n") && wire.ends_with(b"\r\n\r\nand ours"));
//! assert!(machine.is_send_closed());
//! ```

mod connection;
mod head;
mod host;
mod response;
mod stream;

use crate::h2::StreamId;

pub use self::connection::Connection;
pub use self::head::{Head, HeadReader, NotOurs};
pub use self::host::settle_host;
pub use self::stream::Stream;

/// The only stream of a [`Connection`], in slot 0.
pub const STREAM: StreamId = StreamId::new(1, 0);
