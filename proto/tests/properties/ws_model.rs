//! RFC 6455 read plainly: what the frames of a session come to, where all of it is there at once and nothing is compressed.

use sockeye_proto::ws::{CloseCode, CloseFrame, Config, Event, Message, Violation};

use super::ws_common::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};

/// Octets that explain a fragment: [`Config::max_fragments`] documents it.
const LEAST_MEAN_FRAGMENT: usize = 256;

/// How a session goes on.
enum End {
    /// A rule is broken.
    Failed(CloseCode),
    /// The peer's Close came.
    Closed,
    /// More octets are needed.
    Partial,
}

/// What the machine made of the whole `wire` is what a plain reading makes of it. Of a violation the code is compared: where
/// two rules are broken at once, either may be named.
pub fn assert_is_outcome(outcome: &[Event], wire: &[u8], is_masked: bool, config: &Config) {
    let mut model = Model { rest: wire, is_masked, config, message: None, pings: 0, events: Vec::new() };
    let end = loop {
        if let Err(end) = model.read_frame() {
            break end;
        }
    };
    let (last, before) = match outcome.split_last() {
        Some((Event::Failed(violation), before)) => (Some(*violation), before),
        _ => (None, outcome),
    };
    assert_eq!(before, model.events);
    match end {
        End::Failed(code) => assert_eq!(last.map(Violation::code), Some(code), "{last:?}"),
        End::Closed | End::Partial => assert_eq!(last, None),
    }
}

struct Model<'a> {
    rest: &'a [u8],
    is_masked: bool,
    config: &'a Config,
    message: Option<Fragments>,
    pings: u32,
    events: Vec<Event>,
}

/// A message that is not whole.
struct Fragments {
    is_text: bool,
    octets: Vec<u8>,
    frames: u32,
}

/// A frame's header.
struct Header {
    fin: bool,
    opcode: u8,
    length: u64,
    key: [u8; 4],
}

impl Model<'_> {
    fn take(&mut self, octets: usize) -> Result<&[u8], End> {
        let (taken, rest) = self.rest.split_at_checked(octets).ok_or(End::Partial)?;
        self.rest = rest;
        Ok(taken)
    }

    fn read_frame(&mut self) -> Result<(), End> {
        let header = self.read_header()?;
        if header.opcode & 0x8 != 0 {
            let payload = self.read_payload(&header, header.length as usize)?;
            return self.handle_control(header.opcode, &payload);
        }
        let config = self.config;
        let message = self.message.get_or_insert_with(|| Fragments {
            is_text: header.opcode == TEXT,
            octets: Vec::new(),
            frames: 0,
        });
        // §10.4
        if message.frames >= config.max_fragments
            && message.octets.len() < message.frames as usize * LEAST_MEAN_FRAGMENT
        {
            return Err(End::Failed(CloseCode::MESSAGE_TOO_BIG));
        }
        message.frames += 1;
        let available = usize::try_from(header.length).unwrap_or(usize::MAX).min(self.rest.len());
        let payload = self.read_payload(&header, available)?;
        let Some(message) = &mut self.message else { unreachable!("a message was begun") };
        message.octets.extend(payload);
        // §8.1, at the first octet that cannot be right.
        let text = str::from_utf8(&message.octets);
        let is_whole = header.fin && available as u64 == header.length;
        if message.is_text && text.is_err_and(|error| is_whole || error.error_len().is_some()) {
            return Err(End::Failed(CloseCode::INVALID_PAYLOAD));
        }
        if (available as u64) < header.length {
            return Err(End::Partial);
        }
        if header.fin
            && let Some(Fragments { is_text, octets, .. }) = self.message.take()
        {
            self.events.push(Event::Message(match is_text {
                true => Message::from(String::from_utf8(octets).expect("checked")),
                false => Message::from(octets),
            }));
        }
        Ok(())
    }

    /// §5.2, octet by octet.
    fn read_header(&mut self) -> Result<Header, End> {
        let protocol_error = Err(End::Failed(CloseCode::PROTOCOL_ERROR));
        let first = self.take(1)?[0];
        let (fin, opcode) = (first & FIN != 0, first & 0x0F);
        let is_control = opcode & 0x8 != 0;
        let is_wrong = match opcode {
            CONTINUATION => self.message.is_none(),
            TEXT | BINARY => self.message.is_some(),
            CLOSE | PING | PONG => !fin,
            _ => true,
        };
        if first & 0x70 != 0 || is_wrong {
            return protocol_error;
        }
        let second = self.take(1)?[0];
        let short = second & 0x7F;
        if (second & 0x80 != 0) != self.is_masked || (is_control && short > 125) {
            return protocol_error;
        }
        let (width, least) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let mut length = if width == 0 { u64::from(short) } else { 0 };
        for octet in self.take(width)? {
            length = length << 8 | u64::from(*octet);
        }
        if length < least || length >> 63 != 0 {
            return protocol_error;
        }
        let held = self.message.as_ref().map_or(0, |message| message.octets.len());
        if !is_control && length > (self.config.max_message_size - held) as u64 {
            return Err(End::Failed(CloseCode::MESSAGE_TOO_BIG));
        }
        let mut key = [0; 4];
        if self.is_masked {
            key.copy_from_slice(self.take(4)?);
        }
        Ok(Header { fin, opcode, length, key })
    }

    /// §5.3
    fn read_payload(&mut self, header: &Header, octets: usize) -> Result<Vec<u8>, End> {
        let key = header.key;
        Ok(self.take(octets)?.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect())
    }

    /// §5.5
    fn handle_control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), End> {
        match (opcode, payload) {
            (PING, _) => {
                self.pings += 1;
                let is_too_often = self.pings > self.config.ping_burst;
                if is_too_often { Err(End::Failed(CloseCode::POLICY_VIOLATION)) } else { Ok(()) }
            }
            (PONG, _) => {
                self.events.push(Event::Pong(payload.to_vec().into()));
                Ok(())
            }
            (_, []) => self.close(CloseCode::NO_STATUS, ""),
            (_, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                // §7.4
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(End::Failed(CloseCode::PROTOCOL_ERROR));
                }
                match str::from_utf8(reason) {
                    Ok(reason) => self.close(code.into(), reason),
                    Err(_) => Err(End::Failed(CloseCode::INVALID_PAYLOAD)),
                }
            }
            (_, [_]) => Err(End::Failed(CloseCode::PROTOCOL_ERROR)),
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), End> {
        self.events.push(Event::Close(CloseFrame { code, reason: reason.into() }));
        Err(End::Closed)
    }
}
