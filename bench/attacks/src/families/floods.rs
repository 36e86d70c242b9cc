//! Frames that are cheap to send, again and again (RFC 9113 §10.5).

use anyhow::Result;

use crate::attack::{Attack, Expected, Expected::*, HTTP2, Run};
use crate::flood::{FLOOD, Flood};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Reading, Seen, fields, websocket};

const GLITCHES: &str = "a burst of 1,000, then 33 a second";
const GLITCH_BURST: Option<(u64, f64)> = Some((1000, 33.0));
const OVERHEAD: &str = "octets ÷ 8 may exceed useful ones by 1 MiB";
/// Octets that are past it: it is 8 MiB at first.
const BEYOND_OVERHEAD: u64 = 12 << 20;
const CALM: &[Expected] = &[GoAway(ENHANCE_YOUR_CALM)];

/// A flood on a connection with one open WebSocket, on stream 1.
const BESIDE_A_SOCKET: Flood = Flood { first: |connection| connection.open(1, &[]), ..FLOOD };

const fn row(name: &'static str, why: &'static str, limit: &'static str, run: fn(&Target) -> Result<Seen>) -> Attack {
    Attack { name, why, limit, expected: CALM, setting: HTTP2, run: Run::Act(run) }
}

/// WebSockets that break a rule of RFC 6455 as soon as they are open.
fn wrong_sockets(number: u64, batch: &mut Vec<u8>) {
    let id = 1 + 2 * number as u32;
    let block = if number == 0 { fields::connect_remembered() } else { fields::connect_again().to_vec() };
    batch.extend(headers(id, 0, &block));
    batch.extend(last_data(id, &websocket::bare(websocket::FIN | websocket::TEXT, b"x")));
}

/// The same, whose client never ends its half.
fn wrong_sockets_that_stay(number: u64, batch: &mut Vec<u8>) {
    let id = 1 + 2 * number as u32;
    batch.extend(headers(id, 0, &fields::connect(&[])));
    batch.extend(data(id, &websocket::bare(websocket::FIN | websocket::TEXT, b"x")));
}

/// Requests for WebSockets that are refused for their shape: their `sec-websocket-version` is not known.
fn refused_sockets(number: u64, batch: &mut Vec<u8>) {
    let id = 1 + 2 * number as u32;
    if number == 0 {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/echo"),
            (":authority", "localhost"),
            ("sec-websocket-version", "7"),
        ] {
            fields::remembered(&mut block, name.as_bytes(), value.as_bytes());
        }
        batch.extend(headers(id, 0, &block));
    } else {
        batch.extend(headers(id, 0, &fields::connect_again()));
    }
    batch.extend(last_data(id, b""));
}

pub const ROWS: &[Attack] = &[
    row("PING flood", "CVE-2019-9512", OVERHEAD, |target| {
        Flood { least: BEYOND_OVERHEAD, unit: |_, batch| batch.extend(ping([1; 8])), ..FLOOD }.run(target)
    }),
    Attack {
        expected: &[Anything],
        ..row("PING flood, answers unread", "CVE-2019-9512", "what waits to be sent stops reading", |target| {
            Flood { reading: Reading::Never, unit: |_, batch| batch.extend(ping([1; 8])), ..FLOOD }.run(target)
        })
    },
    row("flood of PING answers", "RFC 9113 §6.7", OVERHEAD, |target| {
        Flood { unit: |_, batch| batch.extend(frame(PING, ACK, 0, &[1; 8])), ..FLOOD }.run(target)
    }),
    row("SETTINGS flood", "CVE-2019-9515", "a burst of 100, then 10 a second", |target| {
        Flood {
            limit: Some((100, 10.0)),
            unit: |_, batch| batch.extend(settings(&[(MAX_CONCURRENT_STREAMS, 100)])),
            ..FLOOD
        }
        .run(target)
    }),
    row("SETTINGS flood, empty", "CVE-2019-9515", "a burst of 100, then 10 a second", |target| {
        Flood { limit: Some((100, 10.0)), unit: |_, batch| batch.extend(settings(&[])), ..FLOOD }.run(target)
    }),
    row("SETTINGS flood, 2,730 settings each", "CVE-2019-9515", "a burst of 100, then 10 a second", |target| {
        Flood {
            limit: Some((100, 10.0)),
            unit: |_, batch| batch.extend(settings(&[(HEADER_TABLE_SIZE, 4096); 2730])),
            ..FLOOD
        }
        .run(target)
    }),
    row("flood of SETTINGS acknowledgements", "RFC 9113 §6.5.3", OVERHEAD, |target| {
        Flood { unit: |_, batch| batch.extend(settings_ack()), ..FLOOD }.run(target)
    }),
    row("PRIORITY flood", "CVE-2019-9513", GLITCHES, |target| {
        Flood { limit: GLITCH_BURST, unit: |number, batch| batch.extend(priority(1 + 2 * number as u32, 0)), ..FLOOD }
            .run(target)
    }),
    row("RST_STREAM flood on a closed stream", "RFC 9113 §5.1", GLITCHES, |target| {
        Flood {
            first: |connection| {
                connection.send(&headers(1, 0, &fields::post()));
                connection.send(&rst_stream(1, CANCEL));
                Ok(())
            },
            unit: |_, batch| batch.extend(rst_stream(1, CANCEL)),
            ..FLOOD
        }
        .run(target)
    }),
    row("WINDOW_UPDATE flood, of the connection", "RFC 9113 §6.9", OVERHEAD, |target| {
        Flood { least: BEYOND_OVERHEAD, unit: |_, batch| batch.extend(window_update(0, 1)), ..FLOOD }.run(target)
    }),
    row("WINDOW_UPDATE flood, of a stream", "RFC 9113 §6.9", OVERHEAD, |target| {
        Flood { least: BEYOND_OVERHEAD, unit: |_, batch| batch.extend(window_update(1, 1)), ..BESIDE_A_SOCKET }
            .run(target)
    }),
    row("WINDOW_UPDATE flood, of a closed stream", "RFC 9113 §5.1", GLITCHES, |target| {
        Flood {
            first: |connection| {
                connection.send(&headers(1, 0, &fields::post()));
                connection.send(&rst_stream(1, CANCEL));
                connection.barrier();
                Ok(())
            },
            limit: GLITCH_BURST,
            unit: |_, batch| batch.extend(window_update(1, 1)),
            ..FLOOD
        }
        .run(target)
    }),
    row("empty DATA flood", "CVE-2019-9518", GLITCHES, |target| {
        Flood { unit: |_, batch| batch.extend(data(1, b"")), ..BESIDE_A_SOCKET }.run(target)
    }),
    row("flood of DATA that is padding alone", "CVE-2019-9518", GLITCHES, |target| {
        Flood { unit: |_, batch| batch.extend(frame(DATA, PADDED, 1, &[7, 0, 0, 0, 0, 0, 0, 0])), ..BESIDE_A_SOCKET }
            .run(target)
    }),
    row("flood of frames of unknown types", "RFC 9113 §5.5", GLITCHES, |target| {
        Flood { limit: GLITCH_BURST, unit: |_, batch| batch.extend(frame(0xFA, 0, 0, b"")), ..FLOOD }.run(target)
    }),
    row("flood of frames of unknown types, 16 KiB each", "RFC 9113 §5.5", GLITCHES, |target| {
        Flood { unit: |_, batch| batch.extend(frame(0xFA, 0, 0, &[0; 16_384])), ..FLOOD }.run(target)
    }),
    row("PRIORITY_UPDATE flood", "RFC 9218 §7.1", GLITCHES, |target| {
        Flood { limit: GLITCH_BURST, unit: |_, batch| batch.extend(frame(0x10, 0, 0, b"\0\0\0\x01u=1")), ..FLOOD }
            .run(target)
    }),
    Attack {
        expected: &[GoAway(ENHANCE_YOUR_CALM), Ends(5)],
        ..row("GOAWAY flood", "RFC 9113 §6.8", GLITCHES, |target| {
            Flood { unit: |_, batch| batch.extend(goaway(0, NO_ERROR)), ..BESIDE_A_SOCKET }.run(target)
        })
    },
    row("wrong WebSockets, as many as go", "RFC 6455 §5.1", "a burst of 200, then 100 a second", |target| {
        Flood { unit: wrong_sockets, ..FLOOD }.run(target)
    }),
    row("wrong WebSockets that never end", "RFC 6455 §5.1", "a burst of 200, then 100 a second", |target| {
        Flood { unit: wrong_sockets_that_stay, ..FLOOD }.run(target)
    }),
    Attack {
        expected: &[Status(400), GoAway(ENHANCE_YOUR_CALM)],
        ..row("refused WebSockets, as many as go", "RFC 6455 §4.4", "1,024 streams; their processor time", |target| {
            Flood { unit: refused_sockets, ..FLOOD }.run(target)
        })
    },
    Attack {
        expected: &[Status(404), GoAway(ENHANCE_YOUR_CALM)],
        ..row(
            "requests for nothing, as many as go",
            "none: these are honest, but many",
            "1,024 streams; their processor time",
            |target| {
                Flood {
                    unit: |number, batch| {
                        batch.extend(headers(
                            1 + 2 * number as u32,
                            END_STREAM,
                            &fields::request("GET", "/nothing", &[]),
                        ));
                    },
                    ..FLOOD
                }
                .run(target)
            },
        )
    },
];
