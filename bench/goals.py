"""What was to be reached, and whether it is: nothing here is typed in but the goals."""

import dataclasses

from common import shorten
from servers import PEERS
from sitting import CPU, MIB, OPENING_SECONDS, P99, PER_SOCKET, RESIDENT
from workloads import CEILING, GROWTH, HTTP1_PEER, IDLE_HTTP1, IDLE_HTTP2, MAX_SIBLINGS, OURS, SIBLINGS

THOUSAND, OVER_HTTP1 = "1 × 1000", "1000 over HTTP/1.1"
# Of the cleartext cost; what rustls alone takes is added.
TLS_FACTOR = 1.3
# How far the cost beside idle siblings may be from the cost without and count as level: the noise of two measurements.
LEVEL = 1.2


@dataclasses.dataclass(frozen=True)
class Check:
    """A figure and its bound. The figure is None where a part of it was not measured, or failed."""

    limit: float
    figure: float | None
    unit: str = ""

    @property
    def met(self):
        return self.figure is not None and self.figure <= self.limit

    def wanted(self):
        return f"≤ {spoken(self.limit, self.unit)}"

    def got(self):
        return "" if self.figure is None else spoken(self.figure, self.unit)


@dataclasses.dataclass(frozen=True)
class Goal:
    title: str
    # Where we are to do that.
    workload: str
    # Against the ceiling program, or without a comparison.
    first: Check | None
    # Against the best peer, and which one that is.
    second: Check | None = None
    peer: str = ""


def goals(sitting):
    """All goals that this sitting says something about."""
    found = [
        *(against_both(sitting, *terms) for terms in RATIOS),
        against_peers(sitting, f"1 × 1000 ÷ {OVER_HTTP1}", THOUSAND, OVER_HTTP1, 1 / 15, (HTTP1_PEER,)),
        against_peers(sitting, OVER_HTTP1, OVER_HTTP1, OVER_HTTP1, 0.8, (HTTP1_PEER,)),
        against_peers(sitting, f"{OVER_HTTP1}: p99", OVER_HTTP1, OVER_HTTP1, 1 / 3, (HTTP1_PEER,), P99),
        tls(sitting, "1 × 1000, TLS", THOUSAND, 1 / 6),
        tls(sitting, "1 × 10, 16 kB, TLS", "1 × 10, 16 kB", 2 / 3),
        against_peers(sitting, "1 × 1000, each socket spawned", "1 × 1000, spawned", THOUSAND, 1 / 5),
        *idle(sitting),
        *million(sitting),
        within(sitting, "p99 beside 1 MiB messages ÷ alone", P99, "1 × 100 beside 1 MiB", "1 × 100", 2),
        within(sitting, "two worker threads ÷ one, 10 × 100", CPU, "10 × 100, two threads", "10 × 100", 1.2),
        siblings(sitting),
    ]
    return [goal for goal in found if sitting.was_tried(goal.workload, OURS)]


# A workload, and our CPU per message against the ceiling's and against the best peer's, of another workload if one is named.
RATIOS = [
    (THOUSAND, 3, 1 / 10),
    ("1 × 100", 2, 1 / 6),
    ("10 × 100", 3, 1 / 8),
    ("1 × 1", 1.1, 1),
    ("1 × 100, 1 kB", 1.7, 1 / 4),
    ("1 × 10, 16 kB", 1.4, 2 / 3),
    ("1 × 10, 1 MiB", 1.6, 2 / 3),
    # What the peers do with whole messages: none of them forwards a message before it is whole.
    ("1 × 10, 1 MiB in pieces", 1.3, 0.6, "1 × 10, 1 MiB"),
    ("broadcast to 1000", 3, 1 / 10),
]


def against_both(sitting, workload, ceiling, peers, of_peers=None):
    ours, least = (sitting.median(workload, server, CPU) for server in (OURS, CEILING))
    first = Check(ceiling, quotient(ours, least), " ×")
    return dataclasses.replace(against_peers(sitting, workload, workload, of_peers or workload, peers), first=first)


def against_peers(sitting, title, workload, of_peers, limit, peers=PEERS, measure=CPU):
    peer, best = sitting.best(of_peers, peers, measure)
    return Goal(title, workload, None, Check(limit, quotient(sitting.median(workload, OURS, measure), best)), peer)


def tls(sitting, workload, cleartext, peers):
    """What sealing takes stands beside the ratio, so the bound is one of µs."""
    plain, sealing = sitting.median(cleartext, OURS, CPU), sitting.sealing.get(workload)
    goal = against_peers(sitting, workload, workload, workload, peers)
    if plain is None or sealing is None:
        return goal
    limit = TLS_FACTOR * plain + sealing["seal"]
    return dataclasses.replace(goal, first=Check(limit, sitting.median(workload, OURS, CPU), " µs"))


# What it is of, the workload, and our KiB at most and against the best peer's.
IDLE = [("10 × 1000", IDLE_HTTP2, 0.85, 1 / 6), ("HTTP/1.1", IDLE_HTTP1, 2, 1)]


def idle(sitting):
    for title, workload, limit, peers in IDLE:
        ours = sitting.median(workload, OURS, PER_SOCKET)
        peer, best = sitting.best(workload, PEERS, PER_SOCKET)
        checks = Check(limit, ours, " KiB"), Check(peers, quotient(ours, best))
        yield Goal(f"memory of an idle WebSocket, {title}", workload, *checks, peer)


def million(sitting):
    workload = "idle, 10,000 × 100"
    resident, seconds = (sitting.median(workload, OURS, measure) for measure in (RESIDENT, OPENING_SECONDS))
    # Where any of them does not answer, before the silence or after it, the workload has failed.
    yield Goal("a million idle WebSockets: memory", workload, Check(1.5, resident and resident * MIB / (1 << 30), " GiB"))
    yield Goal("a million idle WebSockets: until all are open", workload, Check(120, seconds, " s"))


def within(sitting, title, measure, workload, alone, limit):
    over, under = (sitting.median(name, OURS, measure) for name in (workload, alone))
    return Goal(title, workload, Check(limit, quotient(over, under), " ×"))


def siblings(sitting):
    names = [workload.name for workload in GROWTH if workload.series == SIBLINGS]
    costs = [sitting.median(name, OURS, CPU) for name in names]
    title = f"1 × 100 beside {MAX_SIBLINGS:,} idle ÷ beside none"
    return Goal(title, names[-1], Check(LEVEL, quotient(costs[-1], costs[0]), " ×"))


def quotient(over, under):
    return over / under if over is not None and under else None


# Bounds that are fractions are shown as such.
FRACTIONS = {2 / 3: "2/3", **{1 / number: f"1/{number}" for number in range(2, 16)}}


def spoken(figure, unit):
    """A figure with its unit, or, without one, a small ratio as a fraction of one."""
    if unit:
        return f"{shorten(figure)}{unit}" if figure % 1 else f"{figure:g}{unit}"
    if figure in FRACTIONS:
        return FRACTIONS[figure]
    if figure < 0.3:
        return f"1/{1 / figure:.1f}" if figure > 0.1 else f"1/{1 / figure:.0f}"
    return shorten(figure)
