"""HTTP/2 on a raw socket: nothing is checked and nothing is hidden, so that a case can break any rule."""

import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import hpack

from ..harness import tls_context

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
FRAME_NAMES = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
]
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 0x8
ERROR_NAMES = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY,
 HTTP_1_1_REQUIRED) = range(14)  # fmt: skip
DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1
TIMEOUT_SECONDS = 2.0  # what other suites give a server, too


class Failure(Exception):
    """The server did something other than what the case expects."""


class Frame(NamedTuple):
    type: int
    flags: int
    stream_id: int
    payload: bytes
    fields: Mapping[str, str] = MappingProxyType({})  # of HEADERS: the header list; a repeated name keeps its last value

    @property
    def error_code(self) -> Any:
        """Of RST_STREAM and GOAWAY."""
        return struct.unpack_from(">I", self.payload, 4 if self.type == GOAWAY else 0)[0]

    def ends_stream(self) -> Any:
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    def __str__(self) -> str:
        name = FRAME_NAMES[self.type] if self.type < 10 else f"type {self.type:#x}"
        detail = f" {error_name(self.error_code)}" if self.type in (RST_STREAM, GOAWAY) else f" of {len(self.payload)}"
        return f"{name}{detail} on {self.stream_id}" + (" END_STREAM" if self.ends_stream() else "")


def error_name(code: int) -> Any:
    return ERROR_NAMES[code] if code < len(ERROR_NAMES) else f"{code:#x}"


# Frames as octets. `length` and `flags` may lie.


def frame(frame_type: int, stream_id: int, payload: Any = b"", flags: int = 0, length: Any = None) -> Any:
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", frame_type, flags, stream_id) + payload


def data(stream_id: int, payload: Any = b"", end_stream: bool = False, padding: Any = None) -> Any:
    flags = END_STREAM if end_stream else 0
    if padding is not None:
        flags, payload = flags | PADDED, bytes([padding]) + payload + bytes(padding)
    return frame(DATA, stream_id, payload, flags)


def settings(*pairs: Any) -> Any:
    return frame(SETTINGS, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def ping(payload: Any = bytes(8), ack: bool = False) -> Any:
    return frame(PING, 0, payload, ACK if ack else 0)


def goaway(code: int, last: int = 0, debug: bytes = b"") -> Any:
    return frame(GOAWAY, 0, struct.pack(">II", last, code) + debug)


def rst_stream(stream_id: int, code: int = CANCEL) -> Any:
    return frame(RST_STREAM, stream_id, struct.pack(">I", code))


def window_update(stream_id: int, increment: int) -> Any:
    return frame(WINDOW_UPDATE, stream_id, struct.pack(">I", increment))


def priority(stream_id: int, depends_on: int = 0, weight: int = 255, exclusive: bool = False) -> Any:
    return frame(PRIORITY, stream_id, struct.pack(">IB", depends_on | exclusive << 31, weight))


def continuation(stream_id: int, block: Any, end_headers: bool = True) -> Any:
    return frame(CONTINUATION, stream_id, block, END_HEADERS if end_headers else 0)


class Connection:
    """One client connection. `split`: how many octets go into one write, for a server that must not care."""

    def __init__(self, address: tuple[str, int], tls: bool = False, split: Any = None) -> None:
        self.socket: Any = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            # An end without close_notify is no orderly one (RFC 8446 §6.1).
            self.socket = tls_context("h2").wrap_socket(self.socket, server_hostname="localhost", suppress_ragged_eofs=False)
            if self.socket.selected_alpn_protocol() != "h2":
                raise Failure("the server did not select h2 by ALPN")
        self.tls, self.split = tls, split
        self.authority = f"localhost:{address[1]}"
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.settings: dict[int, int] = {}
        self.input = b""
        self.waiting: deque[Frame] = deque()
        self.seen: list[str] = []
        self.credit = {0: DEFAULT_WINDOW}  # what the server allows us to send
        # Octets that arrived on a WebSocket and are not parsed yet.
        self.tunnels: dict[int, Any] = {}
        self.tunnel_ends: set[int] = set()
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()

    def start(self) -> None:
        """Prefaces and SETTINGS in both directions, acknowledged (RFC 9113 §3.4)."""
        self.send(PREFACE + settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)))
        ours = theirs = False
        while not (ours and theirs):
            received = self.read()
            if received.type == SETTINGS and received.flags & ACK:
                ours = True
            elif received.type == SETTINGS:
                theirs = True
                pairs = struct.iter_unpack(">HI", received.payload)
                self.settings = dict(pairs)
                self.send(frame(SETTINGS, 0, flags=ACK))
            elif received.type != WINDOW_UPDATE:
                raise Failure(f"{received} before the handshake was done")

    def send(self, octets: bytes) -> None:
        """A server that has already hung up is not an error here: what it said before is what counts."""
        try:
            head = 4096 if self.split else 0  # beyond that, small writes only cost time
            for start in range(0, min(len(octets), head), self.split or 1):
                self.socket.sendall(octets[start : min(start + self.split, head)])
            self.socket.sendall(octets[head:])
        except OSError:
            pass

    def send_data(self, stream_id: int, payload: Any, end_stream: bool = False) -> None:
        """DATA as the server's windows and frame size allow (RFC 9113 §6.9); what arrives meanwhile is kept."""
        self.credit.setdefault(stream_id, self.settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
        while payload:
            room = min(self.credit[0], self.credit[stream_id], self.settings.get(MAX_FRAME_SIZE, 16_384), len(payload))
            if room == 0:
                received = self._receive(time.monotonic() + TIMEOUT_SECONDS)
                if received is None:
                    raise Failure("closed while we waited for credit")
                self.waiting.append(received)
                continue
            part, payload = payload[:room], payload[room:]
            self.credit[0] -= room
            self.credit[stream_id] -= room
            self.send(data(stream_id, part, end_stream=end_stream and not payload))

    def _note_credit(self, received: Any) -> None:
        # A stream that has not sent DATA yet may get credit, too.
        self.credit.setdefault(received.stream_id, self.settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
        self.credit[received.stream_id] += struct.unpack(">I", received.payload)[0]

    def _receive(self, deadline: float) -> Any:
        """The next frame, a header block in one piece; None once the server has closed."""
        received = self._receive_frame(deadline)
        if received is None:
            return None
        if received.type == WINDOW_UPDATE:
            self._note_credit(received)
        if received.type == DATA and received.payload:
            # No case is about the connection's window running out: only streams are ever held back.
            self.send(window_update(0, len(received.payload)))
        if received.type == HEADERS:
            block, flags = received.payload, received.flags
            while not flags & END_HEADERS:
                more = self._receive_frame(deadline)
                if more is None or more.type != CONTINUATION:
                    raise Failure(f"{more} inside a header block")
                block, flags = block + more.payload, more.flags
            # At once and for every block, wanted or not: HPACK's table is one for the connection.
            received = received._replace(fields={str(name): str(value) for name, value in self.decoder.decode(block)})
        return received

    def _receive_frame(self, deadline: float) -> Any:
        while len(self.input) < 9 or len(self.input) < 9 + int.from_bytes(self.input[:3], "big"):
            try:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                octets = self.socket.recv(65_536)
            except TimeoutError:
                raise Failure(f"nothing more came; seen: {self.history()}") from None
            except OSError as error:
                # A reset may take back what the server said last.
                raise Failure(f"cut off ({error}); seen: {self.history()}") from None
            if not octets and self.input:
                raise Failure(f"the end of the connection inside a frame: {self.input[:64]!r}")
            if not octets:
                return None
            self.input += octets
        length = int.from_bytes(self.input[:3], "big")
        frame_type, flags, stream_id = struct.unpack_from(">BBI", self.input, 3)
        received = Frame(frame_type, flags, stream_id & MAX_WINDOW, self.input[9 : 9 + length])
        self.input = self.input[9 + length :]
        return received

    def poll(self, timeout: float = TIMEOUT_SECONDS) -> Any:
        """The next frame; None once the server has closed; a Failure when neither comes in time."""
        received = self.waiting.popleft() if self.waiting else self._receive(time.monotonic() + timeout)
        self.seen.append(str(received) if received else "end of the connection")
        return received

    def read(self) -> Any:
        """The next frame; a Failure when there is none."""
        received = self.poll()
        if received is None:
            raise Failure(f"closed; seen: {self.history()}")
        return received

    def history(self) -> Any:
        return ", ".join(self.seen[-8:]) or "nothing"
