//! Hostile servers of HTTP/1.1, and of TLS that never begins.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Hostile, Outcome::*};

const LONGEST: Duration = Duration::from_secs(100);

/// Reads a request, says this first, and that for ever.
fn say(mut stream: TcpStream, first: &[u8], then: &[u8]) -> Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let _ = stream.read(&mut [0; 8192])?;
    stream.write_all(first)?;
    let deadline = Instant::now() + LONGEST;
    while !then.is_empty() && Instant::now() < deadline {
        stream.write_all(then)?;
    }
    wait(stream)
}

/// The same, an octet a second.
fn dribble(mut stream: TcpStream, first: &[u8], then: &[u8]) -> Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    let _ = stream.read(&mut [0; 8192])?;
    stream.write_all(first)?;
    let deadline = Instant::now() + LONGEST;
    for octet in then.iter().cycle() {
        if Instant::now() > deadline {
            break;
        }
        stream.write_all(&[*octet])?;
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn wait(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    while stream.read(&mut [0; 8192])? > 0 {}
    Ok(())
}

fn switch(more: &str) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}\r\n")
}

const fn row(name: &'static str, serve: fn(TcpStream) -> Result<()>) -> Hostile {
    Hostile { name, why: "HTTP/1.1", scenario: "open-http1", within: 20.0, expected: Error, serve }
}

pub const ROWS: &[Hostile] = &[
    row("nothing is said", wait),
    row("a head without an end", |s| say(s, b"HTTP/1.1 101 Switching Protocols\r\n", &b"x: y\r\n".repeat(100))),
    row("a field without an end", |s| say(s, b"HTTP/1.1 101 Switching Protocols\r\nx: ", &[b'y'; 1000])),
    row("a head by an octet a second", |s| dribble(s, b"HTTP/1.1 101 Switching Protocols\r\n", b"x: y\r\n")),
    row("100 (Continue) without end", |s| say(s, b"", &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50))),
    row("103 (Early Hints) without end", |s| {
        say(s, b"", &b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(50))
    }),
    row("a 101 with a wrong Accept", |s| {
        say(s, switch("Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n").as_bytes(), b"")
    }),
    row("a 101 without an Accept", |s| say(s, switch("").as_bytes(), b"")),
    row("a 101 to another protocol", |s| {
        say(s, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", b"")
    }),
    row("a 101 that answers nothing, with octets without end", |s| say(s, switch("").as_bytes(), &[0x82; 1000])),
    row("200 with content without end", |s| say(s, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 1000])),
    row("a refusal with content without end", |s| say(s, b"HTTP/1.1 403 Forbidden\r\n\r\n", &[b'x'; 1000])),
    row("a refusal in chunks without end", |s| {
        say(s, b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", &b"1\r\nx\r\n".repeat(100))
    }),
    row("a refusal by an octet a second", |s| {
        dribble(s, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n", b"x")
    }),
    row("a redirect to itself", |s| {
        say(s, b"HTTP/1.1 301 Moved Permanently\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n", b"")
    }),
    row("octets that are no HTTP", |s| say(s, b"", &[0x00, 0xFF, 0x0A, 0x0D])),
    row("an end at once", |_| Ok(())),
    Hostile { why: "TLS", scenario: "tls", ..row("TLS that never begins", wait) },
    Hostile {
        why: "TLS",
        scenario: "tls",
        ..row("TLS that is none", |s| say(s, b"HTTP/1.1 400 Bad Request\r\n\r\n", b""))
    },
];
