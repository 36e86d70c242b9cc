//! The frames of one direction of a WebSocket (RFC 6455 §5.2).

use super::{CLIENT, Rule, Seen};

/// Reads frames in octets that come in any pieces.
pub(super) struct Frames {
    side: usize,
    state: State,
    /// A message whose last frame is to come.
    message: Option<Kind>,
    pub(super) seen: Seen,
}

enum State {
    Head(Vec<u8>),
    Payload {
        frame: Frame,
        at: u64,
        /// As much of it as tells what it is.
        start: Vec<u8>,
    },
    /// After a Close.
    Over,
}

#[derive(Clone, Copy)]
struct Frame {
    first: u8,
    length: u64,
    is_masked: bool,
    key: [u8; 4],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    OfGroup,
}

/// What each message of a group begins with, and no other.
pub(crate) const MARK: u8 = b'%';
/// Octets of a payload that are enough to inflate its first one: a block's codes take fewer (RFC 1951 §3.2.7).
const START: usize = 512;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;

impl Frames {
    pub(super) fn new(side: usize) -> Self {
        Self { side, state: State::Head(Vec::new()), message: None, seen: Seen::default() }
    }

    pub(super) fn see(&mut self, mut octets: &[u8]) -> Rule {
        while !octets.is_empty() {
            match &mut self.state {
                State::Head(head) => {
                    head.push(octets[0]);
                    octets = &octets[1..];
                    if let Some(frame) = parse(head) {
                        self.check(frame)?;
                        self.state = State::Payload { frame, at: 0, start: Vec::new() };
                        self.end_frame()?;
                    }
                }
                State::Payload { frame, at, start } => {
                    let size = (frame.length - *at).min(octets.len() as u64) as usize;
                    for octet in octets[..size].iter().take(START - start.len()) {
                        start.push(octet ^ frame.key[start.len() % 4]);
                    }
                    *at += size as u64;
                    octets = &octets[size..];
                    self.end_frame()?;
                }
                // RFC 6455 §5.5.1
                State::Over => return Err(format!("{} octets after a Close", octets.len())),
            }
        }
        Ok(())
    }

    fn check(&self, frame: Frame) -> Rule {
        let is_control = frame.first & 8 != 0;
        let is_continuation = frame.first & 15 == 0;
        if !matches!(frame.first & 15, 0..=2 | 8..=10) {
            return Err(format!("a frame of the opcode {} (RFC 6455 §5.2)", frame.first & 15));
        }
        if is_control && (frame.length > 125 || frame.first & FIN == 0) {
            return Err("a control frame that is too long, or in parts (RFC 6455 §5.5)".to_owned());
        }
        if !is_control && is_continuation != self.message.is_some() {
            return Err("a continuation of nothing, or a message within another (RFC 6455 §5.4)".to_owned());
        }
        // RFC 6455 §5.1
        if frame.is_masked != (self.side == CLIENT) {
            return Err("a frame is masked, or not, against RFC 6455 §5.1".to_owned());
        }
        if frame.first & RSV & !RSV1 != 0 {
            return Err("a reserved bit (RFC 6455 §5.2)".to_owned());
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Rule {
        let State::Payload { frame, at, start } = &self.state else { return Ok(()) };
        if *at < frame.length {
            return Ok(());
        }
        match frame.first & 15 {
            8 => {
                let code = start.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                // RFC 6455 §7.4.1: these are never sent.
                if frame.length == 1 || frame.length > 1 && matches!(code, 0..=999 | 1004..=1006 | 1015) {
                    return Err(format!("a Close with the code {code}"));
                }
                self.seen.close = Some(if frame.length == 0 { 1005 } else { code });
                self.state = State::Over;
                return Ok(());
            }
            9 | 10 => {}
            _ => {
                let kind = self.kind(*frame, start);
                if kind == Kind::Own {
                    self.seen.octets += frame.length;
                }
                self.message = (frame.first & FIN == 0).then_some(kind);
                match kind {
                    _ if self.message.is_some() => {}
                    Kind::Own => self.seen.own += 1,
                    Kind::OfGroup => self.seen.of_groups += 1,
                }
            }
        }
        self.state = State::Head(Vec::new());
        Ok(())
    }

    /// Whose message a frame is of, which the start of its payload tells.
    fn kind(&self, frame: Frame, start: &[u8]) -> Kind {
        let first = || if frame.first & RSV1 == 0 { start.first().copied() } else { first_inflated(start) };
        self.message.unwrap_or_else(|| if first() == Some(MARK) { Kind::OfGroup } else { Kind::Own })
    }

    /// Octets of an own message's frame that is not here as a whole, where they are not compressed.
    fn octets_in_part(&self) -> u64 {
        match &self.state {
            State::Payload { frame, at, start }
                if frame.first & (8 | RSV1) == 0 && self.kind(*frame, start) == Kind::Own =>
            {
                *at
            }
            _ => 0,
        }
    }

    /// Says what was seen of messages and the Close.
    pub(super) fn tell(&self, seen: &mut Seen) {
        let Seen { own, octets, of_groups, close, .. } = self.seen;
        *seen = Seen { own, octets: octets + self.octets_in_part(), of_groups, close, ..*seen };
    }
}

/// The first octet of a compressed message (RFC 7692 §7.2.2), by the start of it.
fn first_inflated(start: &[u8]) -> Option<u8> {
    let inflated = miniz_oxide::inflate::decompress_to_vec_with_limit(start, 1 << 20);
    // It ends without an end, or is not all here.
    inflated.unwrap_or_else(|error| error.output).first().copied()
}

/// A frame's head, once it is whole.
fn parse(head: &[u8]) -> Option<Frame> {
    let (&first, &second) = (head.first()?, head.get(1)?);
    let (length, at) = match second & 127 {
        126 => (u16::from_be_bytes(head.get(2..4)?.try_into().ok()?).into(), 4),
        127 => (u64::from_be_bytes(head.get(2..10)?.try_into().ok()?), 10),
        length => (length.into(), 2),
    };
    let is_masked = second & 128 != 0;
    let key = if is_masked { head.get(at..at + 4)?.try_into().ok()? } else { [0; 4] };
    Some(Frame { first, length, is_masked, key })
}
