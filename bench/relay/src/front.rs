//! A client's connection: HTTP/2, as far as `sockeye bench` speaks it (RFC 9113 §4.1, RFC 8441 §3).

use std::io::{Read as _, Write as _};

use mio::net::TcpStream;

use crate::is_blocked;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Octets of a frame's head.
pub const HEAD: usize = 9;
/// Octets of a frame that every peer takes.
pub const MAX_FRAME_SIZE: usize = 16_384;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window (RFC 9113 §6.9.1).
const WINDOW: u32 = (1 << 31) - 1;
/// No table for header fields, all streams there may be, a stream's window, the extended CONNECT.
const OUR_SETTINGS: [(u16, u32); 4] = [(0x1, 0), (0x3, 100_000), (0x4, WINDOW), (0x8, 1)];
/// `:status: 200` as HPACK has it in its static table.
const STATUS_200: u8 = 0x88;

pub struct Frame<'a> {
    pub kind: u8,
    flags: u8,
    pub id: u32,
    pub payload: &'a [u8],
}

/// The first frame, and what is behind it.
pub fn frame(octets: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let octets = octets.strip_prefix(PREFACE).unwrap_or(octets);
    let (&[a, b, c, kind, flags, d, e, f, g], rest) = octets.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)?;
    Some((Frame { kind, flags, id: u32::from_be_bytes([d, e, f, g]), payload }, rest))
}

pub struct Front {
    stream: TcpStream,
    /// Octets of a frame that is not whole.
    rest: Vec<u8>,
    output: Vec<u8>,
    /// By half the stream's identifier: which socket it is.
    slots: Vec<Option<usize>>,
    /// Octets that came since we last gave credit.
    uncredited: u32,
}

impl Front {
    pub fn new(stream: TcpStream) -> Self {
        let mut front = Self { stream, rest: Vec::new(), output: Vec::new(), slots: Vec::new(), uncredited: 0 };
        let settings: Vec<u8> =
            OUR_SETTINGS.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        front.put(SETTINGS, 0, 0, &settings);
        front.put(WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        front
    }

    /// Reads once, behind what was not whole; none where there is nothing. A connection that has ended has nothing.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let filled = self.rest.len();
        buffer[..filled].copy_from_slice(&self.rest);
        let read = self.stream.read(&mut buffer[filled..]).ok().filter(|read| *read > 0)?;
        self.rest.clear();
        Some(filled + read)
    }

    pub fn keep(&mut self, octets: &[u8]) {
        self.rest.extend_from_slice(octets);
    }

    /// What a frame asks of us, whatever it is to its WebSocket.
    pub fn answer(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.put(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self.put(PING, ACK, 0, frame.payload),
            DATA => {
                self.uncredited += frame.payload.len() as u32;
                if self.uncredited >= WINDOW / 2 {
                    self.put(WINDOW_UPDATE, 0, 0, &self.uncredited.to_be_bytes());
                    self.uncredited = 0;
                }
            }
            _ => {}
        }
    }

    pub fn slot(&self, id: u32) -> Option<usize> {
        *self.slots.get(id as usize / 2)?
    }

    pub fn opened(&mut self, id: u32, slot: usize) {
        let at = id as usize / 2;
        self.slots.resize(self.slots.len().max(at + 1), None);
        self.slots[at] = Some(slot);
        self.put(HEADERS, END_HEADERS, id, &[STATUS_200]);
    }

    pub fn data(&mut self, id: u32, octets: &[u8]) {
        self.put(DATA, 0, id, octets);
    }

    pub fn end(&mut self, id: u32) {
        self.put(DATA, END_STREAM, id, &[]);
    }

    fn put(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        self.output.extend_from_slice(&[a, b, c, kind, flags]);
        self.output.extend_from_slice(&id.to_be_bytes());
        self.output.extend_from_slice(payload);
    }

    /// Writes what there is, as far as the system takes it.
    pub fn write(&mut self) {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(octets) => written += octets,
                Err(error) if is_blocked(&error) => break,
                // The client has gone, and nobody reads this.
                Err(_) => written = self.output.len(),
            }
        }
        self.output.drain(..written);
    }
}
