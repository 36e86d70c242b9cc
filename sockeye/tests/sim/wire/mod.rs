//! What goes over the wire, read by somebody who belongs to neither side: the octets that each transport takes are held to
//! the rules that a peer would hold us to, and each WebSocket's messages are counted.

mod http2;
mod websocket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};

use self::http2::Http2;
use self::websocket::Frames;
pub(crate) use self::websocket::MARK;
use crate::trace::Trace;

/// The two sides of a connection, as indices.
pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// What was seen of each socket, by its number, which its path says. Clones are the same.
#[derive(Clone)]
pub(crate) struct Sightings {
    sockets: Arc<Mutex<BTreeMap<u32, Sighting>>>,
    trace: Trace,
}

/// One socket's two directions, each by the side that sends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sighting {
    pub(crate) sides: [Seen; 2],
    /// What each side's transport had sent on its way when it was last flushed.
    pub(crate) flushed: [Seen; 2],
    /// Each side's transport may have failed: then it takes nothing more, and what is sent goes nowhere.
    pub(crate) failed: [bool; 2],
    /// The connection that carries it.
    pub(crate) link: u64,
    /// It was asked for before, on another connection.
    pub(crate) is_second: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whole messages that are none of a group's.
    pub(crate) own: usize,
    /// Octets of payload of such messages.
    pub(crate) octets: u64,
    /// Whole messages of groups.
    pub(crate) of_groups: usize,
    /// The code of a Close, 1005 for none.
    pub(crate) close: Option<u16>,
    /// The stream was reset, or the half ended.
    pub(crate) end: Option<End>,
    /// A client's half ended before its server's, and soon after the client had been the first to say Close.
    pub(crate) is_early: bool,
}

/// How one half of a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// END_STREAM.
    Stream,
    /// RST_STREAM, with its code.
    Reset(u32),
}

impl Sighting {
    /// A server that has said all gives a stream up whose client has not, to make place for another (RFC 9113 §8.1).
    pub(crate) fn is_dismissed(&self) -> bool {
        let server = self.sides[SERVER];
        server.close.is_some() && server.end == Some(End::Reset(NO_ERROR))
    }
}

/// RFC 9113 §7.
const NO_ERROR: u32 = 0;

impl Sightings {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { sockets: Arc::default(), trace }
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<u32, Sighting>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, socket: u32) -> Option<Sighting> {
        self.map().get(&socket).copied()
    }

    fn begin(&self, socket: u32, link: u64) {
        let mut map = self.map();
        let is_second = map.contains_key(&socket);
        map.insert(socket, Sighting { link, is_second, ..Sighting::default() });
    }

    fn update(&self, socket: u32, side: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(sighting) = self.map().get_mut(&socket) {
            change(&mut sighting.sides[side]);
        }
    }

    fn flush(&self, link: u64, side: usize) {
        for sighting in self.map().values_mut().filter(|sighting| sighting.link == link) {
            sighting.flushed[side] = sighting.sides[side];
        }
    }

    fn fail(&self, link: u64, side: usize) {
        for sighting in self.map().values_mut().filter(|sighting| sighting.link == link) {
            sighting.failed[side] = true;
        }
    }
}

/// One connection, as it is seen.
pub(crate) struct Watch {
    protocol: Protocol,
    sightings: Sightings,
    link: u64,
    closed: [bool; 2],
}

enum Protocol {
    Http1 { sides: Box<[Http1; 2]>, socket: Option<u32> },
    Http2(Box<Http2>),
}

enum Http1 {
    Head(BytesMut),
    WebSocket(Frames),
    /// What comes is no WebSocket.
    Content,
}

/// What a version's reader asks for.
pub(crate) type Rule = Result<(), String>;

impl Watch {
    pub(crate) fn http1(link: u64, sightings: &Sightings) -> Self {
        let head = || Http1::Head(BytesMut::new());
        Self::new(link, sightings, Protocol::Http1 { sides: Box::new([head(), head()]), socket: None })
    }

    pub(crate) fn http2(link: u64, sightings: &Sightings) -> Self {
        Self::new(link, sightings, Protocol::Http2(Box::new(Http2::new(link, sightings.clone()))))
    }

    fn new(link: u64, sightings: &Sightings, protocol: Protocol) -> Self {
        Self { protocol, sightings: sightings.clone(), link, closed: [false; 2] }
    }

    /// One side's transport took these octets.
    pub(crate) fn see(&mut self, now: u64, side: usize, octets: &[u8]) -> Rule {
        match &mut self.protocol {
            Protocol::Http1 { sides, socket } => see_http1(sides, socket, side, octets, &self.sightings, self.link),
            Protocol::Http2(http2) => http2.see(now, side, octets),
        }
    }

    /// One side's transport sent on its way all that it had taken.
    pub(crate) fn flush(&self, side: usize) {
        self.sightings.flush(self.link, side);
    }

    /// One side's transport takes nothing more.
    pub(crate) fn fail(&self, side: usize) {
        self.sightings.fail(self.link, side);
    }

    /// One side let go of its transport.
    pub(crate) fn close(&mut self, side: usize) {
        self.closed[side] = true;
    }

    /// Whether both sides have let go of it.
    pub(crate) fn is_over(&self) -> bool {
        self.closed == [true; 2]
    }
}

/// How a response begins (RFC 9112 §4).
const RESPONSE: &[u8] = b"HTTP/1.1 ";

fn see_http1(
    sides: &mut [Http1; 2],
    socket: &mut Option<u32>,
    side: usize,
    octets: &[u8],
    sightings: &Sightings,
    link: u64,
) -> Rule {
    match &mut sides[side] {
        Http1::Head(head) => {
            head.extend_from_slice(octets);
            if side == SERVER && !RESPONSE.starts_with(head) && !head.starts_with(RESPONSE) {
                return Err(format!("in the place of a response: {:?}", head.escape_ascii().to_string()));
            }
            let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(()) };
            let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
            let word = text.split(' ').nth(1).unwrap_or_default().to_owned();
            head.advance(end + 4);
            let rest = head.split();
            if side == CLIENT {
                *socket = number(&word);
                socket.inspect(|&socket| sightings.begin(socket, link));
            }
            sides[side] = match (side, word.as_str()) {
                (SERVER, "101") | (CLIENT, _) => Http1::WebSocket(Frames::new(side)),
                _ => Http1::Content,
            };
            if rest.is_empty() { Ok(()) } else { see_http1(sides, socket, side, &rest, sightings, link) }
        }
        Http1::WebSocket(frames) => {
            frames.see(octets)?;
            socket.inspect(|&socket| sightings.update(socket, side, |seen| frames.tell(seen)));
            Ok(())
        }
        Http1::Content => Ok(()),
    }
}

/// The number of a socket, which its path ends in.
fn number(path: &str) -> Option<u32> {
    path.strip_prefix("/socket/")?.parse().ok()
}
