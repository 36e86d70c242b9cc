//! The bare relay: what it costs this machine to take WebSockets from HTTP/2 to HTTP/1.1 when a program does nothing else. One
//! thread, one epoll; a read of a WebSocket's connection becomes a DATA frame, a DATA frame a write of it, and what goes to a
//! client is written once for all that one look at the network found. It checks nothing and keeps to no window, which one message
//! of a WebSocket at a time never fills, and trusts its peers to be `sockeye bench` and `sockeye serve`, whose path is /echo.
//!
//! `bare-relay ADDRESS BEHIND`

mod front;

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::front::{Front, HEAD, MAX_FRAME_SIZE};

const LISTENER: Token = Token(usize::MAX);
/// Tokens from here on are of connections to what is behind.
const BEHIND: usize = 1 << 20;
/// Octets of a read of a client's connection.
const READ_SIZE: usize = 64 << 10;
/// Its key is no secret, and the Accept is not looked at.
const HANDSHAKE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket's connection behind.
struct Socket {
    stream: TcpStream,
    front: usize,
    id: u32,
}

struct Relay {
    behind: SocketAddr,
    registry: Registry,
    fronts: Vec<Front>,
    sockets: Vec<Option<Socket>>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let (Some(Ok(address)), Some(Ok(behind))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bare-relay ADDRESS BEHIND");
        std::process::exit(2);
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay =
        Relay { behind, registry: poll.registry().try_clone()?, fronts: Vec::new(), sockets: Vec::new() };
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; READ_SIZE]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => relay.accept(&listener)?,
                Token(token) if token >= BEHIND => relay.read_behind(token - BEHIND, &mut buffer),
                Token(token) => relay.read_front(token, &mut buffer)?,
            }
        }
        for front in &mut relay.fronts {
            front.write();
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let (mut stream, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            self.registry.register(&mut stream, Token(self.fronts.len()), Interest::READABLE | Interest::WRITABLE)?;
            self.fronts.push(Front::new(stream));
        }
    }

    fn read_front(&mut self, at: usize, buffer: &mut [u8]) -> Result<()> {
        while let Some(octets) = self.fronts[at].read(buffer) {
            let mut rest = &buffer[..octets];
            while let Some((frame, next)) = front::frame(rest) {
                if frame.kind == front::HEADERS {
                    self.open(at, frame.id)?;
                } else if frame.kind == front::DATA && !frame.payload.is_empty() {
                    self.forward(at, frame.id, frame.payload);
                } else if frame.kind == front::RST_STREAM || frame.kind == front::DATA {
                    self.close(at, frame.id);
                }
                self.fronts[at].answer(&frame);
                rest = next;
            }
            let rest = rest.len();
            self.fronts[at].keep(&buffer[octets - rest..octets]);
            if octets < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the answer behind: openings are not measured.
    fn open(&mut self, at: usize, id: u32) -> Result<()> {
        let mut stream = std::net::TcpStream::connect(self.behind)?;
        stream.set_nodelay(true)?;
        stream.write_all(HANDSHAKE)?;
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut octet)?;
            head.push(octet[0]);
        }
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let slot = self.sockets.len();
        self.registry.register(&mut stream, Token(BEHIND + slot), Interest::READABLE | Interest::WRITABLE)?;
        self.sockets.push(Some(Socket { stream, front: at, id }));
        self.fronts[at].opened(id, slot);
        Ok(())
    }

    fn forward(&mut self, at: usize, id: u32, octets: &[u8]) {
        let Some(slot) = self.fronts[at].slot(id) else { return };
        let Some(socket) = &mut self.sockets[slot] else { return };
        // The system takes a message whole while there is no other.
        if !matches!(socket.stream.write(octets), Ok(written) if written == octets.len()) {
            self.close(at, id);
        }
    }

    fn close(&mut self, at: usize, id: u32) {
        if let Some(slot) = self.fronts[at].slot(id) {
            self.sockets[slot] = None;
        }
    }

    fn read_behind(&mut self, slot: usize, buffer: &mut [u8]) {
        while let Some(Socket { stream, front, id }) = &mut self.sockets[slot] {
            match stream.read(&mut buffer[..MAX_FRAME_SIZE]) {
                Ok(0) => {
                    self.fronts[*front].end(*id);
                    self.sockets[slot] = None;
                }
                Ok(read) => {
                    self.fronts[*front].data(*id, &buffer[..read]);
                    if read < MAX_FRAME_SIZE {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.sockets[slot] = None,
            }
        }
    }
}

/// Not to be ready is no failure.
fn is_blocked(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

const _: () = assert!(HEAD + MAX_FRAME_SIZE <= READ_SIZE);
