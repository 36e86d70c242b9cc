#!/usr/bin/env python3
"""The gateway where much happens at once: reloads with thousands of sockets, drains under load, a killed upstream, long content.

    conformance/run gateway-robust [-- --full] [--filter TEXT]

`restart-load` keeps WebSockets open through the gateway, numbers its messages and checks their echoes. A message is accepted where
its socket was told nothing before its echo: of those none may be lost. `--full` is 10,000 sockets, 20 drains and 1 GiB.
"""

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..harness import Report
from ..restart.run import BEYOND_DRAIN_SECONDS, LOAD, Process, Restarts, Server, at_most, equal, free_port, serving

VERSIONS = ("h1", "h2")
CURL = {"h1": "--http1.1", "h2": "--http2-prior-knowledge"}
MIB = 1 << 20
# What a transfer may add to the gateway's memory: windows and buffers of two connections, and what its allocator keeps of them.
GROWTH_KIB = 24 * 1024


class Gateway(Server):
    """`sockeye gateway` in cleartext."""

    program = ("gateway", "--cleartext", "--access-log", "off")


@contextlib.contextmanager
def gateway(*options: Any) -> Iterator[Any]:
    server = Gateway("--listen", "127.0.0.1:0", *options)
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def load(url: Any, clients: int, sockets: int, pages: int) -> Iterator[Any]:
    counts = ["--clients", str(clients), "--sockets", str(sockets), "--pages", str(pages), "--pause", "200"]
    process = Process([LOAD, url, *counts], stdin=subprocess.PIPE)
    try:
        equal(process.line(), "open", "the load")
        yield process
    finally:
        process.kill()


def nothing_lost(load: Any) -> Any:
    load.process.stdin.close()
    found = json.loads(load.line())
    print(f"      {json.dumps(found)}", flush=True)
    equal({name: found[name] for name in ("refused", "broken", "lost", "wrong") if found[name]}, {}, found["words"])
    return found


def reloads(version: str, options: Any) -> None:
    """What is open stays open, byte for byte, while the configuration is read again and again."""
    with serving("--listen", "127.0.0.1:0", "--cleartext") as behind, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"

        def write(turn: int) -> None:
            text = f'upstream = ["{behind.url}"]\nto = "{version}"\nanswer-timeout = {60 + turn}\n'
            config.write_text(text, encoding="utf-8")

        write(0)
        with (
            gateway("--config", str(config), "--max-streams", "10000") as server,
            load(server.url, 4, options.sockets // 4 - 10, 40) as sockets,
        ):
            for turn in range(options.reloads):
                write(turn % 2)
                server.process.send_signal(signal.SIGHUP)
                time.sleep(0.5)
            equal(sum("reloaded:" in line for line in server.errors), options.reloads, "reloads")
            found = nothing_lost(sockets)
            equal(found["told"], 0, "sockets that were told to go")


class Drains(Restarts):
    """One gateway after another on one port, before one server."""

    def __init__(self, options: Any, behind: str, version: str) -> None:
        super().__init__(options, "--reuse-port")
        self.behind, self.version = behind, version

    def start(self) -> Any:
        listen = ("--listen", f"127.0.0.1:{self.port}", "--reuse-port")
        server = Gateway(self.behind, "--to", self.version, "--drain", str(self.options.drain), *listen)
        self.stack.callback(server.kill)
        return server


def drains(version: str, options: Any) -> None:
    with serving("--listen", "127.0.0.1:0", "--cleartext") as behind:
        found = Drains(options, behind.url, version).run()
    print(f"      {json.dumps(found)}", flush=True)
    equal({name: found[name] for name in ("refused", "broken", "lost", "wrong") if found[name]}, {}, found["words"])
    equal(found["sent"], found["answered"] + found["again"], "messages")
    at_most(options.clients * options.sockets_of_a_client, found["told"], "sockets that were told, for what should be")
    at_most(found["slowest_end_s"], options.drain + BEYOND_DRAIN_SECONDS, "seconds to the end of a gateway")


def resident(server: Any, what: str = "VmRSS") -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what))


def flat(server: Any, transfer: Any) -> None:
    """Runs a transfer; memory, looked at ten times a second, stays where it was."""
    before, most, is_over = resident(server), 0, threading.Event()

    def sample() -> None:
        nonlocal most
        while not is_over.wait(0.1):
            most = max(most, resident(server))

    sampler = threading.Thread(target=sample)
    sampler.start()
    begun = time.monotonic()
    try:
        transfer()
    finally:
        is_over.set()
        sampler.join()
    print(f"      {time.monotonic() - begun:.1f} s, {before} KiB before, {most} KiB at most", flush=True)
    at_most(most - before, GROWTH_KIB, "KiB of growth")


def download(client: str, version: str, options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Path(f"{folder}/large").open("wb") as large:
            large.truncate(options.mib * MIB)
        behind_options = ("--listen", "127.0.0.1:0", "--cleartext", "--dir", folder)
        with serving(*behind_options) as behind, gateway(behind.url, "--to", version) as server:
            command = ["curl", "-sS", CURL[client], "-o", "/dev/null", "-w", "%{size_download}", f"{server.url}/large"]

            def transfer() -> None:
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                equal(int(done.stdout), options.mib * MIB, "octets")

            flat(server, transfer)


class Sink:
    """A server of HTTP/1.1 that counts the octets of what is uploaded, and asks for them by a 100."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: Any) -> None:
        with connection, connection.makefile("rb") as stream:
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                if line.lower().startswith(b"expect:"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            octets = 0
            while octets < length and (piece := stream.read(min(MIB, length - octets))):
                octets += len(piece)
            text = str(octets).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(text), text))


def upload(client: str, options: Any) -> None:
    sink = Sink()
    with contextlib.closing(sink.listener), tempfile.NamedTemporaryFile() as large, gateway(sink.url) as server:
        large.truncate(options.mib * MIB)
        command = ["curl", "-sS", CURL[client], "-H", "expect: 100-continue", "-T", large.name, f"{server.url}/"]

        def transfer() -> None:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            equal(int(done.stdout), options.mib * MIB, "octets")

        flat(server, transfer)


def killed(version: str) -> None:
    """SIGKILL of one of two upstreams: its sockets break off at once, the other's never notice, and it is used once it is back."""
    port = free_port()
    place = ("--listen", f"127.0.0.1:{port}", "--cleartext")
    with serving("--listen", "127.0.0.1:0", "--cleartext") as lives, serving(*place) as dies:
        # `serve` has one path for its echo, so that a port tells the two apart.
        with (
            gateway(lives.url, "--to", version) as spared,
            gateway("--upstream", lives.url, "--upstream", dies.url, "--to", version) as shared,
            load(spared.url, 1, 20, 5) as unharmed,
            load(shared.url, 1, 40, 10) as harmed,
        ):
            dies.kill()
            time.sleep(1)
            with serving(*place) as back:
                time.sleep(3)
                nothing_lost(unharmed)
                harmed.process.stdin.close()
                found = json.loads(harmed.line())
                print(f"      {json.dumps(found)}", flush=True)
                equal((found["refused"], found["wrong"]), (0, 0), found["words"])
                # Half of fifty, as each goes to where the fewest are.
                equal(found["broken"], 25, "sockets that broke off")
                equal(found["told"], 0, "sockets that were told to go")
                equal(back.process.poll(), None, "the end of the one that is back")


def systemd() -> None:
    """The port is handed over, and each step is told."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(f"{folder}/notify")
        manager.settimeout(20)
        behind = stack.enter_context(serving("--listen", "127.0.0.1:0", "--cleartext"))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = Gateway(behind.url, handed_over=listener, environment={"NOTIFY_SOCKET": f"{folder}/notify"})
        stack.callback(server.kill)

        def told() -> bytes:
            return manager.recv(100).split(b"\n")[0]

        equal(told(), b"READY=1", "the first word")
        with urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=20) as answer:
            equal(answer.status, 200, "status by the port that was handed over")
        server.process.send_signal(signal.SIGHUP)
        equal([told(), told()], [b"RELOADING=1", b"READY=1"], "the words of a reload")
        server.process.send_signal(signal.SIGTERM)
        equal(told(), b"STOPPING=1", "the last word")
        equal(server.end(seconds=20), 0, "exit status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only the cases whose line contains this text")
    parser.add_argument("--full", action="store_true", help="10,000 sockets, 20 drains, 1 GiB")
    options = parser.parse_args()
    options.reloads, options.rest, options.drain, options.pause = 4, 0.5, 1, 100
    options.clients, options.sockets_of_a_client, options.pages = 2, 100, 50
    options.mib = 1024 if options.full else 128
    options.restarts = 20 if options.full else 4
    many = 10_000 if options.full else 1_000
    checks: dict[str, Any] = {"systemd hands it its port, and is told READY, RELOADING and STOPPING": systemd}
    for version in VERSIONS:
        of_reloads = argparse.Namespace(**{**vars(options), "sockets": many})
        of_drains = argparse.Namespace(**{**vars(options), "sockets": options.sockets_of_a_client})
        checks[f"{many} sockets outlive {options.reloads} reloads, to {version}"] = partial(reloads, version, of_reloads)
        checks[f"{options.restarts} drains lose nothing, to {version}"] = partial(drains, version, of_drains)
        checks[f"a killed upstream fails its own sockets alone, to {version}"] = partial(killed, version)
        for client in VERSIONS:
            checks[f"{options.mib} MiB come in flat memory, {client} to {version}"] = partial(download, client, version, options)
        checks[f"{options.mib} MiB go in flat memory, {version} to h1"] = partial(upload, version, options)
    report = Report()
    for name, check in checks.items():
        if options.filter in name:
            report.run(f"sockeye gateway: {name}", check)
    report.finish()


if __name__ == "__main__":
    main()
