#!/usr/bin/env python3
"""`sockeye connect` in pipes and in a terminal, against `sockeye serve` and against a server made of `wsproto`."""

import contextlib
import fcntl
import json
import os
import pty
import queue
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from pathlib import Path

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Report, Server  # noqa: E402
from peer import contains, equal  # noqa: E402

TIMEOUT_SECONDS = 20
CTRL_C, CTRL_D, UP = b"\x03", b"\x04", b"\x1b[A"


def connect(stdin, *arguments):
    """The exit status, stdout and stderr of a conversation in pipes."""
    command = [PROGRAM, "connect", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_SECONDS)
    errors = done.stderr.decode()
    if "panicked" in errors:
        raise AssertionError(errors)
    return done.returncode, done.stdout, errors


@contextlib.contextmanager
def echo_server(tls=False):
    """The URL of the echo of `sockeye serve`."""
    with Server(tls=tls) as server:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{server.address[1]}/echo"


class Peer:
    """A server of HTTP/1.1 that greets, echoes, and does what some messages say. What it received is in `heard`."""

    def __init__(self, *greeting):
        self.greeting, self.heard = greeting, queue.Queue()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        websocket = WSConnection(ConnectionType.SERVER)
        with contextlib.suppress(OSError, RemoteProtocolError), connection:
            while octets := connection.recv(65_536):
                websocket.receive_data(octets)
                for event in websocket.events():
                    self.heard.put(event)
                    if not self._answer(connection, websocket, event):
                        return

    def _answer(self, connection, websocket, event):
        """Whether it goes on."""
        match event:
            case Request():
                connection.sendall(websocket.send(AcceptConnection(subprotocol=next(iter(event.subprotocols), None))))
                for message in self.greeting:
                    connection.sendall(websocket.send(message))
                return not any(isinstance(message, CloseConnection) for message in self.greeting)
            case TextMessage(data="close"):
                connection.sendall(websocket.send(CloseConnection(code=1011, reason="oh no")))
            case TextMessage(data="cut"):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case TextMessage() | BytesMessage():
                connection.sendall(websocket.send(event))
            case Ping():
                connection.sendall(websocket.send(event.response()))
            case CloseConnection():
                if websocket.state.name == "REMOTE_CLOSING":
                    connection.sendall(websocket.send(event.response()))
                return False
        return True

    def hears(self, kind):
        """The next event of this kind."""
        while True:
            event = self.heard.get(timeout=TIMEOUT_SECONDS)
            if isinstance(event, kind):
                return event


class Terminal:
    """A conversation in a terminal."""

    def __init__(self, *arguments):
        self.main, side = pty.openpty()
        self.modes = termios.tcgetattr(self.main)
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
        command = [PROGRAM, "connect", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment,
            # Ctrl-C of a terminal goes to the processes of its session.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(side)
        # All of it, and what is new.
        self.log = self.shown = b""

    def __enter__(self):
        self.shows("connected to ")
        self.shows("> ")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.main)

    def type(self, keys):
        os.write(self.main, keys if isinstance(keys, bytes) else keys.encode())

    def shows(self, text):
        """Waits until the text is shown, and forgets what came before it."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text.encode() not in self.shown:
            if not self._read(deadline):
                raise AssertionError(f"no {text!r} in {self.shown!r}")
        _, _, self.shown = self.shown.partition(text.encode())

    def logs(self, text):
        """Waits until the text was shown at any time."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in self.log:
            if not self._read(deadline):
                raise AssertionError(f"no {text!r} in {self.log!r}")

    def ends(self, status):
        """Waits for the end; the terminal is then as it was."""
        while self._read(time.monotonic() + TIMEOUT_SECONDS):
            pass
        equal(self.process.wait(TIMEOUT_SECONDS), status, f"exit status after {self.shown!r}")
        modes = termios.tcgetattr(self.main)
        equal(modes, self.modes, "the terminal's modes")

    def _read(self, deadline):
        ready, _, _ = select.select([self.main], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            octets = os.read(self.main, 65_536)
        except OSError:  # the last process of the terminal has ended
            return False
        self.shown += octets
        self.log += octets
        return bool(octets)


def lines_in_lines_out(tls, *arguments):
    with echo_server(tls) as url:
        status, output, errors = connect(b"hello\n/ping\n\nlast, without a newline", url, *arguments)
        equal((status, output), (0, b"hello\n/ping\n\nlast, without a newline\n"), "exit status and stdout")
        if "-k" not in arguments:
            equal(errors, "", "stderr")


def versions():
    with echo_server(True) as secure, echo_server() as cleartext:
        for url, option, version in [
            (secure, [], "HTTP/2"),
            (secure, ["--http1.1"], "HTTP/1.1"),
            (secure, ["--http2"], "HTTP/2"),
            (cleartext, [], "HTTP/1.1"),
            (cleartext, ["--http2-prior-knowledge"], "HTTP/2"),
        ]:
            status, _, errors = connect(b"", url, "-k", "-v", "--wait", "0.1", *option)
            equal(status, 0, f"exit status for {url} {option}")
            contains(errors, f"over {version}", f"stderr for {url} {option}")


def verbose():
    with echo_server(True) as url:
        _, output, errors = connect(b"", url, "-k", "-v", "-s", "echo", "-H", "X-Me: you", "--wait", "0.1")
        equal(output, b"", "stdout")
        for line in [
            f"> CONNECT {url.replace('wss', 'https')} HTTP/2",
            "> :protocol: websocket",
            "> x-me: you",
            "< HTTP/2 200 OK",
            "< sec-websocket-protocol: echo",
            "subprotocol echo",
            "closed with 1000",
        ]:
            contains(errors, line, "stderr")


def compression():
    text = b"the same again and again, " * 40
    for secure in (True, False):
        with echo_server(secure) as url:
            for option in [["--http1.1"], ["--http2"]]:
                for choice, expected in [([], True), (["--no-deflate"], False)]:
                    status, output, errors = connect(text, url, "-k", "-v", *option, *choice)
                    equal((status, output), (0, text + b"\n"), f"exit status and stdout for {url} {option} {choice}")
                    equal("< sec-websocket-extensions: permessage-deflate" in errors, expected, "whether it is compressed")


def binary():
    octets = random.Random(8441).randbytes(300_000)
    with echo_server(True) as url:
        status, output, _ = connect(octets, url, "-k", "--binary")
        equal((status, output == octets), (0, True), "exit status, and whether all came back as it was")


def handshake_options():
    with Peer() as peer:
        url = peer.url.replace("ws://", "ws://u:p@")
        options = ["-H", "X-One: 1", "-H", "X-Two: 2", "-s", "a,b", "-o", "https://example.com"]
        equal(connect(b"x\n", url, "-1", *options)[0], 0, "exit status")
        request = peer.hears(Request)
        headers = {name.decode(): value.decode() for name, value in request.extra_headers}
        equal(request.subprotocols, ["a", "b"], "subprotocols")
        for name, value in ("x-one", "1"), ("x-two", "2"), ("origin", "https://example.com"), ("authorization", "Basic dTpw"):
            equal(headers.get(name), value, name)


def one_message():
    with echo_server() as url:
        equal(connect(b"first\nsecond\n", url, "-1"), (0, b"first\n", ""), "with stdin")
    with Peer(TextMessage(data="news"), TextMessage(data="more")) as peer:
        equal(connect(b"", peer.url, "-1"), (0, b"news\n", ""), "without")
        equal(peer.hears(CloseConnection).code, 1000, "code")
    with Peer(CloseConnection(code=1000)) as peer:
        equal(connect(b"", peer.url, "-1")[:2], (6, b""), "where none comes")


def empty_stdin():
    with Peer(TextMessage(data="a"), TextMessage(data="b"), CloseConnection(code=1001)) as peer:
        equal(connect(b"", peer.url), (0, b"a\nb\n", ""), "what comes until the server closes")


def payload_is_as_it_is():
    with Peer(TextMessage(data="\x1b[31m\u202e"), BytesMessage(data=b"\x00\xff"), CloseConnection(code=1000)) as peer:
        equal(connect(b"", peer.url)[1], "\x1b[31m\u202e\n".encode() + b"\x00\xff\n", "stdout")


def statuses():
    with echo_server() as url:
        status, output, errors = connect(b"", url.replace("echo", "nothing"))
        equal((status, output), (3, b""), "a refusal")
        contains(errors, "There is nothing here; try / or /echo.", "stderr")
        status, _, errors = connect(b"\xff\n", url)
        equal(status, 1, "stdin that is no text")
        contains(errors, "line 1 of stdin is not UTF-8", "stderr")
    with Peer() as peer:
        status, _, errors = connect(b"close\n", peer.url)
        equal(status, 4, "1011")
        contains(errors, 'the server closed with 1011 "oh no"', "stderr")
        equal(connect(b"cut\n", peer.url)[0], 5, "a reset")
        # It speaks no HTTP/2.
        equal(connect(b"", peer.url, "--http2", "--timeout", "2")[0] in (1, 3), True, "the wrong version")
    status, _, errors = connect(b"", peer.url)
    equal(status, 1, "nobody listens")
    for arguments in [], ["nowhere"], ["ws://a/", "--http1.1", "--http2"], ["ws://a/", "--wait", "x"]:
        equal(connect(b"", *arguments)[0], 2, f"{arguments}")


def certificate_is_checked():
    with echo_server(True) as url:
        status, _, errors = connect(b"", url)
        equal(status, 1, "exit status")
        contains(errors, "-k takes any certificate", "stderr")
        _, _, errors = connect(b"x\n", url, "-k", "-1")
        contains(errors, "warning: the server's certificate is not checked", "stderr")


def shared_connection():
    with Server(tls=False) as server:
        address = f"127.0.0.1:{server.address[1]}"
        urls = [f"ws://{address}/echo?{number}" for number in range(3)]
        command = [PROGRAM, "connect", "--http2", *urls]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(b"x\n")
            process.stdin.flush()
            lines = sorted(process.stdout.readline() for _ in urls)
            equal(lines, [f"[{url}] x\n".encode() for url in urls], "stdout")
            with urllib.request.urlopen(f"http://{address}/stats", timeout=TIMEOUT_SECONDS) as response:
                connections = json.load(response)["connections"]
            sockets = [connection["sockets"] for connection in connections if connection["version"] == "HTTP/2"]
            equal(sockets, [3], "WebSockets of each HTTP/2 connection")
            process.stdin.close()
            equal(process.wait(TIMEOUT_SECONDS), 0, "exit status")


def stdout_that_nobody_reads():
    with echo_server() as url:
        process = subprocess.Popen([PROGRAM, "connect", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with process:
            process.stdin.write(b"1\n")
            process.stdin.flush()
            equal(process.stdout.readline(), b"1\n", "the first line")
            process.stdout.close()
            process.stdin.write(b"2\n")
            process.stdin.flush()
            equal(process.wait(TIMEOUT_SECONDS), 0, "exit status")


def interrupted():
    with Peer(TextMessage(data="here")) as peer:
        process = subprocess.Popen([PROGRAM, "connect", peer.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with process:
            equal(process.stdout.readline(), b"here\n", "stdout")
            process.send_signal(signal.SIGINT)
            equal(process.wait(TIMEOUT_SECONDS), 0, "exit status")
        equal(peer.hears(CloseConnection).code, 1001, "code")


def conversation():
    with Peer() as peer, Terminal(peer.url) as terminal:
        terminal.type("hello\r")
        terminal.shows("< hello")
        terminal.type("//slash\r")
        terminal.shows("< /slash")
        terminal.type("/ping there?\r")
        terminal.shows('pong "there?" after ')
        terminal.type("/pong beat\r")
        equal(bytes(peer.hears(Pong).payload), b"beat", "the Pong's payload")
        terminal.type("/nothing\r")
        terminal.shows("there is no command /nothing")
        terminal.type("/close 4000 so long\r")
        terminal.ends(0)
        close = peer.hears(CloseConnection)
        equal((close.code, close.reason), (4000, "so long"), "Close")


def history():
    with Peer() as peer, Terminal(peer.url) as terminal:
        for line in "first", "second":
            terminal.type(f"{line}\r")
            terminal.shows(f"< {line}")
        terminal.type(UP + UP + b" again\r")
        terminal.shows("< first again")
        terminal.type(CTRL_D)
        terminal.ends(0)
        equal(peer.hears(CloseConnection).code, 1000, "code after Ctrl-D")


def keys_close():
    with Peer() as peer, Terminal(peer.url) as terminal:
        terminal.type(b"unfinished" + CTRL_C)
        terminal.ends(0)
        equal(peer.hears(CloseConnection).code, 1001, "code after Ctrl-C")


def closed_by_the_server():
    with Peer() as peer, Terminal(peer.url) as terminal:
        terminal.type("close\r")
        terminal.shows("the server closed with 1011")
        terminal.ends(4)


def nothing_raw_in_a_terminal():
    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eright\rleft"
    with Peer(TextMessage(data=evil), BytesMessage(data=b"\x1b[2J")) as peer, Terminal(peer.url) as terminal:
        terminal.logs(b"binary, 4 octets: 1b 5b 32 4a")
        terminal.type(CTRL_D)
        terminal.ends(0)
        contains(terminal.log, rb"\x1b]0;title\x07\x1b[2J\x9b31m\u{202e}right\rleft", "the terminal")
        raw = [text for text in ("\x1b]", "\x1b[2J", "\x9b", "\u202e") if text.encode() in terminal.log]
        equal(raw, [], "raw controls")


CHECKS = {
    "lines in, lines out, over TLS": lambda: lines_in_lines_out(True, "-k"),
    "lines in, lines out, in cleartext": lambda: lines_in_lines_out(False),
    "lines in, lines out, over HTTP/2 in cleartext": lambda: lines_in_lines_out(False, "--http2"),
    "the version of HTTP": versions,
    "-v shows the handshake on stderr": verbose,
    "messages are compressed unless --no-deflate is there": compression,
    "--binary gives back each octet": binary,
    "headers, subprotocols, origin, basic authentication": handshake_options,
    "-1": one_message,
    "an empty stdin receives until the server closes": empty_stdin,
    "payload in a pipe is as it is": payload_is_as_it_is,
    "exit statuses": statuses,
    "a certificate is checked unless -k is there": certificate_is_checked,
    "URLs of an origin share a connection": shared_connection,
    "it ends where nobody reads stdout": stdout_that_nobody_reads,
    "SIGINT closes with 1001": interrupted,
    "a conversation in a terminal": conversation,
    "a history of lines": history,
    "Ctrl-C closes with 1001, and leaves the terminal as it was": keys_close,
    "the server ends a conversation": closed_by_the_server,
    "nothing from the network reaches a terminal raw": nothing_raw_in_a_terminal,
}


def main():
    report = Report()
    for name, check in CHECKS.items():
        report.run(f"sockeye connect: {name}", check)
    report.finish()


if __name__ == "__main__":
    main()
