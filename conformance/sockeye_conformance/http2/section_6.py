"""RFC 9113 §6: each frame type, what it may hold and where."""

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
    ping_acknowledged,
    post,
    refused,
    request,
    request_fields,
    reset,
    settings_acknowledged,
    some_data,
    stream_error,
    unanswered,
)
from .wire import (
    ACK,
    DATA,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    continuation,
    data,
    frame,
    goaway,
    ping,
    priority,
    rst_stream,
    settings,
    window_update,
)

DATA_FRAMES = [
    case("RFC 9113 §6.1", "DATA is accepted", post(1), data(1, b"test", True), answered(1)),
    case("RFC 9113 §6.1", "several DATA frames are accepted", post(1), data(1, b"test"), data(1, b"test", True), answered(1)),
    case("RFC 9113 §6.1", "padded DATA is accepted", post(1), data(1, b"test", True, padding=6), answered(1)),
    case("RFC 9113 §6.1", "DATA of padding alone is accepted", post(1), data(1, b"", padding=255), data(1, b"", True), answered(1)),
    case("RFC 9113 §6.1", "empty DATA is not the end", post(1), data(1), unanswered(1), data(1, b"", True), answered(1)),
    refused("RFC 9113 §6.1", "DATA on stream 0", PROTOCOL_ERROR, data(0, b"test", True)),
    case("RFC 9113 §6.1", "DATA after END_STREAM", request(1, method="POST"), data(1, b"test", True), stream_error(1, STREAM_CLOSED)),
    refused("RFC 9113 §6.1", "padding as long as the payload", PROTOCOL_ERROR, post(1, ("content-length", "4")), frame(DATA, 1, b"\x06test", END_STREAM | PADDED)),
    case("RFC 9113 §6.1", "PADDED without a pad length", post(1), frame(DATA, 1, b"", END_STREAM | PADDED), connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
]  # fmt: skip

HEADERS_FRAMES = [
    case("RFC 9113 §6.2", "HEADERS are accepted", request(1), answered(1)),
    case("RFC 9113 §6.2", "padded HEADERS are accepted", request(1, options={"padding": 8}), answered(1)),
    case("RFC 9113 §6.2", "HEADERS with priority are accepted", request(1, options={"dependency": (0, 255)}), answered(1)),
    case("RFC 9113 §6.2", "padded HEADERS with priority are accepted", request(1, options={"padding": 8, "dependency": (0, 255)}), answered(1)),
    refused("RFC 9113 §6.2", "HEADERS without END_HEADERS, then PRIORITY", PROTOCOL_ERROR, request(1, end_stream=False, options={"end_headers": False}), priority(1), fields_continued(1, DUMMY)),
    refused("RFC 9113 §6.2", "HEADERS without END_HEADERS, then HEADERS of another stream", PROTOCOL_ERROR, request(1, options={"end_headers": False}), request(3), fields_continued(1, DUMMY)),
    refused("RFC 9113 §6.2", "HEADERS on stream 0", PROTOCOL_ERROR, request(0)),
    refused("RFC 9113 §6.2", "HEADERS with padding that does not fit", PROTOCOL_ERROR, lambda c: frame(HEADERS, 1, b"\x40" + c.encoder.encode(request_fields(c)), END_STREAM | END_HEADERS | PADDED)),
    refused("RFC 9113 §6.2", "HEADERS too short for their priority", FRAME_SIZE_ERROR, frame(HEADERS, 1, bytes(4), END_STREAM | END_HEADERS | PRIORITY_FLAG)),
]  # fmt: skip

PRIORITY_FRAMES = [
    *(
        case("RFC 9113 §6.3", f"PRIORITY {title} is accepted, and the stream answered", *steps, request(1), answered(1))
        for title, *steps in [
            ("of weight 1", priority(1, weight=0)),
            ("of weight 256", priority(1, weight=255)),
            ("on another stream", priority(3, depends_on=1)),
            ("that is exclusive", priority(1, weight=0, exclusive=True)),
            ("of a later, idle stream", priority(3)),
        ]
    ),
    refused("RFC 9113 §6.3", "PRIORITY on stream 0", PROTOCOL_ERROR, priority(0)),
    case("RFC 9113 §6.3", "PRIORITY of 4 octets", NO_WINDOW, request(1), frame(PRIORITY, 1, bytes(4)), stream_error(1, FRAME_SIZE_ERROR)),
    case("RFC 9113 §6.3", "PRIORITY of 4 octets on a stream that may be closed", request(1), frame(PRIORITY, 1, bytes(4)), stream_error(1, FRAME_SIZE_ERROR)),
]  # fmt: skip

RST_STREAM_FRAMES = [
    case("RFC 9113 §6.4", "RST_STREAM is accepted", request(1, end_stream=False), rst_stream(1), barrier),
    refused("RFC 9113 §6.4", "RST_STREAM on stream 0", PROTOCOL_ERROR, rst_stream(0)),
    refused("RFC 9113 §6.4", "RST_STREAM on an idle stream", PROTOCOL_ERROR, rst_stream(1)),
    refused("RFC 9113 §6.4", "RST_STREAM of 3 octets", FRAME_SIZE_ERROR, request(1), frame(RST_STREAM, 1, bytes(3))),
    case("RFC 9113 §7", "RST_STREAM with an unknown error code is accepted", post(1), rst_stream(1, 0xFF), barrier),
]  # fmt: skip

SETTINGS_FRAMES = [
    case("RFC 9113 §6.5", "SETTINGS with every setting are acknowledged", settings((HEADER_TABLE_SIZE, 4096), (ENABLE_PUSH, 1), (MAX_CONCURRENT_STREAMS, 100), (INITIAL_WINDOW_SIZE, DEFAULT_WINDOW), (MAX_FRAME_SIZE, 16_384), (MAX_HEADER_LIST_SIZE, 100)), settings_acknowledged),
    refused("RFC 9113 §6.5", "an acknowledgement with a payload", FRAME_SIZE_ERROR, frame(SETTINGS, 0, b"\0", ACK)),
    refused("RFC 9113 §6.5", "SETTINGS on a stream", PROTOCOL_ERROR, frame(SETTINGS, 1, settings((MAX_CONCURRENT_STREAMS, 100))[9:])),
    refused("RFC 9113 §6.5", "SETTINGS of 3 octets", FRAME_SIZE_ERROR, frame(SETTINGS, 0, b"\0\x03\0")),
    refused("RFC 9113 §6.5", "SETTINGS of 9 octets are refused by the header alone", FRAME_SIZE_ERROR, frame(SETTINGS, 0, b"\0\x03\0\0\0\x64\0\x02", length=9)),
    refused("RFC 9113 §6.5.2", "SETTINGS_ENABLE_PUSH of 2", PROTOCOL_ERROR, settings((ENABLE_PUSH, 2))),
    refused("RFC 9113 §6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", FLOW_CONTROL_ERROR, settings((INITIAL_WINDOW_SIZE, 2**31))),
    refused("RFC 9113 §6.5.2", "SETTINGS_MAX_FRAME_SIZE below 2^14", PROTOCOL_ERROR, settings((MAX_FRAME_SIZE, 2**14 - 1))),
    refused("RFC 9113 §6.5.2", "SETTINGS_MAX_FRAME_SIZE above 2^24-1", PROTOCOL_ERROR, settings((MAX_FRAME_SIZE, 2**24))),
    refused("RFC 8441 §3", "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", PROTOCOL_ERROR, settings((ENABLE_CONNECT_PROTOCOL, 2))),
    case("RFC 9113 §6.5.2", "an unknown setting is ignored", settings((0xFF, 1)), barrier),
    case("RFC 9113 §6.5.3", "settings count in the order they come", settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), settings_acknowledged, request(1), data_of(1, 1)),
    case("RFC 9113 §6.5.3", "SETTINGS are acknowledged at once", settings((ENABLE_PUSH, 0)), settings_acknowledged),
    case("RFC 9113 §6.5.3", "each SETTINGS frame gets its acknowledgement", settings() * 3, settings_acknowledged, settings_acknowledged, settings_acknowledged),
]  # fmt: skip

OTHER_FRAMES = [
    refused("RFC 9113 §8.4", "PUSH_PROMISE from a client", PROTOCOL_ERROR, request(1, end_stream=False), lambda c: frame(PUSH_PROMISE, 1, b"\0\0\0\x03" + c.encoder.encode(request_fields(c)), END_HEADERS)),
    refused("RFC 9113 §8.4", "PUSH_PROMISE on an idle stream", PROTOCOL_ERROR, lambda c: frame(PUSH_PROMISE, 1, b"\0\0\0\x03" + c.encoder.encode(request_fields(c)), END_HEADERS)),
    case("RFC 9113 §6.7", "PING is answered with its payload", ping(b"sockeye!"), ping_acknowledged(b"sockeye!")),
    case("RFC 9113 §6.7", "every PING is answered, in order", ping(b"12345678") + ping(b"abcdefgh") + ping(b"ABCDEFGH"), ping_acknowledged(b"12345678"), ping_acknowledged(b"abcdefgh"), ping_acknowledged(b"ABCDEFGH")),
    case("RFC 9113 §6.7", "PING with ACK is not answered", ping(b"answered", ack=True), ping(b"sockeye!"), ping_acknowledged(b"sockeye!")),
    refused("RFC 9113 §6.7", "PING on a stream", PROTOCOL_ERROR, frame(PING, 1, bytes(8))),
    refused("RFC 9113 §6.7", "PING of 6 octets", FRAME_SIZE_ERROR, frame(PING, 0, bytes(6))),
    case("RFC 9113 §6.8", "GOAWAY ends a connection without streams", goaway(NO_ERROR, debug=b"bye"), ping(b"sockeye!"), closes),
    case("RFC 9113 §6.8", "GOAWAY lets open streams finish", post(1), goaway(NO_ERROR), data(1, b"test", True), answered(1)),
    refused("RFC 9113 §6.8", "GOAWAY on a stream", PROTOCOL_ERROR, frame(GOAWAY, 1, bytes(8))),
    refused("RFC 9113 §6.8", "GOAWAY of 7 octets", FRAME_SIZE_ERROR, frame(GOAWAY, 0, bytes(7))),
    case("RFC 9113 §7", "GOAWAY with an unknown error code is no special case", goaway(0xFF), ping(b"sockeye!"), closes),
]  # fmt: skip

WINDOW_UPDATE_FRAMES = [
    case("RFC 9113 §6.9", "WINDOW_UPDATE of the connection is accepted", window_update(0, 1), barrier),
    case("RFC 9113 §6.9", "WINDOW_UPDATE of a stream is accepted", request(1), window_update(1, 1), answered(1)),
    refused("RFC 9113 §6.9", "an increment of 0 on the connection", PROTOCOL_ERROR, window_update(0, 0)),
    case("RFC 9113 §6.9", "an increment of 0 on a stream", request(1, end_stream=False), window_update(1, 0), stream_error(1, PROTOCOL_ERROR)),
    refused("RFC 9113 §6.9", "WINDOW_UPDATE of 3 octets", FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, b"\0\0\1")),
    case("RFC 9113 §6.9.1", "no more DATA than a window of 1", settings((INITIAL_WINDOW_SIZE, 1)), settings_acknowledged, request(1), data_of(1, 1)),
    refused("RFC 9113 §6.9.1", "a connection window above 2^31-1", FLOW_CONTROL_ERROR, window_update(0, MAX_WINDOW), window_update(0, MAX_WINDOW)),
    case("RFC 9113 §6.9.1", "a stream window above 2^31-1", request(1, end_stream=False), window_update(1, MAX_WINDOW), window_update(1, MAX_WINDOW), reset(1, FLOW_CONTROL_ERROR)),
    case("RFC 9113 §6.9.2", "a window from 0 to 1 lets one octet out", NO_WINDOW, settings_acknowledged, request(1), settings((INITIAL_WINDOW_SIZE, 1)), settings_acknowledged, data_of(1, 1)),
    case("RFC 9113 §6.9.2", "a window may go negative", settings((INITIAL_WINDOW_SIZE, 3)), settings_acknowledged, request(1), some_data(1), settings((INITIAL_WINDOW_SIZE, 2)), settings_acknowledged, window_update(1, 2), data_of(1, 1)),
    refused("RFC 9113 §6.9.2", "a setting that takes a stream's window above 2^31-1", FLOW_CONTROL_ERROR, request(1, end_stream=False), window_update(1, MAX_WINDOW - DEFAULT_WINDOW), settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW + 1))),
]  # fmt: skip

CONTINUATION_FRAMES = [
    case("RFC 9113 §6.10", "a header block in two frames is accepted", request(1, options={"cuts": (5,)}), answered(1)),
    case("RFC 9113 §6.10", "a header block in three frames is accepted", request(1, options={"cuts": (5, 10)}), answered(1)),
    case("RFC 9113 §6.10", "a cut after the first octet, and an empty fragment", request(1, options={"cuts": (1, 1)}), answered(1)),
    case("RFC 9113 §6.10", "long fields in CONTINUATION are accepted", request(1, options={"end_headers": False}), fields_continued(1, DUMMY, end_headers=False), fields_continued(1, DUMMY), answered(1)),
    refused("RFC 9113 §6.10", "CONTINUATION without END_HEADERS, then DATA", PROTOCOL_ERROR, post(1, options={"end_headers": False}), fields_continued(1, DUMMY, end_headers=False), data(1, b"test", True)),
    refused("RFC 9113 §6.10", "CONTINUATION on stream 0", PROTOCOL_ERROR, request(1, options={"end_headers": False}), fields_continued(0, DUMMY)),
    refused("RFC 9113 §6.10", "CONTINUATION on another stream", PROTOCOL_ERROR, request(1, options={"end_headers": False}), fields_continued(3, DUMMY)),
    refused("RFC 9113 §6.10", "CONTINUATION after HEADERS with END_HEADERS", PROTOCOL_ERROR, NO_WINDOW, request(1), fields_continued(1, DUMMY)),
    refused("RFC 9113 §6.10", "CONTINUATION after CONTINUATION with END_HEADERS", PROTOCOL_ERROR, NO_WINDOW, request(1, options={"end_headers": False}), fields_continued(1, DUMMY), fields_continued(1, DUMMY)),
    refused("RFC 9113 §6.10", "CONTINUATION after DATA", PROTOCOL_ERROR, post(1, options={"end_headers": False}), data(1, b"test", True), fields_continued(1, DUMMY, end_headers=False), fields_continued(0, DUMMY)),
    case("RFC 9113 §10.5.1", "CONTINUATION without an end", request(1, options={"end_headers": False}), lambda c: continuation(1, b"", end_headers=False) * 100, connection_error(ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
]  # fmt: skip

CASES = (
    DATA_FRAMES + HEADERS_FRAMES + PRIORITY_FRAMES + RST_STREAM_FRAMES + SETTINGS_FRAMES + OTHER_FRAMES
    + WINDOW_UPDATE_FRAMES + CONTINUATION_FRAMES
)  # fmt: skip
