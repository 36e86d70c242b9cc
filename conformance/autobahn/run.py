#!/usr/bin/env python3
"""Autobahn's test suite against our server and our client, over HTTP/1.1 and, by way of HAProxy, over HTTP/2."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path

from twisted.internet import defer, task, threads

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import fuzzer  # noqa: E402
from harness import PROGRAM, ROOT, Report, Server  # noqa: E402
from proxy import Proxy  # noqa: E402
from suite import CASES  # noqa: E402

HERE = Path(__file__).resolve().parent
REPORTS = ROOT / "target/autobahn"
FULL_RESULT = HERE / "full.txt"
CLIENT = os.environ.get("AUTOBAHN_CLIENT", str(Path(PROGRAM).parent / "examples/autobahn_client"))
# The largest message of the suite, and the most fragments: those of 9.3.1, which has an empty one after its 2^16.
LIMITS = ("--max-message-size", str(16 << 20), "--max-fragments", str((1 << 16) + 1))
# Of the thousand messages of a case of compression.
MESSAGES, PATIENCE = 100, 60


async def server(reactor, ids, report):
    with Server(*LIMITS, tls=False) as ours:
        await fuzzer.run_client(reactor, url(ours.address), ids, report)


async def server_http2(reactor, ids, report):
    with Server(*LIMITS, tls=False) as ours, Proxy(ours.address, connect="proto h2") as proxy:
        await fuzzer.run_client(reactor, url(proxy.address), ids, report)


async def client(reactor, ids, report):
    port = await fuzzer.listen(reactor, ids, report)
    await run_program(("127.0.0.1", port.getHost().port))
    await port.stopListening()


async def client_http2(reactor, ids, report):
    port = await fuzzer.listen(reactor, ids, report)
    with Proxy(("127.0.0.1", port.getHost().port), listen="proto h2") as proxy:
        await run_program(proxy.address, "--http2")
    await port.stopListening()


DIRECTIONS = {"server": server, "server-http2": server_http2, "client": client, "client-http2": client_http2}


def url(address):
    host, port = address
    return f"ws://{host}:{port}/echo"


async def run_program(address, *options):
    """Our client asks for the cases one by one. Where it breaks off, cases are missing, which is told of each."""
    host, port = address
    command = [CLIENT, f"ws://{host}:{port}", *options]
    status = await threads.deferToThread(lambda: subprocess.run(command, stdout=subprocess.DEVNULL).returncode)
    if status:
        print(f"{' '.join(command)}: exit status {status}")


def shorten():
    """Fewer messages in the cases of compression, which take minutes otherwise; and less patience."""
    for case in CASES.values():
        if hasattr(case, "TESTDATA"):
            case.COUNT, case.WAITSECS = MESSAGES, PATIENCE


def section(id):
    return id.rpartition(".")[0]


class Expected:
    """The committed verdicts of one direction: for each verdict the cases, a line for each section."""

    def __init__(self, direction):
        self.path = HERE / "expected" / f"{direction}.json"
        lists = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.verdicts = {id: verdict for verdict, lines in lists.items() for line in lines for id in line.split()}

    def write(self):
        lists = {}
        for verdict in sorted(set(self.verdicts.values())):
            ids = [id for id in CASES if self.verdicts.get(id) == verdict]
            lists[verdict] = [" ".join(group) for _, group in groupby(ids, section)]
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(lists, indent=1) + "\n")


class Direction:
    """The cases of one direction, and what became of them."""

    def __init__(self, name, ids, options, report):
        self.name, self.ids, self.options, self.report = name, ids, options, report
        self.expected = Expected(name)
        self.outcomes = {}

    async def run(self, reactor):
        start = time.monotonic()
        await DIRECTIONS[self.name](reactor, self.ids, self.take)
        for id in self.ids:
            if id not in self.outcomes:
                self.report.run(f"{self.name} {id}", lambda: fail("did not run"))
        self.summary = self.summarise(time.monotonic() - start)
        print(self.summary, flush=True)
        if self.options.update:
            self.expected.write()
        REPORTS.mkdir(parents=True, exist_ok=True)
        report = {id: asdict(outcome) for id, outcome in self.outcomes.items()}
        (REPORTS / f"{self.name}.json").write_text(json.dumps(report, indent=1))

    def take(self, id, outcome):
        self.outcomes[id] = outcome
        if self.options.update:
            self.expected.verdicts[id] = outcome.verdict
        self.report.run(f"{self.name} {id}: {outcome.verdict}", lambda: self.check(id, outcome))

    def check(self, id, outcome):
        expected = self.expected.verdicts.get(id, "nothing")
        if outcome.verdict != expected:
            fail("\n  ".join([f"expected {expected}", outcome.why, *outcome.wire[-10:]]))

    def summarise(self, seconds):
        counts = Counter(outcome.verdict for outcome in self.outcomes.values())
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return f"{self.name}: {len(self.outcomes)} cases in {seconds:.0f} s: {verdicts}"


def record(directions):
    """Replaces the lines of these directions in the result of the last full run."""
    lines = FULL_RESULT.read_text().splitlines() if FULL_RESULT.exists() else []
    summaries = {line.partition(":")[0]: line for line in [*lines, *(direction.summary for direction in directions)]}
    FULL_RESULT.write_text("".join(f"{summaries[name]}\n" for name in DIRECTIONS if name in summaries))


def fail(why):
    raise AssertionError(why)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direction", nargs="*", metavar="|".join(DIRECTIONS), help="by default all four")
    parser.add_argument("--full", action="store_true", help=f"1000 messages in a case of compression, not {MESSAGES}")
    parser.add_argument("--update", action="store_true", help="write what comes out as what is expected")
    parser.add_argument("--cases", default="*", help="only these, such as '6.*'")
    options = parser.parse_args()
    if unknown := set(options.direction) - set(DIRECTIONS):
        parser.error(f"no such direction: {', '.join(unknown)}")
    return options


def main():
    options, report = arguments(), Report()
    if not options.full:
        shorten()
    ids = [id for id in CASES if fnmatch(id, options.cases)]
    directions = [Direction(name, ids, options, report) for name in options.direction or DIRECTIONS]

    async def run_all(reactor):
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
