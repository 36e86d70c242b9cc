//! One WebSocket.

use crate::frame::{Answer, DATA, HEAD, STREAM_WINDOW, WINDOW_UPDATE, WS_CLOSE, WS_PING, WS_PONG, WsHead, head};
use crate::mask::{rotate, unmask, unmask_back};
use crate::output::Output;

/// What is done with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Closed,
    Echo,
    Broadcast,
}

pub struct Stream {
    pub kind: Kind,
    /// The key for the next octet of a payload that is not whole yet, and how many of it are to come.
    key: [u8; 4],
    left: u32,
    /// Octets of DATA that may come before there is anything to look at: see [`grant`](Self::grant).
    pub allowance: u32,
    granted: u32,
    /// Octets that the peer takes.
    pub send_window: i32,
    /// Octets that came since we last gave credit, but for those of the allowance.
    uncredited: u32,
    /// For what is not one frame, or a piece of one, that may be sent at once.
    pub aside: Option<Box<Aside>>,
}

#[derive(Default)]
pub struct Aside {
    /// Octets whose frame is not whole.
    input: Vec<u8>,
    /// Octets of frames that wait for a window.
    pub waiting: Vec<u8>,
    /// Behind these nothing is to come.
    pub ends: bool,
}

impl Stream {
    pub fn new(kind: Kind, send_window: i32) -> Self {
        let mut stream =
            Self { kind, key: [0; 4], left: 0, allowance: 0, granted: 0, send_window, uncredited: 0, aside: None };
        stream.grant();
        stream
    }

    pub fn closed() -> Self {
        Self::new(Kind::Closed, 0)
    }

    /// Whole messages are just echoed as long as nothing waits, the peer's window has room and ours has enough left.
    #[inline]
    pub fn grant(&mut self) {
        if self.kind == Kind::Echo && self.aside.is_none() && self.left == 0 {
            let window = self.send_window.max(0) as u32;
            self.granted = window.min((STREAM_WINDOW / 2).saturating_sub(self.uncredited));
            self.allowance = self.granted;
        }
    }

    /// Before anything but a whole message.
    #[inline]
    pub fn revoke(&mut self) {
        self.uncredited += self.granted - self.allowance;
        self.granted = 0;
        self.allowance = 0;
    }

    /// The window grows by what came, once that is worth a frame.
    #[inline]
    pub fn credit(&mut self, id: u32, octets: u32, output: &mut Output) {
        self.uncredited += octets;
        // What cannot be sent is not asked for.
        if self.uncredited >= STREAM_WINDOW / 2 && self.aside.is_none() {
            output.extend(&[&head(4, WINDOW_UPDATE, 0, id), &self.uncredited.to_be_bytes()]);
            self.uncredited = 0;
        }
    }

    /// Writes the answer to the DATA frame at these octets of the buffer over it, if it holds one frame of a message, or a
    /// piece of one, and nothing else. Returns the length of the answer's DATA.
    #[inline]
    pub fn echo(&mut self, id: u32, at: usize, end: usize, output: &mut Output) -> Option<usize> {
        let from = at + HEAD;
        if self.left > 0 {
            return self.echo_piece(id, at, end, output);
        }
        let ws = WsHead::read(&output.buffer[from..end])?;
        let here = end - from - ws.size;
        if ws.first & 0x08 != 0 || here > ws.payload {
            return None;
        }
        let place = output.place(at);
        // Arrays of a known length: a copy of an unknown one is a call.
        let (head, length) = match ws.answer(ws.first) {
            Answer::Short(answer) => (put(output, place, id, answer, here), answer.len() + here),
            Answer::Medium(answer) => (put(output, place, id, answer, here), answer.len() + here),
            Answer::Long(answer) => (put(output, place, id, answer, here), answer.len() + here),
        };
        unmask_back(&mut output.buffer, from + ws.size, head, here, ws.key);
        output.push(place..head + here);
        if here < ws.payload {
            self.left = (ws.payload - here) as u32;
            self.key = rotate(ws.key, here);
        }
        Some(length)
    }

    fn echo_piece(&mut self, id: u32, at: usize, end: usize, output: &mut Output) -> Option<usize> {
        let length = end - at - HEAD;
        self.left = self.left.checked_sub(length as u32)?;
        let place = output.place(at);
        output.buffer[place..place + HEAD].copy_from_slice(&head(length, DATA, 0, id));
        unmask_back(&mut output.buffer, at + HEAD, place + HEAD, length, self.key);
        output.push(place..place + HEAD + length);
        self.key = rotate(self.key, length);
        Some(length)
    }

    /// Takes octets of any frames. Their answers wait in [`Aside::waiting`]; messages for all go to `shouts`.
    pub fn digest(&mut self, octets: &[u8], shouts: &mut Vec<u8>) {
        let aside = self.aside.get_or_insert_default();
        aside.input.extend_from_slice(octets);
        let mut input = &mut aside.input[..];
        loop {
            let (piece, rest) = input.split_at_mut(input.len().min(self.left as usize));
            unmask(piece, self.key);
            aside.waiting.extend_from_slice(piece);
            self.key = rotate(self.key, piece.len());
            self.left -= piece.len() as u32;
            input = rest;
            let Some(ws) = WsHead::read(input).filter(|_| self.left == 0) else { break };
            let is_control = ws.first & 0x08 != 0;
            if !is_control && self.kind == Kind::Echo {
                aside.waiting.extend_from_slice(ws.answer(ws.first).octets());
                (self.key, self.left) = (ws.key, ws.payload as u32);
                input = &mut input[ws.size..];
                continue;
            }
            if input.len() < ws.size + ws.payload {
                break;
            }
            let (frame, rest) = input.split_at_mut(ws.size + ws.payload);
            input = rest;
            let payload = &mut frame[ws.size..];
            unmask(payload, ws.key);
            let (first, target) = match ws.first & 0x0F {
                WS_PONG => continue,
                WS_PING => (0x80 | WS_PONG, &mut aside.waiting),
                WS_CLOSE => (0x80 | WS_CLOSE, &mut aside.waiting),
                _ => (ws.first, &mut *shouts),
            };
            target.extend_from_slice(ws.answer(first).octets());
            target.extend_from_slice(payload);
            aside.ends |= ws.first & 0x0F == WS_CLOSE;
        }
        let left = input.len();
        let done = aside.input.len() - left;
        aside.input.drain(..done);
    }

    /// Whether a frame is not whole, so that what comes next is the rest of it.
    pub fn is_within(&self) -> bool {
        self.left > 0 || self.aside.is_some()
    }

    /// Frees what is not needed any more.
    pub fn settle(&mut self) {
        if self.aside.as_ref().is_some_and(|aside| aside.input.is_empty() && aside.waiting.is_empty() && !aside.ends) {
            self.aside = None;
        }
    }
}

/// Writes the heads of a DATA frame and of the WebSocket frame in it, before so many octets; where those begin.
#[inline]
fn put<const N: usize>(output: &mut Output, place: usize, id: u32, answer: [u8; N], octets: usize) -> usize {
    let start = place + HEAD + N;
    let (data, ws) = output.buffer[place..start].split_at_mut(HEAD);
    data.copy_from_slice(&head(N + octets, DATA, 0, id));
    ws.copy_from_slice(&answer);
    start
}
