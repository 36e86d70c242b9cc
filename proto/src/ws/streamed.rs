//! One message that is received in pieces: from the payload of its frames to its pieces.

use std::collections::VecDeque;
use std::mem;

use super::deflate::{Codec, Inflated, Inflater};
use super::frame::{Header, Opcode, streamed_compressed_limit};
use super::utf8::Utf8Buffer;
use super::{MessageKind, Piece, Violation, mask};

/// Octets that become one piece, at most: a transport hands over no more at a time.
const LARGEST_PIECE: usize = 64 << 10;
/// Octets of compressed payload that are taken at a time, to be held until they are decompressed.
const COMPRESSED_STEP: usize = 4 << 10;

/// A message of which no more is held than its next piece.
#[derive(Debug)]
pub(super) struct Streamed {
    pub(super) taker: Taker,
    content: Content,
    /// Of a compressed message; boxed, since nearly no message is one.
    inflater: Option<Box<Inflater>>,
    /// Octets of payload that may still come, compressed or not.
    room: u64,
    /// Octets that the payload may still be decompressed to.
    inflated_room: u64,
    /// The next steps.
    ready: VecDeque<Piece>,
}

/// Who takes the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    Reader,
    /// The reader went away: the rest is checked, and decompressed since the next message may refer to it, and dropped.
    Nobody,
    /// Our Close is sent: of what comes only the length counts.
    Closing,
}

#[derive(Debug)]
enum Content {
    Binary,
    /// The text of the next piece, and a character that is not whole.
    Text(Utf8Buffer),
}

impl Streamed {
    /// The message that this frame begins, of at most `max` octets.
    pub(super) fn new(header: Header, max: u64, codec: Option<&Codec>) -> Self {
        let codec = codec.filter(|_| header.compressed);
        Self::begin(kind(header.opcode), max, codec)
    }

    /// The message that the text so far begins.
    pub(super) fn of_text(mut text: Utf8Buffer, max: u64) -> Self {
        let length = text.len();
        let mut streamed = Self::begin(MessageKind::Text, max, None);
        streamed.ready.extend(text.take().map(|text| Piece::Payload(text.into())));
        streamed.content = Content::Text(text);
        streamed.after(length)
    }

    /// The message that these octets begin.
    pub(super) fn of_binary(octets: Vec<u8>, max: u64) -> Self {
        let length = octets.len();
        let mut streamed = Self::begin(MessageKind::Binary, max, None);
        if !octets.is_empty() {
            streamed.ready.push_back(Piece::Payload(octets.into()));
        }
        streamed.after(length)
    }

    /// The message that these octets begin, compressed.
    pub(super) fn of_compressed(opcode: Opcode, octets: &[u8], max: u64, codec: Option<&Codec>) -> Self {
        let mut streamed = Self::begin(kind(opcode), max, codec);
        if let Some(inflater) = &mut streamed.inflater {
            inflater.push(octets);
        }
        streamed.after(octets.len())
    }

    /// A message of which only the length counts.
    pub(super) fn of_discarded(length: usize, max: u64) -> Self {
        Self { taker: Taker::Closing, ..Self::begin(MessageKind::Binary, max, None) }.after(length)
    }

    /// So much has come, which may be more than there was room for.
    fn after(mut self, length: usize) -> Self {
        self.room = self.room.saturating_sub(length as u64);
        self
    }

    fn begin(kind: MessageKind, max: u64, codec: Option<&Codec>) -> Self {
        let content = match kind {
            MessageKind::Text => Content::Text(Utf8Buffer::default()),
            MessageKind::Binary => Content::Binary,
        };
        let room = if codec.is_some() { streamed_compressed_limit(max) } else { max };
        let inflater = codec.map(|codec| Box::new(codec.inflater()));
        let ready = VecDeque::from([Piece::Begin(kind)]);
        Self { taker: Taker::Reader, content, inflater, room, inflated_room: max, ready }
    }

    /// Octets of payload that may still come.
    pub(super) fn room(&self) -> u64 {
        self.room
    }

    /// Whether what comes is decompressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.inflater.is_some()
    }

    /// How many octets of payload to take at a time.
    pub(super) fn step(&self) -> usize {
        if self.is_compressed() { COMPRESSED_STEP } else { LARGEST_PIECE }
    }

    /// Whether [`poll`](Self::poll) has something to do.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty() || self.inflater.as_ref().is_some_and(|inflater| inflater.is_busy())
    }

    /// Whether all of its payload has come.
    pub(super) fn has_come(&self) -> bool {
        match &self.inflater {
            Some(inflater) => inflater.has_all(),
            None => self.ready.back() == Some(&Piece::End),
        }
    }

    /// Our Close is sent.
    pub(super) fn discard(&mut self) {
        self.taker = Taker::Closing;
        self.inflater = None;
        self.content = Content::Binary;
        self.ready = VecDeque::new();
    }

    /// Takes payload as it came, with the key that it is masked with; returns the key for what comes next.
    pub(super) fn push(&mut self, octets: &mut [u8], key: u32) -> Result<u32, Violation> {
        debug_assert!(octets.len() as u64 <= self.room, "the frame's length was checked");
        self.room = self.room.saturating_sub(octets.len() as u64);
        if self.taker == Taker::Closing || octets.is_empty() {
            // Nothing of it is looked at.
            return Ok(key);
        }
        match (&mut self.inflater, &mut self.content) {
            (None, Content::Binary) => {
                let (piece, key) = mask::copy(octets, key);
                self.ready.push_back(Piece::Payload(piece.into()));
                Ok(key)
            }
            (None, Content::Text(text)) => {
                let key = mask::apply(octets, key);
                self.ready.extend(text_piece(text, octets)?);
                Ok(key)
            }
            (Some(inflater), _) => {
                let key = mask::apply(octets, key);
                inflater.push(octets);
                Ok(key)
            }
        }
    }

    /// The last frame has ended.
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        match &mut self.inflater {
            Some(inflater) => inflater.end(),
            None => {
                self.content.end()?;
                self.ready.push_back(Piece::End);
            }
        }
        Ok(())
    }

    /// The next step, if it is there.
    pub(super) fn poll(&mut self, codec: Option<&mut Codec>) -> Result<Option<Piece>, Violation> {
        if let Some(piece) = self.ready.pop_front() {
            return Ok(Some(piece));
        }
        let (Some(inflater), Some(codec)) = (&mut self.inflater, codec) else { return Ok(None) };
        while inflater.is_busy() {
            match inflater.next()? {
                Inflated::Octets(octets) => {
                    // RFC 6455 §10.4
                    self.inflated_room =
                        self.inflated_room.checked_sub(octets.len() as u64).ok_or(Violation::StreamedMessageTooBig)?;
                    codec.note(&octets);
                    if let Some(piece) = self.content.piece(octets)? {
                        return Ok(Some(piece));
                    }
                }
                Inflated::Nothing => {}
                Inflated::End => {
                    self.content.end()?;
                    return Ok(Some(Piece::End));
                }
            }
        }
        Ok(None)
    }
}

impl Content {
    /// The piece that these octets make: none if they are but a part of a character.
    fn piece(&mut self, octets: Vec<u8>) -> Result<Option<Piece>, Violation> {
        match self {
            Self::Binary => Ok(Some(Piece::Payload(octets.into()))),
            Self::Text(text) => text_piece(text, &octets),
        }
    }

    /// Whether the payload may end here.
    fn end(&mut self) -> Result<(), Violation> {
        match self {
            Self::Binary => Ok(()),
            Self::Text(text) => mem::take(text).finish().map(drop).map_err(|_| Violation::Text),
        }
    }
}

/// The whole characters of what is there by now.
fn text_piece(text: &mut Utf8Buffer, octets: &[u8]) -> Result<Option<Piece>, Violation> {
    // RFC 6455 §8.1
    text.push(octets, 0).map_err(|_| Violation::Text)?;
    Ok(text.take().map(|text| Piece::Payload(text.into())))
}

fn kind(opcode: Opcode) -> MessageKind {
    if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary }
}
