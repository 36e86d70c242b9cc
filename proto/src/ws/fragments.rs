//! Messages that are sent in pieces: each piece is a fragment of its own (RFC 6455 §5.4).

use bytes::{Bytes, BytesMut};

use super::frame::{self, Fragment, Opcode};
use super::send::message_opcode;
use super::{Message, MessageKind, Progress, SendError, WebSocket};

/// The message of which some fragments are sent, and not the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragmenting {
    kind: MessageKind,
    /// RFC 7692 §6.1: the first fragment says it for all.
    compressed: bool,
}

impl WebSocket {
    /// The kind of the message that is being sent in pieces: some were sent, and not the last.
    pub fn unfinished_kind(&self) -> Option<MessageKind> {
        match self.progress {
            Progress::Fragmenting(Fragmenting { kind, .. }) => Some(kind),
            _ => None,
        }
    }

    /// Sends the next piece of a message in pieces, or its first: appends what is queued to `output`, and then the piece, as
    /// one frame. A payload that goes out as it is, neither masked nor compressed, is returned, to be sent right after
    /// `output`.
    ///
    /// A piece of text is text: no character is in two. With the last piece, which may be empty, the message is whole. Before
    /// that no other can be sent: [`SendError::Unfinished`]. Pings, Pongs and the Close can.
    ///
    /// With `permessage-deflate` a message is compressed if its first piece is large enough
    /// ([`min_size`](super::Deflate::min_size)).
    ///
    /// ```
    /// # use bytes::BytesMut;
    /// # use sockeye_proto::ws::{Config, Role, WebSocket};
    /// let mut server = WebSocket::new(Role::Server, Config::default());
    /// let mut wire = BytesMut::new();
    /// for (piece, is_last) in [("Hel", false), ("lo", true)] {
    ///     let payload = server.send_piece(&piece.into(), is_last, &mut wire)?;
    ///     wire.extend(payload.unwrap_or_default());
    /// }
    /// assert_eq!(wire, b"\x01\x03Hel\x80\x02lo"[..]); // RFC 6455 §5.7
    /// # Ok::<(), sockeye_proto::ws::SendError>(())
    /// ```
    pub fn send_piece(
        &mut self,
        piece: &Message,
        is_last: bool,
        output: &mut BytesMut,
    ) -> Result<Option<Bytes>, SendError> {
        let kind = piece.kind();
        let (begins, compressed) = match self.progress {
            Progress::Open => (true, self.codec.as_ref().is_some_and(|codec| codec.is_worth(piece.len()))),
            Progress::Fragmenting(message) if message.kind == kind => (false, message.compressed),
            Progress::Fragmenting(_) => return Err(SendError::OtherKind),
            Progress::CloseSent | Progress::Eof | Progress::Closed => return Err(SendError::Closed),
        };
        self.poll_transmit(output);
        let opcode = if begins { message_opcode(piece) } else { Opcode::Continuation };
        let fragment = Fragment { opcode, fin: is_last, compressed: begins && compressed };
        self.progress = if is_last { Progress::Open } else { Progress::Fragmenting(Fragmenting { kind, compressed }) };
        let (key, octets) = (self.mask_key(), piece.as_bytes());
        match &mut self.codec {
            Some(codec) if compressed => codec.encode_piece(output, fragment, octets, key),
            _ if key.is_some() => frame::encode_fragment(output, fragment, octets, key),
            _ => {
                frame::encode_fragment_head(output, fragment, octets.len());
                return Ok(Some(piece.clone().into_bytes()));
            }
        }
        Ok(None)
    }
}
