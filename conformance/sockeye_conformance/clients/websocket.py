"""WebSocket clients of other people's Python: `h2` for HTTP/2, `wsproto` for the frames.

`Http2Client` is one connection with many WebSockets on it, `Http1Client` opens a connection for each; both make the same
`Socket`.
"""

import base64
import contextlib
import os
import socket
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from wsproto.connection import Connection as Codec
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from ..harness import tls_context

TIMEOUT_SECONDS = 20
READ_SIZE = 65_536
END_STREAM = "END_STREAM"
END_OF_FILE = "the end of the connection"


class Http2Client:
    """One HTTP/2 connection, its requests and the WebSockets on it."""

    def __init__(self, address: tuple[str, int], tls: bool) -> None:
        self.socket = connect(address, tls, "h2")
        self.scheme = "https" if tls else "http"
        self.authority = f"localhost:{address[1]}"
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        # By stream: its WebSocket; the fields and the content of its response; how it ended.
        self.sockets: dict[int, Socket] = {}
        self.responses: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        self.settings_seen = False
        self.flush()
        self.until(lambda: self.settings_seen)

    def flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def until(self, done: Any) -> None:
        while not done():
            self.turn()

    def turn(self) -> None:
        """Takes in what has arrived, and sends what that calls for."""
        octets = self.socket.recv(READ_SIZE)
        if not octets:
            raise EOFError("the server closed the connection")
        for event in self.http.receive_data(octets):
            match event:
                case h2.events.RemoteSettingsChanged():
                    self.settings_seen = True
                case h2.events.ResponseReceived():
                    self.responses[event.stream_id] = dict(event.headers)
                case h2.events.DataReceived():
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if event.stream_id in self.sockets:
                        self.sockets[event.stream_id].arrived(event.data)
                    else:
                        self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                case h2.events.StreamEnded():
                    self.ended[event.stream_id] = END_STREAM
                case h2.events.StreamReset():
                    self.ended.setdefault(event.stream_id, f"RST_STREAM {int(event.error_code)}")
                case h2.events.ConnectionTerminated():
                    raise EOFError(f"{event}")
        self.flush()

    def send(self, stream_id: int, octets: bytes, end_stream: bool = False) -> None:
        """Sends as the windows allow."""
        while octets or end_stream:
            room = min(self.http.local_flow_control_window(stream_id), self.http.max_outbound_frame_size)
            if octets and not room:
                self.turn()
                continue
            part, octets = octets[:room], octets[room:]
            last = end_stream and not octets
            self.http.send_data(stream_id, part, end_stream=last)
            self.flush()
            if last:
                break

    def request(self, *fields: Any, end_stream: bool = True, **pseudo: Any) -> Any:
        stream_id = self.http.get_next_available_stream_id()
        pseudo = {"method": "GET", "scheme": self.scheme, "authority": self.authority, "path": "/", **pseudo}
        self.http.send_headers(stream_id, [(f":{k}", v) for k, v in pseudo.items()] + list(fields), end_stream=end_stream)
        self.flush()
        return stream_id

    def open(self, *fields: Any) -> Any:
        """A WebSocket to /echo."""
        stream_id = self.request(
            ("sec-websocket-version", "13"), *fields, method="CONNECT", protocol="websocket", path="/echo", end_stream=False
        )
        opened = self.sockets[stream_id] = Socket(Stream(self, stream_id))
        self.until(lambda: stream_id in self.responses or stream_id in self.ended)
        opened.response = self.responses.get(stream_id, {})
        equal(opened.response.get(":status", self.ended.get(stream_id)), "200", "status")
        return opened

    def disappear(self) -> None:
        self.socket.close()


class Stream:
    """What carries a WebSocket over HTTP/2."""

    end = END_STREAM

    def __init__(self, client: Any, stream_id: int) -> None:
        self.client, self.stream_id = client, stream_id

    @property
    def ended(self) -> Any:
        return self.client.ended.get(self.stream_id)

    def turn(self) -> None:
        self.client.turn()

    def send(self, octets: bytes) -> None:
        self.client.send(self.stream_id, octets)

    def finish(self) -> None:
        # A proxy may have reset what it has ended.
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            self.client.send(self.stream_id, b"", end_stream=True)


class Http1Client:
    """WebSockets that have an HTTP/1.1 connection each."""

    def __init__(self, address: tuple[str, int], tls: bool) -> None:
        self.address, self.tls = address, tls
        self.sockets: list[Socket] = []

    def open(self, *fields: Any) -> Any:
        """A WebSocket to /echo."""
        carrier = Upgraded(connect(self.address, self.tls, "http/1.1"))
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            ("host", f"localhost:{self.address[1]}"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", key),
        ]
        lines = ["GET /echo HTTP/1.1", *(f"{name}: {value}" for name, value in [*head, *fields]), "", ""]
        carrier.send("\r\n".join(lines).encode())
        response, rest = carrier.response()
        equal(response[":status"], "101", "status")
        opened = carrier.websocket = Socket(carrier)
        opened.response = response
        opened.arrived(rest)
        self.sockets.append(opened)
        return opened

    def disappear(self) -> None:
        for each in self.sockets:
            each.carrier.socket.close()


class Upgraded:
    """What carries a WebSocket over HTTP/1.1."""

    end = END_OF_FILE

    def __init__(self, connection: Any) -> None:
        self.socket = connection
        self.ended: str | None = None
        self.websocket: Any = None

    def response(self) -> Any:
        """The response's fields, and what came after them."""
        received = b""
        while b"\r\n\r\n" not in received:
            octets = self.socket.recv(READ_SIZE)
            if not octets:
                raise EOFError(f"the server closed the connection after {received!r:.80}")
            received += octets
        head, _, rest = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return {":status": status.split()[1], **fields}, rest

    def turn(self) -> None:
        octets = self.socket.recv(READ_SIZE)
        if octets:
            self.websocket.arrived(octets)
        else:
            self.ended = END_OF_FILE

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def finish(self) -> None:
        """Nothing: RFC 6455 §7.1.1 has the server close the connection."""


class Socket:
    """One WebSocket: wsproto on whatever carries it."""

    def __init__(self, carrier: Any) -> None:
        self.carrier = carrier
        self.codec = Codec(ConnectionType.CLIENT)
        self.inbox: list[Any] = []
        self.parts: list[Any] = []
        self.response: dict[str, str] = {}

    def arrived(self, octets: bytes) -> None:
        if not octets:
            return  # a DATA frame of END_STREAM alone
        self.codec.receive_data(octets)
        for event in self.codec.events():
            if isinstance(event, TextMessage | BytesMessage):
                self.parts.append(event.data)
                if event.message_finished:
                    self.inbox.append((b"" if isinstance(event, BytesMessage) else "").join(self.parts))
                    self.parts = []
            else:
                self.inbox.append(event)

    def send(self, event: Any) -> None:
        self.carrier.send(self.codec.send(event))

    def receive(self) -> Any:
        """The next message as `str` or `bytes`, or the next event that is none."""
        while not self.inbox:
            if self.carrier.ended:
                raise EOFError(f"{self.carrier.ended} instead of an answer")
            self.carrier.turn()
        return self.inbox.pop(0)

    def echo(self, payload: Any) -> None:
        self.send(TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload))
        equal(self.receive(), payload, "echo")

    def close(self, code: int) -> None:
        """The closing handshake, begun by us."""
        self.send(CloseConnection(code, "bye"))
        answer = self.receive()
        equal((type(answer), answer.code), (CloseConnection, code), "Close")
        self.finish()

    def closed_with(self, code: int) -> None:
        """The closing handshake, begun by the server."""
        received = self.receive()
        equal((type(received), getattr(received, "code", None)), (CloseConnection, code), "Close")
        self.send(received.response())
        self.finish()

    def finish(self) -> None:
        self.carrier.finish()
        equal(self.wait_for_end(), self.carrier.end, "end")

    def wait_for_end(self) -> Any:
        """How the carrier ends."""
        while not self.carrier.ended:
            self.carrier.turn()
        return self.carrier.ended


def connect(address: tuple[str, int], tls: bool, protocol: Any) -> Any:
    connection = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return connection
    connection = tls_context(protocol).wrap_socket(connection, server_hostname="localhost")
    equal(connection.selected_alpn_protocol(), protocol, "ALPN")
    return connection


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.80}, wanted {expected!r:.80}")


def echo_on_many(client: Any, count: int) -> None:
    """Opens so many WebSockets at once, has each echo a message of its own, and closes them."""
    sockets = [client.open() for _ in range(count)]
    for number, each in enumerate(sockets):
        each.send(TextMessage(f"message of socket {number}"))
    for number, each in enumerate(sockets):
        equal(each.receive(), f"message of socket {number}", "echo")
    for each in sockets:
        each.close(1000)
