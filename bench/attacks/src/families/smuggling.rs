//! What means one thing to us and another to what stands behind (RFC 9113 §8.2, §8.3, §10.3; RFC 9112 §11.2).

use anyhow::Result;

use crate::attack::{Attack, Expected, Expected::*, HTTP1, HTTP2, Run, Shot};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Seen, fields, h2, http1};

const REFUSED: &[Expected] = &[Reset(PROTOCOL_ERROR), Status(400)];

/// A GET with this field besides.
fn with(target: &Target, name: &[u8], value: &[u8]) -> Result<Seen> {
    let mut block = fields::get();
    fields::literal(&mut block, name, value);
    h2(target, headers(1, END_STREAM, &block))
}

/// A request of these fields alone.
fn of(target: &Target, list: &[(&str, &str)]) -> Result<Seen> {
    h2(target, headers(1, END_STREAM, &fields::block(list)))
}

fn path(target: &Target, path: &str) -> Result<Seen> {
    h2(target, headers(1, END_STREAM, &fields::request("GET", path, &[])))
}

fn authority(target: &Target, authority: &str) -> Result<Seen> {
    of(target, &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority)])
}

/// Content of two octets, and what was said of its length.
fn content(target: &Target, lengths: &[&str]) -> Result<Seen> {
    let list: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
    h2(target, [headers(1, 0, &fields::request("POST", "/", &list)), last_data(1, b"xx")].concat())
}

const NAMES: &[Shot] = &[
    Shot { title: "an uppercase name", act: |t| with(t, b"X-Test", b"1"), expected: REFUSED },
    Shot { title: "a name with a space", act: |t| with(t, b"x test", b"1"), expected: REFUSED },
    Shot { title: "a name with CR LF", act: |t| with(t, b"x\r\nhost", b"1"), expected: REFUSED },
    Shot { title: "a name with a colon", act: |t| with(t, b"x:y", b"1"), expected: REFUSED },
    Shot { title: "a name with NUL", act: |t| with(t, b"x\0y", b"1"), expected: REFUSED },
    Shot { title: "an empty name", act: |t| with(t, b"", b"1"), expected: REFUSED },
    Shot { title: "a name beyond ASCII", act: |t| with(t, b"x\xFFy", b"1"), expected: REFUSED },
    Shot { title: "a value with LF", act: |t| with(t, b"x", b"1\nhost: evil"), expected: REFUSED },
    Shot { title: "a value with CR", act: |t| with(t, b"x", b"1\rhost: evil"), expected: REFUSED },
    Shot { title: "a value with NUL", act: |t| with(t, b"x", b"1\0"), expected: REFUSED },
    Shot { title: "a value with a space before it", act: |t| with(t, b"x", b" 1"), expected: REFUSED },
    Shot { title: "a value with a tab behind it", act: |t| with(t, b"x", b"1\t"), expected: REFUSED },
    Shot { title: "transfer-encoding", act: |t| with(t, b"transfer-encoding", b"chunked"), expected: REFUSED },
    Shot { title: "connection", act: |t| with(t, b"connection", b"close"), expected: REFUSED },
    Shot { title: "proxy-connection", act: |t| with(t, b"proxy-connection", b"close"), expected: REFUSED },
    Shot { title: "keep-alive", act: |t| with(t, b"keep-alive", b"1"), expected: REFUSED },
    Shot { title: "upgrade", act: |t| with(t, b"upgrade", b"websocket"), expected: REFUSED },
    Shot { title: "te: gzip", act: |t| with(t, b"te", b"gzip"), expected: REFUSED },
    Shot {
        title: "a pseudo-header field at the end",
        act: |t| {
            of(t, &[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), ("x", "y"), (":path", "/")])
        },
        expected: REFUSED,
    },
    Shot {
        title: "an unknown pseudo-header field",
        act: |t| {
            of(t, &[(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/"), (":x", "y")])
        },
        expected: REFUSED,
    },
    Shot {
        title: ":status in a request",
        act: |t| {
            of(
                t,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "localhost"),
                    (":path", "/"),
                    (":status", "200"),
                ],
            )
        },
        expected: REFUSED,
    },
];

const TARGETS: &[Shot] = &[
    Shot { title: "an empty :path", act: |t| path(t, ""), expected: REFUSED },
    Shot { title: ":path without a slash", act: |t| path(t, "echo"), expected: REFUSED },
    Shot { title: ":path with a space", act: |t| path(t, "/ HTTP/1.1"), expected: REFUSED },
    Shot { title: ":path with CR LF", act: |t| path(t, "/\r\nhost: evil"), expected: REFUSED },
    Shot { title: ":path with NUL", act: |t| path(t, "/\0"), expected: REFUSED },
    Shot { title: "* for GET", act: |t| path(t, "*"), expected: REFUSED },
    Shot {
        title: "two :paths",
        act: |t| {
            of(
                t,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":path", "/echo"),
                    (":authority", "localhost"),
                ],
            )
        },
        expected: REFUSED,
    },
    Shot {
        title: "two :methods",
        act: |t| {
            of(
                t,
                &[
                    (":method", "GET"),
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":authority", "localhost"),
                ],
            )
        },
        expected: REFUSED,
    },
    Shot {
        title: "no :path",
        act: |t| of(t, &[(":method", "GET"), (":scheme", "http"), (":authority", "localhost")]),
        expected: REFUSED,
    },
    Shot {
        title: "no :scheme",
        act: |t| of(t, &[(":method", "GET"), (":path", "/"), (":authority", "localhost")]),
        expected: REFUSED,
    },
    Shot {
        title: ":method with a space",
        act: |t| {
            of(t, &[(":method", "GET / HTTP/1.1"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")])
        },
        expected: REFUSED,
    },
    Shot {
        title: ":scheme with a colon",
        act: |t| of(t, &[(":method", "GET"), (":scheme", "http://evil"), (":path", "/"), (":authority", "localhost")]),
        expected: REFUSED,
    },
    Shot { title: ":authority with user information", act: |t| authority(t, "user@localhost"), expected: REFUSED },
    Shot { title: ":authority with a slash", act: |t| authority(t, "localhost/evil"), expected: REFUSED },
    Shot { title: "an empty :authority", act: |t| authority(t, ""), expected: REFUSED },
    Shot { title: "another host", act: |t| with(t, b"host", b"evil"), expected: REFUSED },
    Shot {
        title: "two hosts",
        act: |t| {
            of(t, &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "localhost"), ("host", "evil")])
        },
        expected: REFUSED,
    },
    Shot {
        title: ":protocol without CONNECT",
        act: |t| {
            of(
                t,
                &[
                    (":method", "GET"),
                    (":protocol", "websocket"),
                    (":scheme", "http"),
                    (":path", "/echo"),
                    (":authority", "localhost"),
                ],
            )
        },
        expected: REFUSED,
    },
    Shot {
        title: "two :protocols",
        act: |t| {
            h2(
                t,
                headers(
                    1,
                    0,
                    &fields::block(&[
                        (":method", "CONNECT"),
                        (":protocol", "websocket"),
                        (":protocol", "other"),
                        (":scheme", "http"),
                        (":path", "/echo"),
                        (":authority", "localhost"),
                    ]),
                ),
            )
        },
        expected: REFUSED,
    },
    Shot {
        title: "another :protocol",
        act: |t| {
            h2(
                t,
                headers(
                    1,
                    0,
                    &fields::block(&[
                        (":method", "CONNECT"),
                        (":protocol", "connect-udp"),
                        (":scheme", "http"),
                        (":path", "/echo"),
                        (":authority", "localhost"),
                    ]),
                ),
            )
        },
        expected: &[Status(501), Status(400), Reset(PROTOCOL_ERROR)],
    },
    Shot {
        title: "CONNECT with :path alone",
        act: |t| {
            h2(
                t,
                headers(
                    1,
                    0,
                    &fields::block(&[(":method", "CONNECT"), (":path", "/echo"), (":authority", "localhost")]),
                ),
            )
        },
        expected: REFUSED,
    },
    Shot {
        title: "an extended CONNECT that ends",
        act: |t| h2(t, headers(1, END_STREAM, &fields::connect(&[]))),
        expected: REFUSED,
    },
];

const LENGTHS: &[Shot] = &[
    Shot { title: "more than said", act: |t| content(t, &["1"]), expected: REFUSED },
    Shot { title: "less than said", act: |t| content(t, &["3"]), expected: REFUSED },
    Shot { title: "two lengths", act: |t| content(t, &["2", "3"]), expected: REFUSED },
    Shot { title: "a list of lengths", act: |t| content(t, &["2, 3"]), expected: REFUSED },
    Shot { title: "a sign", act: |t| content(t, &["+2"]), expected: REFUSED },
    Shot { title: "below zero", act: |t| content(t, &["-2"]), expected: REFUSED },
    Shot { title: "hexadecimal", act: |t| content(t, &["0x2"]), expected: REFUSED },
    Shot { title: "more than 64 bits", act: |t| content(t, &["36893488147419103234"]), expected: REFUSED },
    Shot { title: "nothing", act: |t| content(t, &[""]), expected: REFUSED },
];

const BAD: &[Expected] = &[Status(400), Ends(3)];

const OVER_HTTP1: &[Shot] = &[
    Shot {
        title: "content-length and chunked",
        act: |t| {
            http1(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        },
        expected: &[Status(400), Status(200), Ends(3)],
    },
    Shot {
        title: "two content-lengths",
        act: |t| http1(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxx"),
        expected: BAD,
    },
    Shot {
        title: "a sign before a length",
        act: |t| http1(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nxx"),
        expected: BAD,
    },
    Shot { title: "a space before the colon", act: |t| http1(t, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"), expected: BAD },
    Shot {
        title: "a folded line",
        act: |t| http1(t, "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        expected: BAD,
    },
    Shot { title: "two hosts", act: |t| http1(t, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), expected: BAD },
    Shot { title: "no host", act: |t| http1(t, "GET / HTTP/1.1\r\n\r\n"), expected: BAD },
    Shot { title: "a host with a slash", act: |t| http1(t, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), expected: BAD },
    Shot { title: "a target of two words", act: |t| http1(t, "GET / / HTTP/1.1\r\nHost: a\r\n\r\n"), expected: BAD },
    // RFC 9112 §6.1 forbids it to senders, and asks nothing of who receives it: where it ends is clear.
    Shot {
        title: "chunked twice",
        act: |t| http1(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        expected: &[Status(400), Status(501), Status(200)],
    },
    Shot {
        title: "chunked, and something last",
        act: |t| http1(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        expected: BAD,
    },
    Shot {
        title: "a chunk of more than 64 bits",
        act: |t| http1(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\nx"),
        expected: BAD,
    },
    Shot { title: "NUL in a value", act: |t| http1(t, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"), expected: BAD },
    Shot {
        title: "an upgrade with content",
        act: |t| {
            http1(
                t,
                "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 40\r\n\r\nGET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n",
            )
        },
        expected: &[Status(400), Ends(3)],
    },
    Shot {
        title: "an upgrade by POST",
        act: |t| {
            http1(
                t,
                "POST /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
        },
        expected: &[Status(400), Status(405), Status(426)],
    },
    Shot {
        title: "an upgrade of HTTP/1.0",
        act: |t| {
            http1(
                t,
                "GET /echo HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
        },
        expected: &[Status(400), Status(426), Status(505)],
    },
];

const fn row(name: &'static str, why: &'static str, shots: &'static [Shot]) -> Attack {
    Attack { name, why, limit: "none may pass", expected: &[], setting: HTTP2, run: Run::Shots(shots) }
}

pub const ROWS: &[Attack] = &[
    row("smuggling by names and values", "RFC 9113 §8.2, §10.3", NAMES),
    row("smuggling by :path, :protocol and hosts", "RFC 9113 §8.3.1, RFC 8441 §4", TARGETS),
    row("smuggling by content-length", "RFC 9113 §8.1.1", LENGTHS),
    Attack { setting: HTTP1, ..row("smuggling over HTTP/1.1", "RFC 9112 §11.2", OVER_HTTP1) },
];
