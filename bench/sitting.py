"""One sitting: every figure that was taken, and the taking of one."""

import dataclasses
import json
import statistics
import subprocess

from common import BOTH_CORES, LOAD_CORE, SERVER_CORE, SLACK_SECONDS, Failure, complaint, running

KIB, MIB = 1 << 10, 1 << 20
# The slowest opening that is waited for.
SOCKETS_PER_SECOND = 5_000


@dataclasses.dataclass(frozen=True)
class Measure:
    """A figure of a report of `sockeye bench`."""

    title: str
    section: str
    field: str
    scale: float = 1

    def of(self, report):
        return report[self.section][self.field] * self.scale


CPU = Measure("Server CPU per message, µs", "cpu", "server_us_per_message")
RATE = Measure("Messages per second, thousands", "load", "messages_per_second", 1e-3)
OWN_CORES = Measure("Cores that the load took", "cpu", "own_cores")
P50 = Measure("Round trip, median, µs", "latency", "p50")
P99 = Measure("Round trip at the 99th percentile, µs", "latency", "p99")
RESIDENT = Measure("Resident memory of the server, MiB", "memory", "after", 1 / MIB)
PER_SOCKET = Measure("Resident memory per idle WebSocket, KiB", "memory", "per_socket", 1 / KIB)
OPENING_RATE = Measure("WebSockets opened per second, thousands", "opening", "sockets_per_second", 1e-3)
OPENING_SECONDS = Measure("Seconds until all were open", "opening", "seconds")
OPENING_CPU = Measure("Server CPU per WebSocket opened, µs", "opening", "server_us_per_socket")

MEASURES = (CPU, RATE, OWN_CORES, P50, P99, RESIDENT, PER_SOCKET, OPENING_RATE, OPENING_SECONDS, OPENING_CPU)


class Sitting:
    """What came of each server under each workload: a report, or why there is none, for each round."""

    def __init__(self, facts, samples=(), sealing=()):
        # What a reader has to know of the machine and the programs, as lines.
        self.facts = facts
        self.samples = {}
        for workload, server, result in samples:
            self.add(workload, server, Failure(result) if isinstance(result, str) else result)
        # What rustls alone takes, by workload: µs per message to `seal` and to `open`.
        self.sealing = dict(sealing)

    @classmethod
    def load(cls, path):
        saved = json.loads(path.read_text())
        return cls(saved["facts"], saved["samples"], saved["sealing"])

    def save(self, path):
        rows = [
            [workload, server, str(result) if isinstance(result, Failure) else result]
            for (workload, server), results in self.samples.items()
            for result in results
        ]
        # A sample is a line, so that what changed between two sittings can be seen.
        lines = ",\n".join(json.dumps(row) for row in rows)
        facts, sealing = json.dumps(self.facts, ensure_ascii=False), json.dumps(self.sealing)
        path.write_text(f'{{"facts": {facts},\n"sealing": {sealing},\n"samples": [\n{lines}\n]}}\n')

    def add(self, workload, server, result):
        self.samples.setdefault((workload, server), []).append(result)

    def servers(self, workloads):
        """Who was tried, in the order of the first try."""
        return list(dict.fromkeys(server for workload, server in self.samples if workload in workloads))

    def was_tried(self, workload, server):
        return (workload, server) in self.samples

    def failure(self, workload, server):
        """A server that fails in any round fails."""
        return next((result for result in self.samples.get((workload, server), ()) if isinstance(result, Failure)), None)

    def figures(self, workload, server, measure):
        if self.failure(workload, server):
            return []
        return [measure.of(result) for result in self.samples.get((workload, server), ())]

    def median(self, workload, server, measure):
        figures = self.figures(workload, server, measure)
        return statistics.median(figures) if figures else None

    def best(self, workload, servers, measure):
        """The server whose figure is the least, and that; none where all fail."""
        medians = [(self.median(workload, server, measure), server) for server in servers]
        figure, server = min((pair for pair in medians if pair[0] is not None), default=(None, None))
        return server, figure


def sample(load, server, workload, seconds):
    """One measurement, or the failure that came in its place, twice: what goes wrong once may be the machine's."""
    try:
        return measure(load, server, workload, seconds)
    except Failure:
        pass
    try:
        return measure(load, server, workload, seconds)
    except Failure as failure:
        return failure


def measure(load, server, workload, seconds):
    """What `sockeye bench` reports of a server that is started for this alone."""
    cores = SERVER_CORE if workload.threads == 1 else BOTH_CORES
    with running(lambda address: server.command(address, workload.tls), cores, workload.threads) as (process, address):
        if workload.group == "idle":
            generate([load, *workload.first(address)], patience(workload))
        report = generate([load, *workload.arguments(address, process.pid, seconds)], seconds + patience(workload))
        if process.poll() is not None:
            raise Failure(f"it ends with status {process.returncode}")
    if report["verdict"] != "ok":
        first = report["failures"][0]
        raise Failure(f"{first['what']} ({first['sockets']} of {report['sockets']})")
    if report["load"] and not report["load"]["messages"]:
        raise Failure("no message comes back")
    return essence(report)


def patience(workload):
    """Seconds that it takes at most to connect, open, warm up and close."""
    return SLACK_SECONDS + (workload.connections * workload.sockets + workload.amount) / SOCKETS_PER_SECOND


def generate(command, seconds):
    """The report of a load that has come to its end within so many seconds."""
    pinned = ["taskset", "-c", LOAD_CORE, *command]
    try:
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure("it stalls") from None
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise Failure("the load breaks off: " + complaint(done.stderr)) from None


def essence(report):
    """Of a report what tables, drawings and goals ask for."""
    if report["load"]:
        report["latency"] = report["load"]["latency_us"]
    kept = {}
    for measure in MEASURES:
        figure = (report.get(measure.section) or {}).get(measure.field)
        if figure is not None:
            kept.setdefault(measure.section, {})[measure.field] = float(f"{figure:.5g}")
    return kept


def seal(program, workload):
    """What rustls alone takes for the octets of a workload's messages, in µs per message."""
    octets = {"32": 32, "16k": 16_000}[workload.size]
    command = ["taskset", "-c", SERVER_CORE, program, "--size", str(octets), "--batch", str(workload.sockets)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    return {verb: figures[f"{verb}_us_per_message"] for verb in ("seal", "open")}
