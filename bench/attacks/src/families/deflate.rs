//! What is small on the wire and large in memory or on a processor (RFC 7692 §8).

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attack::{Attack, Expected::*, HTTP2, Run, Setting};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::websocket::{self, BINARY, COMPRESSED, FIN, deflated, far_repeats, message};
use crate::wire::{Connection, Seen};

const OFFER: &[(&str, &str)] = &[("sec-websocket-extensions", "permessage-deflate")];
const STREAMS: u32 = 1024;
const MINE: Setting = Setting { axum: false, ..HTTP2 };

fn id(index: u32) -> u32 {
    1 + 2 * index
}

/// Sockets whose megabytes come back into windows of 0.
fn unread_megabytes(connection: &mut Connection, streams: u32, messages: usize) -> Result<()> {
    let octets = websocket::frame(FIN | COMPRESSED | BINARY, &far_repeats());
    for index in 1..streams {
        connection.open(id(index), OFFER)?;
    }
    for _ in 0..messages {
        for index in 1..streams {
            if connection.is_over() {
                return Ok(());
            }
            // One that is not read from has no room for more, which is as it should be.
            connection.send_if_there_is_room(id(index), &octets);
        }
    }
    // It inflates a gigabyte meanwhile.
    connection.barrier_within(Duration::from_secs(60));
    Ok(())
}

fn never_read(target: &Target, messages: usize) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
    unread_megabytes(&mut connection, STREAMS, messages)?;
    let deadline = Instant::now() + target.time;
    while Instant::now() < deadline && !connection.is_over() {
        let _ = connection.poll_until(deadline);
    }
    let sent = connection.sent;
    let mut seen = connection.settle();
    seen.notes.push(format!("sent {:.1} MiB", sent as f64 / f64::from(1 << 20)));
    Ok(seen)
}

/// Echoes of one socket in a slice of time, with some on their way.
fn echoes(connection: &mut Connection, time: Duration) -> Result<u64> {
    let asked = message(BINARY, &[7; 1000]);
    let start = connection.seen.messages;
    let (clock, mut outstanding) = (Instant::now(), 0);
    while clock.elapsed() < time {
        let came = connection.seen.messages - start;
        while outstanding < came + 16 {
            if !connection.send_data(1, &asked) {
                anyhow::bail!("a sibling that is read gets no credit");
            }
            outstanding += 1;
        }
        if connection.poll(Duration::from_secs(2))?.is_none() {
            anyhow::bail!("a sibling that is read gets no echo");
        }
    }
    while connection.seen.messages - start < outstanding {
        if connection.poll(Duration::from_secs(2))?.is_none() {
            anyhow::bail!("a sibling that is read gets no echo");
        }
    }
    Ok(connection.seen.messages - start)
}

/// A socket that is read, beside those that are not, and one on a connection of its own: slice by slice in turn.
fn siblings(target: &Target) -> Result<Seen> {
    let open = || -> Result<Connection> {
        let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 0)])?;
        connection.open(1, &[])?;
        connection.widen(1, MAX_WINDOW);
        Ok(connection)
    };
    let (mut sibling, mut alone) = (open()?, open()?);
    unread_megabytes(&mut sibling, STREAMS, 1)?;
    let slice = Duration::from_millis(50);
    let mut ratios = Vec::new();
    let clock = Instant::now();
    while clock.elapsed() < target.time * 2 {
        let (beside, by_itself) = (echoes(&mut sibling, slice)?, echoes(&mut alone, slice)?);
        ratios.push(beside as f64 / by_itself as f64);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let mut seen = sibling.settle();
    seen.notes.push(format!("a sibling that is read keeps {:.0} % of its throughput", median * 100.0));
    if median < 0.97 {
        seen.fail(format!("a sibling keeps {:.0} % of its throughput", median * 100.0));
    }
    Ok(seen)
}

/// Messages of zeros, of which a kilobyte is a megabyte.
fn inflating(target: &Target, streams: u32) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    for index in 0..streams {
        connection.open(id(index), OFFER)?;
    }
    let octets = websocket::frame(FIN | COMPRESSED | BINARY, &deflated(&vec![0; 1 << 20]));
    let ids: Vec<u32> = (0..streams).map(id).collect();
    let sent = connection.flood_sockets(target.time, &ids, &octets);
    let mut seen = connection.settle();
    seen.notes.push(format!("{sent} messages of 1 MiB in {} octets each", octets.len()));
    Ok(seen)
}

/// Text that inflates as any text does, as fast as it goes: honest but for its rate.
fn inflating_text(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])?;
    for index in 0..8 {
        connection.open(id(index), OFFER)?;
    }
    let text: String =
        (0..2000).map(|n| format!("{{\"id\":{},\"name\":\"a message of many\"}},", n * 7919 % 10_007)).collect();
    let octets = websocket::frame(FIN | COMPRESSED | BINARY, &deflated(text.as_bytes()));
    let ids: Vec<u32> = (0..8).map(id).collect();
    let sent = connection.flood_sockets(target.time, &ids, &octets);
    let mut seen = connection.settle();
    seen.notes.push(format!("{:.1} MB/s", sent as f64 * octets.len() as f64 / 1e6 / target.time.as_secs_f64()));
    Ok(seen)
}

const ATTACK: Attack = Attack {
    name: "",
    why: "RFC 7692 §8",
    limit: "16 MiB for a connection",
    expected: &[GoesOn],
    setting: MINE,
    run: Run::Act(inflating_text),
};

pub const ROWS: &[Attack] = &[
    Attack {
        name: "a compressed megabyte on each of 1,024 sockets, echoed and never read",
        why: "44 MiB that held 1 GiB",
        run: Run::Act(|t| never_read(t, 1)),
        ..ATTACK
    },
    Attack {
        name: "the same, two messages each",
        why: "44 MiB that held 2 GiB",
        run: Run::Act(|t| never_read(t, 2)),
        ..ATTACK
    },
    Attack {
        name: "siblings of those that are never read",
        why: "one socket is not to stop another",
        limit: "99 % of their throughput, of which the measurement takes 2",
        run: Run::Act(siblings),
        ..ATTACK
    },
    Attack {
        name: "inflating zeros, as fast as it goes",
        limit: "their processor time; by ratio",
        expected: &[GoesOn, Close(1009), Close(1008), GoAway(ENHANCE_YOUR_CALM)],
        run: Run::Act(|t| inflating(t, 16)),
        ..ATTACK
    },
    Attack {
        name: "inflating text, as fast as it goes",
        limit: "their processor time",
        run: Run::Act(inflating_text),
        ..ATTACK
    },
];
