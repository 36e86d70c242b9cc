//! The frames of an HTTP/2 connection (RFC 9113 §4), as somebody in between sees them.

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};
use sockeye_proto::hpack::{Decoder, Limits};

use super::websocket::Frames;
use super::{CLIENT, End, Rule, SERVER, Seen, Sightings, number};
use crate::world::CLOSE_TIMEOUT;

/// Both directions of one connection.
pub(super) struct Http2 {
    link: u64,
    now: u64,
    frames: u64,
    sightings: Sightings,
    directions: [Direction; 2],
    streams: BTreeMap<u32, Stream>,
}

struct Direction {
    state: State,
    decoder: Decoder,
}

enum State {
    /// Octets of the preface that are to come (RFC 9113 §3.4).
    Preface(usize),
    /// What there is of a frame's head, or of one that is looked at when it is whole.
    Frame(BytesMut),
    /// Inside of DATA.
    Data { stream: u32, left: usize, ends: bool },
}

/// One stream; only of tunnels is more looked at than how they end.
struct Stream {
    socket: Option<u32>,
    halves: [Half; 2],
    /// Who said Close first, and when, in which frame of the connection.
    first_to_close: Option<FirstClose>,
}

#[derive(Clone, Copy)]
struct FirstClose {
    side: usize,
    at: u64,
    frame: u64,
}

struct Half {
    frames: Frames,
    end: Option<End>,
}

/// A frame's head (RFC 9113 §4.1).
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

const HEAD: usize = 9;
const PREFACE: usize = 24;
/// RFC 9113 §4.2: nobody here asks for larger ones.
const MAX_FRAME: usize = 1 << 14;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

impl Http2 {
    pub(super) fn new(link: u64, sightings: Sightings) -> Self {
        let limits = Limits::new(1 << 16, 400);
        let direction = |state| Direction { state, decoder: Decoder::new(4096, limits) };
        let directions = [direction(State::Preface(PREFACE)), direction(State::Frame(BytesMut::new()))];
        Self { link, now: 0, frames: 0, sightings, directions, streams: BTreeMap::new() }
    }

    pub(super) fn see(&mut self, now: u64, side: usize, mut octets: &[u8]) -> Rule {
        self.now = now;
        while !octets.is_empty() {
            match &mut self.directions[side].state {
                State::Preface(left) => {
                    let size = octets.len().min(*left);
                    octets = &octets[size..];
                    *left -= size;
                    if *left == 0 {
                        self.directions[side].state = State::Frame(BytesMut::new());
                    }
                }
                State::Frame(frame) => {
                    let wanted = Head::parse(frame).map_or(HEAD, |head| HEAD + head.length);
                    let size = octets.len().min(wanted - frame.len());
                    frame.extend_from_slice(&octets[..size]);
                    octets = &octets[size..];
                    let Some(head) = Head::parse(frame) else { continue };
                    if head.kind == DATA || frame.len() == HEAD + head.length {
                        let payload = frame.split().split_off(HEAD);
                        self.see_frame(side, head, payload)?;
                    }
                }
                &mut State::Data { stream, left, ends } => {
                    let size = octets.len().min(left);
                    self.see_data(side, stream, &octets[..size])?;
                    octets = &octets[size..];
                    self.go_on(side, stream, left - size, ends)?;
                }
            }
        }
        Ok(())
    }

    fn see_frame(&mut self, side: usize, head: Head, mut payload: BytesMut) -> Rule {
        let tell = || format!("connection {}, {}: {head:?}", self.link, ["client", "server"][side]);
        self.sightings.trace.tell(tell);
        self.frames += 1;
        if head.length > MAX_FRAME {
            return Err(format!("a frame of {} octets (RFC 9113 §4.2)", head.length));
        }
        match head.kind {
            DATA => {
                self.check_open(side, head.stream, "DATA")?;
                self.go_on(side, head.stream, head.length, head.flags & END_STREAM != 0)
            }
            HEADERS => self.see_headers(side, head, &payload),
            RST_STREAM => {
                let reason = payload.get_u32();
                self.end(side, head.stream, End::Reset(reason))
            }
            // Neither is ever needed here (RFC 8441 §4, RFC 9113 §8.4).
            PUSH_PROMISE | CONTINUATION => Err(format!("a frame of the type {}", head.kind)),
            _ => Ok(()),
        }
    }

    fn see_headers(&mut self, side: usize, head: Head, block: &[u8]) -> Rule {
        let (mut path, mut is_tunnel, mut is_refusal) = (String::new(), false, false);
        let decoded = self.directions[side].decoder.decode(block, |field| {
            is_tunnel |= field.name == b":protocol";
            if field.name == b":path" {
                path = String::from_utf8_lossy(field.value).into_owned();
            }
            is_refusal |= field.name == b":status" && field.value != b"200";
        });
        decoded.map_err(|error| format!("a header block that cannot be read: {error}"))?;
        if side == CLIENT && !self.streams.contains_key(&head.stream) {
            let socket = number(&path).filter(|_| is_tunnel);
            socket.inspect(|&socket| self.sightings.begin(socket, self.link));
            let half = |side| Half { frames: Frames::new(side), end: None };
            let stream = Stream { socket, halves: [half(CLIENT), half(SERVER)], first_to_close: None };
            self.streams.insert(head.stream, stream);
        }
        self.check_open(side, head.stream, "HEADERS")?;
        if is_refusal && let Some(stream) = self.streams.get_mut(&head.stream) {
            stream.socket = None;
        }
        if head.flags & END_STREAM != 0 { self.end(side, head.stream, End::Stream) } else { Ok(()) }
    }

    /// RFC 9113 §5.1: nothing that belongs to the stream follows its end.
    fn check_open(&self, side: usize, stream: u32, what: &str) -> Rule {
        let Some(known) = self.streams.get(&stream) else { return Err(format!("{what} on the idle stream {stream}")) };
        match known.halves[side].end {
            None => Ok(()),
            Some(end) => Err(format!("{what} on stream {stream} after its end: {end:?}")),
        }
    }

    fn see_data(&mut self, side: usize, id: u32, octets: &[u8]) -> Rule {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(socket) = stream.socket else { return Ok(()) };
        let frames = &mut stream.halves[side].frames;
        frames.see(octets).map_err(|why| format!("socket {socket}: {why}"))?;
        if frames.seen.close.is_some() {
            stream.first_to_close.get_or_insert(FirstClose { side, at: self.now, frame: self.frames });
        }
        self.sightings.update(socket, side, |seen| frames.tell(seen));
        Ok(())
    }

    /// So much of a DATA frame is to come.
    fn go_on(&mut self, side: usize, stream: u32, left: usize, ends: bool) -> Rule {
        if left > 0 {
            self.directions[side].state = State::Data { stream, left, ends };
            return Ok(());
        }
        self.directions[side].state = State::Frame(BytesMut::new());
        if ends { self.end(side, stream, End::Stream) } else { Ok(()) }
    }

    fn end(&mut self, side: usize, id: u32, end: End) -> Rule {
        let Some(stream) = self.streams.get_mut(&id) else { return Err(format!("the end of the idle stream {id}")) };
        stream.halves[side].end = Some(end);
        let Some(socket) = stream.socket else { return Ok(()) };
        self.sightings.update(socket, side, |seen| seen.end = Some(end));
        // Where nobody waits for the answer, the end of the half goes in one frame with the Close.
        let is_to_wait = stream.first_to_close.is_some_and(|first| {
            first.side == CLIENT && self.now < first.at + CLOSE_TIMEOUT && first.frame < self.frames
        });
        if side == CLIENT && end == End::Stream && is_to_wait && stream.halves[SERVER].end.is_none() {
            // RFC 6455 §7.1.1
            let note = |seen: &mut Seen| seen.is_early = true;
            self.sightings.update(socket, side, note);
        }
        Ok(())
    }
}

impl Head {
    fn parse(octets: &[u8]) -> Option<Self> {
        let octets: &[u8; HEAD] = octets.first_chunk()?;
        Some(Self {
            length: usize::from(octets[0]) << 16 | usize::from(octets[1]) << 8 | usize::from(octets[2]),
            kind: octets[3],
            flags: octets[4],
            stream: u32::from_be_bytes([octets[5], octets[6], octets[7], octets[8]]) & !(1 << 31),
        })
    }
}
