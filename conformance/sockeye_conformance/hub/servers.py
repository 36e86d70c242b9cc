"""The servers that carry a hub's messages: each may be killed, stopped and begun again."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTUP_SECONDS = 30


def free_ports(count: int) -> list[int]:
    """Ports below those that the system gives to whoever asks for any, so that nobody has them until they are listened on."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def until(what: str, check: Callable[..., object], seconds: float = STARTUP_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


class Servers:
    """So many processes, in a folder of their own."""

    # What `hub-node` is told, and which servers a case kills, and stops.
    kind = ""
    count = 1
    killed: tuple[int, ...] = (0,)
    stopped = 0

    def __init__(self) -> None:
        self.ports, self.others = free_ports(self.count), free_ports(2 * self.count)
        self.folder = tempfile.mkdtemp(prefix="sockeye-hub-")
        self.processes: dict[int, Any] = {}
        for index in range(self.count):
            self.begin(index)

    def command(self, index: int) -> list[str]:
        raise NotImplementedError

    def answers(self, index: int) -> bool:
        raise NotImplementedError

    def begin(self, index: int) -> None:
        with Path(self.folder, f"{index}.log").open("ab") as log:
            self.processes[index] = subprocess.Popen(self.command(index), stdout=log, stderr=log, cwd=self.folder)

        def answers() -> bool:
            if self.processes[index].poll() is not None:
                raise AssertionError(f"server {index} has ended: {Path(self.folder, f'{index}.log').read_text()[-500:]}")
            return self.answers(index)

        until(f"server {index}", answers)

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()

    def ready(self) -> None:
        """Waits until each knows the others."""

    def settle(self, room: str, speaker: int, listener: int, kind: str) -> None:
        """Waits until what is said to the room at one server comes to members whose node is at the other."""

    def addresses(self, first: int) -> list[str]:
        """All servers, beginning with this one."""
        return [f"127.0.0.1:{self.ports[(first + step) % self.count]}" for step in range(self.count)]

    def end(self) -> None:
        for index in self.processes:
            self.kill(index)
        shutil.rmtree(self.folder, ignore_errors=True)


class Nats(Servers):
    """A cluster of three."""

    kind = "topics"
    count = 3
    killed = (0, 1)
    stopped = 1

    def __init__(self) -> None:
        self.program = shutil.which("nats-server", path=str(Path(os.environ["CONFORMANCE_PYTHON"]).parent)) or "nats-server"
        super().__init__()

    def command(self, index: int) -> list[str]:
        routes, monitors = self.others[: self.count], self.others[self.count :]
        others = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
        return [
            *(self.program, "--addr", "127.0.0.1", "--port", str(self.ports[index]), "--name", f"n{index}"),
            *("--http_port", str(monitors[index]), "--cluster_name", "sockeye"),
            *("--cluster", f"nats://127.0.0.1:{routes[index]}", "--routes", others),
        ]

    def routes(self, index: int) -> dict[str, set[str]]:
        """The other servers that this one is connected to, and the subjects that each wants of it."""
        found: dict[str, set[str]] = {}
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.others[self.count + index]}/routez?subs=1", timeout=5) as answer:
                routes = json.load(answer)["routes"] or []
            for route in routes:
                found.setdefault(route["remote_name"], set()).update(route.get("subscriptions_list") or [])
        return found

    def answers(self, index: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[index]), timeout=1):
            return True
        return False

    def ready(self) -> None:
        for index in range(self.count):
            until("the routes between NATS servers", lambda index=index: len(self.routes(index)) == self.count - 1)

    def settle(self, room: str, speaker: int, listener: int, kind: str) -> None:
        if speaker == listener:
            return
        subject = f"conformance.{shard(f'T{room}')}.{'*' if kind == 'shards' else f'T{room}'}"
        until(
            f"server {speaker} hears that {listener} wants {subject}",
            lambda: subject in self.routes(speaker).get(f"n{listener}", ()),
        )


def shard(channel: str) -> int:
    """Of 256, by FNV-1a."""
    number = 0x811C9DC5
    for octet in channel.encode():
        number = (number ^ octet) * 0x01000193 % 2**32
    return number % 256


class Redis(Servers):
    """One server."""

    kind = "redis"

    def command(self, index: int) -> list[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.ports[index]), "--save", "", "--appendonly", "no"]

    def answers(self, index: int) -> bool:
        return self.asks(index, "PING").startswith("+PONG")

    def asks(self, index: int, command: str) -> str:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[index]), timeout=1) as link:
            link.sendall(f"{command}\r\n".encode())
            return link.recv(65536).decode()
        return ""


class RedisCluster(Redis):
    """Three servers, each with a third of the channels, and none to take its place."""

    kind = "redis-cluster"
    count = 3
    killed = (0, 1)
    stopped = 1

    def __init__(self) -> None:
        super().__init__()
        addresses = self.addresses(0)
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)

    def command(self, index: int) -> list[str]:
        cluster = ["--cluster-enabled", "yes", "--cluster-config-file", f"{index}.conf", "--cluster-node-timeout", "5000"]
        return [*super().command(index), *cluster, "--cluster-port", str(self.others[index])]

    def ready(self) -> None:
        for index in range(self.count):
            until("the cluster of Redis", lambda index=index: "cluster_state:ok" in self.asks(index, "CLUSTER INFO"))
