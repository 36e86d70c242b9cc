"""What a case is made of: steps that send, and steps that say what has to come back.

A step is either octets to send, or a function of the connection, whose result (if any) is sent.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY_FLAG,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    Connection,
    Failure,
    continuation,
    data,
    error_name,
    frame,
    ping,
    priority,
    settings,
)

BARRIER = b"barrier!"
DUMMY = ("x-dummy", "d" * 4000)  # a field that makes a header block long
# Without a window the server cannot finish an answer: the stream stays half-closed (remote).
NO_WINDOW = settings((INITIAL_WINDOW_SIZE, 0))


@dataclass
class Case:
    rule: str  # the RFC and section that it holds the server to
    title: str
    steps: tuple[Any, ...]
    handshake: bool = True

    def __str__(self) -> str:
        return f"{self.rule}: {self.title}"

    def run(self, address: tuple[str, int], tls: bool, split: Any) -> None:
        with Connection(address, tls, split) as connection:
            if self.handshake:
                connection.start()
            for step in self.steps:
                octets = step if isinstance(step, bytes) else step(connection)
                if octets:
                    connection.send(octets)


def case(rule: str, title: str, *steps: Any, handshake: bool = True) -> Any:
    return Case(rule, title, steps, handshake)


def refused(rule: str, title: str, code: int, *steps: Any, handshake: bool = True) -> Any:
    """A case that ends in a connection error."""
    return case(rule, title, *steps, connection_error(code), handshake=handshake)


def malformed(rule: str, title: str, *extra: Any, **rest: Any) -> Any:
    """A request on stream 1 that is malformed: a stream error of type PROTOCOL_ERROR (RFC 9113 §8.1.1)."""
    return case(rule, title, request(1, *extra, **rest), stream_error(1, PROTOCOL_ERROR))


# Steps that send.


def request_fields(connection: Connection, method: str = "GET", path: str = "/", **replaced: Any) -> Any:
    """The header list of a plain request; `None` takes a pseudo-header field out."""
    scheme = "https" if connection.tls else "http"
    fields = {"method": method, "scheme": scheme, "path": path, "authority": connection.authority, **replaced}
    return [(f":{name}", value) for name, value in fields.items() if value is not None]


def headers(
    stream_id: int,
    fields: Any,
    *,
    end_stream: bool = True,
    end_headers: bool = True,
    first: bytes = b"",
    last: bytes = b"",
    cuts: Any = (),
    padding: Any = None,
    dependency: Any = None,
) -> Any:
    """HEADERS with `fields` (or a function of the connection that makes them), and a CONTINUATION after each cut.

    `first` and `last` are raw HPACK before and after the fields; `dependency`: the stream it depends on, and a weight.
    """

    def step(connection: Connection) -> Any:
        names = fields(connection) if callable(fields) else fields
        block = first + connection.encoder.encode(names) + last
        bounds = [0, *cuts, len(block)]
        pieces = [block[start:end] for start, end in pairwise(bounds)]
        flags = END_STREAM if end_stream else 0
        if len(pieces) == 1 and end_headers:
            flags |= END_HEADERS
        payload = pieces[0]
        if dependency is not None:
            flags, payload = flags | PRIORITY_FLAG, priority(0, *dependency)[9:] + payload
        if padding is not None:
            flags, payload = flags | PADDED, bytes([padding]) + payload + bytes(padding)
        octets = frame(HEADERS, stream_id, payload, flags)
        for index, piece in enumerate(pieces[1:], start=2):
            octets += continuation(stream_id, piece, end_headers and index == len(pieces))
        return octets

    return step


def request(stream_id: int, *extra: Any, before: Any = (), end_stream: bool = True, options: Any = None, **pseudo: Any) -> Any:
    """A request with the header fields `extra` after the pseudo-header fields, `before` in front of them."""
    return headers(
        stream_id,
        lambda connection: [*before, *request_fields(connection, **pseudo), *extra],
        end_stream=end_stream,
        **(options or {}),
    )


def post(stream_id: int, *extra: Any, **rest: Any) -> Any:
    """A request whose body follows."""
    return request(stream_id, *extra, method="POST", end_stream=False, **rest)


def fields_continued(stream_id: int, *fields: Any, end_headers: bool = True) -> Any:
    """CONTINUATION with `fields`."""
    return lambda connection: frame(CONTINUATION, stream_id, connection.encoder.encode(fields), END_HEADERS if end_headers else 0)


def largest_frame(end_stream: bool = True, more: int = 0) -> Any:
    """DATA as long as the server's SETTINGS_MAX_FRAME_SIZE, plus `more`."""
    return lambda connection: data(1, bytes(connection.settings.get(MAX_FRAME_SIZE, 16_384) + more), end_stream)


# Steps that expect. Frames that a step does not speak about are skipped, errors never are.


def unexpected(received: Any, wanted: Any, connection: Connection) -> None:
    came = "the end of the connection" if received is None else str(received)
    raise Failure(f"wanted {wanted}, got {came}; seen: {connection.history()}")


def names(codes: Any) -> Any:
    return " or ".join(error_name(code) for code in codes)


def connection_error(*codes: Any) -> Any:
    """GOAWAY with one of `codes`, then the end of the connection (RFC 9113 §5.4.1)."""

    def step(connection: Connection) -> Any:
        wanted = f"GOAWAY {names(codes)}"
        while True:
            received = connection.poll()
            if received is None or (received.type == GOAWAY and received.error_code not in codes):
                unexpected(received, wanted, connection)
            if received.type == GOAWAY:
                return closes(connection)

    return step


def closes(connection: Connection) -> None:
    """The end of the connection, whatever comes before it."""
    while connection.poll() is not None:
        pass


def stream_error(stream_id: int, *codes: Any, alive: bool = True) -> Any:
    """RST_STREAM on the stream with one of `codes` (RFC 9113 §5.4.2); a connection error of that type will do.

    After a stream error the connection has to go on as before.
    """

    def step(connection: Connection) -> Any:
        wanted = f"RST_STREAM {names(codes)} on {stream_id}"
        while True:
            received = connection.poll()
            if received is None:
                unexpected(received, wanted, connection)
            if received.type in (RST_STREAM, GOAWAY):
                if received.error_code not in codes or (received.type == RST_STREAM and received.stream_id != stream_id):
                    unexpected(received, wanted, connection)
                if received.type == GOAWAY:
                    return closes(connection)
                return barrier(connection) if alive else None

    return step


def reset(stream_id: int, code: int) -> Any:
    """RST_STREAM on the stream with this code, where nothing else will do."""

    def step(connection: Connection) -> Any:
        wanted = f"RST_STREAM {error_name(code)} on {stream_id}"
        while True:
            received = connection.poll()
            if received is None or received.type == GOAWAY:
                unexpected(received, wanted, connection)
            if received.type == RST_STREAM:
                if (received.stream_id, received.error_code) != (stream_id, code):
                    unexpected(received, wanted, connection)
                return barrier(connection)

    return step


def frames(connection: Connection, wanted: Any) -> Iterator[Any]:
    """Frames until the caller has what it wants; an error or the end of the connection is never that."""
    while True:
        received = connection.poll()
        if received is None or (received.type in (RST_STREAM, GOAWAY) and received.error_code != NO_ERROR):
            unexpected(received, wanted, connection)
        yield received


def answered(stream_id: int, status: int | None = None, **fields: Any) -> Any:
    """A response's header list, with this `:status` and these fields (underscores for hyphens)."""

    def step(connection: Connection) -> None:
        wanted = f"a response {status or ''} {fields or ''} on {stream_id}"
        for received in frames(connection, wanted):
            if received.type == HEADERS and received.stream_id == stream_id:
                expected = {name.replace("_", "-"): value for name, value in fields.items()}
                if status:
                    expected[":status"] = str(status)
                got = {name: received.fields.get(name) for name in expected}
                if got != expected:
                    raise Failure(f"wanted {wanted}, got {received.fields}")
                connection.ended = received.ends_stream()
                return

    return step


def stream_ends(stream_id: int) -> Any:
    """END_STREAM on the stream."""

    def step(connection: Connection) -> None:
        for received in frames(connection, f"END_STREAM on {stream_id}"):
            if received.stream_id == stream_id and received.ends_stream():
                return

    return step


def data_of(stream_id: int, length: Any) -> Any:
    """A DATA frame of exactly `length` octets."""

    def step(connection: Connection) -> None:
        wanted = f"DATA of {length} on {stream_id}"
        for received in frames(connection, wanted):
            if received.type == DATA:
                if (received.stream_id, len(received.payload)) != (stream_id, length):
                    unexpected(received, wanted, connection)
                return

    return step


def some_data(stream_id: int) -> Any:
    """A DATA frame of any length above zero."""

    def step(connection: Connection) -> None:
        for received in frames(connection, f"DATA on {stream_id}"):
            if received.type == DATA and received.stream_id == stream_id and received.payload:
                return

    return step


def settings_acknowledged(connection: Connection) -> None:
    """SETTINGS ACK, and no more SETTINGS of the server's own once the handshake is done."""
    for received in frames(connection, "SETTINGS ACK"):
        if received.type == SETTINGS and received.flags & ACK:
            return
        if received.type == SETTINGS and connection.settings:
            unexpected(received, "SETTINGS ACK", connection)


def ping_acknowledged(payload: Any) -> Any:
    """PING ACK with this payload, before any other PING."""

    def step(connection: Connection) -> None:
        for received in frames(connection, f"PING ACK {payload!r}"):
            if received.type == PING:
                if received.payload != payload or received.flags & 0x1 == 0:
                    raise Failure(f"PING {received.payload!r} flags {received.flags}")
                return

    return step


def barrier(connection: Connection, allowed: Any = ()) -> None:
    """A PING and its answer: the server has taken in all that we sent, and is well.

    Meanwhile no stream may be reset, but with the error codes in `allowed`.
    """
    connection.send(ping(BARRIER))
    while True:
        received = connection.poll()
        if received is None or received.type == GOAWAY:
            unexpected(received, "PING ACK", connection)
        if received.type == RST_STREAM and received.error_code not in allowed:
            unexpected(received, "no RST_STREAM", connection)
        if received.type == PING and received.payload == BARRIER:
            return


def unanswered(stream_id: int) -> Any:
    """Up to now, no response on the stream: what comes before a PING's answer, and in the tenth of a second after."""

    def step(connection: Connection) -> None:
        seen = len(connection.seen)
        barrier(connection)
        with suppress(Failure):
            connection.poll(timeout=0.1)
        early = [line for line in connection.seen[seen:] if line.startswith("HEADERS") and f" on {stream_id}" in line]
        if early:
            raise Failure(f"answered too early: {early[0]}")

    return step


def advertises(setting: Any, *values: Any) -> Any:
    """The server's SETTINGS carried one of these values."""

    def step(connection: Connection) -> None:
        if connection.settings.get(setting) not in values:
            raise Failure(f"SETTINGS {connection.settings}, wanted {setting:#x} in {values}")

    return step
