//! What an HTTP/2 machine sends, judged by the octets that its peer sends it, all of them: by each rule that a peer could
//! hold it to without knowing how it works.

use std::collections::HashMap;

use sockeye_proto::h2::{Reason, Role};
use sockeye_proto::hpack::{Decoder, Limits};

use super::h2_common::{ACK, HEADERS, PING, PREFACE, SETTINGS, Sent, WINDOW_UPDATE, parse};

/// The window of a stream and of the connection at the start (RFC 9113 §6.9.2).
const DEFAULT_WINDOW: u64 = 65_535;
const MAX_WINDOW: u64 = (1 << 31) - 1;

/// What the peer's frames allow at most: some of them may come to nothing.
#[derive(Default)]
struct Allowed {
    initial_window: u64,
    /// Octets that WINDOW_UPDATE adds, by stream.
    updates: HashMap<u32, u64>,
    settings: usize,
    pings: usize,
    /// Header blocks, each of which may be answered.
    header_blocks: usize,
}

impl Allowed {
    fn new(mut octets: &[u8]) -> Self {
        octets = octets.strip_prefix(PREFACE).unwrap_or(octets);
        let mut allowed = Self { initial_window: DEFAULT_WINDOW, ..Self::default() };
        while let Some((head, rest)) = octets.split_first_chunk::<9>() {
            let [a, b, c, kind, flags, id @ ..] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            octets = rest;
            allowed.add(kind, flags, u32::from_be_bytes(id) & 0x7fff_ffff, payload);
        }
        allowed
    }

    fn add(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        match kind {
            SETTINGS if flags & ACK == 0 => {
                self.settings += 1;
                for value in payload.as_chunks::<6>().0.iter().filter(|value| value[..2] == [0, 4]) {
                    let window = u32::from_be_bytes([value[2], value[3], value[4], value[5]]);
                    self.initial_window = self.initial_window.max(window.into());
                }
            }
            PING if flags & ACK == 0 => self.pings += 1,
            HEADERS => self.header_blocks += 1,
            WINDOW_UPDATE => {
                let increment = payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets) & 0x7fff_ffff);
                *self.updates.entry(id).or_default() += u64::from(increment);
            }
            _ => {}
        }
    }

    fn window(&self, id: u32) -> u64 {
        let initial = if id == 0 { DEFAULT_WINDOW } else { self.initial_window };
        initial + self.updates.get(&id).copied().unwrap_or_default()
    }
}

/// How far the machine is with its side of a stream (RFC 9113 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Head,
    Body,
    Ended,
    Reset,
}

/// What the machine under test has sent so far.
pub struct Judge {
    role: Role,
    allowed: Allowed,
    decoder: Decoder,
    sides: HashMap<u32, Side>,
    /// Octets of DATA, by stream, and of all of them as stream 0.
    data: HashMap<u32, u64>,
    /// Octets that were given to the peer, by stream.
    given: HashMap<u32, u64>,
    settings: usize,
    settings_acks: usize,
    ping_acks: usize,
    frames: usize,
    last_opened: u32,
    goaway: Option<(u32, Reason)>,
}

impl Judge {
    /// `input` is all that the machine will receive.
    pub fn new(role: Role, input: &[u8]) -> Self {
        Self {
            role,
            allowed: Allowed::new(input),
            decoder: Decoder::new(4096, Limits::new(1 << 20, 1000)),
            sides: HashMap::new(),
            data: HashMap::new(),
            given: HashMap::new(),
            settings: 0,
            settings_acks: 0,
            ping_acks: 0,
            frames: 0,
            last_opened: 0,
            goaway: None,
        }
    }

    /// Takes what [`poll_transmit`](sockeye_proto::h2::Connection::poll_transmit) gave: whole frames.
    pub fn hear(&mut self, mut output: &[u8]) {
        // RFC 9113 §3.4
        if self.frames == 0 && self.role == Role::Client {
            output = output.strip_prefix(PREFACE).expect("a client's preface");
        }
        for sent in parse(output, &mut self.decoder) {
            self.frames += 1;
            assert!(self.goaway.is_none_or(|(_, reason)| reason == Reason::NO_ERROR), "{sent:?} after an error");
            self.judge(&sent);
        }
    }

    fn judge(&mut self, sent: &Sent) {
        match sent {
            // RFC 9113 §3.4: the first frame, and here the only one of its kind.
            Sent::Settings(_) => {
                self.settings += 1;
                assert!(self.frames == 1 && self.settings == 1, "SETTINGS come first");
            }
            Sent::SettingsAck => {
                self.settings_acks += 1;
                assert!(self.settings_acks <= self.allowed.settings, "SETTINGS acknowledged that did not come");
            }
            Sent::PingAck(_) => {
                self.ping_acks += 1;
                assert!(self.ping_acks <= self.allowed.pings, "a PING answered that did not come");
            }
            Sent::Ping(_) => {}
            Sent::GoAway { last, reason } => {
                // RFC 9113 §6.8: it must not increase.
                assert!(self.goaway.is_none_or(|(before, _)| *last <= before), "GOAWAY takes back what it said");
                self.goaway = Some((*last, *reason));
            }
            Sent::WindowUpdate { id, increment } => self.judge_window_update(*id, *increment),
            Sent::RstStream { id, .. } => {
                assert_ne!(*id, 0, "RST_STREAM of no stream");
                self.sides.insert(*id, Side::Reset);
            }
            Sent::Headers { id, fields, end_stream } => self.judge_headers(*id, fields, *end_stream),
            Sent::Data { id, data, end_stream } => {
                let side = self.sides.get_mut(id).unwrap_or_else(|| panic!("DATA of stream {id} before its head"));
                assert_eq!(*side, Side::Body, "DATA of stream {id}");
                if *end_stream {
                    *side = Side::Ended;
                }
                // RFC 9113 §6.9.1
                for id in [0, *id] {
                    let sum = self.data.entry(id).or_default();
                    *sum += data.len() as u64;
                    assert!(*sum <= self.allowed.window(id), "{sum} octets of stream {id} are more than its window");
                }
            }
        }
    }

    fn judge_window_update(&mut self, id: u32, increment: u32) {
        // RFC 9113 §6.9
        assert!(increment > 0, "a window of stream {id} is updated by nothing");
        assert_ne!(self.sides.get(&id), Some(&Side::Reset), "credit for stream {id}, which was reset");
        let given = self.given.entry(id).or_default();
        *given += u64::from(increment);
        // What was not used of it is not known here: only the connection's is known to be credited on receipt.
        assert!(id == 0 || *given <= MAX_WINDOW, "more credit for stream {id} than any input can use");
    }

    fn judge_headers(&mut self, id: u32, fields: &[(String, String)], end_stream: bool) {
        let is_opened = self.sides.contains_key(&id);
        let side = self.sides.entry(id).or_insert(Side::Head);
        assert!(matches!(side, Side::Head | Side::Body), "HEADERS of stream {id}: {side:?}");
        if self.role == Role::Client && !is_opened {
            // RFC 9113 §5.1.1
            assert!(id % 2 == 1 && id > self.last_opened, "stream {id} after {}", self.last_opened);
            self.last_opened = id;
        }
        // RFC 9113 §8.2: lower case, and pseudo-header fields before all others.
        assert!(fields.iter().all(|(name, _)| !name.bytes().any(|octet| octet.is_ascii_uppercase())), "{fields:?}");
        let pseudo = fields.iter().take_while(|(name, _)| name.starts_with(':')).count();
        assert!(fields[pseudo..].iter().all(|(name, _)| !name.starts_with(':')), "{fields:?}");
        let is_interim = fields.first().is_some_and(|(name, value)| name == ":status" && value.starts_with('1'));
        assert!(!is_interim || !end_stream, "an informational response ends nothing");
        // RFC 9113 §8.1: trailers are the last, and have no pseudo-header fields.
        assert!(*side == Side::Head || (end_stream && pseudo == 0), "{fields:?} after the head of stream {id}");
        assert!(*side == Side::Body || pseudo > 0, "{fields:?} is no head");
        *side = match (end_stream, is_interim) {
            (true, _) => Side::Ended,
            (false, true) => Side::Head,
            (false, false) => Side::Body,
        };
    }
}
