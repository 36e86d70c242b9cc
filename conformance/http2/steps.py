"""What a case is made of: steps that send, and steps that say what has to come back.

A step is either octets to send, or a function of the connection, whose result (if any) is sent.
"""

from dataclasses import dataclass

from wire import *  # noqa: F403

BARRIER = b"barrier!"
DUMMY = ("x-dummy", "d" * 4000)  # a field that makes a header block long
# Without a window the server cannot finish an answer: the stream stays half-closed (remote).
NO_WINDOW = settings((INITIAL_WINDOW_SIZE, 0))


@dataclass
class Case:
    rule: str  # the RFC and section that it holds the server to
    title: str
    steps: tuple
    handshake: bool = True

    def __str__(self):
        return f"{self.rule}: {self.title}"

    def run(self, address, tls, split):
        with Connection(address, tls, split) as connection:
            if self.handshake:
                connection.start()
            for step in self.steps:
                octets = step if isinstance(step, bytes) else step(connection)
                if octets:
                    connection.send(octets)


def case(rule, title, *steps, handshake=True):
    return Case(rule, title, steps, handshake)


def refused(rule, title, code, *steps, handshake=True):
    """A case that ends in a connection error."""
    return case(rule, title, *steps, connection_error(code), handshake=handshake)


def malformed(rule, title, *extra, **rest):
    """A request on stream 1 that is malformed: a stream error of type PROTOCOL_ERROR (RFC 9113 §8.1.1)."""
    return case(rule, title, request(1, *extra, **rest), stream_error(1, PROTOCOL_ERROR))


# Steps that send.


def request_fields(connection, method="GET", path="/", **replaced):
    """The header list of a plain request; `None` takes a pseudo-header field out."""
    scheme = "https" if connection.tls else "http"
    fields = {"method": method, "scheme": scheme, "path": path, "authority": connection.authority, **replaced}
    return [(f":{name}", value) for name, value in fields.items() if value is not None]


def headers(stream_id, fields, *, end_stream=True, end_headers=True, first=b"", last=b"", cuts=(), padding=None, dependency=None):
    """HEADERS with `fields` (or a function of the connection that makes them), and a CONTINUATION after each cut.

    `first` and `last` are raw HPACK before and after the fields; `dependency`: the stream it depends on, and a weight.
    """

    def step(connection):
        names = fields(connection) if callable(fields) else fields
        block = first + connection.encoder.encode(names) + last
        bounds = [0, *cuts, len(block)]
        pieces = [block[start:end] for start, end in zip(bounds, bounds[1:])]
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


def request(stream_id, *extra, before=(), end_stream=True, options=None, **pseudo):
    """A request with the header fields `extra` after the pseudo-header fields, `before` in front of them."""
    return headers(
        stream_id,
        lambda connection: [*before, *request_fields(connection, **pseudo), *extra],
        end_stream=end_stream,
        **(options or {}),
    )


def post(stream_id, *extra, **rest):
    """A request whose body follows."""
    return request(stream_id, *extra, method="POST", end_stream=False, **rest)


def fields_continued(stream_id, *fields, end_headers=True):
    """CONTINUATION with `fields`."""
    return lambda connection: frame(
        CONTINUATION, stream_id, connection.encoder.encode(fields), END_HEADERS if end_headers else 0
    )


def largest_frame(end_stream=True, more=0):
    """DATA as long as the server's SETTINGS_MAX_FRAME_SIZE, plus `more`."""
    return lambda connection: data(1, bytes(connection.settings.get(MAX_FRAME_SIZE, 16_384) + more), end_stream)


# Steps that expect. Frames that a step does not speak about are skipped, errors never are.


def unexpected(received, wanted, connection):
    came = "the end of the connection" if received is None else str(received)
    raise Failure(f"wanted {wanted}, got {came}; seen: {connection.history()}")


def names(codes):
    return " or ".join(error_name(code) for code in codes)


def connection_error(*codes):
    """GOAWAY with one of `codes`, then the end of the connection (RFC 9113 §5.4.1)."""

    def step(connection):
        wanted = f"GOAWAY {names(codes)}"
        while True:
            received = connection.poll()
            if received is None or received.type == GOAWAY and received.error_code not in codes:
                unexpected(received, wanted, connection)
            if received.type == GOAWAY:
                return closes(connection)

    return step


def closes(connection):
    """The end of the connection, whatever comes before it."""
    while connection.poll() is not None:
        pass


def stream_error(stream_id, *codes, alive=True):
    """RST_STREAM on the stream with one of `codes` (RFC 9113 §5.4.2); a connection error of that type will do.

    After a stream error the connection has to go on as before.
    """

    def step(connection):
        wanted = f"RST_STREAM {names(codes)} on {stream_id}"
        while True:
            received = connection.poll()
            if received is None:
                unexpected(received, wanted, connection)
            if received.type in (RST_STREAM, GOAWAY):
                if received.error_code not in codes or received.type == RST_STREAM and received.stream_id != stream_id:
                    unexpected(received, wanted, connection)
                if received.type == GOAWAY:
                    return closes(connection)
                return barrier(connection) if alive else None

    return step


def reset(stream_id, code):
    """RST_STREAM on the stream with this code, where nothing else will do."""

    def step(connection):
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


def frames(connection, wanted):
    """Frames until the caller has what it wants; an error or the end of the connection is never that."""
    while True:
        received = connection.poll()
        if received is None or received.type in (RST_STREAM, GOAWAY) and received.error_code != NO_ERROR:
            unexpected(received, wanted, connection)
        yield received


def answered(stream_id, status=None, **fields):
    """A response's header list, with this `:status` and these fields (underscores for hyphens)."""

    def step(connection):
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
                return None

    return step


def stream_ends(stream_id):
    """END_STREAM on the stream."""

    def step(connection):
        for received in frames(connection, f"END_STREAM on {stream_id}"):
            if received.stream_id == stream_id and received.ends_stream():
                return None

    return step


def data_of(stream_id, length):
    """A DATA frame of exactly `length` octets."""

    def step(connection):
        wanted = f"DATA of {length} on {stream_id}"
        for received in frames(connection, wanted):
            if received.type == DATA:
                if (received.stream_id, len(received.payload)) != (stream_id, length):
                    unexpected(received, wanted, connection)
                return None

    return step


def some_data(stream_id):
    """A DATA frame of any length above zero."""

    def step(connection):
        for received in frames(connection, f"DATA on {stream_id}"):
            if received.type == DATA and received.stream_id == stream_id and received.payload:
                return None

    return step


def settings_acknowledged(connection):
    """SETTINGS ACK, and no more SETTINGS of the server's own once the handshake is done."""
    for received in frames(connection, "SETTINGS ACK"):
        if received.type == SETTINGS and received.flags & ACK:
            return None
        if received.type == SETTINGS and connection.settings:
            unexpected(received, "SETTINGS ACK", connection)


def ping_acknowledged(payload):
    """PING ACK with this payload, before any other PING."""

    def step(connection):
        for received in frames(connection, f"PING ACK {payload!r}"):
            if received.type == PING:
                if received.payload != payload or received.flags & 0x1 == 0:
                    raise Failure(f"PING {received.payload!r} flags {received.flags}")
                return None

    return step


def barrier(connection, allowed=()):
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
            return None


def unanswered(stream_id):
    """Up to now, no response on the stream: what comes before a PING's answer, and in the tenth of a second after."""

    def step(connection):
        seen = len(connection.seen)
        barrier(connection)
        try:
            connection.poll(timeout=0.1)
        except Failure:
            pass
        early = [line for line in connection.seen[seen:] if line.startswith("HEADERS") and f" on {stream_id}" in line]
        if early:
            raise Failure(f"answered too early: {early[0]}")

    return step


def advertises(setting, *values):
    """The server's SETTINGS carried one of these values."""

    def step(connection):
        if connection.settings.get(setting) not in values:
            raise Failure(f"SETTINGS {connection.settings}, wanted {setting:#x} in {values}")

    return step
