//! Connections and TLS handshakes, as many as go.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustls::ClientConnection;

use crate::attack::{Attack, Expected::*, HTTP1, HTTP2, Run, Setting};
use crate::target::{Over, Target};
use crate::wire::frames::*;
use crate::wire::{Connection, Http1, Pipe, Seen, any_certificate, fields, websocket};

const TLS: Setting = Setting { over: Over::Tls, ..HTTP2 };

/// As [`Seen`] of a flood that nobody answers.
fn counted(count: u64, what: &str, target: &Target) -> Seen {
    let rate = count as f64 / target.time.as_secs_f64();
    Seen { answered: true, notes: vec![format!("{count} {what}, {rate:.0}/s")], ..Seen::default() }
}

fn until(target: &Target, mut act: impl FnMut() -> Result<()>) -> Result<u64> {
    let deadline = Instant::now() + target.time;
    let mut count = 0;
    while Instant::now() < deadline {
        act()?;
        count += 1;
    }
    Ok(count)
}

fn handshakes(target: &Target) -> Result<Seen> {
    let mut failed = 0;
    let count = until(target, || {
        failed += u64::from(Pipe::tls(target.address, b"h2").is_err());
        Ok(())
    })?;
    let mut seen = counted(count, "handshakes", target);
    if failed > 0 {
        seen.notes.push(format!("{failed} refused"));
    }
    Ok(seen)
}

/// The first octets of a TLS client, once, for each connection: the server answers them at its own cost.
fn hellos(target: &Target) -> Result<Seen> {
    let mut client = ClientConnection::new(any_certificate(b"h2"), "localhost".try_into()?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    let mut refused = 0;
    let count = until(target, || {
        let Ok(mut socket) = TcpStream::connect_timeout(&target.address, Duration::from_secs(1)) else {
            refused += 1;
            return Ok(());
        };
        socket.write_all(&hello)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let _ = socket.read(&mut [0; 64]);
        Ok(())
    })?;
    let mut seen = counted(count, "hellos", target);
    if refused > 0 {
        seen.notes.push(format!("{refused} refused"));
    }
    Ok(seen)
}

/// Keys that change without end (RFC 8446 §4.6.3).
fn key_updates(target: &Target) -> Result<Seen> {
    let mut pipe = Pipe::tls(target.address, b"h2")?;
    let deadline = Instant::now() + target.time;
    let mut count = 0_u64;
    let mut ended = None;
    while Instant::now() < deadline && ended.is_none() {
        let Pipe::Tls(stream) = &mut pipe else { break };
        for _ in 0..16 {
            if stream.conn.refresh_traffic_keys().is_err() {
                break;
            }
            count += 1;
        }
        while stream.conn.wants_write() {
            match stream.conn.write_tls(&mut stream.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    ended = Some(crate::wire::Ended::Reset);
                    break;
                }
            }
        }
        stream.sock.set_nonblocking(true)?;
        if let Ok(0) = stream.conn.read_tls(&mut stream.sock) {
            ended = Some(crate::wire::Ended::Eof);
        }
        stream.sock.set_nonblocking(false)?;
        let _ = stream.conn.process_new_packets();
    }
    let mut seen = counted(count, "updates", target);
    seen.ended = ended;
    Ok(seen)
}

fn records_without_content(target: &Target) -> Result<Seen> {
    let mut pipe = Pipe::tls(target.address, b"h2")?;
    // A record that is no TLS after the handshake: one alert, and the end.
    let mut seen = Seen::default();
    if let Pipe::Tls(stream) = &mut pipe {
        let record = [&[23, 3, 3, 0x40, 0][..], &[0; 1 << 14]].concat();
        let _ = stream.sock.write_all(&record);
        stream.sock.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut buffer = [0; 4096];
        loop {
            match stream.sock.read(&mut buffer) {
                Ok(0) => {
                    seen.ended = Some(crate::wire::Ended::Eof);
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    seen.ended = Some(crate::wire::Ended::Reset);
                    break;
                }
            }
        }
    }
    Ok(seen)
}

/// Connections that are opened and closed again.
fn opened_and_closed(target: &Target) -> Result<Seen> {
    let count = until(target, || {
        let _ = TcpStream::connect_timeout(&target.address, Duration::from_secs(1));
        Ok(())
    })?;
    Ok(counted(count, "connections", target))
}

/// Connections that are held, each after its preface.
fn held(target: &Target, count: usize) -> Result<Seen> {
    let mut held = Vec::new();
    let (mut seen, mut refused) = (Seen::default(), 0);
    for _ in 0..count {
        match Connection::dial(target) {
            Ok(mut connection) => {
                connection.send(&[PREFACE, &settings(&[]), &settings_ack()].concat());
                held.push(connection);
            }
            Err(_) => refused += 1,
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    for connection in &mut held {
        connection.take_what_came();
    }
    let open = held.iter().filter(|connection| !connection.is_over()).count();
    seen.answered = true;
    seen.notes.push(format!("{open} of {count} open, {refused} refused, {:.1} KiB each", grown(target, open)));
    Ok(seen)
}

fn grown(target: &Target, open: usize) -> f64 {
    target.resident() as f64 / 1024.0 / open.max(1) as f64
}

/// Connections of twenty busy sockets each, a thousand at a time, ten thousand in all: then nothing is left of them.
fn many_busy(target: &Target) -> Result<Seen> {
    const AT_A_TIME: usize = 500;
    let all = if target.time < Duration::from_secs(1) { 1000 } else { 10_000 };
    let message = websocket::message(websocket::BINARY, &[7; 1000]);
    let mut seen = Seen::default();
    for _ in 0..all / AT_A_TIME {
        let mut connections = Vec::new();
        for _ in 0..AT_A_TIME {
            let mut connection = Connection::dial(target)?;
            let mut octets = [PREFACE, &settings(&[]), &settings_ack()].concat();
            for index in 0..20_u32 {
                let block = if index == 0 { fields::connect_remembered() } else { fields::connect_again().to_vec() };
                octets.extend(headers(1 + 2 * index, 0, &block));
                octets.extend(data(1 + 2 * index, &message));
            }
            connection.send(&octets);
            connections.push(connection);
        }
        for connection in &mut connections {
            let deadline = Instant::now() + Duration::from_secs(5);
            while connection.seen.octets < 20 * 1000 && matches!(connection.poll_until(deadline), Ok(Some(_))) {}
            if connection.seen.octets < 20 * 1000 {
                seen.notes.push("not all were answered".to_owned());
            }
        }
    }
    seen.notes.dedup();
    seen.answered = true;
    seen.notes.push(format!("{all} connections of 20 sockets, {AT_A_TIME} at a time"));
    Ok(seen)
}

/// The same over HTTP/1.1, a socket each.
fn many_http1(target: &Target) -> Result<Seen> {
    let all = if target.time < Duration::from_secs(1) { 1000 } else { 10_000 };
    let mut seen = Seen::default();
    for _ in 0..all / 500 {
        let mut sockets = Vec::new();
        for _ in 0..500 {
            let mut socket = Http1::dial(target)?;
            socket.send(
                &[crate::wire::upgrade_with("").as_bytes(), &websocket::message(websocket::BINARY, &[7; 1000])]
                    .concat(),
            );
            sockets.push(socket);
        }
        for socket in &mut sockets {
            if socket.status(Duration::from_secs(5)) != Some(101) {
                seen.notes.push("not all were answered".to_owned());
            }
        }
    }
    seen.notes.dedup();
    seen.answered = true;
    seen.notes.push(format!("{all} sockets, 500 at a time"));
    Ok(seen)
}

const PROCESSOR: &str = "their processor time";

const FLOOD: Attack = Attack {
    name: "",
    why: "RFC 8446",
    limit: PROCESSOR,
    expected: &[GoesOn],
    setting: TLS,
    run: Run::Act(handshakes),
};

pub const ROWS: &[Attack] = &[
    Attack { name: "TLS handshakes, one after the other", ..FLOOD },
    Attack { name: "TLS hellos that go no further", run: Run::Act(hellos), ..FLOOD },
    Attack {
        name: "KeyUpdate flood",
        why: "RFC 8446 §4.6.3",
        expected: &[Anything],
        run: Run::Act(key_updates),
        ..FLOOD
    },
    Attack {
        name: "a record that cannot be opened",
        why: "RFC 8446 §5.2",
        limit: "none may pass",
        expected: &[Ends(3)],
        run: Run::Act(records_without_content),
        ..FLOOD
    },
    Attack {
        name: "connections opened and closed",
        why: "accept",
        limit: PROCESSOR,
        setting: HTTP2,
        run: Run::Act(opened_and_closed),
        ..FLOOD
    },
    Attack {
        name: "5,000 connections held",
        why: "accept",
        limit: "a cap on connections; 10 KiB for each",
        setting: Setting { growth: 50, ..HTTP2 },
        run: Run::Act(|t| held(t, if t.time < Duration::from_secs(1) { 500 } else { 5000 })),
        ..FLOOD
    },
    Attack {
        name: "ten thousand connections of twenty busy sockets",
        why: "memory comes back",
        limit: "85 KiB for each connection; 1.5 × what was before, and 16 MiB",
        setting: Setting { growth: 42, ..HTTP2 },
        run: Run::Act(many_busy),
        ..FLOOD
    },
    Attack {
        name: "ten thousand sockets over HTTP/1.1",
        why: "memory comes back",
        limit: "1.5 × what was before, and 16 MiB",
        setting: Setting { growth: 42, ..HTTP1 },
        run: Run::Act(many_http1),
        ..FLOOD
    },
];
