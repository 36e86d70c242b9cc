"""HAProxy between the suite, which speaks HTTP/1.1, and our end, which then speaks HTTP/2 (RFC 8441)."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

CONFIG = """
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend in
  bind fd@{listener} {listen}
  default_backend out
backend out
  server only {host}:{port} {connect}
"""


class Proxy:
    """HAProxy for as long as a `with` block lasts. `listen` and `connect` are options of its two sides: `proto h2` speaks
    HTTP/2 with prior knowledge."""

    def __init__(self, address: tuple[str, int], listen: str = "", connect: str = "") -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self.listener.getsockname()
        host, port = address
        self.config = CONFIG.format(listener=self.listener.fileno(), host=host, port=port, listen=listen, connect=connect)

    def __enter__(self) -> Self:
        with tempfile.NamedTemporaryFile("w", suffix=".cfg", delete=False) as file:
            file.write(self.config)
        log = None if os.environ.get("SOCKEYE_LOG") else subprocess.DEVNULL
        command = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", file.name]
        self.process = subprocess.Popen(command, pass_fds=[self.listener.fileno()], stdout=log, stderr=log)
        self.file = file.name
        self.listener.close()
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        self.process.wait()
        Path(self.file).unlink()
