"""HAProxy, nghttpx and `sockeye gateway`, each in front of one server, for as long as a `with` block lasts.

Each listens in cleartext and over TLS, and takes HTTP/1.1 and HTTP/2 on both. Their logs go to our stderr when PROXY_LOG is
set, the gateway's when SOCKEYE_LOG is.
"""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from ..harness import STARTUP_SECONDS, Gateway

LOCALHOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Hop:
    """How a proxy speaks to the server behind it."""

    version: str
    tls: bool

    def __str__(self) -> str:
        return f"{self.version} {'over TLS' if self.tls else 'in cleartext'}"


class Proxy:
    """A proxy in front of the server at `behind`. With `idle` it ends what was silent for so many seconds, if it ends such."""

    ends_silent = True

    def __init__(self, behind: Any, hop: Hop, idle: int = 60) -> None:
        self.behind, self.hop, self.idle = behind, hop, idle

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            make_certificate(self.folder)
            self.cleartext, self.tls = free_address(), free_address()
            log = None if os.environ.get("PROXY_LOG") else subprocess.DEVNULL
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
            stack.callback(self.kill)
            for address in (self.cleartext, self.tls):
                wait_until_listening(address, self.process)
            self.stack = stack.pop_all()
            return self

    def __exit__(self, *_: Any) -> None:
        self.stack.close()

    def command(self) -> list[Any]:
        raise NotImplementedError

    def address(self, tls: bool) -> Any:
        return self.tls if tls else self.cleartext

    def kill(self) -> None:
        """Ends it without a word to anybody."""
        self.process.kill()
        self.process.wait()

    def ask_to_end(self, number: Any = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def __str__(self) -> str:
        return f"{type(self).__name__}, {self.hop} behind"


class HAProxy(Proxy):
    def command(self) -> list[Any]:
        options = {
            Hop("HTTP/1.1", False): "",
            Hop("HTTP/2", False): "proto h2",
            Hop("HTTP/1.1", True): "ssl verify none alpn http/1.1",
            Hop("HTTP/2", True): "ssl verify none alpn h2",
        }
        configuration = f"""
            global
                maxconn 4000
            defaults
                mode http
                timeout connect 5s
                timeout client {self.idle}s
                timeout server {self.idle}s
                timeout tunnel {self.idle}s
            frontend all
                bind {colon(self.cleartext)}
                bind {colon(self.tls)} ssl crt {self.folder / "both.pem"} alpn h2,http/1.1
                default_backend server
            backend server
                # Otherwise each connection in front gets one of its own behind.
                http-reuse always
                server one {colon(self.behind)} {options[self.hop]}
        """
        path = self.folder / "haproxy.cfg"
        # HAProxy wants a line feed at the end.
        path.write_text("\n".join(line.strip() for line in configuration.splitlines()) + "\n")
        # -db: in the foreground, one process.
        return ["haproxy", "-db", "-f", path]


class Nghttpx(Proxy):
    def command(self) -> list[Any]:
        keywords = "".join([";proto=h2" if self.hop.version == "HTTP/2" else ";proto=http/1.1", ";tls" if self.hop.tls else ""])
        return [
            "nghttpx",
            "--conf=/dev/null",
            "--single-process",
            "--workers=1",
            f"--frontend={comma(self.cleartext)};no-tls",
            f"--frontend={comma(self.tls)}",
            f"--backend={comma(self.behind)};/{keywords}",
            "--insecure",
            f"--backend-read-timeout={self.idle}s",
            self.folder / "key.pem",
            self.folder / "certificate.pem",
        ]


class SockeyeGateway(Proxy):
    """A process for each of its two addresses. It ends nothing for its silence."""

    ends_silent = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            to = ("--to", "h2" if self.hop.version == "HTTP/2" else "h1", "--upstream-insecure")
            each = (Gateway(self.behind, *to, tls=tls, tls_behind=self.hop.tls) for tls in (False, True))
            self.gateways = [stack.enter_context(gateway) for gateway in each]
            self.cleartext, self.tls = (gateway.address for gateway in self.gateways)
            self.stack = stack.pop_all()
            return self

    def kill(self) -> None:
        for each in self.gateways:
            each.process.kill()
            each.process.wait()

    def ask_to_end(self, number: Any = signal.SIGTERM) -> None:
        for each in self.gateways:
            each.process.send_signal(number)


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for localhost in `folder`: certificate.pem, key.pem, and both.pem."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    extensions = ["-addext", f"subjectAltName=DNS:localhost,IP:{LOCALHOST}", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*make.split(), *extensions, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "both.pem").write_text(certificate.read_text() + key.read_text())


def free_address() -> Any:
    with socket.create_server((LOCALHOST, 0)) as listener:
        return listener.getsockname()


def wait_until_listening(address: tuple[str, int], process: Any) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(address).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not listen on {colon(address)}")


def colon(address: tuple[str, int]) -> Any:
    return f"{address[0]}:{address[1]}"


def comma(address: tuple[str, int]) -> Any:
    return f"{address[0]},{address[1]}"
