//! HTTP/1.1: heads and bodies that are too large, and requests without end (RFC 9112).

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attack::{Attack, Expected::*, HTTP1, Run, Shot};
use crate::target::Target;
use crate::wire::{Http1, Seen, http1};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn head(fields: impl AsRef<str>) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields.as_ref())
}

const HEADS: &[Shot] = &[
    Shot {
        title: "a field of 1 MiB",
        act: |t| http1(t, head(format!("X: {}\r\n", "y".repeat(1 << 20)))),
        expected: &[Status(431), Status(400), Ends(3)],
    },
    Shot {
        title: "ten thousand fields",
        act: |t| http1(t, head("x: y\r\n".repeat(10_000))),
        expected: &[Status(431), Status(400), Ends(3)],
    },
    Shot {
        title: "a target of 1 MiB",
        act: |t| http1(t, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(1 << 20))),
        expected: &[Status(431), Status(414), Status(400), Ends(3)],
    },
    Shot {
        title: "a method of 1 MiB",
        act: |t| http1(t, "y".repeat(1 << 20)),
        expected: &[Status(431), Status(400), Ends(3)],
    },
    Shot {
        title: "empty lines without end",
        act: |t| http1(t, "\r\n".repeat(1 << 19)),
        expected: &[Status(431), Status(400), Ends(3)],
    },
    Shot {
        title: "a WebSocket's head of 1 MiB",
        act: |t| http1(t, crate::wire::upgrade_with(&format!("X: {}\r\n", "y".repeat(1 << 20)))),
        expected: &[Status(431), Status(400), Ends(3)],
    },
    Shot {
        title: "a chunk's extension of 1 MiB",
        act: |t| {
            http1(
                t,
                format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\nx\r\n0\r\n\r\n",
                    "y".repeat(1 << 20)
                ),
            )
        },
        expected: &[Status(400), Status(413), Status(431), Ends(3)],
    },
    Shot {
        title: "trailers of 1 MiB",
        act: |t| {
            http1(
                t,
                format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: {}\r\n\r\n",
                    "y".repeat(1 << 20)
                ),
            )
        },
        expected: &[Status(400), Status(413), Status(431), Ends(3)],
    },
    Shot {
        title: "a version that is none",
        act: |t| http1(t, "GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        expected: &[Status(400), Status(505), Ends(3)],
    },
    Shot {
        title: "octets that are no HTTP",
        act: |t| http1(t, [0x16, 3, 1, 0, 0xFF, 1, 2, 3, 4, 5, 13, 10, 13, 10]),
        expected: &[Status(400), Ends(3)],
    },
];

/// Requests on one connection, one behind the other, whose answers are read or are not.
fn pipelining(target: &Target, request: &str, reads: bool) -> Result<Seen> {
    let deadline = Instant::now() + target.time;
    let batch = request.repeat(500);
    let mut seen = Seen::default();
    let (mut requests, mut octets) = (0, 0);
    while Instant::now() < deadline {
        let mut connection = Http1::dial(target)?;
        let mut start = 0;
        while Instant::now() < deadline && connection.seen.ended.is_none() {
            start += connection.send_some(&batch.as_bytes()[start..]);
            if start == batch.len() {
                start = 0;
            }
            if reads {
                while connection.read(Duration::from_micros(100)) > 0 {}
                connection.forget_input();
            }
        }
        requests += connection.sent / request.len() as u64;
        octets += connection.seen.octets;
        seen.merge(connection.seen);
    }
    seen.notes.push(format!("{requests} requests, {:.1} MB came", octets as f64 / 1e6));
    Ok(seen)
}

/// A connection for each request for a WebSocket that breaks a rule.
fn wrong_sockets(target: &Target) -> Result<Seen> {
    let deadline = Instant::now() + target.time;
    let request = crate::wire::upgrade_with("").replace("Version: 13", "Version: 7");
    let mut connection = Http1::dial(target)?;
    let mut count = 0;
    while Instant::now() < deadline {
        connection.send(request.as_bytes());
        connection.status(Duration::from_secs(1));
        connection.read(Duration::from_micros(100));
        connection.forget_input();
        count += 1;
        if connection.seen.ended.is_some() {
            let seen = connection.seen;
            connection = Http1::dial(target)?;
            connection.seen.statuses = seen.statuses;
        }
    }
    connection.seen.notes.push(format!("{count} requests"));
    connection.seen.ended = None;
    Ok(connection.seen)
}

const FLOOD: Attack = Attack {
    name: "",
    why: "RFC 9112 §9.3.2",
    limit: "what waits to be sent stops reading",
    expected: &[Anything],
    setting: HTTP1,
    run: Run::Shots(HEADS),
};

pub const ROWS: &[Attack] = &[
    Attack {
        name: "heads, chunks and trailers without end",
        why: "RFC 9112 §2.3, §7.1",
        limit: "some 400 KiB: 431",
        expected: &[],
        setting: HTTP1,
        run: Run::Shots(HEADS),
    },
    Attack { name: "pipelining flood, answers read", run: Run::Act(|t| pipelining(t, GET, true)), ..FLOOD },
    Attack { name: "pipelining flood, answers unread", run: Run::Act(|t| pipelining(t, GET, false)), ..FLOOD },
    Attack {
        name: "pipelining behind a request for a WebSocket that is refused",
        run: Run::Act(|t| pipelining(t, &crate::wire::upgrade_with("").replace("Version: 13", "Version: 7"), true)),
        ..FLOOD
    },
    Attack {
        name: "refused WebSockets, one after the other",
        limit: "their processor time",
        expected: &[Status(400), Status(426)],
        run: Run::Act(wrong_sockets),
        ..FLOOD
    },
];
