#!/usr/bin/env python3
"""HTTP/1.1 on a raw socket against `sockeye serve`: Host, Origin, and the ends of WebSockets.

One line per case, then how many passed; the exit status is 1 when one did not.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from ..harness import Report, Server, arguments, tls_context
from ..http2.tunnel import BINARY, CLOSE, CONTINUED, PING_FRAME, PONG, TEXT, close_frame, message, split_frame

TIMEOUT_SECONDS = 5.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20


class Connection:
    """One client connection. What a case sends, it sends as it is."""

    def __init__(self, server: Any) -> None:
        self.socket = socket.create_connection(server.address, timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.tls:
            self.socket = tls_context("http/1.1").wrap_socket(self.socket, server_hostname="localhost")
        self.host = f"localhost:{server.address[1]}"
        self.input = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()

    def more(self) -> Any:
        octets = self.socket.recv(65_536)
        self.input += octets
        return bool(octets)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def ask(self, *hosts: Any, target: str = "/", method: str = "GET", **fields: Any) -> Any:
        """A request with these Host fields, and its answer: the status, and the fields by name."""
        lines = [f"{method} {target} HTTP/1.1", *(f"Host: {host}" for host in hosts)]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return self.answer(method)

    def answer(self, method: str = "GET") -> Any:
        while b"\r\n\r\n" not in self.input:
            if not self.more():
                raise AssertionError(f"closed after {bytes(self.input)!r:.100}")
        head, _, rest = self.input.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":")[::2] for line in lines]
        self.dates = sum(name.lower() == "date" for name, _ in pairs)
        fields = {name.lower(): value.strip() for name, value in pairs}
        length = int(fields.get("content-length", 0)) if method != "HEAD" else 0
        while len(rest) < length:
            if not self.more():
                raise AssertionError("closed inside the content")
            rest = self.input.partition(b"\r\n\r\n")[2]
        self.input = bytearray(rest[length:])
        return int(status.split()[1]), fields

    def open(self, **extra: Any) -> None:
        status, _ = self.ask(self.host, target="/echo", **UPGRADE, **extra)
        equal(status, 101, "status")

    def frame(self) -> Any:
        """The next frame of the WebSocket: its first octet and its payload; None at the end of the connection."""
        while not (parsed := split_frame(self.input)):
            if not self.more():
                return None
        first, payload, self.input = parsed
        return first, bytes(payload)

    def receive(self) -> Any:
        """The next message, in however many frames: its opcode and its payload."""
        opcode, payload = None, []
        while True:
            arrived = self.frame()
            if arrived is None:
                raise AssertionError("closed instead of a message")
            opcode = arrived[0] & 0xF if opcode is None else opcode
            payload.append(arrived[1])
            if arrived[0] & 0x80:
                return opcode, b"".join(payload)


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.100}, wanted {expected!r:.100}")


# Checks, each of the server.


def status_is(wanted: Any, hosts: Any, **rest: Any) -> Any:
    """`hosts`: a function of the right one, which makes the Host fields."""

    def check(server: Any) -> None:
        with Connection(server) as connection:
            equal(connection.ask(*hosts(connection.host), **rest)[0], wanted, "status")

    return check


def second_request(server: Any) -> None:
    """The rule is for each request of a connection."""
    with Connection(server) as connection:
        equal(connection.ask(connection.host)[0], 200, "status of the first")
        equal(connection.ask()[0], 400, "status of the second")


def origin(scheme: Any, wanted: Any) -> Any:
    def check(server: Any) -> None:
        with Connection(server) as connection:
            status, _ = connection.ask(connection.host, target="/echo", **UPGRADE, origin=f"{scheme}://{connection.host}")
            equal(status, wanted, "status")

    return check


def dated_once(server: Any) -> None:
    with Connection(server) as connection:
        for target in ("/", "/no/such/path"):
            connection.ask(connection.host, target=target)
            equal(connection.dates, 1, f"Date fields of {target}")


def close_echoed(code: int, reason: bytes) -> Any:
    def check(server: Any) -> None:
        with Connection(server) as connection:
            connection.open()
            connection.send(close_frame(code, reason))
            equal(connection.frame(), (0x80 | CLOSE, code.to_bytes(2, "big") + reason), "Close")
            equal(connection.frame(), None, "what follows")

    return check


def fragmented(payload: Any, size: Any) -> Any:
    """The frames of a message, of `size` octets each."""
    starts = range(0, len(payload), size)
    return b"".join(message(BINARY if at == 0 else CONTINUED, payload[at : at + size], fin=at == starts[-1]) for at in starts)


def echoes_fragments(server: Any) -> None:
    payload = bytes(6 * MEBIBYTE)
    with Connection(server) as connection:
        connection.open()
        connection.send(fragmented(payload, 4 * KIBIBYTE))
        equal(connection.receive(), (BINARY, payload), "echo")


def too_many_fragments(server: Any) -> None:
    with Connection(server) as connection:
        connection.open()
        connection.send(fragmented(bytes(2000), 1))
        opcode, payload = connection.receive()
        equal((opcode, payload[:2]), (CLOSE, (1009).to_bytes(2, "big")), "Close")


def answers_pings(server: Any) -> None:
    with Connection(server) as connection:
        connection.open()
        for _ in range(3):
            first, payload = connection.frame()
            equal(first, 0x80 | PING_FRAME, "a frame")
            connection.send(message(PONG, payload))
        connection.send(message(TEXT, "well"))
        while (arrived := connection.receive())[0] == PING_FRAME:
            pass
        equal(arrived, (TEXT, b"well"), "echo")


def given_up(server: Any) -> None:
    """A client that answers no Ping is left: the connection ends."""
    with Connection(server) as connection:
        connection.open()
        equal(connection.frame()[0], 0x80 | PING_FRAME, "the first frame")
        connection.socket.settimeout(40)
        deadline = time.monotonic() + 40
        try:
            while connection.frame():
                if time.monotonic() > deadline:
                    raise AssertionError("not ended in 40 s")
        except ConnectionError:
            pass  # a reset, which is what becomes of a client that does not read


def not_pinged(server: Any) -> None:
    with Connection(server) as connection:
        connection.open()
        connection.socket.settimeout(3)
        try:
            raise AssertionError(f"came: {connection.frame()}")
        except TimeoutError:
            pass


HOST = {
    "RFC 9112 §3.2: one Host is accepted": status_is(200, lambda host: [host]),
    "RFC 9112 §3.2: a Host without a port is accepted": status_is(200, lambda host: ["localhost"]),
    "RFC 9112 §3.2: a Host that is an address is accepted": status_is(200, lambda host: ["[::1]:8080"]),
    "RFC 9112 §3.2: no Host gets 400": status_is(400, lambda host: []),
    "RFC 9112 §3.2: two Hosts get 400": status_is(400, lambda host: [host, "elsewhere.example"]),
    "RFC 9112 §3.2: two Hosts that are the same get 400": status_is(400, lambda host: [host, host]),
    "RFC 9112 §3.2: no Host gets 400 where there is nothing": status_is(400, lambda host: [], target="/no/such/path"),
    "RFC 9112 §3.2: no Host gets 400 for a POST": status_is(400, lambda host: [], method="POST", content_length="0"),
    "RFC 9112 §3.2: no Host gets 400 on a connection's second request": second_request,
    "RFC 9112 §3.2: no Host gets 400 for a WebSocket": status_is(400, lambda host: [], target="/echo", **UPGRADE),
    "RFC 9112 §3.2: two Hosts get 400 for a WebSocket": status_is(400, lambda host: [host, host], target="/echo", **UPGRADE),
    **{
        f"RFC 9112 §3.2: {title} gets 400": status_is(400, lambda host, wrong=wrong: [wrong])
        for title, wrong in {
            "a Host with a space": "local host",
            "a Host with a path": "localhost/path",
            "a Host with userinfo": "user@localhost",
            "a Host that is a list": "localhost, elsewhere.example",
            "a Host with a bracket that stays open": "[::1",
            "a Host with a port that is no number": "localhost:http",
        }.items()
    },
}
ENDS = {
    "RFC 9110 §6.6.1: an answer has one Date": dated_once,
    **{
        f"RFC 6455 §5.5.1: Close {code} {reason!r:.12} is echoed whole": close_echoed(code, reason)
        for code, reason in [(1000, b"done"), (1001, b""), (4999, b"r" * 123)]
    },
}
# Options of `serve`, whether over TLS, and checks.
GROUPS = [
    ((), False, {**HOST, **ENDS, "RFC 6454 §7: the server's own Origin is accepted": origin("http", 101)}),
    ((), True, {
        **{name: check for name, check in HOST.items() if "400" in name},
        "RFC 6454 §7: the server's own Origin is accepted": origin("https", 101),
        "RFC 6454 §7: the same host without TLS is another Origin, and gets 403": origin("http", 403),
    }),
    (("--max-message-size", str(16 * MEBIBYTE)), False, {
        "RFC 6455 §5.4: 6 MiB in fragments of 4 KiB are echoed": echoes_fragments,
        "RFC 6455 §7.4.1: 2,000 fragments of one octet are too many": too_many_fragments,
    }),
]  # fmt: skip
# They wait for seconds, each with a server of its own, beside the rest.
SLOW = {
    "RFC 6455 §5.5.2: --ping 1: a silent WebSocket gets Pings, and lives on where it answers": (("--ping", "1"), answers_pings),
    "RFC 6455 §5.5.2: --ping 1: one that does not answer is ended": (("--ping", "1"), given_up),
    "RFC 6455 §5.5.2: --ping 0: no Ping": (("--ping", "0"), not_pinged),
}  # fmt: skip


def alone(options: Any, check: Callable[..., Any]) -> None:
    with Server(*options, tls=False) as server:
        check(server)


def main() -> None:
    filtered = arguments(__doc__).parse_args().filter
    report = Report()
    with ThreadPoolExecutor(len(SLOW)) as pool:
        slow = {name: pool.submit(alone, *rest) for name, rest in SLOW.items() if filtered in name}
        for options, tls, checks in GROUPS:
            with Server(*options, tls=tls) as server:
                over = "TLS" if tls else "cleartext"
                for name, check in checks.items():
                    if filtered in name:
                        report.run(f"HTTP/1.1, {over}: {name}", lambda: check(server))
        for name, outcome in slow.items():
            report.run(f"HTTP/1.1, cleartext: {name}", outcome.result)
    report.finish()


if __name__ == "__main__":
    main()
