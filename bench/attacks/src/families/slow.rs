//! Peers that never finish: a preface, TLS, a block, a head, a body, a message; or that never read. Each waits for a time limit.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attack::{Attack, Expected, Expected::*, HTTP1, PATIENT, Pace, Run, Setting};
use crate::target::{Over, Target};
use crate::wire::frames::*;
use crate::wire::{Connection, Ended, Http1, Reading, Seen, fields, upgrade_with, websocket};

const HANDSHAKE: &str = "10 s";
const PROGRESS: &str = "16 KiB in 60 s, looked at once a period";
const OVER_TLS: Setting = Setting { over: Over::Tls, ..PATIENT };
const OVER_HTTP1: Setting = Setting { pace: Pace::Patient, ..HTTP1 };
/// The longest that a row waits.
const LONGEST: Duration = Duration::from_secs(140);

fn id(index: u32) -> u32 {
    1 + 2 * index
}

/// Octets without what has to follow them.
fn unfinished(target: &Target, octets: &[u8]) -> Result<Seen> {
    let mut socket = TcpStream::connect(target.address)?;
    socket.write_all(octets)?;
    let start = Instant::now();
    let mut seen = Seen::default();
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut buffer = [0; 4096];
    while start.elapsed() < LONGEST && seen.ended.is_none() {
        match socket.read(&mut buffer) {
            Ok(0) => seen.ended = Some(Ended::Eof),
            Ok(length) => {
                seen.octets += length as u64;
                if let Some(status) = buffer
                    .strip_prefix(b"HTTP/1.1 ")
                    .and_then(|rest| std::str::from_utf8(&rest[..3]).ok()?.parse().ok())
                {
                    *seen.statuses.entry(status).or_default() += 1;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => seen.ended = Some(Ended::Reset),
        }
    }
    seen.lasted = Some(start.elapsed());
    Ok(seen)
}

fn after_start(target: &Target, octets: &[u8], acknowledges: bool) -> Result<Seen> {
    let mut connection = Connection::dial(target)?;
    connection.send(&[PREFACE, &settings(&[])].concat());
    if acknowledges {
        connection.send(&settings_ack());
    }
    connection.send(octets);
    connection.wait_for_end(Duration::from_secs(40));
    Ok(connection.seen)
}

/// A page, and no window for it; or an octet of window each second.
fn blocked(target: &Target, drips: bool) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    connection.send(&headers(1, END_STREAM, &fields::get()));
    let start = Instant::now();
    while start.elapsed() < LONGEST && connection.seen.resets.is_empty() && !connection.is_over() {
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(Some(_)) = connection.poll_until(until) {}
        if drips {
            connection.send(&window_update(1, 1));
        }
    }
    connection.barrier();
    connection.seen.lasted = Some(start.elapsed());
    // It is the stream that ends.
    if !connection.seen.resets.is_empty() {
        connection.seen.notes.push(format!("reset after {:.0} s", start.elapsed().as_secs_f64()));
        connection.seen.lasted = None;
    }
    Ok(connection.seen)
}

/// A WebSocket whose echoes have no window.
fn blocked_socket(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    connection.open(1, &[])?;
    connection.send_data(1, &websocket::message(websocket::BINARY, &[0; 50_000]));
    let start = Instant::now();
    while start.elapsed() < LONGEST && connection.seen.resets.is_empty() && !connection.is_over() {
        let _ = connection.poll(Duration::from_secs(1));
    }
    if !connection.seen.resets.is_empty() {
        connection.seen.notes.push(format!("reset after {:.0} s", start.elapsed().as_secs_f64()));
    }
    connection.barrier();
    Ok(connection.seen)
}

/// Echoes that the transport never takes, or an octet of them every ten seconds.
fn never_reads(target: &Target, octets_each: usize) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    connection.send(&window_update(0, MAX_WINDOW - DEFAULT_WINDOW));
    connection.open_many(64)?;
    let payload = websocket::message(websocket::BINARY, &[0; 16_000]);
    let mut next = 0;
    connection.flood(Duration::from_secs(3), Reading::Never, |batch| {
        batch.extend(data(id(next % 64), &payload));
        next += 1;
    });
    Ok(until_cut_off(connection.socket(), octets_each))
}

/// Reads little or nothing until writing fails, which says that the server has given up. Only that the socket's error says.
fn until_cut_off(socket: &TcpStream, octets_each: usize) -> Seen {
    let start = Instant::now();
    let mut seen = Seen::default();
    let mut socket = socket;
    while start.elapsed() < LONGEST && seen.ended.is_none() {
        if octets_each > 0 && socket.set_read_timeout(Some(Duration::from_millis(10))).is_ok() {
            let _ = socket.read(&mut vec![0; octets_each]);
        }
        std::thread::sleep(Duration::from_secs(2));
        if !is_connected(socket) {
            seen.ended = Some(Ended::Reset);
        }
    }
    seen.lasted = Some(start.elapsed());
    seen
}

/// Whether the server's end of the connection is open still, by the system's table: what it has closed may not have arrived, as
/// nothing is read.
fn is_connected(socket: &TcpStream) -> bool {
    const ESTABLISHED: &str = "01";
    let (Ok(ours), Ok(theirs)) = (socket.local_addr(), socket.peer_addr()) else { return false };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let ends = (format!(":{:04X}", theirs.port()), format!(":{:04X}", ours.port()));
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(words[..], [_, local, remote, state] if local.ends_with(&ends.0) && remote.ends_with(&ends.1) && state == ESTABLISHED)
    })
}

/// An octet a second.
fn dribbled(target: &Target, first: &str, then: &str) -> Result<Seen> {
    let mut connection = Http1::dial(target)?;
    connection.send(first.as_bytes());
    let start = Instant::now();
    for octet in then.bytes().cycle() {
        connection.send(&[octet]);
        connection.read(Duration::from_secs(1));
        if connection.seen.ended.is_some() || start.elapsed() > LONGEST {
            break;
        }
    }
    connection.status(Duration::from_millis(1));
    connection.seen.lasted = Some(start.elapsed());
    Ok(connection.seen)
}

/// The head of a frame, and then nothing of it.
fn half_a_frame(target: &Target) -> Result<Seen> {
    let mut socket = Http1::open(target, "")?;
    socket.send(&websocket::head(websocket::FIN | websocket::BINARY, 1000));
    let start = Instant::now();
    while start.elapsed() < LONGEST && socket.seen.ended.is_none() && socket.seen.closes.is_empty() {
        socket.read_frames(Duration::from_secs(1));
    }
    socket.seen.lasted = Some(start.elapsed());
    Ok(socket.seen)
}

/// Pages without end, of which nothing is read.
fn unread_answers(target: &Target) -> Result<Seen> {
    let mut connection = Http1::dial(target)?;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    let start = Instant::now();
    let mut at = 0;
    while start.elapsed() < Duration::from_secs(3) {
        at = (at + connection.send_some(&request.as_bytes()[at..])) % request.len();
    }
    let seen = until_cut_off(connection.socket(), 0);
    Ok(seen)
}

const fn row(
    name: &'static str,
    limit: &'static str,
    setting: Setting,
    expected: &'static [Expected],
    run: fn(&Target) -> Result<Seen>,
) -> Attack {
    Attack { name, why: "it costs nothing to wait", limit, expected, setting, run: Run::Act(run) }
}

/// The first octets of a ClientHello, in a record that says it is longer.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, 0, 0, 0, 0];

pub const ROWS: &[Attack] = &[
    row("nothing is sent", HANDSHAKE, PATIENT, &[Ends(15)], |t| unfinished(t, b"")),
    row("half a preface", HANDSHAKE, PATIENT, &[Ends(15)], |t| unfinished(t, &PREFACE[..12])),
    row("a preface without SETTINGS", HANDSHAKE, PATIENT, &[Ends(15)], |t| unfinished(t, PREFACE)),
    row("SETTINGS that are never acknowledged", HANDSHAKE, PATIENT, &[GoAway(SETTINGS_TIMEOUT)], |t| {
        after_start(t, &[], false)
    }),
    row("nothing under TLS", HANDSHAKE, OVER_TLS, &[Ends(15)], |t| unfinished(t, b"")),
    row("half a ClientHello", HANDSHAKE, OVER_TLS, &[Ends(15)], |t| unfinished(t, HALF_A_HELLO)),
    row("a header block without an end", HANDSHAKE, PATIENT, &[GoAway(ENHANCE_YOUR_CALM)], |t| {
        after_start(t, &frame(HEADERS, 0, 1, &fields::get()), true)
    }),
    row("a frame without an end", "30 s of silence, 20 s to a PING's answer", PATIENT, &[Ends(60)], |t| {
        unfinished(t, &[PREFACE, &settings(&[]), &settings_ack(), &lying(DATA, 0, 1, 16_384, b"x")].concat())
    }),
    row("a page without a window", PROGRESS, PATIENT, &[Reset(CANCEL)], |t| blocked(t, false)),
    row("a page by an octet a second", PROGRESS, PATIENT, &[Reset(CANCEL)], |t| blocked(t, true)),
    row("an echo without a window", PROGRESS, PATIENT, &[Reset(CANCEL)], blocked_socket),
    row("echoes that are never read", "60 s", PATIENT, &[Ends(130)], |t| never_reads(t, 0)),
    row("echoes that are read by an octet", "16 KiB in 60 s", PATIENT, &[Ends(130)], |t| never_reads(t, 1)),
    row("a head by an octet a second", HANDSHAKE, OVER_HTTP1, &[Ends(40)], |t| {
        dribbled(t, "GET / HTTP/1.1\r\nHost: a\r\n", "x-a: bcd\r\n")
    }),
    row("a WebSocket's head by an octet a second", HANDSHAKE, OVER_HTTP1, &[Ends(40)], |t| {
        dribbled(t, upgrade_with("").trim_end(), "x-a: bcd\r\n")
    }),
    row("a body by an octet a second", "16 KiB in 60 s", OVER_HTTP1, &[Ends(130)], |t| {
        dribbled(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", "x")
    }),
    row("answers that are never read", "60 s", OVER_HTTP1, &[Ends(130)], unread_answers),
    row(
        "half a WebSocket frame",
        "25 s of silence, 20 s to a Pong",
        OVER_HTTP1,
        &[Ends(60), Close(1008), Close(1001), Close(1011)],
        half_a_frame,
    ),
];
