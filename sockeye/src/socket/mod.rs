//! A stream as a WebSocket (RFC 6455), and what is made of one: its halves, its messages in pieces, groups, handlers.

mod group;
mod halves;
pub(crate) mod handler;
mod head;
mod members;
mod reader;
mod round_trip;
mod websocket;
mod writer;

pub use group::{Group, Member};
pub use halves::{Receiver, Sender};
pub use handler::{Handler, Outcome};
pub use reader::MessageReader;
pub use websocket::WebSocket;
pub use writer::MessageWriter;
