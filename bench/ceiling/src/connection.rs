//! One connection.

use std::io::{Error, ErrorKind, Read, Result, Write};

use mio::net::TcpStream;

use crate::Shared;
use crate::frame::{
    ACK, BROADCAST, CONNECTION_WINDOW, DATA, DEFAULT_WINDOW, END_HEADERS, END_STREAM, HEAD, HEADERS, MAX_FRAME_SIZE,
    OUR_SETTINGS, PING, PREFACE, RST_STREAM, SETTINGS, STATUS_200, WINDOW_UPDATE, head,
};
use crate::http1::Http1;
use crate::mask::unmask_back;
use crate::output::Output;
use crate::stream::{Kind, Stream};

/// Octets of the heads of a DATA frame and of a masked WebSocket frame of less than 126 octets.
const SHORT_HEADS: usize = HEAD + 6;

pub struct Connection {
    stream: TcpStream,
    /// Octets of a frame that is not whole.
    rest: Vec<u8>,
    /// Octets that the system did not take. Until it does nothing is read.
    backlog: Vec<u8>,
    /// By half the stream's identifier.
    streams: Vec<Stream>,
    /// The streams of `/broadcast`.
    members: Vec<u32>,
    /// Octets that the peer takes on all streams, and on a new one.
    send_window: i64,
    initial_window: i32,
    /// Something waits for the connection's window.
    is_blocked: bool,
    /// Octets that came since we last gave credit.
    uncredited: u32,
    /// In place of all that, where the first octets are a request of HTTP/1.1.
    http1: Option<Http1>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
            backlog: Vec::new(),
            streams: Vec::new(),
            members: Vec::new(),
            send_window: DEFAULT_WINDOW.into(),
            initial_window: DEFAULT_WINDOW,
            is_blocked: false,
            uncredited: 0,
            http1: None,
        }
    }

    /// Reads once and answers all of it; whether there may be more to read. An error is the end.
    pub fn read(&mut self, shared: &mut Shared) -> Result<bool> {
        if !self.flush()? {
            return Ok(false);
        }
        let buffer = &mut shared.output.buffer;
        let filled = self.rest.len();
        buffer[..filled].copy_from_slice(&self.rest);
        let end = match self.stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled + read,
            Err(error) => return is_blocked(error).map(|()| false),
        };
        let may_have_more = end == buffer.len();
        self.rest.clear();
        let done = self.answer(end, shared);
        self.rest.extend_from_slice(&shared.output.buffer[done..end]);
        if self.uncredited >= CONNECTION_WINDOW / 2 {
            shared.output.extend(&[&head(4, WINDOW_UPDATE, 0, 0), &self.uncredited.to_be_bytes()]);
            self.uncredited = 0;
        }
        shared.output.write(&self.stream, &mut self.backlog)?;
        Ok(may_have_more)
    }

    /// Sends frames of WebSockets to each socket of `/broadcast`.
    pub fn deliver(&mut self, frames: &[u8], output: &mut Output) -> Result<()> {
        for index in 0..self.members.len() {
            let id = self.members[index];
            let stream = &mut self.streams[id as usize / 2];
            let is_free = stream.aside.is_none() && frames.len() <= MAX_FRAME_SIZE;
            if is_free && admits(stream, self.send_window, frames.len()) {
                stream.send_window -= frames.len() as i32;
                self.send_window -= frames.len() as i64;
                output.extend(&[&head(frames.len(), DATA, 0, id), frames]);
            } else {
                stream.aside.get_or_insert_default().waiting.extend_from_slice(frames);
                self.pump(id, output);
            }
        }
        output.write(&self.stream, &mut self.backlog)
    }

    /// Writes the backlog; whether all of it.
    fn flush(&mut self) -> Result<bool> {
        while !self.backlog.is_empty() {
            match self.stream.write(&self.backlog) {
                Ok(written) => drop(self.backlog.drain(..written)),
                Err(error) => return is_blocked(error).map(|()| false),
            }
        }
        Ok(true)
    }

    /// Answers the frames at the front of the buffer; where the first one begins that is not whole.
    fn answer(&mut self, end: usize, shared: &mut Shared) -> usize {
        if shared.output.buffer[..end].starts_with(b"GET ") {
            self.http1.get_or_insert_default();
        }
        if let Some(http1) = &mut self.http1 {
            return http1.answer(end, shared);
        }
        let mut at = 0;
        if shared.output.buffer[..end].starts_with(b"PRI ") {
            begin(&mut shared.output);
            at = PREFACE;
        }
        loop {
            at = self.echo_run(at, end, &mut shared.output);
            let Some(&[a, b, c, kind, flags, d, e, f, g]) =
                shared.output.buffer.get(at..end).and_then(|octets| octets.first_chunk())
            else {
                return at.min(end);
            };
            let next = at + HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
            if next > end {
                return at;
            }
            let id = u32::from_be_bytes([d, e, f, g]);
            if kind == DATA {
                self.data(id, flags, at, next, shared);
            } else {
                self.other(kind, flags, id, at, next, &mut shared.output);
            }
            at = next;
        }
    }

    /// Echoes messages of less than 126 octets, each alone in its DATA frame, up to where there is anything else to do.
    /// This is what most of the time goes to.
    fn echo_run(&mut self, start: usize, end: usize, output: &mut Output) -> usize {
        if self.send_window < end as i64 {
            return start;
        }
        let first_place = output.place(start);
        let buffer = &mut output.buffer[..end];
        let (mut at, mut place, mut messages) = (start, first_place, 0);
        while let Some(&[a, b, length, kind, flags, d, e, f, g, first, second, k, l, m, n]) =
            buffer.get(at..).and_then(|octets| octets.first_chunk())
        {
            let size = usize::from(second & 0x7F);
            let next = at + SHORT_HEADS + size;
            let is_short = [a, b, kind, flags] == [0, 0, DATA, 0] && usize::from(length) == 6 + size && size < 126;
            if !is_short || first & 0x08 != 0 || next > end {
                break;
            }
            let id = u32::from_be_bytes([d, e, f, g]);
            let Some(stream) = self.streams.get_mut(id as usize / 2) else { break };
            let Some(allowance) = stream.allowance.checked_sub(length.into()) else { break };
            stream.allowance = allowance;
            stream.send_window -= i32::from(length) - 4;
            let answer = [0, 0, length - 4, DATA, 0, d, e, f, g, first, size as u8];
            let payload = place + answer.len();
            buffer[place..payload].copy_from_slice(&answer);
            unmask_back(buffer, at + SHORT_HEADS, payload, size, [k, l, m, n]);
            (at, place, messages) = (next, payload + size, messages + 1);
        }
        if messages > 0 {
            let received = at - start - messages * HEAD;
            self.uncredited += received as u32;
            self.send_window -= (received - messages * 4) as i64;
            output.push(first_place..place);
        }
        at
    }

    fn data(&mut self, id: u32, flags: u8, at: usize, end: usize, shared: &mut Shared) {
        let length = end - at - HEAD;
        self.uncredited += length as u32;
        let Some(stream) = self.streams.get_mut(id as usize / 2).filter(|stream| stream.kind != Kind::Closed) else {
            return;
        };
        stream.revoke();
        stream.credit(id, length as u32, &mut shared.output);
        if flags == 0
            && stream.kind == Kind::Echo
            && stream.aside.is_none()
            && admits(stream, self.send_window, length)
            && let Some(sent) = stream.echo(id, at, end, &mut shared.output)
        {
            stream.send_window -= sent as i32;
            self.send_window -= sent as i64;
            return stream.grant();
        }
        stream.digest(&shared.output.buffer[at + HEAD..end], &mut shared.shouts);
        if flags & END_STREAM != 0 {
            stream.aside.get_or_insert_default().ends = true;
        }
        self.pump(id, &mut shared.output);
    }

    /// Sends what waits on a stream, as far as the windows allow.
    fn pump(&mut self, id: u32, output: &mut Output) {
        let stream = &mut self.streams[id as usize / 2];
        let Some(aside) = &mut stream.aside else { return };
        let mut sent = 0;
        while sent < aside.waiting.len() {
            let window = i64::from(stream.send_window).min(self.send_window);
            self.is_blocked |= self.send_window <= 0;
            let size = (aside.waiting.len() - sent).min(MAX_FRAME_SIZE).min(window.max(0) as usize);
            if size == 0 {
                break;
            }
            output.extend(&[&head(size, DATA, 0, id), &aside.waiting[sent..sent + size]]);
            stream.send_window -= size as i32;
            self.send_window -= size as i64;
            sent += size;
        }
        aside.waiting.drain(..sent);
        if aside.ends && aside.waiting.is_empty() {
            output.extend(&[&head(0, DATA, END_STREAM, id)]);
            self.close(id);
        } else {
            stream.settle();
            stream.grant();
        }
    }

    fn close(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id as usize / 2) {
            *stream = Stream::closed();
            self.members.retain(|member| *member != id);
        }
    }

    fn other(&mut self, kind: u8, flags: u8, id: u32, at: usize, end: usize, output: &mut Output) {
        let payload = &output.buffer[at + HEAD..end];
        match kind {
            HEADERS => {
                let is_broadcast = BROADCAST.iter().any(|path| contains(payload, path));
                self.open(id, if is_broadcast { Kind::Broadcast } else { Kind::Echo });
                output.extend(&[&head(1, HEADERS, END_HEADERS, id), &[STATUS_200]]);
            }
            RST_STREAM => self.close(id),
            SETTINGS if flags & ACK == 0 => {
                let (settings, _) = payload.as_chunks();
                for &[a, b, c, d, e, f] in settings {
                    if u16::from_be_bytes([a, b]) == 0x4 {
                        self.resize(u32::from_be_bytes([c, d, e, f]) as i32);
                    }
                }
                output.extend(&[&head(0, SETTINGS, ACK, 0)]);
                self.pump_all(output);
            }
            PING if flags & ACK == 0 => {
                let payload = payload.to_vec();
                output.extend(&[&head(payload.len(), PING, ACK, 0), &payload]);
            }
            WINDOW_UPDATE => {
                let increment = payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets));
                self.widen(id, increment, output);
            }
            _ => {}
        }
    }

    fn open(&mut self, id: u32, kind: Kind) {
        let slot = id as usize / 2;
        if self.streams.len() <= slot {
            self.streams.resize_with(slot + 1, Stream::closed);
        }
        self.streams[slot] = Stream::new(kind, self.initial_window);
        if kind == Kind::Broadcast {
            self.members.push(id);
        }
    }

    /// RFC 9113 §6.9.2
    fn resize(&mut self, initial_window: i32) {
        let difference = initial_window - self.initial_window;
        self.initial_window = initial_window;
        for stream in &mut self.streams {
            stream.revoke();
            stream.send_window = stream.send_window.saturating_add(difference);
        }
    }

    fn widen(&mut self, id: u32, increment: u32, output: &mut Output) {
        if id == 0 {
            self.send_window += i64::from(increment);
            if std::mem::take(&mut self.is_blocked) {
                self.pump_all(output);
            }
        } else if let Some(stream) = self.streams.get_mut(id as usize / 2) {
            stream.send_window = stream.send_window.saturating_add(increment as i32);
            self.pump(id, output);
        }
    }

    fn pump_all(&mut self, output: &mut Output) {
        for slot in 0..self.streams.len() {
            self.pump(slot as u32 * 2 + 1, output);
        }
    }
}

/// Our side's preface (RFC 9113 §3.4).
fn begin(output: &mut Output) {
    output.extend(&[&head(OUR_SETTINGS.len() * 6, SETTINGS, 0, 0)]);
    for (name, value) in OUR_SETTINGS {
        output.extend(&[&name.to_be_bytes(), &value.to_be_bytes()]);
    }
    let more = CONNECTION_WINDOW - DEFAULT_WINDOW as u32;
    output.extend(&[&head(4, WINDOW_UPDATE, 0, 0), &more.to_be_bytes()]);
}

/// Whether both windows have room for so many octets.
#[inline]
fn admits(stream: &Stream, connection_window: i64, octets: usize) -> bool {
    i64::from(stream.send_window).min(connection_window) >= octets as i64
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

/// Not to be ready is no failure.
fn is_blocked(error: Error) -> Result<()> {
    if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}
