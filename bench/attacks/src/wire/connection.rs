//! A connection of HTTP/2 on which anything may be sent. What comes is counted, and credited where the attacker reads.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sockeye_proto::hpack::{Decoder, Limits};

use super::frames::{self, *};
use super::{Ended, Pipe, Seen, websocket};
use crate::target::{Over, Target};

mod sending;

/// What a server is given to answer.
const PATIENCE: Duration = Duration::from_secs(3);
const BARRIER: [u8; 8] = *b"barrier!";

/// Whether an attacker reads while it floods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Reads,
    Never,
}

/// A frame of the server's.
pub struct Received {
    pub kind: u8,
    pub flags: u8,
    pub stream_id: u32,
    pub payload: Vec<u8>,
}

pub struct Connection {
    pipe: Pipe,
    input: Vec<u8>,
    decoder: Decoder,
    block: Vec<u8>,
    /// Octets of WebSockets that are watched.
    tunnels: HashMap<u32, Vec<u8>>,
    /// The server's first SETTINGS_INITIAL_WINDOW_SIZE and the like.
    pub settings: HashMap<u16, u32>,
    /// Streams that have got an answer, or an end.
    pub statuses: HashMap<u32, u16>,
    pub seen: Seen,
    pub sent: u64,
    /// What was waited for has come: PING's acknowledgement.
    barriers: u64,
    /// Octets of DATA since credit was last given.
    uncredited: u32,
    credits: bool,
    /// What the server allows to be sent: of the connection under 0, and of each stream that has sent or got credit.
    windows: HashMap<u32, i64>,
}

impl Connection {
    /// Nothing is sent yet.
    pub fn dial(target: &Target) -> Result<Self> {
        Ok(Self::over(match target.over {
            Over::Tls => Pipe::tls(target.address, b"h2")?,
            _ => Pipe::cleartext(target.address)?,
        }))
    }

    /// As a server, whose client has sent its preface.
    pub fn accept(mut socket: TcpStream) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(Duration::from_millis(2)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.read_exact(&mut [0; PREFACE.len()])?;
        Ok(Self::over(Pipe::Cleartext(socket)))
    }

    fn over(pipe: Pipe) -> Self {
        Self {
            pipe,
            input: Vec::new(),
            decoder: Decoder::new(4096, Limits::new(1 << 20, 10_000)),
            block: Vec::new(),
            tunnels: HashMap::new(),
            settings: HashMap::new(),
            statuses: HashMap::new(),
            seen: Seen::default(),
            sent: 0,
            barriers: 0,
            uncredited: 0,
            credits: true,
            windows: HashMap::from([(0, i64::from(DEFAULT_WINDOW))]),
        }
    }

    /// Prefaces and SETTINGS both ways, acknowledged (RFC 9113 §3.4).
    pub fn start(target: &Target, pairs: &[(u16, u32)]) -> Result<Self> {
        let mut connection = Self::dial(target)?;
        connection.send(&[PREFACE, &frames::settings(pairs)].concat());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connection.poll_until(deadline)? {
                Some(received) if received.kind == SETTINGS && received.flags & ACK == 0 => break,
                Some(_) => {}
                None => bail!("no SETTINGS came: {}", connection.seen.text()),
            }
        }
        connection.send(&frames::settings_ack());
        Ok(connection)
    }

    /// From here on no credit is given for DATA: the server's windows stay as they are.
    pub fn withhold_credit(&mut self) {
        self.credits = false;
    }

    pub fn is_over(&self) -> bool {
        self.seen.ended.is_some()
    }

    pub fn socket(&self) -> &TcpStream {
        self.pipe.socket()
    }

    /// All of it, or as much as the server takes within some seconds. A server that has hung up is no error: what it said
    /// before is what counts.
    pub fn send(&mut self, octets: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = octets;
        while !rest.is_empty() && !self.is_over() && Instant::now() < deadline {
            let taken = self.send_some(rest);
            rest = &rest[taken..];
            if taken == 0 {
                self.take_what_came();
            }
        }
    }

    /// As much as goes at once.
    pub fn send_some(&mut self, octets: &[u8]) -> usize {
        match self.pipe.write(octets) {
            Ok(taken) => {
                self.sent += taken as u64;
                taken
            }
            Err(error) if is_passing(error.kind()) => 0,
            Err(_) => {
                self.read_the_rest();
                0
            }
        }
    }

    fn read_the_rest(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while let Ok(Some(_)) = self.poll_until(deadline) {}
        self.seen.ended.get_or_insert(Ended::Reset);
    }

    /// The next frame; none in this time, or at the end.
    pub fn poll(&mut self, time: Duration) -> Result<Option<Received>> {
        self.poll_until(Instant::now() + time)
    }

    pub fn poll_until(&mut self, deadline: Instant) -> Result<Option<Received>> {
        loop {
            if let Some(received) = self.take_frame() {
                self.note(&received);
                return Ok(Some(received));
            }
            if self.is_over() {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.pipe.socket().set_read_timeout(Some(left.max(Duration::from_micros(100))))?;
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 1 << 16];
        match self.pipe.read(&mut buffer) {
            Ok(0) => {
                self.seen.ended.get_or_insert(Ended::Eof);
            }
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if is_passing(error.kind()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.seen.ended.get_or_insert(Ended::Eof);
            }
            Err(_) => {
                self.seen.ended.get_or_insert(Ended::Reset);
            }
        }
    }

    /// Notes all that is there already, and waits for nothing.
    pub fn take_what_came(&mut self) {
        if self.pipe.socket().set_nonblocking(true).is_err() {
            return;
        }
        let before = self.input.len();
        self.read();
        let _ = self.pipe.socket().set_nonblocking(false);
        if self.input.len() > before || self.is_over() {
            while let Some(received) = self.take_frame() {
                self.note(&received);
            }
        }
    }

    fn take_frame(&mut self) -> Option<Received> {
        let head: [u8; HEAD] = self.input.get(..HEAD)?.try_into().ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.input.get(HEAD..HEAD + length)?.to_vec();
        self.input.drain(..HEAD + length);
        let stream_id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & MAX_WINDOW;
        Some(Received { kind: head[3], flags: head[4], stream_id, payload })
    }

    fn note(&mut self, received: &Received) {
        match received.kind {
            DATA => self.note_data(received),
            HEADERS => self.note_block(received, received.stream_id),
            CONTINUATION => self.note_block(received, received.stream_id),
            RST_STREAM => *self.seen.resets.entry(code_at(&received.payload, 0)).or_default() += 1,
            GOAWAY => {
                let last = code_at(&received.payload, 0);
                self.seen.goaway = Some((code_at(&received.payload, 4), last));
            }
            SETTINGS if received.flags & ACK == 0 => {
                for pair in received.payload.chunks_exact(6) {
                    self.settings.insert(u16::from_be_bytes([pair[0], pair[1]]), code_at(pair, 2));
                }
            }
            WINDOW_UPDATE => *self.window(received.stream_id) += i64::from(code_at(&received.payload, 0)),
            PING if received.flags & ACK != 0 && received.payload == BARRIER => self.barriers += 1,
            // An attacker that reads is there.
            PING if received.flags & ACK == 0 => {
                let answer = frame(PING, ACK, 0, &received.payload);
                self.send_some(&answer);
            }
            _ => {}
        }
    }

    fn note_data(&mut self, received: &Received) {
        self.seen.octets += received.payload.len() as u64;
        if let Some(octets) = self.tunnels.get_mut(&received.stream_id) {
            octets.extend_from_slice(&received.payload);
            while let Some((first, payload)) = websocket::take(octets) {
                if first & 0xF == websocket::CLOSE {
                    let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    *self.seen.closes.entry(code).or_default() += 1;
                } else if first & 0xF < websocket::CLOSE {
                    self.seen.messages += 1;
                }
            }
        }
        self.uncredited += received.payload.len() as u32;
        if self.credits && self.uncredited > 16_384 {
            let credit = frames::window_update(0, std::mem::take(&mut self.uncredited));
            self.send_some(&credit);
        }
    }

    fn note_block(&mut self, received: &Received, stream_id: u32) {
        self.block.extend_from_slice(&received.payload);
        if received.flags & END_HEADERS == 0 {
            return;
        }
        let block = std::mem::take(&mut self.block);
        let mut status = None;
        let _ = self.decoder.decode(&block, |field| {
            if field.name == b":status" {
                status = std::str::from_utf8(field.value).ok().and_then(|value| value.parse().ok());
            }
        });
        if let Some(status) = status {
            *self.seen.statuses.entry(status).or_default() += 1;
            self.statuses.insert(stream_id, status);
        }
    }

    /// A PING and its answer: the server has taken in all that was sent, and is well. False where it said GOAWAY, or
    /// nothing in time.
    pub fn barrier(&mut self) -> bool {
        self.barrier_within(PATIENCE)
    }

    /// The same, of a server that has much to work off.
    pub fn barrier_within(&mut self, time: Duration) -> bool {
        let before = self.barriers;
        self.send(&frames::ping(BARRIER));
        let deadline = Instant::now() + time;
        while self.barriers == before && self.seen.goaway.is_none() {
            if !matches!(self.poll_until(deadline), Ok(Some(_))) {
                break;
            }
        }
        self.seen.answered = self.barriers > before && self.seen.goaway.is_none();
        self.seen.answered
    }

    /// Waits for the end of the connection.
    pub fn wait_for_end(&mut self, time: Duration) {
        let start = Instant::now();
        while let Ok(Some(_)) = self.poll_until(start + time) {}
        self.seen.lasted = Some(start.elapsed());
    }

    /// A barrier where the connection lives, else its end; and what was seen until then.
    pub fn settle(mut self) -> Seen {
        if self.barrier() {
            // A reset may follow the answer to a PING.
            let deadline = Instant::now() + Duration::from_millis(20);
            while let Ok(Some(_)) = self.poll_until(deadline) {}
        } else {
            let deadline = Instant::now() + Duration::from_millis(500);
            while let Ok(Some(_)) = self.poll_until(deadline) {}
        }
        self.seen
    }

    /// Opens a WebSocket and waits for its 200.
    pub fn open(&mut self, stream_id: u32, more: &[(&str, &str)]) -> Result<()> {
        self.tunnels.insert(stream_id, Vec::new());
        self.send(&frames::headers(stream_id, 0, &super::fields::connect(more)));
        let deadline = Instant::now() + PATIENCE;
        while !self.statuses.contains_key(&stream_id) {
            if self.poll_until(deadline)?.is_none() {
                bail!("no answer to a CONNECT: {}", self.seen.text());
            }
        }
        if self.statuses[&stream_id] != 200 {
            bail!("no socket: {}", self.statuses[&stream_id]);
        }
        // They are no attack.
        self.seen.statuses.remove(&200);
        Ok(())
    }

    /// Opens many WebSockets, on streams 1, 3, 5 and so on, in few octets each. They are not watched.
    pub fn open_many(&mut self, count: u32) -> Result<()> {
        for index in 0..count {
            let block =
                if index == 0 { super::fields::connect_remembered() } else { super::fields::connect_again().to_vec() };
            self.send(&frames::headers(1 + 2 * index, 0, &block));
            if index % 256 == 255 {
                self.take_what_came();
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.seen.statuses.get(&200).copied().unwrap_or(0) < u64::from(count) {
            if self.poll_until(deadline)?.is_none() {
                bail!("not all sockets opened: {}", self.seen.text());
            }
        }
        self.seen.statuses.remove(&200);
        Ok(())
    }
}

fn code_at(payload: &[u8], start: usize) -> u32 {
    payload
        .get(start..start + 4)
        .map_or(u32::MAX, |octets| u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
}

/// Timeouts of a socket's reads and writes.
pub fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// One connection that is started, is sent these octets, and settles.
pub fn h2(target: &Target, octets: impl AsRef<[u8]>) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.send(octets.as_ref());
    Ok(connection.settle())
}
