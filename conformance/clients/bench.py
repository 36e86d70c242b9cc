#!/usr/bin/env python3
"""`sockeye bench` against `sockeye serve`, and against servers that each do one thing wrong: a load that cannot fail measures
nothing."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import h2.errors
import h2.settings
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, TextMessage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Report, Server  # noqa: E402
from peer import Peer, WithoutExtendedConnect, contains, equal  # noqa: E402

TIMEOUT_SECONDS = 60
OK, NOTHING_OPENED, USAGE, FAILURES, WRONG = 0, 1, 2, 3, 4
# Enough to be measured, and no more.
SHORT = {"-d": "300ms", "--warm-up": "100ms", "--timeout": "5s"}


def bench(url, *arguments):
    """The exit status, stdout and stderr of a run."""
    short = [word for option, value in SHORT.items() if option not in arguments for word in (option, value)]
    command = [PROGRAM, "bench", url, *short, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if "panicked" in done.stderr:
        raise AssertionError(done.stderr)
    return done.returncode, done.stdout, done.stderr


def report(url, *arguments):
    """The exit status of a run, and its report."""
    status, output, errors = bench(url, "--json", *arguments)
    if not output:
        raise AssertionError(f"exit status {status}, stderr {errors!r}")
    return status, json.loads(output)


def at_least(actual, least, what):
    if not actual >= least:
        raise AssertionError(f"{what}: got {actual!r}, wanted at least {least!r}")


@contextmanager
def serving(*, tls=False, pid=False):
    with Server("--max-streams", "100000", tls=tls) as server:
        scheme = "wss" if tls else "ws"
        url = f"{scheme}://{server.address[0]}:{server.address[1]}/echo"
        yield (url, server.process.pid) if pid else url


def echoed(*arguments, tls=False, connections=1, sockets=1):
    """All is right: every socket is opened, messages are exchanged, and their latencies are in order."""
    with serving(tls=tls) as url:
        status, found = report(url, *arguments, *(["-k"] if tls else []))
    equal((status, found["verdict"], found["failures"]), (OK, "ok", []), "the verdict")
    opening, load = found["opening"], found["load"]
    equal((opening["connections"], opening["sockets"]), (connections, sockets), "what was opened")
    at_least(load["messages"], 1, "messages")
    latency = load["latency_us"]
    values = [latency[name] for name in ("p50", "p90", "p99", "p99_9", "max")]
    equal(values, sorted(values), "the percentiles")
    equal(sum(bucket["messages"] for bucket in load["histogram"]), load["messages"], "the histogram's sum")
    return found


def sizes_are_drawn():
    found = echoed("-m", "10", "--size", "100..300:9,5k", sockets=10)
    load = found["load"]
    mean = load["octets_per_second"] / load["messages_per_second"]
    # 0.9 × 200 + 0.1 × 5000
    if not 400 < mean < 1000:
        raise AssertionError(f"{mean} octets in a message")


def rate_is_kept():
    found = echoed("-c", "2", "-m", "5", "--rate", "1k", "-d", "2s", connections=2, sockets=10)
    load = found["load"]
    if not 1800 < load["messages"] < 2200:
        raise AssertionError(f"{load['messages']} messages in {load['seconds']} s")
    at_least(load["latency_us"]["p50"], load["lateness_us"]["p50"], "latency, of which lateness is a part")


def holds_idle():
    with serving(pid=True) as (url, pid):
        status, found = report(url, "-c", "2", "-m", "500", "--idle", "--pid", str(pid))
    idle, memory = found["idle"], found["memory"]
    equal((status, idle["answered"], idle["answered_after"]), (OK, 1000, 1000), "sockets that answered")
    equal(found["load"], None, "the load")
    at_least(memory["after"], memory["before"], "memory")
    at_least(memory["per_socket"], 1, "octets of a socket")


def measures_the_server():
    with serving(pid=True) as (url, pid):
        _, found = report(url, "-m", "10", "--pid", str(pid))
    cpu = found["cpu"]
    for name in ("server_us_per_message", "server_cores", "own_us_per_message", "own_cores"):
        at_least(cpu[name], 0.001, name)


def report_is_readable():
    with serving(pid=True) as (url, pid):
        status, output, errors = bench(url, "-m", "10", "--pid", str(pid))
    equal((status, errors), (OK, ""), "status and stderr")
    for part in ("HTTP/2, 1 connection × 10 sockets", "messages/s", "server: ", "p99.9 ", "█", "every message came back"):
        contains(output, part, "the report")
    if "\x1b" in output:
        raise AssertionError("colours in a pipe")


def interrupted():
    """Ctrl-C ends the measurement, and what was measured is reported."""
    with serving() as url:
        command = [PROGRAM, "bench", url, "-d", "1h", "--warm-up", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    found = json.loads(output)
    equal((process.returncode, found["interrupted"]), (OK, True), "status, and whether it was interrupted")
    at_least(found["load"]["messages"], 1, "messages")


def refuses(*arguments, part, status=USAGE):
    """A mistake of the person's: nothing on stdout, and words on stderr that help."""
    got, output, errors = bench("ws://127.0.0.1:1/", *arguments)
    equal((got, output), (status, ""), "status and stdout")
    contains(errors, part, "stderr")


def nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    status, found = report(f"ws://127.0.0.1:{port}/", "-c", "3", "-m", "2")
    equal((status, found["verdict"]), (NOTHING_OPENED, "nothing_opened"), "the verdict")
    [line] = found["failures"]
    equal((line["kind"], line["sockets"]), ("connect", 6), "the failure")


class Echo(Peer):
    """Echoes binary messages, too; each case overrides what it does with a whole message."""

    def __init__(self):
        self.count = 0
        self.pieces = {}

    def opened(self, http, stream_id, codec):
        # Room for all that a load sends.
        if stream_id == 1:
            http.increment_flow_control_window(1 << 29)
        http.increment_flow_control_window(1 << 29, stream_id)

    def received(self, http, stream_id, codec, event):
        if not isinstance(event, (TextMessage, BytesMessage)):
            return super().received(http, stream_id, codec, event)
        empty = "" if isinstance(event, TextMessage) else b""
        self.pieces[stream_id] = self.pieces.get(stream_id, empty) + event.data
        if event.message_finished:
            self.count += 1
            self.echo(http, stream_id, codec, self.pieces.pop(stream_id))

    def echo(self, http, stream_id, codec, message):
        self.say(http, stream_id, codec, message)

    def say(self, http, stream_id, codec, message):
        kind = TextMessage if isinstance(message, str) else BytesMessage
        http.send_data(stream_id, codec.send(kind(data=message)))


class Merges(Echo):
    held = b""

    def echo(self, http, stream_id, codec, message):
        if self.count < 5:
            self.say(http, stream_id, codec, message)
        elif self.held:
            self.say(http, stream_id, codec, self.held + message)
        else:
            self.held = message


class Splits(Echo):
    def echo(self, http, stream_id, codec, message):
        self.say(http, stream_id, codec, message[:20])
        self.say(http, stream_id, codec, message[20:])


class Changes(Echo):
    def echo(self, http, stream_id, codec, message):
        changed = message if self.count < 5 else message[:7] + bytes([message[7] ^ 1]) + message[8:]
        self.say(http, stream_id, codec, changed)


class Repeats(Echo):
    def echo(self, http, stream_id, codec, message):
        for _ in range(1 if self.count < 5 else 2):
            self.say(http, stream_id, codec, message)


class Loses(Echo):
    def echo(self, http, stream_id, codec, message):
        if self.count != 5:
            self.say(http, stream_id, codec, message)


class SaysText(Echo):
    def echo(self, http, stream_id, codec, message):
        self.say(http, stream_id, codec, "x" * len(message))


class Stops(Echo):
    def echo(self, http, stream_id, codec, message):
        if self.count < 5:
            self.say(http, stream_id, codec, message)


class Closes(Echo):
    def echo(self, http, stream_id, codec, message):
        http.send_data(stream_id, codec.send(CloseConnection(code=4401, reason="log \x1b[31min")), end_stream=True)


class Resets(Echo):
    def echo(self, http, stream_id, codec, message):
        http.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)


class EndsStream(Echo):
    def echo(self, http, stream_id, codec, message):
        http.end_stream(stream_id)


class EndsConnection(Echo):
    def echo(self, http, stream_id, codec, message):
        http.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        self.connection.sendall(http.data_to_send())
        raise ConnectionAbortedError

    def _serve(self, connection):
        self.connection = connection
        super()._serve(connection)


class BreaksFrames(Echo):
    def echo(self, http, stream_id, codec, message):
        # RFC 6455 §5.1: a server's frame is not masked.
        http.send_data(stream_id, b"\x82\x81\0\0\0\0a")


class RefusesSome(Echo):
    def answer(self, http, stream_id, headers):
        refused = stream_id % 4 == 3
        http.send_headers(stream_id, [(":status", "503" if refused else "200")], end_stream=refused)


class RefusesAll(Echo):
    def answer(self, http, stream_id, headers):
        http.send_headers(stream_id, [(":status", "403")], end_stream=True)


class AllowsTwo(Echo):
    settings = {**Peer.settings, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2}


class NeverAnswers(Echo):
    def answer(self, http, stream_id, headers):
        pass


class NeverSpeaks(Echo):
    def _serve(self, connection):
        time.sleep(TIMEOUT_SECONDS)


class NeverCloses(Echo):
    def received(self, http, stream_id, codec, event):
        if not isinstance(event, CloseConnection):
            super().received(http, stream_id, codec, event)


class EndsHttp1(Echo):
    def _serve_http1(self, connection, octets):
        connection.sendall(self.accept(octets))
        connection.recv(65_536)

    @staticmethod
    def accept(octets):
        websocket = WSConnection(ConnectionType.SERVER)
        websocket.receive_data(octets)
        list(websocket.events())
        return websocket.send(AcceptConnection())


class ChangesHttp1(EndsHttp1):
    def _serve_http1(self, connection, octets):
        connection.sendall(self.accept(octets))
        while connection.recv(65_536):
            connection.sendall(b"\x82\x20" + bytes(32))


class RefusesHttp1(Echo):
    def _serve_http1(self, connection, octets):
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n\r\nno\n")


def fails(peer, kind, what, *arguments, status=FAILURES, sockets=None):
    """The failure is found, counted and told apart, and nothing hangs."""
    with peer().listening() as url:
        got, found = report(url, *arguments)
    lines = found["failures"]
    equal([line["kind"] for line in lines], [kind], f"the kinds of {lines}")
    contains(lines[0]["what"], what, "what happened")
    equal(got, status, "the exit status")
    if sockets is not None:
        equal(lines[0]["sockets"], sockets, "sockets")
    return lines[0]


def is_wrong(peer, what, first, *arguments):
    line = fails(peer, "mismatch", what, *arguments, status=WRONG)
    if not re.search(first, line["first"]):
        raise AssertionError(f"no {first!r} in {line['first']!r}")


def says_no_escape():
    line = fails(Closes, "closed", "4401")
    contains(line["first"], r"log \x1b[31min", "the reason")


def leaves_who_never_closes():
    with NeverCloses().listening() as url:
        status, found = report(url)
    equal((status, found["verdict"]), (OK, "ok"), "the verdict")


CHECKS = {
    "one socket over HTTP/2": lambda: echoed(),
    "sockets share a connection": lambda: echoed("-m", "1000", sockets=1000),
    "connections × sockets": lambda: echoed("-c", "10", "-m", "20", connections=10, sockets=200),
    "many in flight": lambda: echoed("-m", "3", "--depth", "64", sockets=3),
    "text": lambda: echoed("-m", "10", "--text", sockets=10),
    "empty messages": lambda: echoed("-m", "10", "--size", "0", sockets=10),
    "messages beyond every window": lambda: echoed("-m", "3", "--size", "1Mi", "-d", "1s", sockets=3),
    "sizes by weight": sizes_are_drawn,
    "threads": lambda: echoed("-c", "5", "-m", "10", "--threads", "2", connections=5, sockets=50),
    "over TLS": lambda: echoed("-m", "10", tls=True, sockets=10),
    "over HTTP/1.1": lambda: echoed("--http1.1", "-c", "5", "-m", "4", connections=20, sockets=20),
    "over HTTP/1.1, large, many in flight": lambda: echoed("--http1.1", "--size", "200k", "--depth", "8"),
    "over HTTP/1.1 and TLS": lambda: echoed("--http1.1", "-c", "5", tls=True, connections=5, sockets=5),
    "an open loop": rate_is_kept,
    "an open loop over HTTP/1.1": lambda: echoed("--http1.1", "-c", "3", "--rate", "500", connections=3, sockets=3),
    "--idle": holds_idle,
    "--pid": measures_the_server,
    "the report for people": report_is_readable,
    "Ctrl-C": interrupted,
    "a subprotocol": lambda: echoed("-s", "echo"),
    "a process that is none is refused": lambda: refuses("--pid", "4294967295", part="no process", status=1),
    "more files than there can be are refused": lambda: refuses("-c", "4000000000", part="ulimit", status=1),
    "a size that is none is refused": lambda: refuses("--size", "big", part="16k"),
    "a rate that is none is refused": lambda: refuses("--rate", "fast", part="20k"),
    "nobody listens": nobody_listens,
    "the server merges messages": lambda: is_wrong(Merges, "merged", "64 octets where 32 were sent", "--depth", "2"),
    "the server splits messages": lambda: is_wrong(Splits, "split", "message 0: 20 octets where 32 were sent"),
    "the server changes an octet": lambda: is_wrong(Changes, "changed", r"message 4: octet 7 is 0x.., not 0x"),
    "the server repeats messages": lambda: is_wrong(Repeats, "", r"message 5: "),
    "the server loses a message": lambda: is_wrong(Loses, "lost", r"message 4: octet 0 is", "--depth", "3"),
    "the server sends text for binary": lambda: is_wrong(SaysText, "confused", "text where binary was sent"),
    "the server stops": lambda: fails(Stops, "timeout", "answer to a message", "--timeout", "500ms"),
    "the server stops, in an open loop": lambda: fails(Stops, "timeout", "answer", "--timeout", "500ms", "--rate", "100"),
    "the server stops, with --idle": lambda: fails(Stops, "timeout", "answer", "--timeout", "500ms", "-m", "9", "--idle", sockets=9),
    "the server closes, and what it says is harmless": says_no_escape,
    "the server resets the stream": lambda: fails(Resets, "broken", "INTERNAL_ERROR"),
    "the server ends the stream": lambda: fails(EndsStream, "broken", "without a Close"),
    "the server ends the connection": lambda: fails(EndsConnection, "broken", "ENHANCE_YOUR_CALM", "-m", "5", sockets=5),
    "the server breaks a rule": lambda: fails(BreaksFrames, "violation", "mask"),
    "the server refuses some": lambda: fails(RefusesSome, "refused", "503", "-m", "10", sockets=5),
    "the server refuses all": lambda: fails(RefusesAll, "refused", "403", "-m", "3", status=NOTHING_OPENED, sockets=3),
    "the server allows fewer streams": lambda: fails(AllowsTwo, "not_offered", "allows 2 streams", "-m", "5", sockets=3),
    "the server does not offer it": lambda: fails(WithoutExtendedConnect, "not_offered", "SETTINGS", status=NOTHING_OPENED),
    "the server never answers": lambda: fails(
        NeverAnswers, "timeout", "handshake", "--timeout", "500ms", "-m", "4", status=NOTHING_OPENED, sockets=4
    ),
    "the server never speaks": lambda: fails(
        NeverSpeaks, "timeout", "SETTINGS", "--timeout", "500ms", status=NOTHING_OPENED, sockets=1
    ),
    "the server never closes": leaves_who_never_closes,
    "HTTP/1.1: the server refuses": lambda: fails(RefusesHttp1, "refused", "401", "--http1.1", status=NOTHING_OPENED),
    "HTTP/1.1: the server never speaks": lambda: fails(
        NeverSpeaks, "timeout", "handshake", "--http1.1", "--timeout", "500ms", status=NOTHING_OPENED
    ),
    "HTTP/1.1: the server ends the connection": lambda: fails(EndsHttp1, "broken", "without a Close", "--http1.1"),
    "HTTP/1.1: the server sends something else": lambda: is_wrong(ChangesHttp1, "changed", "message 0: ", "--http1.1"),
}


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    results = Report()
    for name, check in CHECKS.items():
        if wanted in name:
            results.run(f"sockeye bench: {name}", check)
    results.finish()


if __name__ == "__main__":
    main()
