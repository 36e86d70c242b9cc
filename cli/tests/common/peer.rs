//! A server in cleartext, HTTP/2 and HTTP/1.1 on one port, that does right but for what its course says. It speaks frames by
//! hand, so that it can do what no library lets a server do.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use http::Request;
use sockeye_proto::ws::Extensions;
use sockeye_proto::ws::handshake::Offer;

/// RFC 9113 §3.4
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113 §6
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Settings (RFC 9113 §6.5.2, RFC 8441 §3) and error codes (RFC 9113 §7).
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
pub(crate) const OFFER: (u16, u32) = (ENABLE_CONNECT_PROTOCOL, 1);
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const CONNECT_ERROR: u32 = 10;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
pub(crate) const HTTP_1_1_REQUIRED: u32 = 13;
/// RFC 6455 §5.2
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const OPCODE_PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// An upgrade without the Sec-WebSocket-Accept that RFC 6455 §4.2.2 asks for.
pub(crate) const ACCEPTS_NOTHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

/// What the server does where something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Right: accepts, answers a Ping, echoes a message, answers a Close and ends its half.
    Right,
    Nothing,
    /// A response with these fields and content, and the end of the stream.
    Answers(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// Accepts by this status, and is right from then on.
    Accepts(u16),
    /// These octets on the WebSocket.
    Says(Vec<u8>),
    /// A Close with this code, and the end of its half.
    Closes(u16, &'static str),
    /// The Close, and nothing after it.
    ClosesOnly,
    /// The Close, and a reset.
    ClosesAndResets(u32),
    /// The Close; its half ends after the client's.
    EndsSecond,
    /// The Close, and the end of the connection after the client has ended its half.
    EndsConnectionSecond,
    /// The end of its half without a Close.
    Ends,
    Resets(u32),
    GoesAway(u32),
    Disconnects,
}

/// What HTTP/1.1 gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Http1 {
    /// A WebSocket by the same course.
    Same,
    /// One that does right.
    Right,
    /// One that closes so.
    OnClose(Does),
    /// These octets.
    Says(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// None: HTTP/2 is not spoken.
    pub(crate) settings: Option<Vec<(u16, u32)>>,
    pub(crate) on_connect: Does,
    pub(crate) on_open: Does,
    pub(crate) on_ping: Does,
    pub(crate) on_message: Does,
    pub(crate) on_close: Does,
    /// A Close in a DATA frame with END_STREAM.
    pub(crate) on_close_with_end: Does,
    /// WebSockets on a connection, and what becomes of further ones.
    pub(crate) beyond: Option<(usize, Does)>,
    pub(crate) http1: Http1,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            settings: Some(vec![OFFER]),
            on_connect: Does::Right,
            on_open: Does::Right,
            on_ping: Does::Right,
            on_message: Does::Right,
            on_close: Does::Right,
            on_close_with_end: Does::Right,
            beyond: None,
            http1: Http1::Right,
        }
    }
}

impl Peer {
    /// Listens as long as the test runs; gives the URL.
    pub(crate) fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (peer, stream) = (self.clone(), stream.unwrap());
                // A client ends its connections when it has seen enough.
                thread::spawn(move || peer.serve(stream).ok());
            }
        });
        url
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut first = [0; 3];
        stream.read_exact(&mut first)?;
        if first != PREFACE[..3] {
            return self.serve_http1(stream, &first);
        }
        let Some(settings) = &self.settings else { return Ok(()) };
        stream.read_exact(&mut [0; PREFACE.len() - 3])?;
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        let mut connection = Http2 { stream, peer: self, opened: 0, last: 0, ends_second: Vec::new() };
        connection.send(SETTINGS, 0, 0, &payload)?;
        connection.make_room(0)?;
        connection.run()
    }

    fn serve_http1(&self, mut stream: TcpStream, first: &[u8]) -> io::Result<()> {
        let mut head = first.to_vec();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet)?;
            head.push(octet[0]);
        }
        let right = Peer { on_close: Does::Right, ..Peer::default() };
        let course = match &self.http1 {
            Http1::Same => self.clone(),
            Http1::Right => right,
            Http1::OnClose(does) => Peer { on_close: does.clone(), ..right },
            Http1::Says(octets) => {
                stream.write_all(octets)?;
                // What is sent behind a TCP reset may be lost.
                stream.shutdown(Shutdown::Write)?;
                return stream.read_to_end(&mut Vec::new()).map(drop);
            }
        };
        stream.write_all(&switch(&head))?;
        let mut tunnel = Http1Tunnel { stream };
        course.act(&course.on_open, None, &mut tunnel)?;
        loop {
            let mut head = [0; 2];
            tunnel.stream.read_exact(&mut head)?;
            let mut rest = vec![0; 4 + usize::from(head[1] & 0x7f)];
            tunnel.stream.read_exact(&mut rest)?;
            let (opcode, payload) = unmasked(&[&head[..], &rest].concat());
            course.receive(opcode, &payload, false, &mut tunnel)?;
        }
    }

    fn receive(&self, opcode: u8, payload: &[u8], end: bool, tunnel: &mut impl Tunnel) -> io::Result<()> {
        let does = match opcode {
            OPCODE_PING => &self.on_ping,
            TEXT | BINARY => &self.on_message,
            CLOSE if end => &self.on_close_with_end,
            CLOSE => &self.on_close,
            _ => &Does::Nothing,
        };
        let answer = match opcode {
            OPCODE_PING => frame(PONG, payload),
            opcode => frame(opcode, payload),
        };
        self.act(does, Some((opcode, answer)), tunnel)
    }

    fn act(&self, does: &Does, answer: Option<(u8, Vec<u8>)>, tunnel: &mut impl Tunnel) -> io::Result<()> {
        let close = || answer.iter().flat_map(|(_, frame)| frame.clone()).collect::<Vec<u8>>();
        match does {
            Does::Right => match answer {
                Some((CLOSE, frame)) => tunnel.say(&frame, true),
                Some((_, frame)) => tunnel.say(&frame, false),
                None => Ok(()),
            },
            Does::Nothing | Does::Answers(..) | Does::Accepts(_) => Ok(()),
            Does::Says(octets) => tunnel.say(octets, false),
            Does::Closes(code, reason) => {
                tunnel.say(&frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat()), true)
            }
            Does::ClosesOnly => tunnel.say(&close(), false),
            Does::ClosesAndResets(code) => tunnel.say(&close(), false).and_then(|()| tunnel.reset(*code)),
            Does::EndsSecond | Does::EndsConnectionSecond => {
                tunnel.say(&close(), false).and_then(|()| tunnel.end_second())
            }
            Does::Ends => tunnel.say(&[], true),
            Does::Resets(code) => tunnel.reset(*code),
            Does::GoesAway(code) => tunnel.go_away(*code),
            Does::Disconnects => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// What carries a WebSocket.
trait Tunnel {
    fn say(&mut self, octets: &[u8], last: bool) -> io::Result<()>;
    fn reset(&mut self, code: u32) -> io::Result<()>;
    fn end_second(&mut self) -> io::Result<()>;
    fn go_away(&mut self, code: u32) -> io::Result<()>;
}

struct Http1Tunnel {
    stream: TcpStream,
}

impl Tunnel for Http1Tunnel {
    fn say(&mut self, octets: &[u8], last: bool) -> io::Result<()> {
        self.stream.write_all(octets)?;
        if last { self.stream.shutdown(Shutdown::Write) } else { Ok(()) }
    }

    fn reset(&mut self, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn end_second(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn go_away(&mut self, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

struct Http2<'a> {
    stream: TcpStream,
    peer: &'a Peer,
    opened: usize,
    /// The client's last stream.
    last: u32,
    /// Streams whose halves end after the client's.
    ends_second: Vec<u32>,
}

impl Http2<'_> {
    fn run(mut self) -> io::Result<()> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match (head[3], head[4]) {
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[])?,
                (PING, 0) => self.send(PING, ACK, 0, &payload)?,
                (HEADERS, _) => self.answer(id)?,
                (DATA, flags) => self.receive(id, &payload, flags & END_STREAM != 0)?,
                _ => {}
            }
        }
    }

    fn answer(&mut self, id: u32) -> io::Result<()> {
        let peer = self.peer;
        let does = match &peer.beyond {
            Some((most, does)) if self.opened >= *most => does,
            _ => &peer.on_connect,
        };
        self.opened += 1;
        self.last = id;
        match does {
            Does::Right => {
                self.send(HEADERS, END_HEADERS, id, &block(200, &[]))?;
                self.make_room(id)?;
                peer.act(&peer.on_open, None, &mut Stream { connection: self, id })
            }
            Does::Accepts(status) => self.send(HEADERS, END_HEADERS, id, &block(*status, &[])),
            Does::Answers(status, fields, content) => {
                self.send(HEADERS, END_HEADERS, id, &block(*status, fields))?;
                self.send(DATA, END_STREAM, id, content.as_bytes())
            }
            does => peer.act(does, None, &mut Stream { connection: self, id }),
        }
    }

    /// Each of the program's DATA frames holds one frame of the WebSocket, or nothing.
    fn receive(&mut self, id: u32, payload: &[u8], end: bool) -> io::Result<()> {
        let peer = self.peer;
        if !payload.is_empty() {
            let (opcode, payload) = unmasked(payload);
            peer.receive(opcode, &payload, end, &mut Stream { connection: self, id })?;
        }
        if end && self.ends_second.contains(&id) {
            if peer.on_close == Does::EndsConnectionSecond {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            return self.send(DATA, END_STREAM, id, &[]);
        }
        Ok(())
    }

    /// Room for all that a test sends (RFC 9113 §6.9).
    fn make_room(&mut self, id: u32) -> io::Result<()> {
        self.send(WINDOW_UPDATE, 0, id, &(1_u32 << 29).to_be_bytes())
    }

    fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let length = (payload.len() as u32).to_be_bytes();
        self.stream.write_all(&[&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat())
    }
}

struct Stream<'a, 'b> {
    connection: &'a mut Http2<'b>,
    id: u32,
}

impl Tunnel for Stream<'_, '_> {
    fn say(&mut self, octets: &[u8], last: bool) -> io::Result<()> {
        self.connection.send(DATA, if last { END_STREAM } else { 0 }, self.id, octets)
    }

    fn reset(&mut self, code: u32) -> io::Result<()> {
        self.connection.send(RST_STREAM, 0, self.id, &code.to_be_bytes())
    }

    fn end_second(&mut self) -> io::Result<()> {
        self.connection.ends_second.push(self.id);
        Ok(())
    }

    fn go_away(&mut self, code: u32) -> io::Result<()> {
        let last = self.connection.last.to_be_bytes();
        self.connection.send(GOAWAY, 0, 0, &[last, code.to_be_bytes()].concat())?;
        // What is sent before a TCP reset, as of what is not read, may be lost.
        self.connection.stream.shutdown(Shutdown::Write)?;
        self.connection.stream.read_to_end(&mut Vec::new())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// A header block of literals (RFC 7541 §6.2.2).
fn block(status: u16, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = [&[8, 3], status.to_string().as_bytes()].concat();
    for text in fields.iter().flat_map(|(name, value)| {
        [[0, name.len() as u8].to_vec(), name.as_bytes().to_vec(), vec![value.len() as u8], value.as_bytes().to_vec()]
    }) {
        block.extend(text);
    }
    block
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

/// A short frame of a client's: its first octet, and its payload.
fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
    let (key, payload) = frame[2..].split_at(4);
    (frame[0] & 0x8f, payload.iter().enumerate().map(|(index, octet)| octet ^ key[index % 4]).collect())
}

/// The 101 to a handshake.
fn switch(head: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let mut request = Request::get("/");
    for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let offer = Offer::from_request(&request.body(()).unwrap()).unwrap().unwrap();
    let (response, _) = offer.accept(None, &Extensions::default(), false);
    let mut head = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in response.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}
