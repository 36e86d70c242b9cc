//! What comes from the peer: from frames to events.

use std::cell::LazyCell;
use std::mem;
use std::ops::Deref;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;

use super::frame::{Expected, Header, Opcode};
use super::partial::{Assembly, Delivery, Reading};
use super::streamed::{Streamed, Taker};
use super::{CloseFrame, Event, Message, Progress, Role, Violation, WebSocket, close, mask};
use crate::Rate;

impl WebSocket {
    /// [`handle_data`](WebSocket::handle_data) for octets that stand in another's buffer: returns how many it took, and the
    /// message, where they began with one that is there whole. Any other event is to be [polled](WebSocket::poll_event).
    #[inline(always)]
    pub fn handle_in_place(&mut self, now: impl FnOnce() -> Instant, octets: &mut [u8]) -> (usize, Option<Message>) {
        if self.is_at_rest()
            && let Some(header) = Header::decode_message(octets, self.expected())
            && let end = header.size.saturating_add(header.length)
            && let Some(payload) = octets.get_mut(header.size..end)
        {
            return match unmasked(header, payload) {
                Ok(message) => (end, Some(message)),
                Err(violation) => {
                    self.fail(violation);
                    (octets.len(), None)
                }
            };
        }
        (self.handle_frames(now, octets), None)
    }

    /// Takes octets off the front of `input` until there is something to tell or to answer, and says how many.
    pub(super) fn handle_frames(&mut self, now: impl FnOnce() -> Instant, input: &mut [u8]) -> usize {
        let now = LazyCell::new(now);
        let mut rest = &mut *input;
        while self.event.is_none() && !rest.is_empty() && self.is_reading() && !self.has_piece() {
            if let Err(violation) = self.handle_frame(&now, &mut rest) {
                self.fail(violation);
            }
            self.drop_pieces();
            if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.pong.is_some()) {
                break;
            }
        }
        let left = if self.is_reading() { rest.len() } else { 0 };
        input.len() - left
    }

    /// Takes one frame off the front of `input`, or as much of it as there is.
    fn handle_frame(&mut self, now: &impl Deref<Target = Instant>, input: &mut &mut [u8]) -> Result<(), Violation> {
        if let Some(Reading::Payload { .. }) = self.partial.as_ref().map(|partial| &partial.reading) {
            return self.handle_payload(now, input);
        }
        let Some(header) = self.take_header(input)? else { return Ok(()) };
        let continues = header.opcode == Opcode::Continuation;
        let in_pieces = self.partial.as_ref().is_some_and(|partial| partial.delivery == Delivery::Pieces);
        if header.length > input.len() || continues || !header.fin || header.compressed || in_pieces {
            return self.begin_payload(header, now, input);
        }
        // The common case: the whole frame is there, and the message or the control frame with it.
        let payload = take(input, header.length);
        match header.opcode {
            Opcode::Text | Opcode::Binary if self.is_open() => {
                self.event = Some(Event::Message(unmasked(header, payload)?));
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                mask::apply(payload, header.key);
                self.handle_control(header.opcode, payload, now)?;
            }
            // Discarded: our Close is sent.
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {}
        }
        self.settle();
        Ok(())
    }

    /// Takes the next frame's header off `input`: `None` if it is not whole.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        let mut expected = self.expected();
        if let Some(partial) = &mut self.partial {
            let mut in_pieces = partial.delivery == Delivery::Pieces;
            if in_pieces {
                expected.room = usize::try_from(self.max_streamed_message_size).unwrap_or(usize::MAX);
            }
            if let Some(message) = &partial.message {
                expected.continuation = true;
                expected.room = message.room(self.max_message_size);
                in_pieces = matches!(message, Assembly::Streamed(_));
            }
            let header = partial.reading.take_header(input, expected);
            return header.map_err(|violation| match violation {
                Violation::MessageTooBig if in_pieces => Violation::StreamedMessageTooBig,
                violation => violation,
            });
        }
        if let Some(header) = Header::decode(input, expected)? {
            take(input, header.size);
            return Ok(Some(header));
        }
        self.partial.insert(Box::default()).reading.take_header(input, expected)
    }

    /// What the header of a message's first frame is judged by.
    #[inline]
    fn expected(&self) -> Expected {
        Expected {
            masked: matches!(self.role, Role::Server) && !self.no_masking,
            continuation: false,
            deflate: self.codec.is_some(),
            room: self.max_message_size,
        }
    }

    /// Goes on from a header to a payload that is not whole, or that makes no message of its own.
    fn begin_payload(
        &mut self,
        header: Header,
        now: &impl Deref<Target = Instant>,
        input: &mut &mut [u8],
    ) -> Result<(), Violation> {
        let partial = self.partial.get_or_insert_default();
        partial.reading = Reading::Payload { header, control: Vec::new() };
        if !header.opcode.is_control() {
            // RFC 6455 §10.4: a limit on what is reassembled.
            if partial.fragments >= self.max_fragments && !partial.explains_its_fragments() {
                return Err(Violation::TooManyFragments);
            }
            partial.fragments = partial.fragments.saturating_add(1);
            let begins = partial.message.is_none();
            if begins {
                partial.message = Some(match partial.delivery {
                    Delivery::Whole => Assembly::new(header),
                    Delivery::Pieces => {
                        let (max, codec) = (self.max_streamed_message_size, self.codec.as_deref());
                        Assembly::Streamed(Box::new(Streamed::new(header, max, codec)))
                    }
                });
            }
            if !matches!(self.progress, Progress::Open | Progress::Fragmenting(_)) {
                partial.discard_message();
            }
        }
        self.handle_payload(now, input)
    }

    /// Takes what there is of the current frame's payload.
    fn handle_payload(&mut self, now: &impl Deref<Target = Instant>, input: &mut &mut [u8]) -> Result<(), Violation> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let Reading::Payload { header, control } = &mut partial.reading else { return Ok(()) };
        let most = match &partial.message {
            Some(Assembly::Streamed(streamed)) => streamed.step(),
            _ => usize::MAX,
        };
        let piece = take(input, header.length.min(input.len()).min(most));
        if header.opcode.is_control() {
            header.key = mask::apply(piece, header.key);
            control.extend_from_slice(piece);
        } else if let Some(Assembly::Streamed(streamed)) = &mut partial.message {
            if let Some(codec) = self.codec.as_deref_mut().filter(|_| streamed.is_compressed()) {
                codec.count(**now)?;
                codec.expect(piece.len());
            }
            header.key = streamed.push(piece, header.key)?;
            if !piece.is_empty() {
                partial.fragments = 0;
            }
        } else if let Some(message) = &mut partial.message {
            // Room for what may follow this frame too: or each small fragment would move the message to a larger buffer.
            let room = message.room(self.max_message_size);
            header.key = message.push(piece, header.key, if header.fin { header.length } else { room })?;
        }
        header.length -= piece.len();
        if let Some(octets) = &mut partial.watched {
            *octets += piece.len();
        }
        if header.length > 0 {
            return Ok(());
        }
        let (header, control) = (*header, mem::take(control));
        partial.reading = Reading::default();
        if !partial.is_midway() || header.fin && !header.opcode.is_control() {
            partial.watched = None;
        }
        if header.opcode.is_control() {
            self.handle_control(header.opcode, &control, now)?;
        } else if header.fin
            && let Some(Assembly::Streamed(streamed)) = &mut partial.message
            && streamed.taker != Taker::Closing
        {
            streamed.end()?;
        } else if header.fin
            && let Some(message) = partial.message.take()
        {
            let max = self.max_message_size;
            let message = message.finish(|payload| match &mut self.codec {
                Some(codec) => codec.inflate(payload, max, **now),
                // A message is taken for compressed only where there is a codec.
                None => Err(Violation::ReservedBits),
            })?;
            self.event = message.map(Event::Message);
        }
        self.settle();
        Ok(())
    }

    fn handle_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        now: &impl Deref<Target = Instant>,
    ) -> Result<(), Violation> {
        let is_open = self.is_open();
        match opcode {
            Opcode::Ping => {
                let rate = Rate { burst: self.ping_burst, per_second: self.pings_per_second };
                if !self.pings.take(**now, rate) {
                    return Err(Violation::TooManyPings);
                }
                // After our Close the peer reads no Pong (RFC 6455 §1.4).
                if is_open {
                    self.outgoing.get_or_insert_default().pong = Some(payload.into());
                }
            }
            Opcode::Pong if is_open => self.event = Some(Event::Pong(Bytes::copy_from_slice(payload))),
            Opcode::Close => {
                let frame = CloseFrame::decode(payload)?;
                if is_open {
                    // RFC 6455 §5.5.1: "it typically echos the status code it received". The reason goes back with it, for
                    // peers that compare the two: what came in a control frame fits into one.
                    let key = self.mask_key();
                    close::encode(self.frames(), frame.code, &frame.reason, key);
                }
                self.progress = Progress::Closed;
                self.partial = None;
                self.event = Some(Event::Close(frame));
            }
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        Ok(())
    }

    /// _Fail the WebSocket Connection_ (RFC 6455 §7.1.7): the Close with the violation's code.
    pub(super) fn fail(&mut self, violation: Violation) {
        if self.is_open() {
            let key = self.mask_key();
            close::encode(self.frames(), violation.code(), violation.reason(), key);
        }
        self.progress = Progress::Closed;
        self.partial = None;
        self.event = Some(Event::Failed(violation));
    }

    /// Gives up what an idle socket does not need, such as the count of a message's fragments once it is whole.
    pub(super) fn settle(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_idle()) {
            self.partial = None;
        }
    }
}

/// The message that came in one frame.
#[inline(always)]
fn unmasked(header: Header, payload: &[u8]) -> Result<Message, Violation> {
    let payload = Bytes::from(copy_unmasked(payload, header.key));
    Ok(match header.opcode {
        Opcode::Text => Message::Text(ByteString::try_from(payload).map_err(|_| Violation::Text)?),
        _ => Message::Binary(payload),
    })
}

/// It is the copy that is unmasked: what was just written in small pieces is not quickly read in large ones.
#[inline(never)]
fn copy_unmasked(payload: &[u8], key: u32) -> Box<[u8]> {
    let mut payload = Box::<[u8]>::from(payload);
    mask::apply(&mut payload, key);
    payload
}

/// Takes octets off the front of `input`: at most as many as there are.
#[inline]
fn take<'a>(input: &mut &'a mut [u8], octets: usize) -> &'a mut [u8] {
    let (taken, rest) = mem::take(input).split_at_mut(octets);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::{CloseCode, Config};
    use super::*;

    fn client() -> WebSocket {
        WebSocket::new(Role::Client { mask_key: || [1, 2, 3, 4] }, Config::default())
    }

    fn feed(socket: &mut WebSocket, octets: &[u8]) -> Option<Event> {
        let mut input = BytesMut::from(octets);
        socket.handle_data(Instant::now, &mut input);
        assert!(input.is_empty());
        socket.poll_event()
    }

    /// Between messages, and once it is closed, a socket owns no memory but itself.
    #[test]
    fn idle_socket_holds_nothing() {
        let wholes: [&[&[u8]]; 4] = [
            &[b"\x81", b"\x02Hi"],
            &[b"\x81\x02H", b"i"],
            &[b"\x89\x02H", b"i"],
            &[b"\x01\x01H", b"\x8A\x00", b"\x80\x01i"],
        ];
        let ends: [&[&[u8]]; 3] = [&[b"\x01\x02Hi", b"\x88\x00"], &[b"\x01\x02H", b"i\xFF"], &[b"\x88", b"\x00"]];
        for pieces in wholes.iter().chain(&ends) {
            let mut socket = client();
            for piece in &pieces[..pieces.len() - 1] {
                feed(&mut socket, piece);
                assert!(socket.partial.is_some());
            }
            feed(&mut socket, pieces[pieces.len() - 1]);
            socket.poll_transmit(&mut BytesMut::new());
            assert!(socket.partial.is_none(), "{pieces:x?}");
            assert!(socket.outgoing.is_none());
        }
        let mut socket = client();
        feed(&mut socket, b"\x01\x05Hi");
        socket.handle_eof();
        assert!(socket.partial.is_none());
    }

    /// Our Close frees what came of a message, and its length still counts for the limits.
    #[test]
    fn close_frees_the_message() {
        let mut socket = client();
        feed(&mut socket, b"\x01\x05Hi");
        socket.close(CloseCode::NORMAL, "").unwrap();
        let message = socket.partial.unwrap().message;
        assert!(matches!(message, Some(Assembly::Discarded(2))));
    }
}
