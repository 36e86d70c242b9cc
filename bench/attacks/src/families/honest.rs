//! Honest traffic that looks like an attack: none of it may meet a limit, and no GOAWAY may come of it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attack::{Attack, Expected::*, HTTP1, HTTP2, Run, Setting};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Connection, Http1, Seen, fields, websocket};

mod pages;

use self::pages::{event_streams, page_that_closes, reloads, wait_for_answers};

fn id(index: u32) -> u32 {
    1 + 2 * index
}

/// A barrier, and no reset that nobody asked for.
fn is_well(connection: Connection) -> Seen {
    let mut seen = connection.settle();
    let resets: u64 = seen.resets.iter().filter(|(code, _)| **code != NO_ERROR).map(|(_, count)| count).sum();
    if resets > 0 {
        seen.fail(format!("{resets} streams were reset"));
    }
    seen
}

/// Messages of one octet, each in a DATA frame of its own or many in one, and an application that is slow: it is an echo, whose
/// answers are read a little at a time.
fn tiny_messages(target: &Target, in_a_frame: usize) -> Result<Seen> {
    let all = 10_000_000 / target.scale;
    let mut connection = Connection::start(target, &[])?;
    connection.open(1, &[])?;
    let message = websocket::message(websocket::BINARY, b"x");
    let each = message.len() * in_a_frame;
    let batch = data(1, &message.repeat(in_a_frame));
    let (mut sent, mut credited) = (0, 0);
    while sent < all || connection.seen.messages < sent {
        let mut octets = Vec::new();
        while sent < all && octets.len() < 1 << 15 && connection.spend(1, each) {
            octets.extend_from_slice(&batch);
            sent += in_a_frame as u64;
        }
        connection.send(&octets);
        let before = connection.seen.octets;
        if connection.poll(Duration::from_secs(10))?.is_none() {
            connection.seen.fail(format!("stalled: {} of {sent} echoed", connection.seen.messages));
            break;
        }
        // Slow, and by a little of credit now and then.
        credited += connection.seen.octets - before;
        if credited > 16_384 {
            connection.widen(1, std::mem::take(&mut credited) as u32);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let echoed = connection.seen.messages;
    let mut seen = is_well(connection);
    seen.notes.push(format!("{echoed} of {sent} echoed"));
    Ok(seen)
}

/// Requests that are given up, fifty a second.
fn cancels(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    let deadline = Instant::now() + target.time * 3;
    let mut next = 0;
    while Instant::now() < deadline {
        connection.send(&[headers(id(next), END_STREAM, &fields::get()), rst_stream(id(next), CANCEL)].concat());
        next += 1;
        std::thread::sleep(Duration::from_millis(20));
        connection.take_what_came();
    }
    let mut seen = is_well(connection);
    seen.notes.push(format!("{next} cancels"));
    Ok(seen)
}

/// A request each that is typed, of which all but the last are given up: a burst of 200.
fn cancels_at_once(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    let octets: Vec<u8> = (0..200)
        .flat_map(|n| [headers(id(n), END_STREAM, &fields::get()), rst_stream(id(n), CANCEL)].concat())
        .collect();
    connection.send(&octets);
    Ok(is_well(connection))
}

fn pings(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    let deadline = Instant::now() + target.time * 3;
    let mut count = 0;
    while Instant::now() < deadline {
        connection.send(&ping([count as u8; 8]));
        count += 1;
        std::thread::sleep(Duration::from_millis(100));
        connection.take_what_came();
    }
    let mut seen = is_well(connection);
    seen.notes.push(format!("{count} PINGs"));
    Ok(seen)
}

/// A WebSocket's Pings, ten a second.
fn socket_pings(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open(1, &[])?;
    let deadline = Instant::now() + target.time * 3;
    while Instant::now() < deadline {
        connection.send_data(1, &websocket::message(websocket::PING, b"here?"));
        std::thread::sleep(Duration::from_millis(100));
        connection.take_what_came();
    }
    let seen = is_well(connection);
    Ok(closed_by_nobody(seen))
}

fn closed_by_nobody(mut seen: Seen) -> Seen {
    if !seen.closes.is_empty() {
        seen.fail("a socket was closed");
    }
    seen
}

/// One frame, each octet of it in a DATA frame of its own.
fn octet_by_octet(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open(1, &[])?;
    let octets: Vec<u8> =
        websocket::message(websocket::BINARY, &[7; 20_000]).iter().flat_map(|octet| data(1, &[*octet])).collect();
    connection.send(&octets);
    wait_for_messages(&mut connection, 1);
    Ok(closed_by_nobody(is_well(connection)))
}

fn wait_for_messages(connection: &mut Connection, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while connection.seen.messages < count {
        if !matches!(connection.poll_until(deadline), Ok(Some(_))) {
            connection.seen.fail(format!("{} of {count} messages came back", connection.seen.messages));
            break;
        }
    }
}

fn cookies(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    for index in 0..200 {
        let mut block = fields::get();
        for cookie in 0..150 {
            fields::literal(&mut block, b"cookie", format!("c{cookie:04}=0123456789").as_bytes());
        }
        connection.send(&headers(id(index), END_STREAM, &block));
        wait_for_answers(&mut connection, &[id(index)])?;
    }
    Ok(is_well(connection))
}

/// Credit for each DATA frame, for the stream and for the connection, as some clients give it.
fn credit_for_each(target: &Target) -> Result<Seen> {
    let all = (1_000_000 / target.scale).max(5000);
    let mut connection = Connection::start(target, &[])?;
    connection.withhold_credit();
    connection.open(1, &[])?;
    let message = websocket::message(websocket::BINARY, &[7; 100]);
    for number in 0..all {
        if !connection.send_data(1, &message) {
            connection.seen.fail("no credit came");
            break;
        }
        wait_for_messages(&mut connection, number + 1);
        connection.send(&[window_update(1, 102), window_update(0, 102)].concat());
        if connection.seen.goaway.is_some() {
            break;
        }
    }
    let echoed = connection.seen.messages;
    let mut seen = closed_by_nobody(is_well(connection));
    seen.notes.push(format!("{echoed} messages"));
    Ok(seen)
}

/// A subscriber that sends nothing but credit.
fn subscriber(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open(1, &[])?;
    let message = websocket::message(websocket::BINARY, &[7; 60_000]);
    for number in 0..2000 / target.scale.min(100) {
        connection.send_data(1, &message);
        while connection.seen.messages <= number {
            let before = connection.seen.octets;
            if connection.poll(Duration::from_secs(5))?.is_none() {
                connection.seen.fail("nothing came");
                return Ok(is_well(connection));
            }
            // Every hundred octets.
            let came = (connection.seen.octets - before) as u32;
            let updates: Vec<u8> = (0..came / 100).flat_map(|_| window_update(1, 100)).collect();
            connection.send(&updates);
            if !came.is_multiple_of(100) {
                connection.widen(1, came % 100);
            }
        }
    }
    Ok(closed_by_nobody(is_well(connection)))
}

/// A page at a window that changes now and then, as by peers that measure their path.
fn settings_now_and_then(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open_many(100)?;
    let deadline = Instant::now() + target.time * 2;
    let mut window = 65_535;
    while Instant::now() < deadline {
        window = if window > 1 << 20 { 65_535 } else { window * 2 };
        connection.send(&settings(&[(INITIAL_WINDOW_SIZE, window)]));
        std::thread::sleep(Duration::from_millis(200));
        connection.take_what_came();
    }
    Ok(is_well(connection))
}

/// An upload of a hundred megabytes beside a socket.
fn upload(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open(1, &[])?;
    connection.send(&headers(3, 0, &fields::post()));
    for _ in 0..100_000_000 / target.scale / 16_000 {
        if !connection.send_data(3, &[0; 16_000]) {
            connection.seen.fail("no credit came");
            break;
        }
    }
    connection.send(&last_data(3, b""));
    wait_for_answers(&mut connection, &[3])?;
    connection.send_data(1, &websocket::message(websocket::TEXT, b"well"));
    wait_for_messages(&mut connection, 1);
    Ok(closed_by_nobody(is_well(connection)))
}

/// A hundred sockets that close, in the words of RFC 6455, over HTTP/1.1: each on a connection of its own, fifty times.
fn closes_over_http1(target: &Target) -> Result<Seen> {
    let mut seen = Seen::default();
    for _ in 0..5000 / target.scale.min(10) {
        let mut socket = Http1::open(target, "")?;
        socket.send(&websocket::close(1001));
        socket.read_frames(Duration::from_secs(2));
        if !socket.seen.closes.contains_key(&1001) {
            seen.fail("a Close was not answered");
        }
    }
    seen.answered = true;
    Ok(seen)
}

fn octet_by_octet_http1(target: &Target) -> Result<Seen> {
    let mut socket = Http1::open(target, "")?;
    for octet in websocket::message(websocket::BINARY, &[7; 5000]) {
        socket.send(&[octet]);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while socket.seen.messages == 0 && Instant::now() < deadline && socket.seen.ended.is_none() {
        socket.read_frames(Duration::from_millis(20));
    }
    socket.seen.answered = socket.seen.messages == 1;
    Ok(socket.seen)
}

const ROW: Attack = Attack { name: "", why: "", limit: "", expected: &[GoesOn], setting: HTTP2, run: Run::Act(pings) };
const AT_A_HUNDRED: Setting = Setting { arguments: &["--max-streams", "100"], ..HTTP2 };

pub const ROWS: &[Attack] = &[
    Attack {
        name: "ten million tiny messages, many in a frame",
        why: "a slow application",
        limit: "glitches, overhead",
        run: Run::Act(|t| tiny_messages(t, 100)),
        ..ROW
    },
    Attack {
        name: "ten million tiny messages, one in a frame",
        why: "a slow application",
        limit: "glitches, overhead",
        run: Run::Act(|t| tiny_messages(t, 1)),
        ..ROW
    },
    Attack {
        name: "a page that cancels 100 sockets at once, fifty times",
        why: "Chromium's tabs",
        limit: "resets",
        run: Run::Act(|t| page_that_closes(t, true)),
        ..ROW
    },
    Attack {
        name: "a page that closes 100 sockets at once, fifty times",
        why: "a page is left",
        limit: "streams, resets",
        run: Run::Act(|t| page_that_closes(t, false)),
        ..ROW
    },
    Attack {
        name: "Firefox that reloads 60 sockets at a limit of 100",
        why: "it never ends its half",
        limit: "streams",
        setting: AT_A_HUNDRED,
        run: Run::Act(reloads),
        ..ROW
    },
    Attack { name: "50 cancels a second", why: "search as one types", limit: "resets", run: Run::Act(cancels), ..ROW },
    Attack {
        name: "200 cancels at once",
        why: "a page is left",
        limit: "resets",
        run: Run::Act(cancels_at_once),
        ..ROW
    },
    Attack { name: "10 PINGs a second", why: "keep-alive", limit: "overhead", run: Run::Act(pings), ..ROW },
    Attack {
        name: "10 WebSocket Pings a second",
        why: "keep-alive",
        limit: "Pings",
        run: Run::Act(socket_pings),
        ..ROW
    },
    Attack {
        name: "event streams opened and closed all day",
        why: "pages come and go",
        limit: "resets, glitches",
        run: Run::Act(event_streams),
        ..ROW
    },
    Attack {
        name: "a frame in 20,008 DATA frames of an octet",
        why: "peers without buffers",
        limit: "glitches, overhead",
        run: Run::Act(octet_by_octet),
        ..ROW
    },
    Attack {
        name: "a frame by single octets over HTTP/1.1",
        why: "peers without buffers",
        limit: "none",
        setting: HTTP1,
        run: Run::Act(octet_by_octet_http1),
        ..ROW
    },
    Attack { name: "150 cookies", why: "RFC 9113 §8.2.3", limit: "100 fields, 16 KiB", run: Run::Act(cookies), ..ROW },
    Attack {
        name: "WINDOW_UPDATE per DATA frame",
        why: "simple clients",
        limit: "glitches, overhead",
        run: Run::Act(credit_for_each),
        ..ROW
    },
    Attack {
        name: "a subscriber that gives credit by 100 octets",
        why: "it sends nothing else",
        limit: "overhead",
        run: Run::Act(subscriber),
        ..ROW
    },
    Attack {
        name: "windows that change five times a second",
        why: "peers that measure their path",
        limit: "SETTINGS",
        run: Run::Act(settings_now_and_then),
        ..ROW
    },
    Attack {
        name: "an upload of 100 MB beside a socket",
        why: "as ever",
        limit: "windows",
        run: Run::Act(upload),
        ..ROW
    },
    Attack {
        name: "5,000 sockets opened and closed over HTTP/1.1",
        why: "as ever",
        limit: "connections",
        setting: HTTP1,
        run: Run::Act(closes_over_http1),
        ..ROW
    },
];
