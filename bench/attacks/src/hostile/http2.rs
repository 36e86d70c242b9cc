//! Hostile servers of HTTP/2.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Hostile, Outcome::*};
use crate::wire::frames::*;
use crate::wire::{Connection, fields, websocket};

/// How long a server goes on at most.
const LONGEST: Duration = Duration::from_secs(100);

/// The client's preface is read and SETTINGS are said, with the extended CONNECT.
fn greet(stream: TcpStream, more: &[(u16, u32)]) -> Result<Connection> {
    let mut connection = Connection::accept(stream)?;
    let pairs = [&[(ENABLE_CONNECT_PROTOCOL, 1)], more].concat();
    connection.send(&[settings(&pairs), settings_ack()].concat());
    Ok(connection)
}

/// Until a request comes: its stream.
fn request(connection: &mut Connection) -> Result<u32> {
    let deadline = Instant::now() + LONGEST;
    loop {
        match connection.poll_until(deadline)? {
            Some(received) if received.kind == HEADERS => return Ok(received.stream_id),
            Some(_) => {}
            None => bail!("the client has gone"),
        }
    }
}

/// A request that is answered with 200: a WebSocket.
fn accept(connection: &mut Connection) -> Result<u32> {
    let id = request(connection)?;
    connection.send(&headers(id, 0, &fields::block(&[(":status", "200")])));
    Ok(id)
}

/// The same octets until the client has gone.
fn for_ever(connection: &mut Connection, octets: &[u8]) -> Result<()> {
    let deadline = Instant::now() + LONGEST;
    let mut start = 0;
    while Instant::now() < deadline && !connection.is_over() && connection.seen.goaway.is_none() {
        start += connection.send_some(&octets[start..]);
        if start == octets.len() {
            start = 0;
        }
        connection.take_what_came();
    }
    linger(connection)
}

/// Takes what comes, and says nothing.
fn linger(connection: &mut Connection) -> Result<()> {
    let deadline = Instant::now() + LONGEST;
    while connection.poll_until(deadline)?.is_some() {}
    Ok(())
}

fn answer(stream: TcpStream, octets: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut connection = greet(stream, &[])?;
    loop {
        let id = request(&mut connection)?;
        connection.send(&octets(id));
    }
}

fn answer_for_ever(stream: TcpStream, octets: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut connection = greet(stream, &[])?;
    let id = request(&mut connection)?;
    for_ever(&mut connection, &octets(id))
}

/// A socket, and these octets on it once and again.
fn socket_for_ever(stream: TcpStream, octets: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut connection = greet(stream, &[])?;
    let id = accept(&mut connection)?;
    for_ever(&mut connection, &octets(id))
}

fn socket_once(stream: TcpStream, octets: impl Fn(u32) -> Vec<u8>) -> Result<()> {
    let mut connection = greet(stream, &[])?;
    let id = accept(&mut connection)?;
    connection.send(&octets(id));
    linger(&mut connection)
}

fn status(id: u32, flags: u8, status: &str) -> Vec<u8> {
    headers(id, flags, &fields::block(&[(":status", status)]))
}

fn limit_of_streams(stream: TcpStream, back: bool) -> Result<()> {
    let mut connection = greet(stream, &[(MAX_CONCURRENT_STREAMS, 0)])?;
    std::thread::sleep(Duration::from_secs(1));
    if back {
        connection.send(&settings(&[(MAX_CONCURRENT_STREAMS, 100)]));
        loop {
            accept(&mut connection)?;
        }
    }
    linger(&mut connection)
}

/// A Close of the client's is read and never answered.
fn no_close(stream: TcpStream) -> Result<()> {
    let mut connection = greet(stream, &[])?;
    accept(&mut connection)?;
    linger(&mut connection)
}

fn bomb(id: u32, length: usize, count: usize) -> Vec<u8> {
    let mut block = fields::block(&[(":status", "200")]);
    fields::remembered(&mut block, b"x-bomb", &vec![b'x'; length]);
    block.extend(std::iter::repeat_n(fields::NEWEST, count));
    headers(id, 0, &block)
}

const fn row(
    name: &'static str,
    scenario: &'static str,
    within: f64,
    expected: super::Outcome,
    serve: fn(TcpStream) -> Result<()>,
) -> Hostile {
    Hostile { name, why: "HTTP/2", scenario, within, expected, serve }
}

pub const ROWS: &[Hostile] = &[
    row("SETTINGS that never come", "open", 20.0, Error, |s| linger(&mut Connection::accept(s)?)),
    row("a response that never comes", "open", 20.0, Error, |s| linger(&mut greet(s, &[])?)),
    row("1xx without end", "open", 20.0, Error, |s| answer_for_ever(s, |id| status(id, 0, "103").repeat(20))),
    row("a refusal with content without end", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = request(&mut connection)?;
        connection.send(&status(id, 0, "403"));
        for_ever(&mut connection, &data(id, &[b'x'; 60]).repeat(10))
    }),
    row("a refusal by an octet a second", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = request(&mut connection)?;
        connection.send(&status(id, 0, "403"));
        while !connection.is_over() {
            connection.send(&data(id, b"x"));
            let _ = connection.poll(Duration::from_secs(1));
        }
        Ok(())
    }),
    row("GOAWAY for each connection's first request", "again", 30.0, Error, |s| answer(s, |_| goaway(0, NO_ERROR))),
    row("a GOAWAY storm beside a socket", "open", 30.0, Error, |s| {
        socket_for_ever(s, |_| goaway(1, NO_ERROR).repeat(50))
    }),
    row("REFUSED_STREAM for all", "again", 30.0, Error, |s| answer(s, |id| rst_stream(id, REFUSED_STREAM))),
    row("MAX_CONCURRENT_STREAMS of 0, and back", "many", 10.0, Works, |s| limit_of_streams(s, true)),
    row("MAX_CONCURRENT_STREAMS of 0 for ever", "open", 60.0, Error, |s| limit_of_streams(s, false)),
    row("MAX_CONCURRENT_STREAMS that flips", "many", 60.0, Either, |s| {
        for_ever(
            &mut greet(s, &[])?,
            &[settings(&[(MAX_CONCURRENT_STREAMS, 0)]), settings(&[(MAX_CONCURRENT_STREAMS, 100)])].concat(),
        )
    }),
    row("a SETTINGS flood", "open", 20.0, Error, |s| {
        socket_for_ever(s, |_| settings(&[(HEADER_TABLE_SIZE, 4096)]).repeat(50))
    }),
    row("a PING flood", "open", 60.0, Error, |s| socket_for_ever(s, |_| ping([1; 8]).repeat(50))),
    row("a PRIORITY flood", "open", 60.0, Error, |s| socket_for_ever(s, |_| priority(1, 0).repeat(50))),
    row("a flood of unknown frames", "open", 60.0, Error, |s| {
        socket_for_ever(s, |_| frame(0xFA, 0, 0, b"").repeat(50))
    }),
    row("an empty DATA flood", "open", 60.0, Error, |s| socket_for_ever(s, |id| data(id, b"").repeat(50))),
    row("window flips", "open", 20.0, Error, |s| {
        socket_for_ever(s, |_| settings(&[(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, MAX_WINDOW)]).repeat(50))
    }),
    row("the extended CONNECT taken back", "open", 20.0, Error, |s| {
        socket_once(s, |_| settings(&[(ENABLE_CONNECT_PROTOCOL, 0)]))
    }),
    row("DATA past every window", "open", 20.0, Error, |s| {
        socket_for_ever(s, |id| {
            data(id, &[0x82, 126, 0x3F, 0xFC].iter().copied().chain([0; 16_380]).collect::<Vec<_>>())
        })
    }),
    row("DATA past a window, of one frame that never ends", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = accept(&mut connection)?;
        connection.send(&data(id, &[0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]));
        for_ever(&mut connection, &data(id, &[0; 16_384]))
    }),
    row("a window past 2³¹−1", "open", 20.0, Error, |s| socket_once(s, |id| window_update(id, MAX_WINDOW))),
    row("the connection's window past 2³¹−1", "open", 20.0, Error, |s| {
        socket_once(s, |_| window_update(0, MAX_WINDOW))
    }),
    row("a push", "open", 20.0, Error, |s| {
        socket_once(s, |id| frame(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2, 0x82]))
    }),
    row("a stream that nobody asked for", "open", 20.0, Error, |s| socket_once(s, |_| status(2, 0, "200"))),
    row("an HPACK bomb in a response", "open", 20.0, Error, |s| answer(s, |id| bomb(id, 4000, 12_000))),
    row("an HPACK bomb in a response, small", "open", 20.0, Error, |s| answer(s, |id| bomb(id, 4000, 12))),
    row("an index past both tables", "open", 20.0, Error, |s| {
        answer(s, |id| headers(id, 0, &[0x88, 0xFF, 0xFF, 0x03]))
    }),
    row("a CONTINUATION flood", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = request(&mut connection)?;
        connection.send(&frame(HEADERS, 0, id, &[0x88]));
        for_ever(&mut connection, &frame(CONTINUATION, 0, id, &[]).repeat(50))
    }),
    row("a header block without an end", "open", 30.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = request(&mut connection)?;
        connection.send(&frame(HEADERS, 0, id, &[0x88]));
        linger(&mut connection)
    }),
    row("101 over HTTP/2", "open", 20.0, Error, |s| answer(s, |id| status(id, 0, "101"))),
    row("a 200 that ends at once", "open", 20.0, Either, |s| answer(s, |id| status(id, END_STREAM, "200"))),
    row("DATA before a response", "open", 20.0, Error, |s| answer(s, |id| data(id, b"x"))),
    row("an extension that nobody offered", "open", 20.0, Error, |s| {
        answer(s, |id| headers(id, 0, &fields::block(&[(":status", "200"), ("sec-websocket-extensions", "x-unknown")])))
    }),
    row("a subprotocol that nobody offered", "open", 20.0, Error, |s| {
        answer(s, |id| headers(id, 0, &fields::block(&[(":status", "200"), ("sec-websocket-protocol", "x-unknown")])))
    }),
    row("a Close that never comes", "close", 15.0, Either, no_close),
    row("a Close that never ends its half", "close", 15.0, Either, |s| {
        socket_once(s, |id| data(id, &[0x88, 2, 3, 0xE8]))
    }),
    row("masked frames", "open", 20.0, Error, |s| {
        socket_once(s, |id| data(id, &websocket::message(websocket::TEXT, b"x")))
    }),
    row("a message of 2⁶³−1 octets", "open", 20.0, Error, |s| {
        socket_once(s, |id| data(id, &[0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]))
    }),
    row("fragments of nothing without end", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = accept(&mut connection)?;
        connection.send(&data(id, &[0x02, 0]));
        for_ever(&mut connection, &data(id, &[0; 2].repeat(100)))
    }),
    row("WebSocket Pings without end", "open", 30.0, Error, |s| {
        socket_for_ever(s, |id| data(id, &[0x89, 0].repeat(20)))
    }),
    row("an inflate bomb", "open", 20.0, Error, |s| {
        let mut connection = greet(s, &[])?;
        let id = request(&mut connection)?;
        let block = fields::block(&[
            (":status", "200"),
            ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ]);
        connection.send(&headers(id, 0, &block));
        let bomb = websocket::deflated(&vec![0; 1 << 24]);
        let head = [0xC2, 126, (bomb.len() >> 8) as u8, bomb.len() as u8];
        for part in [&head[..], &bomb].concat().chunks(16_384) {
            connection.send(&data(id, part));
        }
        linger(&mut connection)
    }),
    row("octets that are no HTTP/2", "open", 20.0, Error, |s| {
        let mut connection = Connection::accept(s)?;
        for_ever(&mut connection, &[0xFF; 4096])
    }),
    row("a frame of 2²⁴−1 octets", "open", 20.0, Error, |s| {
        socket_for_ever(s, |_| lying(0xFA, 0, 0, (1 << 24) - 1, &[0; 16_384]))
    }),
    row("SETTINGS out of range", "open", 20.0, Error, |s| linger(&mut greet(s, &[(INITIAL_WINDOW_SIZE, 1 << 31)])?)),
];
