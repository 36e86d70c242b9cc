"""The suites: what each is called, how it is run, and what it takes of the machine."""

from dataclasses import dataclass
from enum import Enum


class Load(Enum):
    """What a suite does with its time."""

    # Waits for answers, time-outs and the ends of processes: others may run beside it.
    WAITS = "waits"
    # Keeps a core or more busy: one at a time, as long as there are others that wait.
    BUSY = "busy"


@dataclass(frozen=True)
class Suite:
    name: str
    # A module of this package for Python's, a path below `conformance/` for Node's.
    program: str
    arguments: tuple[str, ...] = ()
    load: Load = Load.WAITS
    # Seconds that it took beside others on two busy cores: the longest begins first.
    seconds: int = 10

    def command(self, python: str, extra: tuple[str, ...] = ()) -> list[str]:
        start = ["node", self.program] if self.program.endswith(".mjs") else [python, "-m", f"sockeye_conformance.{self.program}"]
        return [*start, *self.arguments, *extra]


GATEWAY = ("gateway-h1-h1", "gateway-h1-h2", "gateway-h2-h1", "gateway-h2-h2")
DIRECTIONS = ("server", "server-http2", "client", "client-http2")
BROWSERS = ("chromium", "firefox")
# In the order in which their output is printed.
SUITES = [
    Suite("http2", "http2.run", ("--repeat", "3"), seconds=15),
    Suite("http2-split", "http2.run", ("--split", "1"), seconds=20),
    Suite("http2-tls", "http2.run", ("--tls",), seconds=10),
    Suite("lives", "http2.lives", seconds=50),
    Suite("http1", "http1.run", seconds=20),
    Suite("restart", "restart.run", seconds=60),
    Suite("curl", "clients.curl", seconds=6),
    Suite("python-h2", "clients.python_h2", seconds=10),
    Suite("python-h2-tls", "clients.python_h2", ("--tls",), seconds=10),
    Suite("node", "clients/node_http2.mjs", seconds=3),
    Suite("node-cleartext", "clients/node_http2.mjs", ("--cleartext",), seconds=3),
    Suite("hub", "hub.run", ("nats",), seconds=30),
    Suite("hub-redis", "hub.run", ("redis",), seconds=30),
    Suite("topics", "clients/topics.mjs", seconds=8),
    Suite("proxies", "proxies.run", seconds=110),
    Suite("servers", "servers.run", seconds=170),
    *(Suite(f"autobahn-{name}", "autobahn.run", (name,), Load.BUSY, 240) for name in DIRECTIONS),
    Suite("gateway-grpc", "gateway.grpc_calls", seconds=15),
    Suite("gateway-robust", "gateway.robust", seconds=90),
    Suite("gateway-autobahn", "autobahn.run", GATEWAY, Load.BUSY, 120),
    *(Suite(f"browser-{name}", "browser/run.mjs", (name,), Load.BUSY, 60) for name in BROWSERS),
    *(Suite(f"browser-topics-{name}", "browser/topics.mjs", (name,), seconds=20) for name in BROWSERS),
    *(Suite(f"browser-lives-{name}", "browser/lives.mjs", (name,), Load.BUSY, 60) for name in BROWSERS),
    *(Suite(f"gateway-status-{name}", "gateway/status.mjs", (name,), seconds=20) for name in BROWSERS),
    *(Suite(f"gateway-{name}", "gateway/run.mjs", (name,), Load.BUSY, 90) for name in BROWSERS),
]
