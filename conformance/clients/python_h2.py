#!/usr/bin/env python3
"""WebSockets over HTTP/2 with other people's Python: `h2` for the connection, `wsproto` for the frames."""

import socket
import sys
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
from wsproto.connection import Connection as Codec
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import Report, arguments, server, tls_context  # noqa: E402

MANY = 50
TIMEOUT_SECONDS = 10


class Client:
    """One HTTP/2 connection and the WebSockets on it."""

    def __init__(self, address, tls):
        self.socket = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        self.scheme = "https" if tls else "http"
        self.authority = f"localhost:{address[1]}"
        if tls:
            self.socket = tls_context("h2").wrap_socket(self.socket, server_hostname="localhost")
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.sockets, self.responses, self.bodies, self.ended = {}, {}, {}, set()
        self.settings_seen = False
        self.flush()
        self.until(lambda: self.settings_seen)

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def until(self, done):
        while not done():
            self.turn()

    def turn(self):
        """Takes in what has arrived, and sends what that calls for."""
        octets = self.socket.recv(65_536)
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
                    self.ended.add(event.stream_id)
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise EOFError(f"{event}")
        self.flush()

    def send(self, stream_id, octets, end_stream=False):
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

    def request(self, *fields, end_stream=True, **pseudo):
        stream_id = self.http.get_next_available_stream_id()
        pseudo = {"method": "GET", "scheme": self.scheme, "authority": self.authority, "path": "/", **pseudo}
        self.http.send_headers(stream_id, [(f":{k}", v) for k, v in pseudo.items()] + list(fields), end_stream=end_stream)
        self.flush()
        return stream_id

    def open(self, *fields):
        """A WebSocket to /echo."""
        stream_id = self.request(
            ("sec-websocket-version", "13"), *fields, method="CONNECT", protocol="websocket", path="/echo", end_stream=False
        )
        self.sockets[stream_id] = Socket(self, stream_id)
        self.until(lambda: stream_id in self.responses)
        equal(self.responses[stream_id][":status"], "200", "status")
        return self.sockets[stream_id]


class Socket:
    """One WebSocket: wsproto on one stream."""

    def __init__(self, client, stream_id):
        self.client, self.stream_id = client, stream_id
        self.codec = Codec(ConnectionType.CLIENT)
        self.inbox, self.parts = [], []

    def arrived(self, octets):
        self.codec.receive_data(octets)
        for event in self.codec.events():
            if isinstance(event, TextMessage | BytesMessage):
                self.parts.append(event.data)
                if event.message_finished:
                    self.inbox.append((b"" if isinstance(event, BytesMessage) else "").join(self.parts))
                    self.parts = []
            else:
                self.inbox.append(event)

    def send(self, event, end_stream=False):
        self.client.send(self.stream_id, self.codec.send(event), end_stream)

    def receive(self):
        self.client.until(lambda: self.inbox)
        return self.inbox.pop(0)

    def echo(self, payload):
        self.send(TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload))
        equal(self.receive(), payload, "echo")

    def close(self, code):
        self.send(CloseConnection(code, "bye"))
        answer = self.receive()
        equal((type(answer), answer.code), (CloseConnection, code), "Close")
        self.client.http.end_stream(self.stream_id)
        self.client.flush()
        self.client.until(lambda: self.stream_id in self.client.ended)


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.80}, wanted {expected!r:.80}")


def check_settings(client):
    equal(client.http.remote_settings.enable_connect_protocol, 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL")


def check_many(client):
    sockets = [client.open() for _ in range(MANY)]
    for number, each in enumerate(sockets):
        each.send(TextMessage(f"message of socket {number}"))
    for number, each in enumerate(sockets):
        equal(each.receive(), f"message of socket {number}", "echo")
    for each in sockets:
        each.close(1000)


def check_fragments(client):
    each = client.open()
    each.send(TextMessage("in ", message_finished=False))
    each.send(Ping(b"between"))
    each.send(TextMessage("parts"))
    answers = [each.receive(), each.receive()]
    equal([type(answer) for answer in answers], [Pong, str], "answers")
    equal((bytes(answers[0].payload), answers[1]), (b"between", "in parts"), "answers")


def check_subprotocol(client):
    each = client.open(("sec-websocket-protocol", "chat, echo"))
    equal(client.responses[each.stream_id].get("sec-websocket-protocol"), "echo", "subprotocol")


def check_request_beside(client):
    each = client.open()
    stream_id = client.request(path="/stats")
    client.until(lambda: stream_id in client.ended)
    equal(client.responses[stream_id][":status"], "200", "status")
    each.echo("still open")


def main():
    options = arguments(__doc__).parse_args()
    checks = {
        "the server offers extended CONNECT": check_settings,
        "a text is echoed, and Close 1000 answered": lambda client: (s := client.open()).echo("hello") or s.close(1000),
        "an empty text is echoed": lambda client: client.open().echo(""),
        "an empty binary is echoed": lambda client: client.open().echo(b""),
        "a text of 1 MiB is echoed": lambda client: client.open().echo("x" * (1 << 20)),
        "a binary of 1 MiB is echoed": lambda client: client.open().echo(bytes(range(256)) * 4096),
        f"{MANY} WebSockets on one connection": check_many,
        "a Ping between fragments": check_fragments,
        "the subprotocol is chosen": check_subprotocol,
        "a request beside a WebSocket": check_request_beside,
        "Close 4000 is answered with 4000": lambda client: client.open().close(4000),
    }
    report = Report()
    with server(options) as under_test:
        over = "TLS" if options.tls else "cleartext"
        for name, check in checks.items():
            if options.filter in name:
                report.run(f"h2 and wsproto, {over}: {name}", lambda: check(Client(under_test.address, options.tls)))
    report.finish()


if __name__ == "__main__":
    main()
