"""The sitting as Markdown: tables for `results.md` and one for the README."""

import re

from common import cells, shorten, spread
from goals import goals, quotient
from servers import PEERS
from sitting import CPU, OPENING_CPU, OPENING_RATE, OWN_CORES, P50, P99, PER_SOCKET, RATE, RESIDENT
from workloads import CEILING, GROWTH, IDLE_HTTP1, IDLE_HTTP2, OTHER_CEILING, OURS, WORKLOADS

ORDER = (OURS, CEILING, OTHER_CEILING, *PEERS)
# A load that leaves its core no pause may be slower than the server.
FULL_CORE = 0.95
# The rows of the README.
KEY = [
    "1 × 1", "1 × 100", "1 × 1000", "10 × 100", "1 × 100, 1 kB", "1 × 10, 16 kB", "1 × 10, 1 MiB",
    "broadcast to 1000", "1 × 1000, TLS", "1 × 10, 16 kB, TLS", "1 × 60 beside 40 stalled, 1 kB",
]  # fmt: skip
KEY_PEER = "axum"
MARKERS = ("<!-- figures: bench/run writes them -->", "<!-- end of figures -->")


def render(sitting):
    """All of `results.md`."""
    echoes = group("echo")
    sections = [
        ("Goals", goal_table(sitting)),
        (CPU.title, server_table(sitting, echoes, CPU, has_ratios=True)),
        (f"{RATE.title} (* the load had no time left; the server may have had)", server_table(sitting, echoes, RATE)),
        (P50.title, server_table(sitting, echoes, P50)),
        (P99.title, server_table(sitting, [*echoes, *group("fairness")], P99)),
        ("What TLS costs, µs per message", tls_table(sitting)),
        (PER_SOCKET.title, server_table(sitting, [IDLE_HTTP2, IDLE_HTTP1], PER_SOCKET, has_ratios=True)),
        (RESIDENT.title, server_table(sitting, [*echoes, *group("idle")], RESIDENT)),
        (OPENING_RATE.title, server_table(sitting, group("opening"), OPENING_RATE)),
        (OPENING_CPU.title, server_table(sitting, group("opening"), OPENING_CPU, has_ratios=True)),
        *((f"{CPU.title}, of {series}", growth_table(sitting, series)) for series in all_series()),
        ("Failures", failures(sitting)),
    ]
    lines = ["# Results", "", *sitting.facts]
    for title, rows in sections:
        rows = list(rows)
        if rows:
            lines += ["", f"## {title}", "", *rows]
    return "\n".join(lines) + "\n"


def group(name):
    return [workload.name for workload in WORKLOADS if workload.group == name]


def all_series():
    return dict.fromkeys(workload.series for workload in GROWTH)


def goal_table(sitting):
    rows = goals(sitting)
    if rows:
        yield cells(["", "goal", "got", "", "against the best peer", "got", ""])
        yield cells([":--", "--:", "--:", ":--", "--:", "--:", ":--"])
    for goal in rows:
        peer = f" ({goal.peer})" if goal.peer else ""
        fails = bool(sitting.failure(goal.workload, OURS))
        yield cells([goal.title, *check_cells(goal.first, fails), *check_cells(goal.second, fails, peer)])


def check_cells(check, fails, after=""):
    if check is None:
        return ["", "", ""]
    if check.figure is None:
        return [check.wanted(), *(["fails", "**not met**"] if fails else ["not measured", ""])]
    return [check.wanted(), check.got() + after, "met" if check.met else "**not met**"]


def server_table(sitting, workloads, measure, has_ratios=False):
    """Workloads by servers: median and spread."""
    workloads = [name for name in workloads if any(sitting.was_tried(name, server) for server in ORDER)]
    servers = [server for server in ORDER if server in sitting.servers(workloads)]
    if not workloads:
        return
    yield head([*servers, *(["sockeye ÷ ceiling", "best peer ÷ sockeye"] if has_ratios else [])])
    for name in workloads:
        shown = [figure_cell(sitting, name, server, measure) for server in servers]
        yield cells([name, *shown, *(ratio_cells(sitting, name, measure) if has_ratios else [])])


def head(columns):
    return cells(["", *columns]) + "\n" + cells([":--", *("--:" for _ in columns)])


def figure_cell(sitting, workload, server, measure):
    if sitting.failure(workload, server):
        return "fails"
    figures = sitting.figures(workload, server, measure)
    if not figures:
        return ""
    return spread(figures) + ("*" if measure is RATE and min(sitting.figures(workload, server, OWN_CORES)) >= FULL_CORE else "")


def ratio_cells(sitting, workload, measure):
    """Ours against the ceiling's, and the best peer's against ours."""
    ours = sitting.median(workload, OURS, measure)
    above = quotient(ours, sitting.median(workload, CEILING, measure))
    peer, best = sitting.best(workload, PEERS, measure)
    ahead = quotient(best, ours)
    return [shown(above), f"{shorten(ahead)} ({peer})" if ahead else ""]


def tls_table(sitting):
    rows = [name for name in sitting.sealing if sitting.median(name, OURS, CPU) is not None]
    if rows:
        yield head(["cleartext", "rustls alone: seal", "open", "with TLS", "÷ the three together"])
    for name in rows:
        plain, secure = (sitting.median(which, OURS, CPU) for which in (name.removesuffix(", TLS"), name))
        if plain is None:
            continue
        seal, unseal = (sitting.sealing[name][verb] for verb in ("seal", "open"))
        yield cells([name, *map(shorten, (plain, seal, unseal, secure, secure / (plain + seal + unseal)))])


def growth_table(sitting, series):
    points = [workload for workload in GROWTH if workload.series == series]
    names = [point.name for point in points if any(sitting.was_tried(point.name, server) for server in ORDER)]
    servers = [server for server in ORDER if server in sitting.servers(names)]
    if names:
        yield head(servers)
    for point in points:
        if point.name in names:
            yield cells([f"{point.amount:,}", *(figure_cell(sitting, point.name, server, CPU) for server in servers)])


def failures(sitting):
    for workload in [*WORKLOADS, *GROWTH]:
        for server in ORDER:
            failure = sitting.failure(workload.name, server)
            if failure:
                yield f"- {server}, {workload.name}: {failure}"


def key_table(sitting):
    """The README's."""
    yield head([OURS, CEILING, "best peer", KEY_PEER, "sockeye ÷ ceiling", "best peer ÷ sockeye"])
    for name in KEY:
        yield key_row(sitting, name, name, CPU)
    yield key_row(sitting, IDLE_HTTP2, "KiB resident for each idle WebSocket, 10 × 1000", PER_SOCKET)


def key_row(sitting, workload, title, measure):
    peer, best = sitting.best(workload, PEERS, measure)
    ours, least, known = (sitting.median(workload, server, measure) for server in (OURS, CEILING, KEY_PEER))
    best_peer = f"{shorten(best)} {peer}" if peer else "all fail"
    known_peer = "fails" if sitting.failure(workload, KEY_PEER) else shown(known)
    ratios = quotient(ours, least), quotient(best, ours)
    return cells([title, shown(ours), shown(least), best_peer, known_peer, *map(shown, ratios)])


def shown(figure):
    return "" if figure is None else shorten(figure)


def update(path, lines):
    """Puts the lines between the markers of a page."""
    page = path.read_text()
    begin, end = MARKERS
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    figures = "\n".join(["", *lines, ""])
    replaced, count = pattern.subn(lambda _: f"{begin}\n{figures}\n{end}", page)
    if count != 1:
        raise SystemExit(f"{path} has to have the lines {begin} and {end} once")
    path.write_text(replaced)
