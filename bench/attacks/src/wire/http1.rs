//! A connection of HTTP/1.1 on which anything may be sent.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::connection::is_passing;
use super::{Ended, Pipe, Seen, websocket};
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(2);

pub struct Http1 {
    pipe: Pipe,
    pub input: Vec<u8>,
    pub seen: Seen,
    pub sent: u64,
}

impl Http1 {
    pub fn dial(target: &Target) -> Result<Self> {
        Ok(Self { pipe: Pipe::cleartext(target.address)?, input: Vec::new(), seen: Seen::default(), sent: 0 })
    }

    pub fn send(&mut self, octets: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = octets;
        while !rest.is_empty() && self.seen.ended.is_none() && Instant::now() < deadline {
            let taken = self.send_some(rest);
            rest = &rest[taken..];
        }
    }

    pub fn send_some(&mut self, octets: &[u8]) -> usize {
        match self.pipe.write(octets) {
            Ok(taken) => {
                self.sent += taken as u64;
                taken
            }
            Err(error) if is_passing(error.kind()) => 0,
            Err(_) => {
                while self.read(Duration::from_millis(500)) > 0 {}
                self.seen.ended.get_or_insert(Ended::Reset);
                0
            }
        }
    }

    /// Octets that came within this time.
    pub fn read(&mut self, time: Duration) -> usize {
        let mut buffer = [0; 1 << 16];
        // The system's timeouts are too coarse for a moment.
        let is_a_moment = time < Duration::from_millis(1);
        let socket = self.pipe.socket();
        if !is_a_moment && socket.set_read_timeout(Some(time)).is_err() || socket.set_nonblocking(is_a_moment).is_err()
        {
            return 0;
        }
        let outcome = self.pipe.read(&mut buffer);
        let _ = self.pipe.socket().set_nonblocking(false);
        match outcome {
            Ok(0) => {
                self.seen.ended.get_or_insert(Ended::Eof);
                0
            }
            Ok(length) => {
                self.seen.octets += length as u64;
                self.input.extend_from_slice(&buffer[..length]);
                length
            }
            Err(error) if is_passing(error.kind()) => 0,
            Err(error) => {
                let ended = if error.kind() == ErrorKind::UnexpectedEof { Ended::Eof } else { Ended::Reset };
                self.seen.ended.get_or_insert(ended);
                0
            }
        }
    }

    pub fn socket(&self) -> &std::net::TcpStream {
        self.pipe.socket()
    }

    pub fn forget_input(&mut self) {
        self.input.clear();
    }

    /// Waits for a response's head, and notes its status.
    pub fn status(&mut self, time: Duration) -> Option<u16> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(end) = self.input.windows(4).position(|octets| octets == b"\r\n\r\n") {
                let status = self.input.get(9..12).and_then(|octets| std::str::from_utf8(octets).ok()?.parse().ok());
                self.input.drain(..end + 4);
                if let Some(status) = status {
                    *self.seen.statuses.entry(status).or_default() += 1;
                }
                return status;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.seen.ended.is_some() {
                return None;
            }
            self.read(left);
        }
    }

    /// Opens a WebSocket (RFC 6455 §4.1).
    pub fn open(target: &Target, more: &str) -> Result<Self> {
        let mut connection = Self::dial(target)?;
        connection.send(upgrade(more).as_bytes());
        match connection.status(PATIENCE) {
            Some(101) => connection.seen.statuses.clear(),
            other => bail!("no 101: {other:?}"),
        }
        Ok(connection)
    }

    /// Reads frames until a Close, the end, or this time is over.
    pub fn read_frames(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while self.seen.ended.is_none() && self.seen.closes.is_empty() && Instant::now() < deadline {
            self.read(time.min(Duration::from_millis(20)));
            while let Some((first, payload)) = websocket::take(&mut self.input) {
                if first & 0xF == websocket::CLOSE {
                    let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    *self.seen.closes.entry(code).or_default() += 1;
                } else if first & 0xF < websocket::CLOSE {
                    self.seen.messages += 1;
                }
            }
        }
    }
}

/// The request for a WebSocket.
pub fn upgrade(more: &str) -> String {
    format!(
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// One connection that is sent these octets, and its answer.
pub fn http1(target: &Target, octets: impl AsRef<[u8]>) -> Result<Seen> {
    let mut connection = Http1::dial(target)?;
    connection.send(octets.as_ref());
    connection.seen.answered = connection.status(PATIENCE).is_some();
    connection.read(Duration::from_millis(50));
    Ok(connection.seen)
}
