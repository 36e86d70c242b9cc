//! A stream as a WebSocket (RFC 6455), and what is made of one: its halves, its messages in pieces, groups, handlers.

mod crowds;
mod group;
mod group_send;
mod halves;
pub(crate) mod handler;
mod head;
mod io;
mod join;
mod member;
pub(crate) mod options;
mod reader;
mod round_trip;
mod tunnel;
mod websocket;
mod writer;

pub use group::{Group, GroupBuilder};
pub use group_send::GroupSend;
pub use halves::{Receiver, Sender};
pub use handler::{Handler, Outcome};
pub use io::WebSocketIo;
pub use join::Join;
pub use member::Member;
pub use options::SocketOptions;
pub use reader::MessageReader;
pub use tunnel::{Tunnel, TunnelPeer};
pub use websocket::WebSocket;
pub use writer::MessageWriter;

pub use crate::engine::members::SlowMember;
#[cfg(feature = "tungstenite")]
pub use sockeye_proto::ws::NotAMessage;
pub use sockeye_proto::ws::handshake::{Offer, OriginPolicy, Refusal};
pub use sockeye_proto::ws::{CloseCode, CloseFrame, Extensions, LimitPassed, Message, MessageKind, Violation};
#[cfg(feature = "deflate")]
pub use sockeye_proto::ws::{Deflate, DeflateContext};
