//! WebSocket frames that break a rule or cost more than they should (RFC 6455 §5, §7, §8, §10), over both versions of HTTP.

use std::time::Duration;

use anyhow::Result;

use crate::attack::{Attack, Expected, Expected::*, HTTP1, HTTP2, Run, Setting, Shot};
use crate::target::Target;
use crate::wire::frames::{ENHANCE_YOUR_CALM, INITIAL_WINDOW_SIZE, MAX_WINDOW};
use crate::wire::websocket::*;
use crate::wire::{Connection, Http1, Seen};

const DEFLATE: &str = "permessage-deflate";

/// Opens a WebSocket, sends these octets, and waits for a Close or, after a moment, for nothing.
fn ws(target: &Target, octets: &[u8]) -> Result<Seen> {
    opened(target, false, octets)
}

fn ws_deflate(target: &Target, octets: &[u8]) -> Result<Seen> {
    opened(target, true, octets)
}

fn opened(target: &Target, deflate: bool, octets: &[u8]) -> Result<Seen> {
    if target.over.is_http1() {
        let more = if deflate { format!("Sec-WebSocket-Extensions: {DEFLATE}\r\n") } else { String::new() };
        let mut socket = Http1::open(target, &more)?;
        socket.send(octets);
        socket.read_frames(Duration::from_millis(100));
        // A message and its echo say that it goes on.
        if socket.seen.closes.is_empty() && socket.seen.ended.is_none() {
            let before = socket.seen.messages;
            socket.send(&message(TEXT, b"well"));
            socket.read_frames(Duration::from_millis(200));
            socket.seen.answered = socket.seen.messages > before;
        }
        return Ok(socket.seen);
    }
    let mut connection = Connection::start(target, &[])?;
    let extensions = [("sec-websocket-extensions", DEFLATE)];
    connection.open(1, if deflate { &extensions } else { &[] })?;
    connection.send_data(1, octets);
    Ok(connection.settle())
}

fn fragments(count: usize, payload: &[u8]) -> Vec<u8> {
    let mut octets = frame(BINARY, payload);
    for _ in 1..count {
        octets.extend(frame(CONTINUED, payload));
    }
    octets
}

const C1002: &[Expected] = &[Close(1002)];
const C1007: &[Expected] = &[Close(1007)];
const C1009: &[Expected] = &[Close(1009)];
const BOTH: &[Expected] = &[Close(1007), Close(1002)];

const FRAMES: &[Shot] = &[
    Shot { title: "a frame without a mask", act: |t| ws(t, &bare(FIN | TEXT, b"x")), expected: C1002 },
    Shot { title: "RSV1 that nobody has negotiated", act: |t| ws(t, &frame(FIN | 0x40 | TEXT, b"x")), expected: C1002 },
    Shot { title: "RSV2", act: |t| ws(t, &frame(FIN | 0x20 | TEXT, b"x")), expected: C1002 },
    Shot { title: "RSV3", act: |t| ws(t, &frame(FIN | 0x10 | TEXT, b"x")), expected: C1002 },
    Shot { title: "a reserved opcode for data", act: |t| ws(t, &frame(FIN | 3, b"x")), expected: C1002 },
    Shot { title: "a reserved opcode for control", act: |t| ws(t, &frame(FIN | 0xB, b"x")), expected: C1002 },
    Shot { title: "a continuation of nothing", act: |t| ws(t, &frame(FIN | CONTINUED, b"x")), expected: C1002 },
    Shot {
        title: "a message inside another",
        act: |t| ws(t, &[frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat()),
        expected: C1002,
    },
    Shot { title: "a Ping of 126 octets", act: |t| ws(t, &message(PING, &[0; 126])), expected: C1002 },
    Shot { title: "a Ping in fragments", act: |t| ws(t, &frame(PING, b"x")), expected: C1002 },
    Shot { title: "a Close of one octet", act: |t| ws(t, &message(CLOSE, &[3])), expected: C1002 },
    Shot { title: "a Close with 1005", act: |t| ws(t, &close(1005)), expected: C1002 },
    Shot { title: "a Close with 1006", act: |t| ws(t, &close(1006)), expected: C1002 },
    Shot { title: "a Close with 1015", act: |t| ws(t, &close(1015)), expected: C1002 },
    Shot { title: "a Close with 0", act: |t| ws(t, &close(0)), expected: C1002 },
    Shot { title: "a Close with 65535", act: |t| ws(t, &close(65_535)), expected: C1002 },
    Shot {
        title: "a Close with a reason that is not UTF-8",
        act: |t| ws(t, &message(CLOSE, &[3, 0xE8, 0xFF])),
        expected: C1007,
    },
    Shot {
        title: "data after a Close",
        act: |t| ws(t, &[close(1000), message(TEXT, b"x").repeat(100)].concat()),
        expected: &[Close(1000)],
    },
    Shot { title: "a short length in 16 bits", act: |t| ws(t, &[0x82, 0xFE, 0, 1, 0, 0, 0, 0, b'x']), expected: C1002 },
    Shot {
        title: "a short length in 64 bits",
        act: |t| ws(t, &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'x']),
        expected: C1002,
    },
    Shot { title: "a length with its top bit set", act: |t| ws(t, &head(FIN | BINARY, 1 << 63)), expected: C1002 },
];

const SIZES: &[Shot] = &[
    Shot { title: "a length of 2⁶³−1", act: |t| ws(t, &head(FIN | BINARY, (1 << 63) - 1)), expected: C1009 },
    Shot { title: "a length of 1 MiB and 1", act: |t| ws(t, &head(FIN | BINARY, (1 << 20) + 1)), expected: C1009 },
    Shot {
        title: "a fragment, and 2⁶³−1 more",
        act: |t| ws(t, &[frame(BINARY, b"x"), head(CONTINUED, (1 << 63) - 1)].concat()),
        expected: C1009,
    },
    Shot {
        title: "1,024 fragments",
        act: |t| ws(t, &[fragments(1023, b"x"), frame(FIN | CONTINUED, b"x")].concat()),
        expected: &[GoesOn],
    },
    Shot { title: "1,025 fragments", act: |t| ws(t, &fragments(1025, b"x")), expected: C1009 },
    Shot { title: "1,025 fragments of nothing", act: |t| ws(t, &fragments(1025, b"")), expected: C1009 },
    Shot { title: "20 Pings", act: |t| ws(t, &message(PING, b"p").repeat(20)), expected: &[GoesOn] },
    Shot { title: "22 Pings", act: |t| ws(t, &message(PING, b"p").repeat(22)), expected: &[Close(1008)] },
];

const TEXTS: &[Shot] = &[
    Shot { title: "an octet that UTF-8 never has", act: |t| ws(t, &message(TEXT, b"\xFF")), expected: C1007 },
    Shot { title: "an overlong form", act: |t| ws(t, &message(TEXT, b"\xC0\xAF")), expected: C1007 },
    Shot { title: "a surrogate", act: |t| ws(t, &message(TEXT, b"\xED\xA0\x80")), expected: C1007 },
    Shot { title: "above U+10FFFF", act: |t| ws(t, &message(TEXT, b"\xF4\x90\x80\x80")), expected: C1007 },
    Shot { title: "a character cut off", act: |t| ws(t, &message(TEXT, b"\xE2\x82")), expected: C1007 },
    Shot { title: "bad UTF-8 before the message ends", act: |t| ws(t, &frame(TEXT, b"ok\xFF")), expected: C1007 },
    Shot {
        title: "bad UTF-8 before the frame ends",
        act: |t| ws(t, &frame(FIN | TEXT, &[b"\xED\xA0\x80".to_vec(), vec![b'x'; 100]].concat())[..9]),
        expected: C1007,
    },
];

const COMPRESSED_SHOTS: &[Shot] = &[
    Shot {
        title: "a bomb of 16 MiB",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | BINARY, &deflated(&vec![0; 1 << 24]))),
        expected: C1009,
    },
    Shot {
        title: "1 MiB and 1",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | BINARY, &deflated(&vec![0; (1 << 20) + 1]))),
        expected: C1009,
    },
    Shot { title: "a bomb in fragments", act: |t| ws_deflate(t, &bomb_in_fragments()), expected: C1009 },
    Shot {
        title: "what is no deflate",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | BINARY, &[0xFF; 100])),
        expected: BOTH,
    },
    Shot {
        title: "a distance before the start",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | BINARY, &[0x02, 0x13, 0x00])),
        expected: &[Close(1007), Close(1002), GoesOn],
    },
    Shot {
        title: "compressed text that is not UTF-8",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | TEXT, &deflated(b"\xFF\xFE"))),
        expected: C1007,
    },
    Shot { title: "a compressed Ping", act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | PING, b"x")), expected: C1002 },
    Shot {
        title: "a compressed continuation",
        act: |t| ws_deflate(t, &[frame(COMPRESSED | TEXT, b""), frame(FIN | COMPRESSED | CONTINUED, b"")].concat()),
        expected: C1002,
    },
    Shot {
        title: "empty blocks without an end",
        act: |t| ws_deflate(t, &frame(FIN | COMPRESSED | BINARY, &[0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(10_000))),
        expected: &[GoesOn, Close(1007), Close(1009), Close(1002), Close(1008)],
    },
];

fn bomb_in_fragments() -> Vec<u8> {
    let bomb = deflated(&vec![0; 1 << 24]);
    let mut octets = Vec::new();
    for (index, part) in bomb.chunks(1000).enumerate() {
        octets.extend(frame(if index == 0 { COMPRESSED | BINARY } else { CONTINUED }, part));
    }
    octets.extend(frame(FIN | CONTINUED, b""));
    octets
}

/// The same frame again and again, on one socket, as fast as it is taken.
fn flood(target: &Target, octets: &[u8], streams: u32) -> Result<Seen> {
    if target.over.is_http1() {
        return flood_http1(target, octets);
    }
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    for index in 0..streams {
        connection.open(1 + 2 * index, &[])?;
    }
    let ids: Vec<u32> = (0..streams).map(|index| 1 + 2 * index).collect();
    let sent = connection.flood_sockets(target.time, &ids, octets);
    let total = connection.sent;
    let mut seen = connection.settle();
    seen.notes.push(format!("{:.1} MB/s", total as f64 / 1e6 / target.time.as_secs_f64()));
    let _ = sent;
    Ok(seen)
}

fn flood_http1(target: &Target, octets: &[u8]) -> Result<Seen> {
    let mut socket = Http1::open(target, "")?;
    let deadline = std::time::Instant::now() + target.time;
    let mut start = 0;
    while std::time::Instant::now() < deadline && socket.seen.ended.is_none() && socket.seen.closes.is_empty() {
        start += socket.send_some(&octets[start..]);
        if start == octets.len() {
            start = 0;
        }
        socket.read_frames(Duration::from_micros(200));
    }
    socket.seen.answered = socket.seen.ended.is_none() && socket.seen.closes.is_empty();
    let sent = socket.sent;
    socket.seen.notes.push(format!("{:.1} MB/s", sent as f64 / 1e6 / target.time.as_secs_f64()));
    Ok(socket.seen)
}

const fn shots(
    name: &'static str,
    why: &'static str,
    limit: &'static str,
    setting: Setting,
    shots: &'static [Shot],
) -> Attack {
    Attack { name, why, limit, expected: &[], setting, run: Run::Shots(shots) }
}

const fn act(
    name: &'static str,
    setting: Setting,
    expected: &'static [Expected],
    run: fn(&Target) -> Result<Seen>,
) -> Attack {
    Attack { name, why: "RFC 6455 §5.5", limit: "their processor time", expected, setting, run: Run::Act(run) }
}

const SIZE_LIMITS: &str = "1 MiB, 1,024 fragments, 20 Pings at once";

pub const ROWS: &[Attack] = &[
    shots("frames that break a rule", "RFC 6455 §5, §7.4", "none may pass", HTTP2, FRAMES),
    shots("frames that break a rule, over HTTP/1.1", "RFC 6455 §5, §7.4", "none may pass", HTTP1, FRAMES),
    shots("lengths, fragments and Pings without end", "RFC 6455 §5.2, §5.4", SIZE_LIMITS, HTTP2, SIZES),
    shots("lengths, fragments and Pings without end, over HTTP/1.1", "RFC 6455 §5.2, §5.4", SIZE_LIMITS, HTTP1, SIZES),
    shots("text that is not UTF-8", "RFC 6455 §8.1", "none may pass", HTTP2, TEXTS),
    shots("text that is not UTF-8, over HTTP/1.1", "RFC 6455 §8.1", "none may pass", HTTP1, TEXTS),
    shots("inflate bombs", "RFC 7692 §8", "1 MiB inflated", Setting { axum: false, ..HTTP2 }, COMPRESSED_SHOTS),
    shots("inflate bombs, over HTTP/1.1", "RFC 7692 §8", "1 MiB inflated", HTTP1, COMPRESSED_SHOTS),
    act("unsolicited Pongs", HTTP2, &[GoesOn, Close(1008), GoAway(ENHANCE_YOUR_CALM)], |t| {
        flood(t, &message(PONG, b"").repeat(1000), 16)
    }),
    act("unsolicited Pongs, over HTTP/1.1", HTTP1, &[GoesOn, Close(1008)], |t| {
        flood(t, &message(PONG, b"").repeat(1000), 1)
    }),
    act("tiny messages, as many as go", HTTP2, &[GoesOn], |t| flood(t, &message(BINARY, b"x").repeat(1000), 16)),
    act("messages of 1 MiB, as many as go", HTTP2, &[GoesOn], |t| flood_whole(t, 16)),
    act("fragments of one octet, as many as go", HTTP2, &[GoesOn], |t| {
        flood(t, &[fragments(1000, b"x"), frame(FIN | CONTINUED, b"")].concat(), 16)
    }),
    act("Pings, past the limit on each socket", HTTP2, &[Close(1008), GoesOn], |t| {
        flood(t, &message(PING, b"p").repeat(10), 16)
    }),
];

/// Whole messages of 1 MiB on each socket in turn.
fn flood_whole(target: &Target, streams: u32) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    for index in 0..streams {
        connection.open(1 + 2 * index, &[])?;
    }
    let octets = message(BINARY, &vec![7; 1 << 20]);
    let deadline = std::time::Instant::now() + target.time;
    let mut index = 0;
    while std::time::Instant::now() < deadline && connection.send_data(1 + 2 * (index % streams), &octets) {
        index += 1;
    }
    let mut seen = connection.settle();
    seen.notes.push(format!("{index} messages, {} echoed", seen.messages));
    Ok(seen)
}
