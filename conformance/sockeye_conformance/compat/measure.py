"""Runs a program, and what Sockeye sees of it."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .install import Box, install
from .programs import Client, Place, Program, Proxy, Server, Start
from .servers import SOCKEYE

STARTUP_SECONDS = 30
ASKING_SECONDS = 60
# What a report keeps of a connection's attempt: all but times, addresses, and what differs from run to run.
Facts = dict[str, Any]


def measure(program: Program) -> Facts:
    """All that the page tells of a program."""
    box = install(program.pins)
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        if isinstance(program, Client):
            return measure_client(program, box)
        assert isinstance(program, Server)
        return measure_server(program, box, Path(folder))


def measure_server(server: Server, box: Box, folder: Path) -> Facts:
    with contextlib.ExitStack() as stack:
        behind = 0
        if isinstance(server, Proxy):
            behind = free_port()
            run = Start([SOCKEYE, "serve", "--cleartext", "--listen", f"127.0.0.1:{behind}", "--origin", "any"])
            stack.enter_context(running(run, box, behind))
        place = Place(box, folder, free_port(), behind)
        stack.enter_context(running(server.start(place), box, place.port))
        wait_until_secure(place.port)
        url = f"wss://localhost:{place.port}{server.path}"
        found = probe(url, server.message)
        if found["verdict"]["kind"] == "unreachable":
            raise RuntimeError(found["verdict"]["text"])
        return {"version": box.version, "probe": found, "connect": connect(url, server.message)}


def probe(url: str, message: str) -> Facts:
    done = ask([SOCKEYE, "probe", "--json", "--insecure", "--message", message, url])
    report = json.loads(done.stdout)
    return {
        "exit": done.returncode,
        "verdict": report["verdict"],
        "http2": attempt(report["http2"]),
        "http1": attempt(report["http1"]),
    }


def attempt(seen: Facts) -> Facts:
    tls, settings, handshake = (seen.get(part) or {} for part in ("tls", "settings", "handshake"))
    return {
        "alpn": tls.get("alpn"),
        "enable_connect_protocol": settings.get("enable_connect_protocol"),
        "max_concurrent_streams": settings.get("max_concurrent_streams"),
        "status": handshake.get("status"),
        "accepted": handshake.get("accepted", False),
        "ping": seen["ping_ms"] is not None,
        "echo": seen["echo_ms"] is not None,
        "close": end(seen["close"]),
        "sockets": seen["sockets"],
        "close_with_end_stream": end(seen["close_with_end_stream"]),
        "problems": [without_ports(f"{problem['step']}: {problem['text']}") for problem in seen["problems"]],
    }


def end(close: Facts | None) -> Facts | None:
    return close and {key: close[key] for key in ("code", "end", "ended_first", "by_server")}


def connect(url: str, message: str) -> Facts:
    """What `sockeye connect` does, as it comes: HTTP/2 where it is offered, else HTTP/1.1."""
    text = message or "2probe"
    done = ask([SOCKEYE, "connect", "-v", "--insecure", url], f"{text}\n")
    over = re.search(r"^connected to \S+ over (HTTP/[\d.]+)", done.stderr, re.MULTILINE)
    lines = [line for line in done.stderr.splitlines() if line and line[0] not in "<>"]
    return {
        "over": over[1] if over else None,
        "echo": text in done.stdout.splitlines() if message else None,
        "exit": done.returncode,
        "said": [without_ports(line) for line in lines],
    }


def measure_client(client: Client, box: Box) -> Facts:
    port = free_port()
    serve = [SOCKEYE, "serve", "--listen", f"127.0.0.1:{port}", "--origin", "any", "--stats", "all", "--log-format", "json"]
    with tempfile.TemporaryFile("w+") as log:
        with running(Start(serve, {"RUST_LOG": "sockeye=debug"}), box, port, log.fileno()):
            before = counters(port)
            run = client.start(box, f"wss://localhost:{port}/echo")
            done = ask(run.command, environment=run.environment | box.environment)
            time.sleep(0.5)  # for what the server still reads of the end
            after = counters(port)
        log.seek(0)
        events = [json.loads(line) for line in log if line.startswith("{")]
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]
    said = json.loads(printed[-1]) if printed else {"error": done.stderr.strip().splitlines()[-1:] or ["nothing was said"]}
    version = said.pop("version", box.version)
    return {"version": version, "client": said, "server": seen_by_server(events, before, after)}


def seen_by_server(events: list[Facts], before: Facts, after: Facts) -> Facts:
    accepted = [field(event, "version") for event in events if "a WebSocket was accepted" in json.dumps(event)]
    names = ("web_sockets", "web_sockets_closed", "resets_received", "close_timeouts", "handshakes_refused", "tls_failures")
    return {
        "over": [re.sub(r"HTTP/2.*", "HTTP/2", version) for version in accepted],
        "refused": [without_ports(field(event, "reason")) for event in events if "handshake was refused" in json.dumps(event)],
        **{name: after.get(name, 0) - before.get(name, 0) for name in names},
    }


def field(event: Facts, name: str) -> str:
    """A field of an event of the log."""
    return str(event.get(name) or event.get("fields", {}).get(name, ""))


def counters(port: int) -> Facts:
    with urllib.request.urlopen(f"https://localhost:{port}/stats", context=any_certificate("http/1.1"), timeout=10) as answer:
        found: Facts = json.load(answer)["counters"]
        return found


def ask(command: list[str], text: str = "", environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=ASKING_SECONDS, env=os.environ | (environment or {})
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"not done after {ASKING_SECONDS} s")


@contextlib.contextmanager
def running(start: Start, box: Box, port: int, output: int | None = None) -> Iterator[None]:
    """A server for as long as a `with` block lasts, once it listens."""
    environment = os.environ | box.environment | start.environment
    with tempfile.TemporaryFile("w+") as log:
        to = output if output is not None else log.fileno()
        # A group of its own, since some fork.
        process = subprocess.Popen(
            start.command, env=environment, stdin=subprocess.DEVNULL, stdout=to, stderr=to, start_new_session=True
        )
        try:
            wait_until_listening(port, process)
            yield
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}: {log.read().strip()[-600:]}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")


def wait_until_secure(port: int) -> None:
    """Some listen before they have their certificate."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            any_certificate("h2", "http/1.1").wrap_socket(connection, server_hostname="localhost").close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"there is no TLS on port {port}")


def any_certificate(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def make_certificate(folder: Path) -> None:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    extensions = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*make.split(), *extensions, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
    folder.chmod(0o755)
    key.chmod(0o644)


def without_ports(text: str) -> str:
    """What differs from run to run is left out."""
    return re.sub(r"\blocalhost:\d+|\b127\.0\.0\.1:\d+", "localhost", text)
