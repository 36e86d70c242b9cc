#!/usr/bin/env python3
"""Autobahn's test suite against our server and our client, over HTTP/1.1 and, by way of HAProxy, over HTTP/2; and the server behind
our gateway, with either version of HTTP on either side of that."""

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any

from twisted.internet import defer, task, threads

from ..harness import PROGRAM, ROOT, Gateway, Report, Server
from . import fuzzer
from .proxy import Proxy
from .suite import CASES

HERE = Path(__file__).resolve().parent
REPORTS = ROOT / "target/autobahn"
FULL_RESULT = HERE / "full.txt"
CLIENT = os.environ.get("AUTOBAHN_CLIENT", str(Path(PROGRAM).parent / "examples/autobahn_client"))
# The largest message of the suite, and the most fragments: those of 9.3.1, which has an empty one after its 2^16.
LIMITS = ("--max-message-size", str(16 << 20), "--max-fragments", str((1 << 16) + 1))
# Of the thousand messages of a case of compression.
MESSAGES, PATIENCE = 100, 60


async def server(reactor: Any, ids: Any, report: Callable[[str, Any], None]) -> None:
    with Server(*LIMITS, tls=False) as ours:
        await fuzzer.run_client(reactor, url(ours.address), ids, report)


async def server_http2(reactor: Any, ids: Any, report: Callable[[str, Any], None]) -> None:
    with Server(*LIMITS, tls=False) as ours, Proxy(ours.address, connect="proto h2") as proxy:
        await fuzzer.run_client(reactor, url(proxy.address), ids, report)


async def client(reactor: Any, ids: Any, report: Callable[[str, Any], None]) -> None:
    port = await fuzzer.listen(reactor, ids, report)
    await run_program(("127.0.0.1", port.getHost().port))
    await port.stopListening()


async def client_http2(reactor: Any, ids: Any, report: Callable[[str, Any], None]) -> None:
    port = await fuzzer.listen(reactor, ids, report)
    with Proxy(("127.0.0.1", port.getHost().port), listen="proto h2") as proxy:
        await run_program(proxy.address, "--http2")
    await port.stopListening()


def through_gateway(front: str, behind: str) -> Callable[..., Any]:
    """The server by way of the gateway, which relays its octets."""

    async def direction(reactor: Any, ids: Any, report: Callable[[str, Any], None]) -> None:
        with Server(*LIMITS, tls=False) as ours, Gateway(ours.address, "--to", behind, tls=False) as gateway:
            if front == "h1":
                await fuzzer.run_client(reactor, url(gateway.address), ids, report)
                return
            with Proxy(gateway.address, connect="proto h2") as proxy:
                await fuzzer.run_client(reactor, url(proxy.address), ids, report)

    return direction


DIRECTIONS = {"server": server, "server-http2": server_http2, "client": client, "client-http2": client_http2}

GATEWAY = {f"gateway-{front}-{behind}": through_gateway(front, behind) for front in ("h1", "h2") for behind in ("h1", "h2")}
# Sections that are left out of what goes through the gateway: performance and compression, which are octets like others to it.
LEFT_OUT = ("9.", "12.", "13.")


def url(address: tuple[str, int]) -> Any:
    host, port = address
    return f"ws://{host}:{port}/echo"


async def run_program(address: tuple[str, int], *options: Any) -> None:
    """Our client asks for the cases one by one. Where it breaks off, cases are missing, which is told of each."""
    host, port = address
    command = [CLIENT, f"ws://{host}:{port}", *options]
    status = await threads.deferToThread(lambda: subprocess.run(command, stdout=subprocess.DEVNULL).returncode)
    if status:
        print(f"{' '.join(command)}: exit status {status}")


def shorten() -> None:
    """Fewer messages in the cases of compression, which take minutes otherwise; and less patience."""
    for case in CASES.values():
        if hasattr(case, "TESTDATA"):
            case.COUNT, case.WAITSECS = MESSAGES, PATIENCE


def section(id: str) -> Any:
    return id.rpartition(".")[0]


class Expected:
    """The committed verdicts of one direction: for each verdict the cases, a line for each section."""

    def __init__(self, direction: Any) -> None:
        self.path = HERE / "expected" / f"{direction}.json"
        lists = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.verdicts = {id: verdict for verdict, lines in lists.items() for line in lines for id in line.split()}

    def write(self) -> None:
        lists = {}
        for verdict in sorted(set(self.verdicts.values())):
            ids = [id for id in CASES if self.verdicts.get(id) == verdict]
            lists[verdict] = [" ".join(group) for _, group in groupby(ids, section)]
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(lists, indent=1) + "\n")


class Direction:
    """The cases of one direction, and what became of them."""

    def __init__(self, name: str, ids: Any, options: Any, report: Report) -> None:
        self.name, self.options, self.report = name, options, report
        self.ids = [id for id in ids if name not in GATEWAY or not id.startswith(LEFT_OUT)]
        # The gateway is to change nothing.
        self.expected = Expected("server" if name in GATEWAY else name)
        self.outcomes: dict[str, Any] = {}

    async def run(self, reactor: Any) -> None:
        start = time.monotonic()
        await {**DIRECTIONS, **GATEWAY}[self.name](reactor, self.ids, self.take)
        for id in self.ids:
            if id not in self.outcomes:
                self.report.run(f"{self.name} {id}", lambda: fail("did not run"))
        self.summary = self.summarise(time.monotonic() - start)
        print(self.summary, flush=True)
        if self.options.update and self.name not in GATEWAY:
            self.expected.write()
        REPORTS.mkdir(parents=True, exist_ok=True)
        report = {id: asdict(outcome) for id, outcome in self.outcomes.items()}
        (REPORTS / f"{self.name}.json").write_text(json.dumps(report, indent=1))

    def take(self, id: str, outcome: Any) -> None:
        self.outcomes[id] = outcome
        if self.options.update:
            self.expected.verdicts[id] = outcome.verdict
        self.report.run(f"{self.name} {id}: {outcome.verdict}", lambda: self.check(id, outcome))

    def check(self, id: str, outcome: Any) -> None:
        expected = self.expected.verdicts.get(id, "nothing")
        if outcome.verdict != expected:
            fail("\n  ".join([f"expected {expected}", outcome.why, *outcome.wire[-10:]]))

    def summarise(self, seconds: float) -> Any:
        counts = Counter(outcome.verdict for outcome in self.outcomes.values())
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return f"{self.name}: {len(self.outcomes)} cases in {seconds:.0f} s: {verdicts}"


def record(directions: Any) -> None:
    """Replaces the lines of these directions in the result of the last full run."""
    lines = FULL_RESULT.read_text().splitlines() if FULL_RESULT.exists() else []
    summaries = {line.partition(":")[0]: line for line in [*lines, *(direction.summary for direction in directions)]}
    FULL_RESULT.write_text("".join(f"{summaries[name]}\n" for name in DIRECTIONS if name in summaries))


def fail(why: Any) -> None:
    raise AssertionError(why)


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direction", nargs="*", metavar="|".join([*DIRECTIONS, *GATEWAY]), help="by default the first four")
    parser.add_argument("--full", action="store_true", help=f"1000 messages in a case of compression, not {MESSAGES}")
    parser.add_argument("--update", action="store_true", help="write what comes out as what is expected")
    parser.add_argument("--cases", default="*", help="only these, such as '6.*'")
    options = parser.parse_args()
    if unknown := set(options.direction) - {*DIRECTIONS, *GATEWAY}:
        parser.error(f"no such direction: {', '.join(unknown)}")
    return options


def main() -> None:
    options, report = arguments(), Report()
    if not options.full:
        shorten()
    ids = [id for id in CASES if fnmatch(id, options.cases)]
    directions = [Direction(name, ids, options, report) for name in options.direction or DIRECTIONS]

    async def run_all(reactor: Any) -> None:
        for direction in directions:
            await direction.run(reactor)

    try:
        task.react(lambda reactor: defer.ensureDeferred(run_all(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    if options.full and options.cases == "*":
        record(directions)
    report.finish()


if __name__ == "__main__":
    main()
