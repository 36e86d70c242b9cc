"""Who is measured: the servers, and how they are built and started."""

import dataclasses
import os

from common import BENCH, ROOT, compile_release
from workloads import CEILING, HTTP1_PEER, OTHER_CEILING, OURS

# Those with a program of their own in `peers/`, the quickest of them first.
PEERS = ("h2", "sockudo-ws", "wtx", "fastwebsockets", "axum", HTTP1_PEER)


@dataclasses.dataclass(frozen=True)
class Server:
    name: str
    program: str
    has_tls: bool = True
    http1: bool = False

    def command(self, address, tls):
        return [self.program, address, *(["--tls"] if tls else [])]


def build():
    """The load generator, the program that seals, and the servers."""
    load = compile_release(ROOT, "--package", "sockeye-cli")["sockeye"]
    packages = ["ceiling", "sealing", *(f"{name}-echo" for name in (OURS, *PEERS))]
    programs = compile_release(BENCH, *(word for package in packages for word in ("--package", package)))
    servers = [
        Server(OURS, programs[f"{OURS}-echo"]),
        Server(CEILING, programs["ceiling"], has_tls=False),
        *(Server(name, programs[f"{name}-echo"], http1=name == HTTP1_PEER) for name in PEERS),
    ]
    if "CEILING" in os.environ:
        servers.append(Server(OTHER_CEILING, os.environ["CEILING"], has_tls=False))
    return load, programs["sealing"], servers
