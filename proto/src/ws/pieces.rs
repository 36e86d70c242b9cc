//! Messages that are received in pieces: no more is held of one than a piece, whatever its size.

use super::partial::{Assembly, Delivery};
use super::streamed::Taker;
use super::{Message, MessageKind, Violation, WebSocket};

/// A step of the receipt of a message [in pieces](WebSocket::receive_in_pieces).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A message begins.
    Begin(MessageKind),
    /// The next octets of its payload, unmasked and decompressed. They are a message of the same kind, so that a piece of
    /// text ends between two characters. A piece is never empty.
    Payload(Message),
    /// The message is whole.
    End,
}

impl WebSocket {
    /// Lets [`poll_piece`](Self::poll_piece) hand out the next message in pieces, where it would become an
    /// [`Event::Message`](super::Event::Message). Of a message that has begun already, the first piece is what came of it;
    /// one whose pieces were handed out, but not to the last, is skipped first.
    ///
    /// This holds for one message. Its size is limited by
    /// [`max_streamed_message_size`](super::Config::max_streamed_message_size).
    ///
    /// ```
    /// # use std::time::Instant;
    /// # use bytes::BytesMut;
    /// # use sockeye_proto::ws::{Config, MessageKind, Piece, Role, WebSocket};
    /// let mut client = WebSocket::new(Role::Client { mask_key: || [0; 4] }, Config::default());
    /// client.receive_in_pieces();
    /// let mut wire = BytesMut::from(&b"\x01\x03Hel\x80\x02lo"[..]); // two fragments (RFC 6455 §5.7)
    /// let mut pieces = Vec::new();
    /// while !wire.is_empty() {
    ///     client.handle_data(Instant::now, &mut wire);
    ///     pieces.extend(std::iter::from_fn(|| client.poll_piece()));
    /// }
    /// let [hel, lo] = ["Hel", "lo"].map(|text| Piece::Payload(text.into()));
    /// assert_eq!(pieces, [Piece::Begin(MessageKind::Text), hel, lo, Piece::End]);
    /// ```
    pub fn receive_in_pieces(&mut self) {
        if !self.is_open() {
            return;
        }
        self.skip_pieces();
        let partial = self.partial.get_or_insert_default();
        partial.delivery = Delivery::Pieces;
        let (announced, _) = partial.announced();
        match partial.message.take() {
            None => {}
            Some(Assembly::Streamed(skipped)) => partial.message = Some(Assembly::Streamed(skipped)),
            Some(begun) => {
                if let (Assembly::Compressed(_, octets), Some(codec)) = (&begun, &mut self.codec) {
                    codec.expect(octets.len());
                }
                let streamed = begun.into_streamed(self.max_streamed_message_size, self.codec.as_deref());
                let is_too_big = announced as u64 > streamed.room();
                partial.message = Some(Assembly::Streamed(Box::new(streamed)));
                partial.fragments = 0;
                if is_too_big {
                    self.fail(Violation::StreamedMessageTooBig);
                }
            }
        }
    }

    /// Takes [`receive_in_pieces`](Self::receive_in_pieces) back. Of a message that has begun in pieces the rest is skipped:
    /// checked as it comes, and dropped.
    #[inline]
    pub fn receive_whole(&mut self) {
        if self.partial.is_some() {
            self.stop_pieces();
        }
    }

    #[inline(never)]
    fn stop_pieces(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.delivery = Delivery::Whole;
        }
        self.skip_pieces();
        self.settle();
    }

    /// The next step of a message that is received in pieces, if one is there.
    ///
    /// While there is one, [`handle_data`](Self::handle_data) takes nothing. So all that is held of the message is one piece,
    /// or what that is decompressed from, and whoever takes the pieces sets the pace also of a message that decompresses to
    /// much more than its octets. A violation that shows here makes an event, as any other.
    #[inline]
    pub fn poll_piece(&mut self) -> Option<Piece> {
        if self.has_piece() { self.next_piece() } else { None }
    }

    #[inline(never)]
    fn next_piece(&mut self) -> Option<Piece> {
        let partial = self.partial.as_deref_mut()?;
        let Some(Assembly::Streamed(streamed)) = &mut partial.message else { return None };
        let piece = match streamed.poll(self.codec.as_deref_mut()) {
            Ok(piece) => piece,
            Err(violation) => {
                self.fail(violation);
                return None;
            }
        };
        if piece == Some(Piece::End) {
            // A call during a message that is skipped was for the one behind it.
            if streamed.taker == Taker::Reader {
                partial.delivery = Delivery::Whole;
            }
            partial.message = None;
            partial.fragments = 0;
            self.settle();
        }
        piece
    }

    /// Whether [`poll_piece`](Self::poll_piece) has something to do.
    #[inline]
    pub(super) fn has_piece(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| match &partial.message {
            Some(Assembly::Streamed(streamed)) => streamed.is_busy(),
            _ => false,
        })
    }

    /// Nobody takes the pieces of the message that is under way.
    fn skip_pieces(&mut self) {
        if let Some(Assembly::Streamed(streamed)) = self.partial.as_mut().and_then(|partial| partial.message.as_mut()) {
            streamed.taker = Taker::Nobody;
            self.drop_pieces();
        }
    }

    /// Drops what there is of a message that is skipped.
    pub(super) fn drop_pieces(&mut self) {
        while let Some(Assembly::Streamed(streamed)) =
            self.partial.as_ref().and_then(|partial| partial.message.as_ref())
            && streamed.taker == Taker::Nobody
            && self.poll_piece().is_some()
        {}
    }
}
