"""RFC 6455 over HTTP/2: framing that ignores DATA frame boundaries, closing, and the Close code of each violation."""

import struct
from typing import Any

from .steps import barrier, case
from .tunnel import (
    BINARY,
    CLOSE,
    CONTINUED,
    OPCODE_NAMES,
    PING_FRAME,
    PONG,
    TEXT,
    close_frame,
    closed_with,
    echoed,
    message,
    opened,
    receives,
    sends,
    wide_open,
)
from .wire import data

HELLO = message(TEXT, "hello")
EURO = "\N{EURO SIGN}".encode()
MEBIBYTE = 1 << 20


def framing(title: str, *steps: Any) -> Any:
    return case("RFC 6455 §5", title, opened(1), *steps)


def violation(section: Any, title: str, code: int, *pieces: bytes) -> Any:
    """What breaks a rule is answered by Close with `code` and END_STREAM, and the connection lives on."""
    return case(
        f"RFC 6455 §{section}",
        f"{title}: Close {code}",
        opened(1),
        sends(1, *pieces),
        closed_with(1, code),
        opened(3),
        echoed(3, TEXT, "well"),
    )


def every_split(connection: Any) -> None:
    """A session of three frames, cut into two DATA frames at each octet in turn."""
    session = message(TEXT, "one") + message(PONG, b"unasked") + message(BINARY, bytes(range(130)))
    for cut in range(len(session) + 1):
        connection.send(sends(1, session[:cut], session[cut:]))
        receives(1, TEXT, "one")(connection)
        receives(1, BINARY, bytes(range(130)))(connection)


def octet_by_octet(connection: Any) -> None:
    for octet in HELLO:
        connection.send(data(1, bytes([octet])))


def close_echoed(code: int, reason: str) -> Any:
    """The server's Close says what ours said, its reason too, which a page's `close` event shows."""
    octets = struct.pack(">H", code) + reason.encode()
    return case(
        "RFC 6455 §5.5.1",
        f"Close {code} with {len(octets) - 2} octets of reason is echoed whole",
        opened(1),
        sends(1, message(CLOSE, octets)),
        receives(1, CLOSE, octets),
    )


FRAMING = [
    *(framing(f"text of {size} octets is echoed", wide_open, echoed(1, TEXT, "x" * size)) for size in (0, 1, 125, 126, 127, 65_535, 65_536)),
    *(framing(f"binary of {size} octets is echoed", wide_open, echoed(1, BINARY, bytes(n * 7 % 256 for n in range(size)))) for size in (0, 1, 125, 126, 16_384, 65_536, MEBIBYTE)),
    framing("text of every UTF-8 length is echoed", echoed(1, TEXT, "a\N{POUND SIGN}\N{EURO SIGN}\N{FISH}\U0010ffff\ud7ff\ue000")),
    framing("a message cut into two DATA frames, at every octet", every_split),
    framing("one octet per DATA frame", octet_by_octet, receives(1, TEXT, "hello")),
    framing("empty DATA frames in between", sends(1, b"", HELLO[:1], b"", b"", HELLO[1:4], b"", HELLO[4:], b""), receives(1, TEXT, "hello"), barrier),
    framing("padded DATA frames", data(1, HELLO[:3], padding=200) + data(1, HELLO[3:], padding=0), receives(1, TEXT, "hello")),
    framing("many messages in one DATA frame", sends(1, b"".join(message(TEXT, str(n)) for n in range(500))), *(receives(1, TEXT, str(n)) for n in range(500))),
    framing("the frames of two WebSockets, interleaved", opened(3), sends(1, HELLO[:4]), sends(3, HELLO[:6]), sends(1, HELLO[4:]), sends(3, HELLO[6:]), receives(1, TEXT, "hello"), receives(3, TEXT, "hello")),
    framing("a mask of zeros", sends(1, message(TEXT, "hello", mask=bytes(4))), receives(1, TEXT, "hello")),
    framing("a message in fragments", sends(1, message(TEXT, "he", fin=False), message(CONTINUED, "l", fin=False), message(CONTINUED, "lo")), receives(1, TEXT, "hello")),
    framing("empty fragments", sends(1, message(BINARY, b"", fin=False), message(CONTINUED, b"", fin=False), message(CONTINUED, b"")), receives(1, BINARY, b"")),
    framing("a Ping between fragments is answered at once", sends(1, message(TEXT, "he", fin=False), message(PING_FRAME, b"now")), receives(1, PONG, b"now"), sends(1, message(CONTINUED, "llo")), receives(1, TEXT, "hello")),
    framing("a character cut by a fragment", sends(1, message(TEXT, EURO[:1], fin=False), message(CONTINUED, EURO[1:])), receives(1, TEXT, EURO)),
    framing("a Ping is answered with its payload", sends(1, message(PING_FRAME, b"p" * 125)), receives(1, PONG, b"p" * 125)),
    framing("an unasked Pong is ignored", sends(1, message(PONG, b"unasked"), HELLO), receives(1, TEXT, "hello")),
]  # fmt: skip

CLOSING = [
    case("RFC 6455 §5.5.1", "Close without a code is answered", opened(1), sends(1, close_frame()), closed_with(1, None, 1000)),
    *(case("RFC 6455 §7.4", f"Close {code} is answered with {code}", opened(1), sends(1, close_frame(code, b"bye")), closed_with(1, code)) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)),
    case("RFC 6455 §5.5.1", "Close with the longest reason is answered", opened(1), sends(1, close_frame(1000, b"r" * 123)), closed_with(1, 1000)),
    *(close_echoed(code, reason) for code, reason in [(1000, "done"), (1001, "page gone"), (3000, "x"), (4999, "r" * 123), (1000, "\N{EURO SIGN}" * 41), (1000, "")]),
    case("RFC 6455 §1.4", "what comes after Close is discarded", opened(1), sends(1, close_frame(1000), HELLO), closed_with(1, 1000)),
    case("RFC 6455 §1.4", "messages before Close are echoed", opened(1), sends(1, HELLO + close_frame(1000)), receives(1, TEXT, "hello"), closed_with(1, 1000)),
]  # fmt: skip

VIOLATIONS = [
    violation("5.1", "an unmasked frame", 1002, message(TEXT, "hello", mask=None)),
    *(violation("5.2", f"RSV{4 - bit.bit_length()} set", 1002, message(TEXT, "hello", rsv=bit)) for bit in (4, 2, 1)),
    violation("5.2", "RSV1 on a Ping", 1002, message(PING_FRAME, b"", rsv=4)),
    *(violation("5.2", f"reserved opcode {opcode:#x}", 1002, message(opcode, b"?")) for opcode in (*range(3, 8), *range(11, 16))),
    violation("5.2", "a length in 2 octets that fits in none", 1002, message(BINARY, b"12345", length_octets=2)),
    violation("5.2", "a length in 8 octets that fits in 2", 1002, message(BINARY, bytes(200), length_octets=8)),
    violation("5.2", "a length with its top bit set", 1002, message(BINARY, b"", length=1 << 63)),
    *(violation("5.5", f"a fragmented {OPCODE_NAMES[opcode]}", 1002, message(opcode, b"", fin=False)) for opcode in (CLOSE, PING_FRAME, PONG)),
    *(violation("5.5", f"a {OPCODE_NAMES[opcode]} of 126 octets", 1002, message(opcode, b"\x03\xe8" + bytes(124))) for opcode in (CLOSE, PING_FRAME, PONG)),
    violation("5.4", "a continuation without a start", 1002, message(CONTINUED, b"hello")),
    violation("5.4", "a continuation after a whole message", 1002, HELLO, message(CONTINUED, b"hello")),
    violation("5.4", "a text message inside another", 1002, message(TEXT, "he", fin=False), HELLO),
    violation("5.4", "a binary message inside a text message", 1002, message(TEXT, "he", fin=False), message(BINARY, b"llo")),
    violation("5.5.1", "a Close body of one octet", 1002, message(CLOSE, b"\x03")),
    *(violation("7.4", f"Close with code {code}", 1002, close_frame(code)) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)),
    violation("5.5.1", "a Close reason that is not UTF-8", 1007, close_frame(1000, b"\xff")),
    *(violation("8.1", f"text with {title}", 1007, message(TEXT, octets)) for title, octets in [
        ("an octet that UTF-8 never has", b"\xff"), ("a continuation octet first", b"\x80"), ("a character cut off", EURO[:2]),
        ("an overlong form", b"\xc0\xaf"), ("a surrogate", b"\xed\xa0\x80"), ("a character above U+10FFFF", b"\xf4\x90\x80\x80"),
    ]),
    violation("8.1", "bad UTF-8 in a fragment, before the message ends", 1007, message(TEXT, b"ok\xff", fin=False)),
    violation("8.1", "bad UTF-8 in a frame, before the frame ends", 1007, message(TEXT, b"\xed\xa0\x80" + b"x" * 100)[:9]),
    violation("8.1", "a character cut by a fragment and not continued", 1007, message(TEXT, EURO[:1], fin=False), message(CONTINUED, b"x")),
    violation("7.4.1", "a message above the limit, at its length", 1009, message(BINARY, b"", length=MEBIBYTE + 1)),
    violation("7.4.1", "a message of 2^63-1 octets, at its length", 1009, message(BINARY, b"", length=(1 << 63) - 1)),
    violation("7.4.1", "a message above the limit in fragments", 1009, message(BINARY, bytes(100), fin=False), message(CONTINUED, b"", length=MEBIBYTE - 99)),
    violation("7.4.1", "a message in too many fragments", 1009, message(BINARY, b"1", fin=False), message(CONTINUED, b"2", fin=False) * 1500),
    violation("7.4.1", "a flood of Pings", 1008, message(PING_FRAME, b"!") * 500),
]  # fmt: skip

CASES = FRAMING + CLOSING + VIOLATIONS
