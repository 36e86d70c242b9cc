"""What every Python program of this folder shares: the server under test, and the list of what passed.

The server is the program `sockeye serve`, started here on a free port, or one that already runs (`--address`).
"""

import argparse
import os
import queue
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SOCKEYE", str(ROOT / "target/release/sockeye"))
STARTUP_SECONDS = 20


class Server:
    """`sockeye serve` for as long as a `with` block lasts.

    What it logs, warnings and errors, is in `log`; it goes to our stderr instead when SOCKEYE_LOG is set.
    """

    def __init__(self, *arguments: str, tls: bool = True) -> None:
        self.tls, self.asked = tls, False
        self.command = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--stats", "all", *arguments]
        if not tls:
            self.command.append("--cleartext")

    def __enter__(self) -> Self:
        log = None if os.environ.get("SOCKEYE_LOG") else subprocess.PIPE
        self.process: Any = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.log: list[str] = []
        if log:
            threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read_lines, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.process.kill()
                raise RuntimeError(f"{' '.join(self.command)}: did not say where it listens: {''.join(self.log[:1]).strip()}")
            found = re.search(r"listening on https?://([\d.]+):(\d+)", line)
            if found:
                self.address = (found[1], int(found[2]))
                return self

    def _read_lines(self, lines: Any) -> None:
        for line in self.process.stdout:
            lines.put(line)
        lines.put(None)

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def ask_to_end(self) -> None:
        """What Ctrl-C does, once: a second time means at once."""
        self.asked = True
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> Any:
        """Ends the server as Ctrl-C does and returns its exit status."""
        if self.process.poll() is None and not self.asked:
            self.ask_to_end()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.process.returncode


class Gateway(Server):
    """`sockeye gateway` before the server at `behind`, spoken to over TLS or not, for as long as a `with` block lasts."""

    def __init__(self, behind: tuple[str, int], *arguments: str, tls: bool = True, tls_behind: bool = False) -> None:
        super().__init__(tls=tls)
        host, port = behind
        url = f"http{'s' if tls_behind else ''}://{host}:{port}"
        self.command = [PROGRAM, "gateway", url, "--listen", "127.0.0.1:0", "--access-log", "off", *arguments]
        if not tls:
            self.command.append("--cleartext")


class Running:
    """A server that somebody else started."""

    def __init__(self, address: str, tls: bool) -> None:
        host, _, port = address.rpartition(":")
        self.address, self.tls = (host, int(port)), tls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


@cache
def tls_context(*protocols: str) -> ssl.SSLContext:
    """A TLS client that takes the server's self-signed certificate and offers `protocols` by ALPN.

    It is made once: to load the system's authorities, as the default context does, takes longer than most cases.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class Report:
    """One line per case, and the closing line that says how many passed."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def run(self, name: str, check: Callable[..., Any]) -> None:
        """Runs `check()`; an exception is a failure, and its text says what went wrong."""
        try:
            check()
        except Exception as error:  # whatever goes wrong in a case is that case's failure
            self.failed += 1
            print(f"FAIL  {name}: {error or type(error).__name__}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)

    def finish(self) -> None:
        """Prints the closing line and ends the program."""
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


def arguments(description: str) -> Any:
    """The options that all programs of this folder take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--address", help="host:port of a server that already runs, instead of starting one")
    parser.add_argument("--tls", action="store_true", help="over TLS with ALPN h2; cleartext with prior knowledge otherwise")
    parser.add_argument("--filter", default="", help="only the cases whose line contains this text")
    return parser


def server(options: Any, *extra: Any) -> Any:
    """The server that the options ask for, as a context manager."""
    return Running(options.address, options.tls) if options.address else Server(*extra, tls=options.tls)
