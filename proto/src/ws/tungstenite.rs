//! Conversions from and to the types of the crate `tungstenite`, for code that was written for it. No payload is copied.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame as TheirFrame;

use super::{CloseCode, CloseFrame, Message};

impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(to_their_text(text)),
            Message::Binary(octets) => Self::Binary(octets),
        }
    }
}

/// Of tungstenite's six kinds of messages two are messages (RFC 6455 §5.6). The others are frames of the protocol's own, which a
/// Sockeye WebSocket has functions for.
///
/// ```
/// use sockeye_proto::ws::Message;
///
/// let text = Message::try_from(tungstenite::Message::text("hello"))?;
/// assert_eq!(text, Message::from("hello"));
/// let ping = tungstenite::Message::Ping("are you there?".into());
/// assert_eq!(Message::try_from(ping.clone()).unwrap_err().0, ping);
/// # Ok::<(), sockeye_proto::ws::NotAMessage>(())
/// ```
impl TryFrom<tungstenite::Message> for Message {
    type Error = NotAMessage;

    fn try_from(message: tungstenite::Message) -> Result<Self, NotAMessage> {
        match message {
            tungstenite::Message::Text(text) => Ok(Self::Text(to_our_text(text))),
            tungstenite::Message::Binary(octets) => Ok(Self::Binary(octets)),
            other => Err(NotAMessage(other)),
        }
    }
}

impl From<CloseFrame> for TheirFrame {
    fn from(frame: CloseFrame) -> Self {
        Self { code: u16::from(frame.code).into(), reason: to_their_text(frame.reason) }
    }
}

impl From<TheirFrame> for CloseFrame {
    fn from(frame: TheirFrame) -> Self {
        Self { code: CloseCode::from(u16::from(frame.code)), reason: to_our_text(frame.reason) }
    }
}

/// A Ping, a Pong, a Close or a raw frame, as it came: none of them is a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMessage(pub tungstenite::Message);

impl fmt::Display for NotAMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.0 {
            tungstenite::Message::Ping(_) => "a Ping",
            tungstenite::Message::Pong(_) => "a Pong",
            tungstenite::Message::Close(_) => "a Close",
            _ => "a raw frame",
        };
        write!(f, "{what} is no message: a socket has a function for it")
    }
}

impl std::error::Error for NotAMessage {}

/// Text that is known to be UTF-8 is checked again: what does without is `unsafe`, in either crate.
fn to_their_text(text: ByteString) -> Utf8Bytes {
    let octets = text.into_bytes();
    Utf8Bytes::try_from(octets).unwrap_or_default()
}

fn to_our_text(text: Utf8Bytes) -> ByteString {
    let octets = Bytes::from(text);
    ByteString::try_from(octets).unwrap_or_default()
}
