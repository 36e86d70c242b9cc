"""Nodes of a service before the servers, the wire between them, and the sockets of their topics."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from .servers import Servers, until

NODE = str(Path(os.environ.get("INTEROP", "target/debug/sockeye-interop")).with_name("hub-node"))
# The position of a sender is told 1, 5 and 25 seconds after its last message.
QUIET_SECONDS = 40
# Messages that may be on their way to whoever a speaker heeds.
WINDOW = 16


class Node:
    """One process of the service, whose first server is the one of this index, or another address instead of all."""

    def __init__(self, servers: Servers, first: int, kind: str = "", address: str = "") -> None:
        self.server, self.kind = first % servers.count, kind or servers.kind
        scheme = "redis" if self.kind.startswith("redis") else "nats"
        names = ",".join(f"{scheme}://{one}" for one in ([address] if address else servers.addresses(first)))
        self.process: Any = subprocess.Popen([NODE, self.kind, names], stdout=subprocess.PIPE, text=True)
        output: Any = self.process.stdout
        self.url = str(output.readline()).strip()
        if not self.url.startswith("ws://"):
            self.kill()
            raise AssertionError("hub-node did not say where it listens")

    def open(self, path: str) -> ClientConnection:
        # Without pings: whoever is not to read answers none.
        options: Any = {"compression": None, "max_queue": 4, "max_size": None, "proxy": None, "origin": None, "ping_interval": None}
        return connect(f"{self.url}/{path}", open_timeout=60, **options)

    def counters(self) -> dict[str, int]:
        with self.open("-/counters") as asked:
            text = asked.recv(timeout=60)
        lines = (line.split(" ") for line in str(text).splitlines())
        return {name: int(value) for name, value in lines}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def nodes(servers: Servers, *firsts: int, kind: str = "") -> Iterator[list[Node]]:
    with contextlib.ExitStack() as running:
        started = []
        for first in firsts:
            started.append(Node(servers, first, kind))
            running.callback(started[-1].kill)
        yield started


class Wire:
    """What a node's connections to its server pass, and where they may be cut."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.passes = threading.Event()
        self.passes.set()
        self.is_cut = False
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.cut()
        self.listener.close()

    def hold(self) -> None:
        """Nothing passes, and neither end is told."""
        self.passes.clear()

    def cut(self) -> None:
        """All connections end, and there is no other."""
        self.is_cut = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.passes.set()

    def heal(self) -> None:
        self.is_cut = False
        self.passes.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                host, _, port = self.server.rpartition(":")
                far = socket.create_connection((host, int(port)))
                self.ends += [near, far]
                for source, to in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, to), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                self.passes.wait()
                to.sendall(octets)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)


class Member:
    """A socket of a topic, that writes down what it hears."""

    def __init__(self, node: Node, topic: str, reads: bool = True) -> None:
        self.node = node
        self.socket = node.open(topic)
        joined = self.socket.recv(timeout=60)
        if joined != "joined":
            raise AssertionError(f"got {joined!r} for a join")
        self.numbers: dict[str, list[int]] = {}
        self.got = self.missed = 0
        self.changed = time.monotonic()
        self.thread = threading.Thread(target=self._read, daemon=True)
        if reads:
            self.thread.start()

    def _read(self) -> None:
        # The node is killed at the end of a case, if not before.
        with contextlib.suppress(ConnectionClosedError):
            for message in self.socket:
                self._note(str(message))

    def _note(self, message: str) -> None:
        name, number, *_ = message.split(" ")
        self.changed = time.monotonic()
        if name == "missed":
            self.missed += int(number)
        else:
            self.numbers.setdefault(name, []).append(int(number))
            self.got += 1

    def say(self, name: str, numbers: range, pause: float = 0, filler: str = "", heeds: "Member | None" = None) -> None:
        """Says so many, a little ahead at most of a member that is to keep up: both share a process."""
        for number in numbers:
            if heeds and number % WINDOW == 0:
                until(f"{number} from {name}", lambda number=number: heeds.got + heeds.missed >= number - WINDOW, 60)
            self.socket.send(f"{name} {number} {filler}")
            if pause:
                time.sleep(pause)

    def check(self, sent: int) -> None:
        """All that was sent was got in order, or told of."""
        self.changed = time.monotonic()
        while self.got + self.missed < sent and time.monotonic() < self.changed + QUIET_SECONDS:
            time.sleep(0.02)
        self.in_order()
        if self.got + self.missed != sent:
            raise AssertionError(f"{self.got} got and {self.missed} missed, of {sent}")

    def in_order(self) -> None:
        for name, numbers in self.numbers.items():
            if any(one >= other for one, other in itertools.pairwise(numbers)):
                raise AssertionError(f"what {name} sent is not in order")

    def all(self, sent: int) -> None:
        self.check(sent)
        if self.missed:
            raise AssertionError(f"{self.missed} missed")
