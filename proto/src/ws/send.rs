//! What goes to the peer: messages, control frames and our Close, as frames that wait or in whoever's buffer there is.

use bytes::{Bytes, BytesMut};

use super::deflate::Codec;
use super::frame::{self, Opcode};
use super::{CloseCode, CloseError, Message, MessageKind, PingError, Progress, Role, SendError, WebSocket, close};

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Whole ones.
    pub(super) frames: BytesMut,
    /// The payload of the latest Ping that is not answered yet. RFC 6455 §5.5.3 lets the latest stand for all before
    /// it, so a peer that pings and does not read makes us hold one.
    pub(super) pong: Option<Box<[u8]>>,
}

impl WebSocket {
    /// Queues a message, as one frame. There is no limit but the caller's: [`State::Open`](super::State::Open) is all that it takes.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        self.check_idle()?;
        let key = self.mask_key();
        let outgoing = self.outgoing.get_or_insert_default();
        encode_message(&mut outgoing.frames, message, key, self.codec.as_deref_mut());
        Ok(())
    }

    /// [`poll_transmit`](Self::poll_transmit) and [`send`](Self::send) in one, without a buffer between: appends what
    /// is queued to `output`, and then the message.
    pub fn send_into(&mut self, message: &Message, output: &mut BytesMut) -> Result<(), SendError> {
        self.check_idle()?;
        self.poll_transmit(output);
        encode_message(output, message, self.mask_key(), self.codec.as_deref_mut());
        Ok(())
    }

    /// [`send_into`](Self::send_into) without a copy of the payload, where that goes out as it is, neither masked nor
    /// compressed: then it is returned, to be sent right after `output`.
    pub fn send_head_into(&mut self, message: &Message, output: &mut BytesMut) -> Result<Option<Bytes>, SendError> {
        if self.codec.is_some() || self.is_masking() {
            return self.send_into(message, output).map(|()| None);
        }
        self.check_idle()?;
        self.poll_transmit(output);
        frame::encode_head(output, message_opcode(message), message.len());
        Ok(Some(message.clone().into_bytes()))
    }

    /// Queues a Ping of at most 125 octets (RFC 6455 §5.5.2).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), PingError> {
        self.send_control(Opcode::Ping, payload)
    }

    /// Queues a Pong of at most 125 octets that answers no Ping: a heartbeat that asks for none in return
    /// (RFC 6455 §5.5.3). Pings are answered without it.
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), PingError> {
        self.send_control(Opcode::Pong, payload)
    }

    /// Queues a Close. Nothing can be sent after it, and of what comes only the peer's Close matters; the limits hold
    /// for the rest as before.
    ///
    /// The reason has at most 123 octets. [`CloseCode::NO_STATUS`] with an empty reason makes an empty Close.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        self.check_open().ok_or(CloseError::Closed)?;
        let is_empty = code == CloseCode::NO_STATUS && reason.is_empty();
        if !is_empty && !code.is_sendable() {
            return Err(CloseError::InvalidCode);
        }
        if reason.len() > close::MAX_REASON_SIZE {
            return Err(CloseError::ReasonTooLong);
        }
        let key = self.mask_key();
        close::encode(self.frames(), code, reason, key);
        self.progress = Progress::CloseSent;
        if let Some(partial) = &mut self.partial {
            partial.discard_message();
        }
        self.settle();
        Ok(())
    }

    /// Appends all that is to be sent to `output`, whole frames, and gives the machine's buffer up. Where `output` is
    /// empty and has no room it becomes that buffer, without a copy.
    ///
    /// The Pong comes first: RFC 6455 §5.5.2 wants it "as soon as is practical". The rest keeps its order.
    #[inline]
    pub fn poll_transmit(&mut self, output: &mut BytesMut) {
        if self.is_transmit_pending() {
            self.transmit(output);
        }
    }

    /// Out of line: messages come by [`send_into`](Self::send_into).
    #[inline(never)]
    fn transmit(&mut self, output: &mut BytesMut) {
        let Outgoing { frames, pong } = *self.outgoing.take().unwrap_or_default();
        if let Some(payload) = pong {
            frame::encode(output, Opcode::Pong, &payload, self.mask_key());
        }
        if output.is_empty() && output.capacity() < frames.len() {
            *output = frames;
        } else {
            output.extend_from_slice(&frames);
        }
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to hand out.
    #[inline]
    pub fn is_transmit_pending(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Whether what is sent is masked: by a client, unless an extension says otherwise (RFC 6455 §5.3).
    pub fn is_masking(&self) -> bool {
        matches!(self.role, Role::Client { .. }) && !self.no_masking
    }

    /// Where frames wait to be sent.
    pub(super) fn frames(&mut self) -> &mut BytesMut {
        &mut self.outgoing.get_or_insert_default().frames
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), PingError> {
        self.check_open().ok_or(PingError::Closed)?;
        if payload.len() > frame::MAX_CONTROL_SIZE {
            return Err(PingError::PayloadTooLong);
        }
        let key = self.mask_key();
        frame::encode(self.frames(), opcode, payload, key);
        Ok(())
    }

    /// The key of the next frame that we send.
    #[inline]
    pub(super) fn mask_key(&self) -> Option<[u8; 4]> {
        match self.role {
            Role::Client { mask_key } if !self.no_masking => Some(mask_key()),
            _ => None,
        }
    }

    pub(super) fn check_open(&self) -> Option<()> {
        self.is_open().then_some(())
    }

    /// Whether a message can be sent. RFC 6455 §5.4: not between the fragments of another.
    #[inline]
    pub(super) fn check_idle(&self) -> Result<(), SendError> {
        if matches!(self.progress, Progress::Open) { Ok(()) } else { Err(self.refusal()) }
    }

    /// Why no message can be sent. Out of line: nearly every message can.
    #[cold]
    fn refusal(&self) -> SendError {
        match self.progress {
            Progress::Open | Progress::Fragmenting(_) => SendError::Unfinished,
            Progress::CloseSent | Progress::Eof | Progress::Closed => SendError::Closed,
        }
    }
}

/// A Ping of at most 125 octets (RFC 6455 §5.5.2) as a frame, masked where there is a key (§5.3): to be sent between two
/// frames of a socket's machine, which does not know of it.
pub fn encode_ping(payload: &[u8], key: Option<[u8; 4]>) -> Bytes {
    debug_assert!(payload.len() <= frame::MAX_CONTROL_SIZE, "RFC 6455 §5.5");
    let mut frame = BytesMut::new();
    frame::encode(&mut frame, Opcode::Ping, payload, key);
    frame.freeze()
}

/// A message as one frame, neither masked nor compressed: as a server may send it to any number of sockets.
pub fn encode(message: &Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame::encode(&mut frame, message_opcode(message), message.as_bytes(), None);
    frame.freeze()
}

/// Inlined by force, for the case without a codec.
#[inline(always)]
fn encode_message(output: &mut BytesMut, message: &Message, key: Option<[u8; 4]>, codec: Option<&mut Codec>) {
    let opcode = message_opcode(message);
    match codec {
        Some(codec) => codec.encode(output, opcode, message.as_bytes(), key),
        None => frame::encode(output, opcode, message.as_bytes(), key),
    }
}

#[inline]
pub(super) fn message_opcode(message: &Message) -> Opcode {
    opcode(message.kind())
}

#[inline]
pub(super) fn opcode(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}
