"""What is measured: connections, WebSockets on each, messages, and what goes on beside them."""

import dataclasses

OURS, CEILING = "sockeye", "ceiling"
# A ceiling program that the caller brings along, in CEILING.
OTHER_CEILING = "other ceiling"
HTTP1_PEER = "tokio-websockets"
IDLE_HTTP2, IDLE_HTTP1 = "idle, 10 × 1000", "idle over HTTP/1.1, 1000"
# Those whose cost is followed as the numbers grow: the extremes, the quickest peers and the best known one.
GROWING = (OURS, CEILING, "h2", "sockudo-ws", "axum")
# From here on `GROWING` servers are not taken further, octets: the next point takes ten times as much.
MAX_GROWN = 1 << 30


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    # `echo` and `growth` cost processor time, `fairness` waiting, `idle` memory, and `opening` the time until all are open.
    group: str
    connections: int
    sockets: int
    size: str = "32"
    flags: tuple = ()
    path: str = "/echo"
    tls: bool = False
    http1: bool = False
    # Seconds that a step to an open WebSocket and an answer may take.
    timeout: int = 5
    # Worker threads of the server.
    threads: int = 1
    # Whom it concerns; all that speak its version of HTTP, if none are named.
    servers: tuple = ()
    # None: as many as the caller asks for.
    rounds: int | None = None
    # Of `growth`: what grows, and how much there is of it.
    series: str = ""
    amount: int = 0

    @property
    def holds(self):
        """Whether its sockets are opened and held, and no messages measured."""
        return self.group in ("idle", "opening")

    def concerns(self, server):
        if self.servers:
            return server.name in self.servers
        # A ceiling program holds nobody back, so it has no say in what becomes of those who are not read.
        if "--stall" in self.flags and server.name in (CEILING, OTHER_CEILING):
            return False
        return (not self.tls or server.has_tls) and not server.http1

    def arguments(self, address, process_id, seconds):
        """Those of `sockeye bench`."""
        url = f"{'wss' if self.tls else 'ws'}://{address}{self.path}"
        numbers = ["-c", self.connections, "-m", self.sockets, "--size", self.size]
        others = ["--timeout", self.timeout, "--pid", process_id]
        if self.holds:
            # What is idle keeps still until allocators have given back what opening took; to open takes as long as it takes.
            times = ["--idle", "--duration", "3s" if self.group == "idle" else "0s"]
        else:
            times = ["--duration", f"{seconds}s", "--warm-up", f"{max(0.3, 0.3 * seconds):.2f}s"]
        switches = [*(["-k"] if self.tls else []), *(["--http1.1"] if self.http1 else []), *self.flags]
        return [str(argument) for argument in ("bench", url, "--json", *numbers, *others, *times, *switches)]

    def first(self, address):
        """Those of a load before what is idle: what a program takes with its first socket, code before all, is not each one's."""
        switches = ["--http1.1"] if self.http1 else []
        return ["bench", f"ws://{address}{self.path}", "--json", "-c", "1", "-m", "1", "--duration", "0.1s", *switches]


def echo(name, connections, sockets, size="32", **more):
    return Workload(name, "echo", connections, sockets, size, **more)


WORKLOADS = [
    echo("1 × 1", 1, 1),
    echo("1 × 100", 1, 100),
    echo("1 × 1000", 1, 1000),
    echo("10 × 100", 10, 100),
    echo("100 × 100", 100, 100),
    echo("1 × 1, depth 64", 1, 1, flags=("--depth", "64")),
    echo("1 × 1000, text", 1, 1000, flags=("--text",)),
    echo("1 × 100, 1 kB", 1, 100, "1k"),
    echo("1 × 100, 16 kB", 1, 100, "16k"),
    echo("1 × 10, 16 kB", 1, 10, "16k"),
    echo("1 × 10, 1 MiB", 1, 10, "1Mi"),
    echo("1 × 10, 1 MiB in pieces", 1, 10, "1Mi", path="/pieces", servers=(OURS, CEILING)),
    echo("broadcast to 1000", 1, 1000, flags=("--broadcast",), path="/broadcast"),
    echo("1 × 1000, TLS", 1, 1000, tls=True),
    echo("1 × 10, 16 kB, TLS", 1, 10, "16k", tls=True),
    echo("1 × 1000, spawned", 1, 1000, path="/spawned", servers=(OURS,)),
    echo("1000 over HTTP/1.1", 1000, 1, http1=True, servers=(OURS, CEILING, HTTP1_PEER)),
    echo("10 × 100, two threads", 10, 100, threads=2, servers=(OURS,)),
    # Not 32 octets: of so many small DATA frames unread h2 makes an error before its windows stop anything.
    echo("1 × 60, 1 kB", 1, 60, "1k"),
    echo("1 × 60 beside 40 stalled, 1 kB", 1, 60, "1k", flags=("--stall", "40")),
    # The round trips of the small ones count, and nothing of the large one.
    Workload("1 × 100 beside 1 MiB", "fairness", 1, 100, flags=("--beside", "1Mi")),
    Workload(IDLE_HTTP2, "idle", 10, 1000),
    Workload(IDLE_HTTP1, "idle", 1000, 1, http1=True, servers=(OURS, HTTP1_PEER)),
    Workload("1000 connections", "opening", 1000, 1),
    Workload("10 × 1000 WebSockets", "opening", 10, 1000),
    Workload("idle, 10,000 × 100", "idle", 10_000, 100, timeout=60, servers=(OURS,), rounds=1),
]


def growth(series, amount, connections, sockets, flags=()):
    name = f"{amount:,} {series}"
    of_growth = {"servers": GROWING, "rounds": 1, "series": series, "amount": amount, "timeout": 10}
    return Workload(name, "growth", connections, sockets, flags=flags, **of_growth)


SOCKETS, CONNECTIONS, SIBLINGS = "WebSockets on one connection", "connections of one WebSocket", "idle siblings of 100 WebSockets"

# The servers allow 100,000 streams on a connection.
MAX_SIBLINGS = 99_900

GROWTH = [
    *(growth(SOCKETS, amount, 1, amount) for amount in (1, 10, 100, 1_000, 10_000, 100_000)),
    *(growth(CONNECTIONS, amount, amount, 1) for amount in (1, 10, 100, 1_000)),
    *(growth(SIBLINGS, amount, 1, 100, ("--silent", str(amount))) for amount in (0, 100, 1_000, 10_000, MAX_SIBLINGS)),
]

# The largest that `--quick` takes.
QUICK_SOCKETS = 10_000


def chosen(words, quick):
    """The workloads that the words name, or whose group they name: all, if there are none. None where a word means nothing."""
    everything = [*WORKLOADS, *GROWTH]
    if any(not any(word in (workload.name, workload.group) for workload in everything) for word in words):
        return None
    return [
        workload
        for workload in everything
        if (not words or workload.name in words or workload.group in words)
        and (not quick or workload.connections * workload.sockets + workload.amount <= QUICK_SOCKETS)
    ]
