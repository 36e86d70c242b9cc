#!/usr/bin/env python3
"""How lives end on one HTTP/2 connection: WebSockets and requests that their client closes, cancels or leaves lying.

Each group of cases has a server with options of its own. What takes half a minute, since it waits for a time-out, runs
beside the rest. One line per case, then how many passed; the exit status is 1 when one did not.
"""

import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..harness import Report, Server, arguments
from .steps import answered, barrier, case, frames, post, request, reset, stream_ends, unexpected
from .tunnel import (
    BINARY,
    CLOSE,
    CONTINUED,
    PING_FRAME,
    PONG,
    TEXT,
    close_frame,
    closed_with,
    connect,
    echoed,
    flows,
    message,
    next_frame,
    opened,
    receives,
    sends,
    split_frame,
    wide_open,
)
from .wire import (
    ACK,
    CANCEL,
    DATA,
    DEFAULT_WINDOW,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PING,
    REFUSED_STREAM,
    RST_STREAM,
    Connection,
    Failure,
    data,
    ping,
    rst_stream,
)

KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
# The stream of a request for /stats: one that no case comes near with its own.
FIRST_OF_STATS = 100_001
# What no honest peer moves.
FAULTS = (
    "close_timeouts", "connection_errors", "messages_too_big", "panics", "ping_floods", "reset_floods", "resets_for_faults",
    "streams_refused", "web_socket_violations",
)  # fmt: skip
# What a page may wait for the answer to something small.
PROMPT_SECONDS = 1.0
# How soon a server knows of a reset that it has received.
AT_ONCE_SECONDS = 0.2


# Steps of their own.


def take(connection: Connection, seconds: float) -> Any:
    """The next frame, or None when none comes in time; octets of WebSockets go to their place."""
    try:
        received = connection.poll(timeout=seconds)
    except Failure:
        if connection.socket.fileno() < 0:
            raise
        return None
    if received is None or received.type == GOAWAY:
        unexpected(received, "that the connection goes on", connection)
    if received.type == DATA and received.stream_id in connection.tunnels:
        connection.tunnels[received.stream_id] += received.payload
    return received


def statistics(address: tuple[str, int]) -> Any:
    """/stats, on a connection of its own."""
    with Connection(address) as connection:
        connection.start()
        connection.send(request(1, path="/stats")(connection))
        answered(1, 200)(connection)
        content = b""
        for received in frames(connection, "the statistics"):
            if received.type == DATA:
                content += received.payload
            if received.ends_stream():
                return json.loads(content)


def server_of(connection: Connection) -> Any:
    return connection.socket.getpeername()


def without_faults(*steps: Any, meant: Any = None) -> Any:
    """The steps; no counter of faults moves for them but what is meant to."""

    def step(connection: Connection) -> None:
        before = statistics(server_of(connection))["counters"]
        for each in steps:
            octets = each if isinstance(each, bytes) else each(connection)
            if octets:
                connection.send(octets)
        after = statistics(server_of(connection))["counters"]
        moved = {name: after[name] - before[name] for name in FAULTS if after[name] != before[name]}
        if moved != (meant or {}):
            raise Failure(f"counted: {moved}")

    return step


def sockets_left(count: int, seconds: float = AT_ONCE_SECONDS) -> Any:
    """So many WebSockets are open, of all the server's, not later than in so many seconds."""

    def step(connection: Connection) -> None:
        deadline = time.monotonic() + seconds
        while True:
            late = time.monotonic() > deadline
            sockets = statistics(server_of(connection))["sockets"]
            if sockets == count:
                return
            if late:
                raise Failure(f"{sockets} sockets after {seconds} s, wanted {count}")

    return step


def within(seconds: float, *steps: Any) -> Any:
    """The steps, done in time."""

    def step(connection: Connection) -> None:
        started = time.monotonic()
        for each in steps:
            octets = each if isinstance(each, bytes) else each(connection)
            if octets:
                connection.send(octets)
        took = time.monotonic() - started
        if took > seconds:
            raise Failure(f"took {took:.2f} s, wanted at most {seconds}")

    return step


def answered_close(stream_id: int, code: int) -> Any:
    """Close with `code` and END_STREAM from the server. Our half stays open, as Firefox leaves it."""

    def step(connection: Connection) -> None:
        arrived = next_frame(connection, stream_id)
        if arrived is None or arrived[0] & 0xF != CLOSE or struct.unpack(">H", arrived[1][:2])[0] != code:
            raise Failure(f"wanted Close {code}, got {arrived}; seen: {connection.history()}")
        if next_frame(connection, stream_id) is not None:
            raise Failure("a frame after Close")

    return step


def closed_as_firefox(stream_id: int) -> Any:
    """Our Close, the server's answer, and nothing more of ours."""
    return lambda c: (c.send(sends(stream_id, close_frame(1000))), answered_close(stream_id, 1000)(c))[1]


def failed_by_server(stream_id: int, answer: Any) -> Any:
    """The server closes with 1002, and we say no more than a Close, in answer or at the same time."""

    def step(connection: Connection) -> None:
        unmasked = message(TEXT, "hello", mask=None)
        connection.send(sends(stream_id, unmasked) + (b"" if answer else sends(stream_id, close_frame(1000))))
        answered_close(stream_id, 1002)(connection)
        if answer:
            connection.send(sends(stream_id, close_frame(1002)))

    return step


def freed(*stream_ids: Any) -> Any:
    """RST_STREAM(NO_ERROR) has come for each stream that both sides have closed (RFC 9113 §8.1)."""

    def step(connection: Connection) -> None:
        deadline = time.monotonic() + PROMPT_SECONDS
        wanted = [f"RST_STREAM NO_ERROR on {stream_id}" for stream_id in stream_ids]
        while missing := [line for line in wanted if line not in connection.seen]:
            if time.monotonic() > deadline:
                raise Failure(f"no {missing[0]}; seen: {connection.history()}")
            take(connection, 0.05)

    return step


def not_ended(path: str) -> Any:
    """A refused extended CONNECT whose half of the stream its client never ends."""

    def step(connection: Connection) -> None:
        for stream_id in range(1, 41, 2):
            connection.send(connect(stream_id, path=path)(connection))
            answered(stream_id, 404)(connection)
            if not connection.ended:
                stream_ends(stream_id)(connection)

    return step


def cancelled(count: int, opening: Any, *, wait: Any) -> Any:
    """Streams opened and reset (CANCEL) by us, one after the other; `wait`: reset once they have been answered."""

    def step(connection: Connection) -> None:
        for stream_id in range(1, 2 * count, 2):
            connection.send(opening(stream_id)(connection))
            if wait:
                answered(stream_id, 200)(connection)
            connection.send(rst_stream(stream_id))
        barrier(connection)

    return step


def pushed(connection: Connection, stream_id: int, octets: bytes, seconds: float = 0.3) -> Any:
    """Sends while the server's windows let us; the rest, once they have let nothing through for so long."""
    connection.credit.setdefault(stream_id, connection.settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
    stopped = time.monotonic() + seconds
    while octets:
        room = min(connection.credit[0], connection.credit[stream_id], 16_384, len(octets))
        if not room and time.monotonic() >= stopped:
            break
        if room:
            connection.credit[0] -= room
            connection.credit[stream_id] -= room
            connection.send(data(stream_id, octets[:room]))
            octets, stopped = octets[room:], time.monotonic() + seconds
        take(connection, 0.0005 if room else 0.01)
    return octets


def fragments(opcode: int, payload: Any, size: Any) -> Any:
    """A message in frames of `size` octets each."""
    starts = range(0, len(payload), size)
    last = starts[-1]
    return b"".join(message(opcode if at == 0 else CONTINUED, payload[at : at + size], fin=at == last) for at in starts)


def whole_message(tunnel: Any) -> Any:
    """The payload of a message that has come whole, else None."""
    payload, rest = b"", bytes(tunnel)
    while parsed := split_frame(rest):
        first, part, rest = parsed
        payload += part
        if first & 0xF == CLOSE:
            raise Failure(f"Close {part!r} instead of the echo")
        if first & 0x80:
            return payload
    return None


def prompt_echo(connection: Connection, stream_id: int, octets: bytes, size: Any, meanwhile: Any = lambda: None) -> None:
    """The message's echo, of `size` octets, comes promptly; `meanwhile()` is called all the time."""
    connection.tunnels[stream_id] = bytearray()
    started = time.monotonic()
    while len(connection.tunnels[stream_id]) <= size or (payload := whole_message(connection.tunnels[stream_id])) is None:
        if (waited := time.monotonic() - started) > PROMPT_SECONDS:
            raise Failure(
                f"{len(connection.tunnels[stream_id])} of {size} octets of the echo after {waited:.1f} s, {len(octets)} not sent"
            )
        octets = pushed(connection, stream_id, octets, seconds=0)
        meanwhile()
        take(connection, 0.002)
    if len(payload) != size:
        raise Failure(f"an echo of {len(payload)} octets, wanted {size}")


def beside_a_slow_upload(upload: Any, sibling: Any, size: Any) -> Any:
    """5 MiB of an upload at once, then 1.25 MiB a second; a sibling's messages have their echo, and so has the upload."""

    def step(connection: Connection) -> None:
        connection.tunnels[1], connection.tunnels[3] = bytearray(), bytearray()
        head, rest = upload[: 5 * MEBIBYTE], upload[5 * MEBIBYTE :]
        rest = pushed(connection, 1, head) + rest
        due = time.monotonic()

        def meanwhile() -> None:
            nonlocal rest, due
            if time.monotonic() >= due:
                rest = pushed(connection, 1, rest[: 64 * KIBIBYTE], seconds=0) + rest[64 * KIBIBYTE :]
                due += 0.05

        for _ in range(3):
            prompt_echo(connection, 3, sibling, size, meanwhile)
        deadline = time.monotonic() + 20
        while whole_message(connection.tunnels[1]) is None:
            if time.monotonic() > deadline:
                raise Failure(f"the upload has no echo; {len(rest)} octets of it could not be sent")
            rest = pushed(connection, 1, rest, seconds=0.1)
            while take(connection, 0.05):
                pass

    return step


def beside_quiet_uploads(sibling: Any, size: Any) -> Any:
    """Six WebSockets send 734 KiB each of a message of 1 MiB, together 4.3 MiB, and go quiet; a sibling has its echo."""

    def step(connection: Connection) -> None:
        part = message(BINARY, bytes(MEBIBYTE))[: 734 * KIBIBYTE]
        for stream_id in range(1, 13, 2):
            pushed(connection, stream_id, part)
        for _ in range(3):
            prompt_echo(connection, 13, sibling, size)

    return step


def pinged(stream_id: int, seconds: float) -> Any:
    """A WebSocket Ping within so many seconds; its payload."""

    def step(connection: Connection) -> Any:
        deadline = time.monotonic() + seconds
        while not (parsed := split_frame(connection.tunnels[stream_id])):
            if time.monotonic() > deadline:
                raise Failure(f"no Ping in {seconds} s")
            received = take(connection, 0.1)
            if received and (received.type == RST_STREAM or received.ends_stream()):
                unexpected(received, "a Ping", connection)
        first, payload, connection.tunnels[stream_id] = parsed
        if first != 0x80 | PING_FRAME:
            raise Failure(f"wanted a Ping, got {first:#x} {payload!r}")
        return payload

    return step


def answers_pings(connection: Connection) -> None:
    """Three Pings, each answered, and the WebSocket lives on."""
    for _ in range(3):
        payload = pinged(1, 3)(connection)
        connection.send(sends(1, message(PONG, payload)))
    connection.send(sends(1, message(TEXT, "well")))
    while not (parsed := split_frame(connection.tunnels[1])) or parsed[0] & 0xF == PING_FRAME:
        if parsed:
            connection.tunnels[1] = parsed[2]
        take(connection, 2)
    if parsed[:2] != (0x80 | TEXT, b"well"):
        raise Failure(f"wanted the echo, got {parsed[:2]}")


def given_up(connection: Connection) -> Any:
    """A Ping, and RST_STREAM(CANCEL) for want of its Pong, though HTTP/2's own PING is answered; a sibling lives on."""
    pinged(1, 3)(connection)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        received = take(connection, 0.2)
        while parsed := split_frame(connection.tunnels[3]):
            connection.tunnels[3] = parsed[2]
            if parsed[0] & 0xF == PING_FRAME:
                connection.send(sends(3, message(PONG, parsed[1])))
        if received and received.type == PING and not received.flags & ACK:
            connection.send(ping(received.payload, ack=True))
        if received and received.type == RST_STREAM:
            if (received.stream_id, received.error_code) != (1, CANCEL):
                unexpected(received, "RST_STREAM CANCEL on 1", connection)
            return barrier(connection)
    raise Failure("not reset in 40 s")


def not_pinged(connection: Connection) -> None:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        take(connection, 0.2)
    if connection.tunnels[1]:
        raise Failure(f"a frame came: {connection.tunnels[1]!r}")


def trickles(seconds: float) -> Any:
    """One DATA frame whose octets take so long, no PING answered meanwhile: our answer cannot overtake the frame."""

    def step(connection: Connection) -> None:
        octets = data(1, message(BINARY, bytes(10_000)))
        pieces = int(seconds / 0.25)
        size = len(octets) // pieces + 1
        for start in range(0, len(octets), size):
            connection.send(octets[start : start + size])
            time.sleep(0.25)
        # The PINGs that came meanwhile, in order.
        while (received := take(connection, 2)) is not None:
            if received.type == PING and not received.flags & ACK:
                connection.send(ping(received.payload, ack=True))
            if received.type == DATA:
                break
        receives(1, BINARY, bytes(10_000))(connection)

    return step


def silent(connection: Connection) -> None:
    """A peer that is silent for good is ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if connection.poll(timeout=1) is None:
                return
        except Failure as failure:
            if "cut off" in str(failure):
                return
    raise Failure("not ended in 30 s")


# Cases.


def prompt_after(title: str, *steps: Any, meant: Any = None) -> Any:
    """After the steps, a WebSocket and a request are served promptly."""
    return case(
        "RFC 9113 §5.1.2",
        title,
        without_faults(
            *steps,
            within(
                PROMPT_SECONDS,
                opened(99_991),
                echoed(99_991, TEXT, "well"),
                request(99_993),
                answered(99_993, 200),
                stream_ends(99_993),
            ),
            meant=meant,
        ),
    )


def each(make: Any, *stream_ids: Any) -> Any:
    return [make(stream_id) for stream_id in stream_ids]


# The server is made to close by a rule broken in each of two sockets, which is what is counted.
VIOLATED = {"web_socket_violations": 2}
FEW_STREAMS = [
    prompt_after("two WebSockets closed by a client that never ends its half hold no place", *each(opened, 1, 3), *each(closed_as_firefox, 1, 3)),
    prompt_after("forty such, two at a time", *(step for n in range(1, 81, 4) for step in (*each(opened, n, n + 2), *each(closed_as_firefox, n, n + 2)))),
    prompt_after("two that the server closed, each answered by Close without END_STREAM", *each(opened, 1, 3), failed_by_server(1, True), failed_by_server(3, True), meant=VIOLATED),
    prompt_after("two that both sides closed at once, without END_STREAM", *each(opened, 1, 3), failed_by_server(1, False), failed_by_server(3, False), meant=VIOLATED),
    prompt_after("twenty refused, without END_STREAM", not_ended("/no/such/path")),
    prompt_after("two that were cancelled", *each(opened, 1, 3), *each(rst_stream, 1, 3)),
    prompt_after("two ended by END_STREAM without Close", *each(opened, 1, 3), sends(1, b"", end_stream=True), sends(3, b"", end_stream=True)),
    prompt_after("two stalled uploads that were cancelled", *each(post, 1, 3), data(1, b"test"), *each(rst_stream, 1, 3)),
    case("RFC 9113 §8.1", "what both sides have closed is reset with NO_ERROR when its place is wanted", opened(1), opened(3), *each(closed_as_firefox, 1, 3), opened(5), opened(7), freed(1, 3)),
    case("RFC 9113 §8.1", "END_STREAM from a client that comes after that reset is no fault", *each(opened, 1, 3), *each(closed_as_firefox, 1, 3), opened(5), data(1, b"", True), data(3, b"", True), lambda c: barrier(c, allowed=(NO_ERROR,)), without_faults(echoed(5, TEXT, "well"))),
    case("RFC 9113 §5.1.2", "a third beside two that are open is refused, and the two live on", *each(opened, 1, 3), connect(5), reset(5, REFUSED_STREAM), echoed(1, TEXT, "one"), echoed(3, TEXT, "two")),
]  # fmt: skip

CANCELLED = [
    prompt_after("150 WebSockets opened and cancelled", cancelled(150, connect, wait=True)),
    prompt_after("150 WebSockets cancelled before they were answered", cancelled(150, connect, wait=False)),
    prompt_after("150 stalled uploads cancelled", cancelled(150, post, wait=False)),
    prompt_after("150 requests cancelled before they were answered", cancelled(150, request, wait=False)),
    case("RFC 8441 §5", "sixty WebSockets cancelled at once are gone at once, and counted as no fault", without_faults(*each(opened, *range(1, 121, 2)), sockets_left(60), b"".join(each(rst_stream, *range(1, 121, 2))), sockets_left(0), opened(121), echoed(121, TEXT, "well"))),
    case("RFC 8441 §5", "sixty closed by a client that never ends its half are gone at once", without_faults(*each(opened, *range(1, 121, 2)), *each(closed_as_firefox, *range(1, 121, 2)), sockets_left(0))),
    case("RFC 8441 §5", "messages before a cancel are no fault either", without_faults(*each(opened, 1, 3), sends(1, *[message(TEXT, "x" * 1000)] * 20), rst_stream(1), echoed(3, TEXT, "well"), sockets_left(1))),
]  # fmt: skip

SIX_MEBIBYTES, UPLOAD, MIDDLING = bytes(6 * MEBIBYTE), bytes(15 * MEBIBYTE), bytes(200 * KIBIBYTE)
# In fragments a message may become large, and passes others while it is small.
SMALLER = bytes(128 * KIBIBYTE)
WIDE = (wide_open, *each(opened, 1, 3))


def sibling(title: str, upload: Any, octets: bytes) -> Any:
    return case("RFC 9113 §5.2.1", title, *WIDE, beside_a_slow_upload(upload, octets, len(MIDDLING)))


LARGE_MESSAGES = [
    case("RFC 6455 §5.4", "6 MiB in fragments of 4 KiB are echoed", wide_open, opened(1), flows(1, fragments(BINARY, SIX_MEBIBYTES, 4 * KIBIBYTE)), receives(1, BINARY, SIX_MEBIBYTES)),
    case("RFC 6455 §5.4", "15 MiB in fragments of 16 KiB are echoed", wide_open, opened(1), flows(1, fragments(BINARY, UPLOAD, 16 * KIBIBYTE)), receives(1, BINARY, UPLOAD)),
    case("RFC 6455 §7.4.1", "2,000 fragments of one octet are too many", wide_open, opened(1), sends(1, fragments(BINARY, bytes(2000), 1)[:-1]), closed_with(1, 1009)),
    case("RFC 6455 §7.4.1", "2,000 empty fragments are too many", wide_open, opened(1), sends(1, message(BINARY, b"", fin=False) + message(CONTINUED, b"", fin=False) * 2000), closed_with(1, 1009)),
    sibling("200 KiB beside a slow upload of 15 MiB have their echo", message(BINARY, UPLOAD), message(BINARY, MIDDLING)),
    sibling("200 KiB beside a slow upload in fragments", fragments(BINARY, UPLOAD, 64 * KIBIBYTE), message(BINARY, MIDDLING)),
    sibling("200 KiB in fragments beside a slow upload", message(BINARY, UPLOAD), fragments(BINARY, MIDDLING, 4 * KIBIBYTE)),
    sibling("200 KiB in fragments beside a slow upload in fragments", fragments(BINARY, UPLOAD, 64 * KIBIBYTE), fragments(BINARY, MIDDLING, 4 * KIBIBYTE)),
]  # fmt: skip

QUIET = (wide_open, *each(opened, *range(1, 15, 2)))
QUIET_UPLOADS = [
    case("RFC 9113 §5.2.1", "200 KiB beside six quiet uploads have their echo", *QUIET, beside_quiet_uploads(message(BINARY, MIDDLING), len(MIDDLING))),
    case("RFC 9113 §5.2.1", "128 KiB in fragments beside six quiet uploads", *QUIET, beside_quiet_uploads(fragments(BINARY, SMALLER, 4 * KIBIBYTE), len(SMALLER))),
    case("RFC 9113 §5.2.1", "one octet beside six quiet uploads", *QUIET, beside_quiet_uploads(message(BINARY, b"!"), 1)),
]  # fmt: skip

GROUPS = [
    (("--max-streams", "2"), FEW_STREAMS),
    (("--max-streams", "100"), CANCELLED),
    (("--max-message-size", str(16 * MEBIBYTE)), LARGE_MESSAGES),
    ((), QUIET_UPLOADS),
]  # fmt: skip

# They wait for seconds, and ask next to nothing of the machine: each has its own server, and they run at the same time.
SLOW = [
    (("--ping", "1"), case("RFC 6455 §5.5.2", "--ping 1: a silent WebSocket gets Pings, and lives on where it answers", opened(1), answers_pings)),
    (("--ping", "1"), case("RFC 6455 §5.5.2", "--ping 1: one that does not answer is reset with CANCEL, its sibling is not", opened(1), opened(3), given_up)),
    (("--ping", "0"), case("RFC 6455 §5.5.2", "--ping 0: no Ping", opened(1), not_pinged)),
    (("--keep-alive", "1", "--ping", "0"), case("RFC 9113 §6.7", "--keep-alive 1: any octet shows that a peer is there", opened(1), trickles(25))),
    (("--keep-alive", "1"), case("RFC 9113 §6.7", "--keep-alive 1: a peer that is silent is ended", opened(1), silent)),
]  # fmt: skip


def alone(options: Any, each: Any) -> None:
    with Server(*options, tls=False) as server:
        each.run(server.address, False, None)


def main() -> None:
    filtered = arguments(__doc__).parse_args().filter
    report = Report()
    with ThreadPoolExecutor(len(SLOW)) as pool:
        slow = [(each, pool.submit(alone, options, each)) for options, each in SLOW if filtered in str(each)]
        for options, cases in GROUPS:
            cases = [each for each in cases if filtered in str(each)]
            if not cases:
                continue
            with Server(*options, tls=False) as server:
                for each in cases:
                    report.run(str(each), lambda: each.run(server.address, False, None))
                report.run(f"serve {' '.join(options)}: nothing is logged", lambda: equal(server.log, [], "log"))
        for each, outcome in slow:
            report.run(str(each), outcome.result)
    report.finish()


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise Failure(f"{what}: got {actual!r:.200}, wanted {expected!r}")


if __name__ == "__main__":
    main()
