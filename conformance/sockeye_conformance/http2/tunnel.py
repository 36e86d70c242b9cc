"""WebSocket frames (RFC 6455 §5) through an extended CONNECT stream (RFC 8441), as steps."""

import struct
from typing import Any

from .steps import answered, barrier, request, settings_acknowledged, unexpected
from .wire import (
    DATA,
    DEFAULT_WINDOW,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_WINDOW,
    NO_ERROR,
    RST_STREAM,
    Failure,
    data,
    settings,
    window_update,
)

CONTINUED, TEXT, BINARY, CLOSE, PING_FRAME, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODE_NAMES = {CONTINUED: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "Close", PING_FRAME: "Ping", PONG: "Pong"}
MASK = b"\x37\xfa\x21\x3d"


def message(
    opcode: int,
    payload: Any = b"",
    fin: bool = True,
    mask: bytes | None = MASK,
    rsv: int = 0,
    length_octets: Any = None,
    length: Any = None,
) -> Any:
    """A frame as a client sends it. `length_octets` of 2 or 8 picks a longer length field than needed; `length` lies."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if length is None else length
    if length_octets is None:
        length_octets = 0 if length < 126 else 2 if length < 65_536 else 8
    marker = {0: length, 2: 126, 8: 127}[length_octets]
    octets = bytes([fin << 7 | rsv << 4 | opcode, (0x80 if mask else 0) | marker])
    octets += length.to_bytes(length_octets, "big") if length_octets else b""
    if not mask:
        return octets + payload
    repeated = mask * (len(payload) // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return octets + mask + masked.to_bytes(len(payload), "big")


def close_frame(code: int | None = None, reason: bytes = b"") -> Any:
    return message(CLOSE, (struct.pack(">H", code) if code is not None else b"") + reason)


def connect(
    stream_id: int,
    *extra: Any,
    path: str = "/echo",
    protocol: str = "websocket",
    version: str = "13",
    end_stream: bool = False,
    **pseudo: Any,
) -> Any:
    """The extended CONNECT that asks for a WebSocket."""
    fields = [("sec-websocket-version", version)] if version else []
    return request(stream_id, *fields, *extra, method="CONNECT", path=path, protocol=protocol, end_stream=end_stream, **pseudo)


def opened(stream_id: int, *extra: Any, **rest: Any) -> Any:
    """A WebSocket on the stream: asked for and accepted with 200."""

    def step(connection: Any) -> None:
        connection.send(connect(stream_id, *extra, **rest)(connection))
        answered(stream_id, 200)(connection)
        if connection.ended:
            raise Failure("the response ended the stream")
        connection.tunnels[stream_id] = b""

    return step


def sends(stream_id: int, *pieces: bytes, end_stream: bool = False) -> Any:
    """Each piece in a DATA frame of its own."""
    return b"".join(data(stream_id, piece, end_stream and index == len(pieces)) for index, piece in enumerate(pieces, 1))


def flows(stream_id: int, octets: bytes, end_stream: bool = False) -> Any:
    """Octets in as many DATA frames as the windows need."""
    return lambda connection: connection.send_data(stream_id, octets, end_stream)


def next_frame(connection: Any, stream_id: int) -> Any:
    """The next whole WebSocket frame from the server, as (first octet, payload); None at END_STREAM."""
    while True:
        buffered = connection.tunnels[stream_id]
        parsed = split_frame(buffered)
        if parsed:
            first, payload, connection.tunnels[stream_id] = parsed
            return first, payload
        if stream_id in connection.tunnel_ends:
            if buffered:
                raise Failure(f"END_STREAM inside a frame, after {buffered[:20]!r}")
            return None
        received = connection.poll()
        if received is None or received.type == GOAWAY or (received.type == RST_STREAM and received.stream_id == stream_id):
            unexpected(received, "a WebSocket frame", connection)
        if received.type == DATA and received.stream_id in connection.tunnels:
            connection.tunnels[received.stream_id] += received.payload
            if received.ends_stream():
                connection.tunnel_ends.add(received.stream_id)


def split_frame(octets: bytes | bytearray) -> Any:
    """The first frame of a server and what follows it, or None when it is not whole yet."""
    if len(octets) < 2:
        return None
    if octets[1] & 0x80:
        raise Failure("the server masked a frame (RFC 6455 §5.1)")
    size = {126: 2, 127: 8}.get(octets[1], 0)
    length = int.from_bytes(octets[2 : 2 + size], "big") if size else octets[1]
    if len(octets) < 2 + size or len(octets) < 2 + size + length:
        return None
    return octets[0], octets[2 + size : 2 + size + length], octets[2 + size + length :]


def receives(stream_id: int, opcode: int, payload: Any = b"") -> Any:
    """The server's next message: in one frame or several, but exactly this."""

    def step(connection: Any) -> None:
        expected = payload.encode() if isinstance(payload, str) else payload
        found, first_opcode, fin = b"", None, False
        while not fin:
            arrived = next_frame(connection, stream_id)
            if arrived is None:
                raise Failure(f"END_STREAM instead of a {OPCODE_NAMES[opcode]} frame; seen: {connection.history()}")
            first, part = arrived
            if first & 0x70:
                raise Failure(f"RSV bits in {first:#x} (RFC 6455 §5.2)")
            if first_opcode is None:
                first_opcode = first & 0xF
            found, fin = found + part, bool(first & 0x80)
        if (first_opcode, found) != (opcode, expected):
            name = "nothing" if first_opcode is None else OPCODE_NAMES.get(first_opcode, hex(first_opcode))
            raise Failure(f"wanted {OPCODE_NAMES[opcode]} of {len(expected)}, got {name} of {len(found)}: {found[:40]!r}")

    return step


def echoed(stream_id: int, opcode: int, payload: Any) -> Any:
    """A message sent in one frame, and its echo."""

    def step(connection: Any) -> None:
        octets = payload.encode() if isinstance(payload, str) else payload
        connection.send_data(stream_id, message(opcode, octets))
        receives(stream_id, opcode, octets)(connection)

    return step


def closed_with(stream_id: int, *codes: Any, ours_ends: bool = False) -> Any:
    """Close with one of `codes` (None: a Close without one), then END_STREAM, and never RST_STREAM in place of it.

    Messages that were under way may come before it. `ours_ends`: we have already ended our side.
    """

    def step(connection: Any) -> None:
        while True:
            arrived = next_frame(connection, stream_id)
            if arrived is None:
                raise Failure(f"END_STREAM without Close; seen: {connection.history()}")
            first, payload = arrived
            if first & 0xF == CLOSE:
                break
        got = struct.unpack(">H", payload[:2])[0] if payload else None
        if got not in codes:
            raise Failure(f"Close {got} {payload[2:]!r}, wanted {' or '.join(map(str, codes))}")
        tunnel_ends(stream_id, ours_ends)(connection)

    return step


def tunnel_ends(stream_id: int, ours_ends: bool = False) -> Any:
    """END_STREAM with no more WebSocket frames; after our END_STREAM, still no RST_STREAM."""

    def step(connection: Any) -> None:
        arrived = next_frame(connection, stream_id)
        if arrived is not None:
            raise Failure(f"a frame {arrived[0]:#x} of {len(arrived[1])} where END_STREAM had to come")
        if not ours_ends:
            connection.send(data(stream_id, b"", True))
        # RST_STREAM NO_ERROR after END_STREAM asks us to stop sending (RFC 9113 §8.1); any other code is an error.
        barrier(connection, allowed=(NO_ERROR,))

    return step


def wide_open(connection: Any) -> None:
    """Windows so large that the server never waits for ours."""
    connection.send(settings((INITIAL_WINDOW_SIZE, MAX_WINDOW)) + window_update(0, MAX_WINDOW - DEFAULT_WINDOW))
    settings_acknowledged(connection)
