#!/usr/bin/env python3
"""`sockeye probe` against `sockeye serve`, and against servers of other people's parts that each do one thing wrong."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as Codec
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
from wsproto.utilities import LocalProtocolError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Report, Server  # noqa: E402

TIMEOUT_SECONDS = 30
# RFC 9113 §3.4
PREFACE = b"PRI * HTTP/2.0"


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, wanted {expected!r}")


def contains(text, part, what):
    if part not in text:
        raise AssertionError(f"{what}: no {part!r} in {text!r}")


def probe(url, *arguments):
    """The exit status, stdout and stderr of a probe."""
    command = [PROGRAM, "probe", url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if "panicked" in done.stderr:
        raise AssertionError(done.stderr)
    return done.returncode, done.stdout, done.stderr


def found(url, *arguments):
    """The exit status of a probe, and what it found."""
    status, output, _ = probe(url, "--json", *arguments)
    return status, json.loads(output)


class Peer:
    """A server in cleartext, HTTP/2 and HTTP/1.1 on one port. Each case overrides what it does otherwise."""

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    speaks_http2 = True
    speaks_http1 = True

    def answer(self, http, stream_id, headers):
        """An extended CONNECT came."""
        http.send_headers(stream_id, [(":status", "200")])

    def opened(self, http, stream_id, codec):
        """The WebSocket is open."""

    def received(self, http, stream_id, codec, event):
        """Something came on the WebSocket."""
        match event:
            case TextMessage() | Ping():
                http.send_data(stream_id, codec.send(event if isinstance(event, TextMessage) else event.response()))
            case CloseConnection():
                self.close(http, stream_id, codec.send(event.response()))

    def close(self, http, stream_id, close_frame):
        """A Close came; this one is to be sent."""
        http.send_data(stream_id, close_frame, end_stream=True)

    @contextmanager
    def listening(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # A probe ends its connections when it has seen enough, and speaks on after a Close that came too early.
        with suppress(OSError, LocalProtocolError), connection:
            octets = connection.recv(65_536)
            if octets.startswith(PREFACE):
                if self.speaks_http2:
                    self._serve_http2(connection, octets)
            elif self.speaks_http1:
                self._serve_http1(connection, octets)
            else:
                connection.sendall(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 14\r\n\r\nnot \x1b[31mhere\n")

    def _serve_http2(self, connection, octets):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.local_settings = h2.settings.Settings(client=False, initial_values=self.settings)
        http.initiate_connection()
        codecs = {}
        while octets:
            for event in http.receive_data(octets):
                match event:
                    case h2.events.RequestReceived():
                        codecs[event.stream_id] = Codec(ConnectionType.SERVER)
                        self.answer(http, event.stream_id, dict(event.headers))
                        self.opened(http, event.stream_id, codecs[event.stream_id])
                    case h2.events.DataReceived() if event.data:
                        codec = codecs[event.stream_id]
                        codec.receive_data(event.data)
                        for message in codec.events():
                            self.received(http, event.stream_id, codec, message)
            connection.sendall(http.data_to_send())
            octets = connection.recv(65_536)

    def _serve_http1(self, connection, octets):
        websocket = WSConnection(ConnectionType.SERVER)
        while octets:
            websocket.receive_data(octets)
            for event in websocket.events():
                match event:
                    case Request():
                        connection.sendall(websocket.send(AcceptConnection()))
                    case TextMessage():
                        connection.sendall(websocket.send(event))
                    case Ping():
                        connection.sendall(websocket.send(event.response()))
                    case CloseConnection():
                        connection.sendall(websocket.send(event.response()))
                        return
            octets = connection.recv(65_536)


class WithoutHttp1(Peer):
    speaks_http1 = False


class WithoutHttp2(Peer):
    speaks_http2 = False


class WithoutExtendedConnect(Peer):
    settings = {}


class ResetsAfterClose(Peer):
    def close(self, http, stream_id, close_frame):
        http.send_data(stream_id, close_frame)
        http.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)


class LeavesStreamOpen(Peer):
    def close(self, http, stream_id, close_frame):
        http.send_data(stream_id, close_frame)


class EndsWithoutClose(Peer):
    def close(self, http, stream_id, close_frame):
        http.end_stream(stream_id)


class NeverPongs(Peer):
    def received(self, http, stream_id, codec, event):
        if not isinstance(event, Ping):
            super().received(http, stream_id, codec, event)


class NeverAnswers(Peer):
    def answer(self, http, stream_id, headers):
        pass


class WantsHttp1(Peer):
    def answer(self, http, stream_id, headers):
        http.reset_stream(stream_id, h2.errors.ErrorCodes.HTTP_1_1_REQUIRED)


class BreaksFrames(Peer):
    def opened(self, http, stream_id, codec):
        # RFC 6455 §5.1: a server's frame is not masked.
        http.send_data(stream_id, b"\x81\x81\0\0\0\0a")


class ClosesAtOnce(Peer):
    def opened(self, http, stream_id, codec):
        http.send_data(stream_id, codec.send(CloseConnection(code=4401, reason="log in")), end_stream=True)


class WantsBasicAuthentication(Peer):
    def answer(self, http, stream_id, headers):
        is_right = headers.get("authorization") == "Basic dTpw"
        http.send_headers(stream_id, [(":status", "200" if is_right else "401")], end_stream=not is_right)


def verdict(peer, kind, status, *parts):
    with peer.listening() as url:
        actual, report = found(url, "--timeout", "1")
        equal(report["verdict"]["kind"], kind, f"kind of {report['verdict']['text']!r}")
        equal(actual, status, "exit status")
        for part in parts:
            contains(report["verdict"]["text"], part, "text")


def our_server(tls):
    with Server(tls=tls) as server:
        scheme = "wss" if tls else "ws"
        status, report = found(f"{scheme}://127.0.0.1:{server.address[1]}/echo", "-k", "-s", "echo")
        equal((status, report["verdict"]["kind"]), (0, "works"), "verdict")
        for version, opened, ending in ("http2", 200, "END_STREAM"), ("http1", 101, "FIN"):
            attempt = report[version]
            equal((attempt["handshake"]["status"], attempt["handshake"]["subprotocol"]), (opened, "echo"), version)
            equal((attempt["close"]["code"], attempt["close"]["end"]), (1000, ending), version)
            equal((attempt["close"]["clean"], attempt["problems"]), (True, []), version)
            times = [attempt["connect_ms"], attempt["handshake"]["ms"], attempt["ping_ms"], attempt["echo_ms"]]
            equal([time for time in times if not isinstance(time, float)], [], "times that are none")
            alpn = {"http2": "h2", "http1": "http/1.1"}[version]
            equal(attempt["tls"] and attempt["tls"]["alpn"], alpn if tls else None, "ALPN")
        equal(report["http2"]["settings"]["enable_connect_protocol"], True, "the setting")


def certificate_is_checked():
    with Server() as server:
        url = f"wss://127.0.0.1:{server.address[1]}/echo"
        status, output, _ = probe(url)
        equal(status, 1, "exit status")
        contains(output, "-k takes any certificate", "output")
        status, _, errors = probe(url, "-k")
        equal(status, 0, "exit status with -k")
        contains(errors, "warning: the server's certificate is not checked", "stderr")


def refusal():
    with Server(tls=False) as server:
        address = f"ws://127.0.0.1:{server.address[1]}"
        status, output, _ = probe(f"{address}/nothing")
        equal(status, 5, "exit status")
        contains(output, "404", "output")
        status, output, _ = probe(f"{address}/echo", "-o", "https://elsewhere.example")
        equal(status, 5, "exit status for another origin")
        contains(output, "Pages of this origin may not open WebSockets here.", "output")


def nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    status, output, _ = probe(f"ws://127.0.0.1:{port}/")
    equal(status, 1, "exit status")
    contains(output, "TCP: ", "the step in the output")


def wrong_arguments():
    for arguments in ["example.com"], ["ftp://example.com/"], ["ws://a/", "-H", "nothing"], ["ws://a/", "--timeout", "0"]:
        status, output, errors = probe(*arguments)
        equal((status, output), (2, ""), f"exit status and stdout for {arguments}")
        contains(errors, "error: ", f"stderr for {arguments}")


def nothing_raw_from_the_network():
    with WithoutHttp1().listening() as url:
        _, output, _ = probe(url)
        contains(output, r"not \x1b[31mhere", "output")


def no_message():
    with Peer().listening() as url:
        status, report = found(url, "--message", "")
        equal((status, report["http2"]["echo_ms"]), (0, None), "exit status and time of the echo")


def closed_by_the_server():
    with ClosesAtOnce().listening() as url:
        _, report = found(url)
        close = report["http2"]["close"]
        equal((close["code"], close["reason"], close["by_server"]), (4401, "log in", True), "close")


def basic_authentication():
    with WantsBasicAuthentication().listening() as url:
        status, report = found(url.replace("ws://", "ws://u:p@"))
        equal(status, 0, "exit status")
        equal("u:p" in json.dumps(report), False, "the password in the report")


CHECKS = {
    "sockeye serve works, over TLS": lambda: our_server(True),
    "sockeye serve works, in cleartext": lambda: our_server(False),
    "a certificate is checked unless -k is there": certificate_is_checked,
    "a refusal is shown with its words": refusal,
    "where nobody listens the step is named": nobody_listens,
    "wrong arguments are exit status 2": wrong_arguments,
    "other people's server works": lambda: verdict(Peer(), "works", 0),
    "HTTP/2 alone": lambda: verdict(WithoutHttp1(), "works_over_http2_only", 0, "426"),
    "HTTP/1.1 alone": lambda: verdict(WithoutHttp2(), "http2_not_spoken", 3),
    "no extended CONNECT": lambda: verdict(WithoutExtendedConnect(), "not_offered_over_http2", 3, "RFC 8441"),
    "RST_STREAM after the Close": lambda: verdict(ResetsAfterClose(), "faulty_over_http2", 4, "RST_STREAM (CANCEL)"),
    "a stream left open": lambda: verdict(LeavesStreamOpen(), "faulty_over_http2", 4, "leaves the stream open"),
    "END_STREAM without a Close": lambda: verdict(EndsWithoutClose(), "faulty_over_http2", 4, "no Close frame"),
    "no Pong": lambda: verdict(NeverPongs(), "faulty_over_http2", 4, "no Pong within 1s"),
    "no answer": lambda: verdict(NeverAnswers(), "refused_over_http2", 4, "no answer within 1s"),
    "HTTP_1_1_REQUIRED": lambda: verdict(WantsHttp1(), "refused_over_http2", 4, "HTTP_1_1_REQUIRED"),
    "a broken frame": lambda: verdict(BreaksFrames(), "faulty_over_http2", 4, "RFC 6455"),
    "nothing from the network is printed raw": nothing_raw_from_the_network,
    "an empty message is none": no_message,
    "a server that closes first": closed_by_the_server,
    "basic authentication from the URL": basic_authentication,
}


def main():
    report = Report()
    for name, check in CHECKS.items():
        report.run(f"sockeye probe: {name}", check)
    report.finish()


if __name__ == "__main__":
    main()
