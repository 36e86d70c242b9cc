//! Stream numbers that jump, fall and are even; lengths and paddings that lie; settings out of range (RFC 9113 §4 to §6).

use crate::attack::{Attack, Expected::*, HTTP2, Run, Shot};
use crate::wire::frames::*;
use crate::wire::{Connection, fields, h2};

fn get(id: u32) -> Vec<u8> {
    headers(id, END_STREAM, &fields::get())
}

fn post(id: u32) -> Vec<u8> {
    headers(id, 0, &fields::post())
}

fn both(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
    [first, second].concat()
}

/// A stream after one that was answered.
fn after_an_answer(target: &crate::target::Target, octets: &[u8]) -> anyhow::Result<crate::wire::Seen> {
    let mut connection = Connection::start(target, &[])?;
    connection.send(&get(5));
    connection.barrier();
    connection.send(octets);
    Ok(connection.settle())
}

const NUMBERS: &[Shot] = &[
    Shot { title: "a jump to 2³¹−1", act: |t| h2(t, get(MAX_WINDOW)), expected: &[Status(200), GoesOn] },
    Shot { title: "an even number", act: |t| h2(t, get(2)), expected: &[GoAway(PROTOCOL_ERROR)] },
    Shot { title: "stream 0", act: |t| h2(t, get(0)), expected: &[GoAway(PROTOCOL_ERROR)] },
    Shot {
        title: "a number that falls",
        act: |t| after_an_answer(t, &get(3)),
        expected: &[GoAway(PROTOCOL_ERROR), GoAway(STREAM_CLOSED)],
    },
    Shot {
        title: "a number again",
        act: |t| after_an_answer(t, &get(5)),
        expected: &[GoAway(STREAM_CLOSED), GoAway(PROTOCOL_ERROR)],
    },
    Shot { title: "the reserved bit", act: |t| h2(t, get(1 | 1 << 31)), expected: &[Status(200)] },
    Shot { title: "DATA on an idle stream", act: |t| h2(t, data(7, b"x")), expected: &[GoAway(PROTOCOL_ERROR)] },
    Shot {
        title: "WINDOW_UPDATE on an idle stream",
        act: |t| h2(t, window_update(7, 1)),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "RST_STREAM on an idle stream",
        act: |t| h2(t, rst_stream(7, CANCEL)),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot { title: "a stream of the server's", act: |t| h2(t, data(2, b"x")), expected: &[GoAway(PROTOCOL_ERROR)] },
    Shot {
        title: "PUSH_PROMISE",
        act: |t| h2(t, both(post(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]))),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot { title: "PING on a stream", act: |t| h2(t, frame(PING, 0, 1, &[0; 8])), expected: &[GoAway(PROTOCOL_ERROR)] },
    Shot {
        title: "SETTINGS on a stream",
        act: |t| h2(t, frame(SETTINGS, 0, 1, &[])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "GOAWAY on a stream",
        act: |t| h2(t, frame(GOAWAY, 0, 1, &[0; 8])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "CONTINUATION without HEADERS",
        act: |t| h2(t, frame(CONTINUATION, END_HEADERS, 1, &[])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "a block that PING interrupts",
        act: |t| h2(t, both(frame(HEADERS, 0, 1, &fields::get()), ping([0; 8]))),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "a block that an unknown frame interrupts",
        act: |t| h2(t, both(frame(HEADERS, 0, 1, &fields::get()), frame(0xFA, 0, 1, &[]))),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
];

const LENGTHS: &[Shot] = &[
    Shot {
        title: "a frame of 16,385 octets",
        act: |t| h2(t, both(post(1), lying(DATA, 0, 1, 16_385, b"x"))),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "a frame of 2²⁴−1 octets",
        act: |t| h2(t, lying(0xFA, 0, 0, (1 << 24) - 1, b"x")),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "DATA padded by its own length",
        act: |t| h2(t, both(post(1), frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0]))),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "DATA padded by 255 of 2",
        act: |t| h2(t, both(post(1), frame(DATA, PADDED, 1, &[255, 0]))),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "padded DATA without a length",
        act: |t| h2(t, both(post(1), frame(DATA, PADDED, 1, &[]))),
        expected: &[GoAway(FRAME_SIZE_ERROR), GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "HEADERS padded by their own length",
        act: |t| h2(t, headers(1, END_STREAM | PADDED, &[&[60], &fields::get()[..]].concat())),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "HEADERS without room for their priority",
        act: |t| h2(t, headers(1, END_STREAM | WITH_PRIORITY, &[0; 4])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "SETTINGS of 5 octets",
        act: |t| h2(t, frame(SETTINGS, 0, 0, &[0; 5])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "an acknowledgement of 6 octets",
        act: |t| h2(t, frame(SETTINGS, ACK, 0, &[0; 6])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "PING of 7 octets",
        act: |t| h2(t, frame(PING, 0, 0, &[0; 7])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "PING of 9 octets",
        act: |t| h2(t, frame(PING, 0, 0, &[0; 9])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "WINDOW_UPDATE of 3 octets",
        act: |t| h2(t, frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "RST_STREAM of 5 octets",
        act: |t| h2(t, both(post(1), frame(RST_STREAM, 0, 1, &[0; 5]))),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "GOAWAY of 7 octets",
        act: |t| h2(t, frame(GOAWAY, 0, 0, &[0; 7])),
        expected: &[GoAway(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "PRIORITY of 4 octets",
        act: |t| h2(t, both(post(1), frame(PRIORITY, 0, 1, &[0; 4]))),
        expected: &[Reset(FRAME_SIZE_ERROR)],
    },
    Shot {
        title: "no preface but a frame",
        act: no_preface,
        expected: &[GoAway(PROTOCOL_ERROR), Status(400), Ends(3)],
    },
    Shot { title: "a preface, and no SETTINGS but PING", act: no_settings, expected: &[GoAway(PROTOCOL_ERROR)] },
];

fn no_preface(target: &crate::target::Target) -> anyhow::Result<crate::wire::Seen> {
    let mut connection = Connection::dial(target)?;
    connection.send(&settings(&[]));
    Ok(connection.settle())
}

fn no_settings(target: &crate::target::Target) -> anyhow::Result<crate::wire::Seen> {
    let mut connection = Connection::dial(target)?;
    connection.send(PREFACE);
    Ok(connection.settle())
}

const SETTINGS_OUT_OF_RANGE: &[Shot] = &[
    Shot {
        title: "ENABLE_PUSH of 2",
        act: |t| h2(t, settings(&[(ENABLE_PUSH, 2)])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "INITIAL_WINDOW_SIZE of 2³¹",
        act: |t| h2(t, settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])),
        expected: &[GoAway(FLOW_CONTROL_ERROR)],
    },
    Shot {
        title: "MAX_FRAME_SIZE of 16,383",
        act: |t| h2(t, settings(&[(MAX_FRAME_SIZE, 16_383)])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "MAX_FRAME_SIZE of 2²⁴",
        act: |t| h2(t, settings(&[(MAX_FRAME_SIZE, 1 << 24)])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "ENABLE_CONNECT_PROTOCOL of 2",
        act: |t| h2(t, settings(&[(ENABLE_CONNECT_PROTOCOL, 2)])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "NO_RFC7540_PRIORITIES of 2",
        act: |t| h2(t, settings(&[(9, 2)])),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "HEADER_TABLE_SIZE of 2³²−1",
        act: |t| h2(t, settings(&[(HEADER_TABLE_SIZE, u32::MAX)])),
        expected: &[GoesOn],
    },
    Shot { title: "an unknown setting", act: |t| h2(t, settings(&[(0xFA_FA, u32::MAX)])), expected: &[GoesOn] },
    Shot {
        title: "a window that settings take past 2³¹−1",
        act: |t| {
            h2(
                t,
                both(
                    both(post(1), window_update(1, MAX_WINDOW - DEFAULT_WINDOW)),
                    settings(&[(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW + 1)]),
                ),
            )
        },
        expected: &[GoAway(FLOW_CONTROL_ERROR)],
    },
    Shot {
        title: "the connection's window past 2³¹−1",
        act: |t| h2(t, window_update(0, MAX_WINDOW)),
        expected: &[GoAway(FLOW_CONTROL_ERROR)],
    },
    Shot {
        title: "a window of the connection by 0",
        act: |t| h2(t, window_update(0, 0)),
        expected: &[GoAway(PROTOCOL_ERROR)],
    },
    Shot {
        title: "a stream's window past 2³¹−1",
        act: |t| h2(t, both(post(1), window_update(1, MAX_WINDOW))),
        expected: &[Reset(FLOW_CONTROL_ERROR)],
    },
    Shot {
        title: "a stream's window by 0",
        act: |t| h2(t, both(post(1), window_update(1, 0))),
        expected: &[Reset(PROTOCOL_ERROR)],
    },
];

const fn row(name: &'static str, why: &'static str, shots: &'static [Shot]) -> Attack {
    Attack { name, why, limit: "none may pass", expected: &[], setting: HTTP2, run: Run::Shots(shots) }
}

pub const ROWS: &[Attack] = &[
    row("stream numbers and frames out of place", "RFC 9113 §5.1", NUMBERS),
    row("lengths and paddings that lie", "RFC 9113 §4.2, §6", LENGTHS),
    row("settings and windows out of range", "RFC 9113 §6.5.2, §6.9.1", SETTINGS_OUT_OF_RANGE),
];
