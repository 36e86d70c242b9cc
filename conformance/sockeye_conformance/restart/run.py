#!/usr/bin/env python3
"""Rolling restarts of `sockeye serve` under a load that counts: no handshake is refused, no message is lost.

    conformance/run restart -- [--filter TEXT] [--clients N] [--sockets N] [--pages N] [--restarts N] [--drain S]

Clients and pages (`restart-load`) keep their WebSockets open across restarts. A server is started, the one before it gets SIGTERM,
tells its sockets one after another and ends. Both listen meanwhile: on one socket that is handed over, as systemd does
(LISTEN_FDS), or each on its own on the same port (--reuse-port). `just restarts` is the full form: 10,000 sockets, 20 restarts.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..harness import PROGRAM, Report

LOAD = os.environ.get("RESTART_LOAD") or str(
    Path(os.environ.get("INTEROP", "target/debug/sockeye-interop")).with_name("restart-load")
)
# What `serve` grants its sockets beyond the drain, the second for the last octets, and the wait of a port that is shared.
BEYOND_DRAIN_SECONDS = 5 + 1 + 1.5
PATIENCE_SECONDS = 120
INTERRUPTED, TERMINATED = 130, 143


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, wanted {expected!r}")


def at_most(actual: Any, most: Any, what: str) -> None:
    if actual > most:
        raise AssertionError(f"{what}: got {actual!r}, wanted {most!r} at most")


class Process:
    """A program whose lines are read as they come."""

    def __init__(self, command: Any, **options: Any) -> None:
        self.process: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.errors: list[str] = []
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True).start()

    def line(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"it ended: {''.join(self.errors).strip()[:300]}")
        return line.strip()

    def end(self, signal_number: Any = None, seconds: float = PATIENCE_SECONDS) -> Any:
        if signal_number:
            self.process.send_signal(signal_number)
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Listening(Process):
    """A program of ours, from where it listens."""

    def __init__(self, command: Any, **more: Any) -> None:
        super().__init__(command, **more)
        try:
            while "listening on" not in (line := self.line()):
                pass
        except AssertionError:
            self.kill()
            raise
        self.url = line.split("listening on ")[1]


class Server(Listening):
    """`sockeye serve`, or another server of the program, on a socket that is handed over, or on its own."""

    program: tuple[str, ...] = ("serve",)

    def __init__(self, *options: Any, handed_over: Any = None, environment: Any = None) -> None:
        command, environment = [PROGRAM, *self.program, *options], {**os.environ, **(environment or {})}
        passed: tuple[int, ...] = ()
        if handed_over:
            descriptor = handed_over.fileno()
            # sd_listen_fds(3): the process is named, and the sockets begin at 3. `$$` stays when the shell becomes the program.
            move = "" if descriptor == 3 else f"exec 3<&{descriptor} {descriptor}<&-; "
            command = ["bash", "-c", f'{move}LISTEN_PID=$$ exec "$@"', "bash", *command]
            environment["LISTEN_FDS"], passed = "1", (descriptor,)
        super().__init__(command, env=environment, pass_fds=passed)


@contextlib.contextmanager
def serving(*options: Any, **more: Any) -> Iterator[Any]:
    server = Server(*options, **more)
    try:
        yield server
    finally:
        server.kill()


def free_port() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Socket:
    """A WebSocket over HTTP/1.1, as little of it as is needed here."""

    def __init__(self, url: Any) -> None:
        host, port = url.rpartition("://")[2].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        fields = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        )
        self.socket.sendall(f"GET /echo HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        equal(head.split(b" ")[1], b"101", "status")

    def await_close(self) -> Any:
        """The code of the Close that comes, which is echoed; the server ends the connection then."""
        head = self.socket.recv(4, socket.MSG_WAITALL)
        equal(head[:1], b"\x88", "a Close")
        self.socket.sendall(b"\x88\x82\0\0\0\0" + head[2:4])
        equal(self.socket.recv(1), b"", "what follows")
        return int.from_bytes(head[2:4], "big")


def closes(options: Any, signal_number: Any, sockets: Any) -> Any:
    """The milliseconds at which so many sockets hear of their server's end, and the server's exit status."""
    with serving("--listen", "127.0.0.1:0", "--cleartext", *options) as server:
        open_ones, times = [Socket(server.url) for _ in range(sockets)], []

        def hear(one: Any) -> None:
            equal(one.await_close(), 1001, "code")
            times.append((time.monotonic() - start) * 1000)

        threads = [threading.Thread(target=hear, args=(one,)) for one in open_ones]
        start = time.monotonic()
        server.process.send_signal(signal_number)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(len(times), sockets, "sockets that were closed")
        return sorted(times), server.end(seconds=20)


def spread_over_the_drain() -> None:
    times, status = closes(("--drain", "2"), signal.SIGTERM, 20)
    equal(status, 0, "exit status")
    halves = [sum(1 for time in times if time < 1000), sum(1 for time in times if 1000 <= time < 2500)]
    if min(halves) < 7:
        raise AssertionError(f"Closes after {[round(time) for time in times]} ms")


def at_once(options: Any, signal_number: Any) -> None:
    times, status = closes(options, signal_number, 20)
    equal(status, 0, "exit status")
    at_most(times[-1], 1000, "milliseconds to the last Close")


def second_signal(first: Any, second: Any, status: int) -> None:
    with serving("--listen", "127.0.0.1:0", "--cleartext", "--drain", "60") as server:
        silent = Socket(server.url)
        server.process.send_signal(first)
        time.sleep(0.5)
        equal(server.process.poll(), None, "exit status after one signal")
        equal(server.end(second, 2), status, "exit status after two")
        silent.socket.close()


def deadline() -> None:
    """Who never answers its Close is cut off."""
    with serving("--listen", "127.0.0.1:0", "--cleartext", "--drain", "1") as server:
        silent, start = Socket(server.url), time.monotonic()
        equal(server.end(signal.SIGTERM, 20), 0, "exit status")
        at_most(time.monotonic() - start, 1 + BEYOND_DRAIN_SECONDS, "seconds")
        silent.socket.close()


def handshake_under_way() -> None:
    """A connection that is there is served, though its request comes after SIGTERM."""
    with serving("--listen", "127.0.0.1:0", "--cleartext", "--drain", "3") as server:
        host, port = server.url.rpartition("://")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(connection.recv(12), b"HTTP/1.1 200", "the answer")
        equal(server.end(seconds=20), 0, "exit status")


def notifies() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.settimeout(5)
        with serving("--listen", "127.0.0.1:0", environment={"NOTIFY_SOCKET": f"{folder}/notify"}) as server:
            equal(manager.recv(100).strip(), b"READY=1", "the first word")
            server.process.send_signal(signal.SIGTERM)
            equal(manager.recv(100).strip(), b"STOPPING=1", "the second word")


class Restarts:
    """One server after another, and the load that outlives them."""

    def __init__(self, options: Any, mode: Any) -> None:
        self.options, self.mode, self.stack = options, mode, contextlib.ExitStack()
        self.listener, self.port = None, free_port()
        if mode == "LISTEN_FDS":
            self.listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
            self.port = self.listener.getsockname()[1]
        self.longest_end = 0.0

    def start(self) -> Any:
        own = () if self.listener else ("--listen", f"127.0.0.1:{self.port}", "--reuse-port")
        server = Server("--cleartext", "--drain", str(self.options.drain), *own, handed_over=self.listener)
        self.stack.callback(server.kill)
        return server

    def load(self) -> Any:
        counts = [word for name in ("clients", "sockets", "pages") for word in (f"--{name}", str(getattr(self.options, name)))]
        load = Process([LOAD, f"http://127.0.0.1:{self.port}", *counts, "--pause", str(self.options.pause)], stdin=subprocess.PIPE)
        self.stack.callback(load.kill)
        equal(load.line(), "open", "the load")
        return load

    def run(self) -> Any:
        with self.stack:
            server = self.start()
            load, errors, start = self.load(), [], time.monotonic()
            for _ in range(self.options.restarts):
                following = self.start()
                began = time.monotonic()
                equal(server.end(signal.SIGTERM), 0, "exit status of a server that was restarted")
                self.longest_end = max(self.longest_end, time.monotonic() - began)
                errors += server.errors
                server = following
                # All that were told are back.
                time.sleep(self.options.rest)
            seconds = time.monotonic() - start
            load.process.stdin.close()
            found = json.loads(load.line())
            equal(server.end(signal.SIGTERM), 0, "exit status of the last server")
        return {**found, "seconds": round(seconds), "slowest_end_s": round(self.longest_end, 1), "logged": errors + server.errors}


def restarted(options: Any, mode: Any, outcomes: Any) -> None:
    found = outcomes[mode] = Restarts(options, mode).run()
    print(f"      {mode}: {json.dumps(found)}", flush=True)
    sockets = options.clients * options.sockets + options.pages
    wrong = {name: found[name] for name in ("refused", "broken", "lost", "wrong") if found[name]}
    equal((wrong, found["words"]), ({}, []), "what went wrong")
    # Who was about to connect to a server that was just told to end is served by it, and told soon.
    at_most(sockets * options.restarts, found["told"], "sockets that were told, for what should be")
    equal(found["opened"], sockets + found["told"], "sockets that opened")
    equal(found["sent"], found["answered"] + found["again"], "messages")
    equal(found["logged"], [], "what the servers logged")
    at_most(found["slowest_end_s"], options.drain + BEYOND_DRAIN_SECONDS, "seconds to the end of a server")


CHECKS = {
    "SIGTERM spreads the Closes over --drain": spread_over_the_drain,
    "SIGTERM with --drain 0 closes all at once": lambda: at_once(("--drain", "0"), signal.SIGTERM),
    "Ctrl-C closes all at once": lambda: at_once(("--drain", "60"), signal.SIGINT),
    "a second SIGTERM ends it at once": lambda: second_signal(signal.SIGTERM, signal.SIGTERM, TERMINATED),
    "Ctrl-C after SIGTERM ends it at once": lambda: second_signal(signal.SIGTERM, signal.SIGINT, INTERRUPTED),
    "Ctrl-C twice ends it at once": lambda: second_signal(signal.SIGINT, signal.SIGINT, INTERRUPTED),
    "a client that never answers its Close is cut off": deadline,
    "a connection whose request comes after SIGTERM is served": handshake_under_way,
    "systemd is told READY and STOPPING": notifies,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only the cases whose line contains this text")
    for name, number in (("clients", 2), ("sockets", 100), ("pages", 100), ("restarts", 5), ("drain", 1), ("pause", 100)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--rest", type=float, default=0.5, help="seconds between two restarts")
    options = parser.parse_args()
    report = Report()
    outcomes: dict[str, Any] = {}
    checks: dict[str, Callable[[], Any]] = dict(CHECKS)
    for mode in ("LISTEN_FDS", "--reuse-port"):
        title = f"{options.restarts} restarts by {mode}: no handshake is refused, no message is lost"
        checks[title] = partial(restarted, options, mode, outcomes)
    for name, check in checks.items():
        if options.filter in name:
            report.run(f"sockeye serve: {name}", check)
    report.finish()


if __name__ == "__main__":
    main()
