use bytes::Bytes;
use bytestring::ByteString;

/// A message: text or octets (RFC 6455 §5.6). A clone is cheap and shares the payload.
///
/// ```
/// use sockeye_proto::ws::Message;
///
/// let message = Message::from("überall");
/// assert!(message.is_text());
/// assert_eq!(message.as_text(), Some("überall"));
/// assert_eq!(message.len(), 8);
/// assert_eq!(Message::from(vec![1, 2, 3]).as_bytes(), &[1, 2, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Text, which is always valid UTF-8.
    Text(ByteString),
    /// Octets without a meaning to the protocol.
    Binary(Bytes),
}

/// What a message is (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text, which is always valid UTF-8.
    Text,
    /// Octets without a meaning to the protocol.
    Binary,
}

impl Message {
    /// What kind of message this is.
    pub fn kind(&self) -> MessageKind {
        if self.is_text() { MessageKind::Text } else { MessageKind::Binary }
    }

    /// A message of this kind without a payload.
    pub fn empty(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text(ByteString::new()),
            MessageKind::Binary => Self::Binary(Bytes::new()),
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(octets) => octets,
        }
    }

    /// The payload of a text message; `None` for a binary one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(octets) => octets,
        }
    }

    /// The payload's length in octets.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty, which any message's may be.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// Copies the text; [`ByteString::from_static`] does without.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(octets: Bytes) -> Self {
        Self::Binary(octets)
    }
}

impl From<Vec<u8>> for Message {
    fn from(octets: Vec<u8>) -> Self {
        Self::Binary(octets.into())
    }
}

/// Copies the octets; [`Bytes::from_static`] does without.
impl From<&[u8]> for Message {
    fn from(octets: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(octets))
    }
}

/// Copies the octets; [`Bytes::from_static`] does without.
impl<const N: usize> From<&[u8; N]> for Message {
    fn from(octets: &[u8; N]) -> Self {
        octets.as_slice().into()
    }
}
