"""RFC 9113 §3 to §5: starting HTTP/2, frames, streams.

Where RFC 9113 dropped a rule of RFC 7540 that is still widely tested (a stream that depends on itself), we hold to it,
and the case names the older RFC.
"""

from typing import Any

from .steps import (
    DUMMY,
    NO_WINDOW,
    answered,
    barrier,
    case,
    closes,
    connection_error,
    data_of,
    fields_continued,
    largest_frame,
    ping_acknowledged,
    post,
    refused,
    request,
    request_fields,
    settings_acknowledged,
    stream_ends,
    stream_error,
)
from .wire import (
    ACK,
    COMPRESSION_ERROR,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    Failure,
    data,
    frame,
    ping,
    priority,
    rst_stream,
    settings,
    window_update,
)


def first_frame_is_settings(connection: Any) -> None:
    connection.send(PREFACE + settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)))
    received = connection.read()
    if received.type != SETTINGS or received.flags & ACK:
        raise Failure(f"the first frame was {received}")


def streams_beyond_the_limit(connection: Any) -> None:
    """One request more than the server allows at once, none of which it can finish: no window.

    All have the same header block, literals that go into the server's table again and again.
    """
    limit = connection.settings.get(MAX_CONCURRENT_STREAMS)
    if limit is None:
        raise Failure("the server sets no limit")
    block = connection.encoder.encode(request_fields(connection))
    for index in range(limit + 1):
        connection.send(frame(HEADERS, 1 + 2 * index, block, END_STREAM | END_HEADERS))
    stream_error(1 + 2 * limit, REFUSED_STREAM, PROTOCOL_ERROR)(connection)


STARTING = [
    case("RFC 9113 §3.4", "the first frame of the server is SETTINGS", first_frame_is_settings, handshake=False),
    case("RFC 9113 §3.4", "the server acknowledges the client's first SETTINGS", barrier),
    case("RFC 9113 §3.4", "an empty SETTINGS frame will do as the client's", PREFACE + settings(), settings_acknowledged, handshake=False),
    refused("RFC 9113 §3.4", "an invalid connection preface", PROTOCOL_ERROR, b"INVALID CONNECTION PREFACE\r\n\r\n", handshake=False),
    refused("RFC 9113 §3.4", "a preface that goes wrong halfway", PROTOCOL_ERROR, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", handshake=False),
    refused("RFC 9113 §3.4", "a preface of another protocol, without a line", PROTOCOL_ERROR, b"\x16\x03\x01\x02\x00", handshake=False),
    refused("RFC 9113 §3.4", "a first frame other than SETTINGS", PROTOCOL_ERROR, PREFACE + ping(), handshake=False),
    refused("RFC 9113 §3.4", "an acknowledgement as the first frame", PROTOCOL_ERROR, PREFACE + frame(SETTINGS, 0, flags=ACK), handshake=False),
]  # fmt: skip

FRAMES = [
    case("RFC 9113 §4.1", "a frame of unknown type is ignored", frame(0x16, 0, bytes(8)), barrier),
    case("RFC 9113 §4.1", "an unknown type on an idle stream is ignored", frame(0xFF, 1, bytes(8), 0xFF), barrier),
    case("RFC 9113 §4.1", "undefined flags are ignored", frame(PING, 0, bytes(8), 0x16), ping_acknowledged(bytes(8))),
    case("RFC 9113 §4.1", "the reserved bit is ignored", frame(PING, 1 << 31, bytes(8), 0x16), ping_acknowledged(bytes(8))),
    case("RFC 9113 §4.2", "DATA of 2^14 octets is accepted", post(1), largest_frame(), answered(1)),
    case("RFC 9113 §4.2", "DATA above SETTINGS_MAX_FRAME_SIZE", post(1), largest_frame(more=1), stream_error(1, FRAME_SIZE_ERROR)),
    refused("RFC 9113 §4.2", "HEADERS above SETTINGS_MAX_FRAME_SIZE", FRAME_SIZE_ERROR, request(1, *((f"x-dummy{n}", "d" * 4000) for n in range(6)))),
    refused("RFC 9113 §4.2", "a frame of 16 MiB is refused by its header alone", FRAME_SIZE_ERROR, frame(SETTINGS, 0, length=2**24 - 1)),
    refused("RFC 9113 §4.3", "a header block that ends inside a field", COMPRESSION_ERROR, frame(HEADERS, 1, b"\x40", END_STREAM | END_HEADERS)),
    refused("RFC 9113 §4.3", "PRIORITY inside a header block", PROTOCOL_ERROR, request(1, end_stream=False, options={"end_headers": False}), priority(1), fields_continued(1, DUMMY)),
    refused("RFC 9113 §4.3", "HEADERS of another stream inside a header block", PROTOCOL_ERROR, request(1, end_stream=False, options={"end_headers": False}), request(3), fields_continued(1, DUMMY)),
]  # fmt: skip

IDLE = [
    case("RFC 9113 §5.1", "idle: PRIORITY is accepted", priority(1), ping(b"priority"), ping_acknowledged(b"priority")),
    refused("RFC 9113 §5.1", "idle: DATA", PROTOCOL_ERROR, data(1, b"test", True)),
    refused("RFC 9113 §5.1", "idle: RST_STREAM", PROTOCOL_ERROR, rst_stream(1)),
    refused("RFC 9113 §5.1", "idle: WINDOW_UPDATE", PROTOCOL_ERROR, window_update(1, 100)),
    refused("RFC 9113 §5.1", "idle: CONTINUATION", PROTOCOL_ERROR, fields_continued(1, (":method", "GET"), (":scheme", "http"))),
]  # fmt: skip

HALF_CLOSED = [
    case("RFC 9113 §5.1", "half-closed (remote): WINDOW_UPDATE is accepted", NO_WINDOW, request(1), window_update(1, 1), data_of(1, 1)),
    case("RFC 9113 §5.1", "half-closed (remote): PRIORITY is accepted", NO_WINDOW, request(1), priority(1), window_update(1, 1), data_of(1, 1)),
    case("RFC 9113 §5.1", "half-closed (remote): RST_STREAM is accepted", NO_WINDOW, request(1), rst_stream(1), barrier),
    case("RFC 9113 §5.1", "half-closed (remote): DATA", request(1), data(1, b"test", True), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "half-closed (remote), no window: DATA", NO_WINDOW, request(1), data(1, b"test", True), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "half-closed (remote): HEADERS", request(1), request(1), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "half-closed (remote), no window: HEADERS", NO_WINDOW, request(1), request(1), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "half-closed (remote): CONTINUATION", request(1), fields_continued(1, ("x-test", "ok")), connection_error(STREAM_CLOSED, PROTOCOL_ERROR)),
]  # fmt: skip

CLOSED = [
    case("RFC 9113 §5.1", "closed by RST_STREAM: DATA", request(1, end_stream=False), rst_stream(1), data(1, b"test", True), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "closed by RST_STREAM: HEADERS", request(1, end_stream=False), rst_stream(1), request(1), stream_error(1, STREAM_CLOSED)),
    case("RFC 9113 §5.1", "closed by RST_STREAM: CONTINUATION", request(1, end_stream=False), rst_stream(1), fields_continued(1, DUMMY), connection_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    refused("RFC 9113 §5.1", "closed by END_STREAM: DATA", STREAM_CLOSED, request(1), stream_ends(1), data(1, b"test", True)),
    refused("RFC 9113 §5.1", "closed by END_STREAM: HEADERS", STREAM_CLOSED, request(1), stream_ends(1), request(1)),
    case("RFC 9113 §5.1", "closed by END_STREAM: CONTINUATION", request(1), stream_ends(1), fields_continued(1, DUMMY), connection_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    case("RFC 9113 §5.1", "closed: PRIORITY is accepted", request(1), stream_ends(1), priority(1), barrier),
    case("RFC 9113 §5.1", "closed: a late WINDOW_UPDATE is ignored", request(1), stream_ends(1), window_update(1, 1), barrier),
    case("RFC 9113 §5.1", "closed: a late RST_STREAM is ignored", request(1), stream_ends(1), rst_stream(1), barrier),
]  # fmt: skip

STREAMS = [
    refused("RFC 9113 §5.1.1", "an even stream identifier", PROTOCOL_ERROR, request(2)),
    refused("RFC 9113 §5.1.1", "a stream identifier below the last", PROTOCOL_ERROR, request(5), request(3)),
    case("RFC 9113 §5.1.1", "HEADERS again on a stream above the first", request(5), request(5), stream_error(5, STREAM_CLOSED)),
    case("RFC 9113 §5.1.1", "stream identifiers may be skipped", request(1), answered(1), request(101), answered(101)),
    case("RFC 9113 §5.1.2", "a stream beyond SETTINGS_MAX_CONCURRENT_STREAMS is refused", NO_WINDOW, streams_beyond_the_limit),
    case("RFC 7540 §5.3.1", "HEADERS that depend on their own stream", request(1, options={"dependency": (1, 255)}), stream_error(1, PROTOCOL_ERROR)),
    case("RFC 7540 §5.3.1", "PRIORITY that depends on its own stream", priority(1, 1), stream_error(1, PROTOCOL_ERROR)),
    case("RFC 9113 §5.4.1", "the connection is closed after a connection error", frame(PING, 3, bytes(8)), closes),
    refused("RFC 9113 §5.4.1", "GOAWAY comes first", PROTOCOL_ERROR, frame(PING, 3, bytes(8))),
    refused("RFC 9113 §5.5", "an unknown frame inside a header block", PROTOCOL_ERROR, request(1, options={"end_headers": False}), frame(0x16, 0, bytes(8))),
    case("RFC 9113 §5.5", "an unknown frame between the frames of a stream is ignored", post(1), frame(0x16, 1, bytes(8)), data(1, b"test", True), answered(1)),
]  # fmt: skip

CASES = STARTING + FRAMES + IDLE + HALF_CLOSED + CLOSED + STREAMS
