//! The ceiling: what it costs this machine to echo WebSockets over HTTP/2 when a program does nothing else. One thread, one
//! epoll, one pass over what a read brought, one write for all of it. It checks nothing, and trusts its peer to be
//! `sockeye bench`: cleartext by prior knowledge, masked frames, DATA without padding, header blocks in one frame.
//!
//! An answer is shorter than its question by the mask, so most of them are written over it, in the one buffer that all
//! connections read into. The windows of both ends are kept to, and ours are credited by halves. A message goes back as
//! it comes, before its end is here.
//!
//! A connection that begins with a request of HTTP/1.1 is a WebSocket of its own: what that costs is the system's, nearly all of it.
//!
//! `ceiling ADDRESS` echoes; under `/broadcast` each message goes to all sockets there.

mod connection;
mod frame;
mod http1;
mod mask;
mod output;
mod stream;

use std::io::{ErrorKind, Result};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::connection::Connection;
use crate::output::Output;

/// Octets of a read: as many as a batch of small messages has. More of large ones at once would leave the caches before
/// they are written.
const READ_SIZE: usize = 64 << 10;
const LISTENER: Token = Token(usize::MAX);

/// What is there once for all connections.
struct Shared {
    /// What was read, and what is to be written.
    output: Output,
    /// Frames of WebSockets that are for every socket of `/broadcast`.
    shouts: Vec<u8>,
}

fn main() -> Result<()> {
    let Some(Ok(address)) = std::env::args().nth(1).map(|address| address.parse()) else {
        eprintln!("usage: ceiling ADDRESS");
        std::process::exit(2);
    };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut shared = Shared { output: Output::new(READ_SIZE), shouts: Vec::new() };
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
            } else {
                turn(event.token().0, &mut connections, &mut shared);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let slot = connections.iter().position(Option::is_none).unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        connections[slot] = Some(Connection::new(stream));
    }
}

/// One read of a connection after the other, until there is no more. Each is answered before the next.
fn turn(slot: usize, connections: &mut [Option<Connection>], shared: &mut Shared) {
    let mut more = true;
    while more {
        // An event may be of the connection that was here before.
        let Some(connection) = &mut connections[slot] else { return };
        let Ok(read) = connection.read(shared) else {
            connections[slot] = None;
            return;
        };
        more = read;
        if !shared.shouts.is_empty() {
            broadcast(connections, shared);
        }
    }
}

fn broadcast(connections: &mut [Option<Connection>], shared: &mut Shared) {
    for entry in connections {
        if let Some(connection) = entry
            && connection.deliver(&shared.shouts, &mut shared.output).is_err()
        {
            *entry = None;
        }
    }
    shared.shouts.clear();
}
