"""The sitting as drawings, for the README and the page about performance."""

import plots
from report import ORDER
from servers import PEERS
from sitting import CPU, PER_SOCKET
from workloads import GROWING, GROWTH, IDLE_HTTP2, OURS

# Those whose costs are near enough to each other for one scale.
DRAWN = [
    ("1 × 1000", "1000 WebSockets, 32 B"),
    ("10 × 100", "10 connections × 100, 32 B"),
    ("1 × 100", "100 WebSockets, 32 B"),
    ("1 × 100, 1 kB", "100 WebSockets, 1 kB"),
    ("broadcast to 1000", "broadcast to 1000 WebSockets, 32 B"),
    ("1 × 1000, TLS", "1000 WebSockets, 32 B, TLS"),
    ("1 × 10, 16 kB", "10 WebSockets, 16 kB"),
    ("1 × 1", "one WebSocket, 32 B: a lone round trip"),
]
NOTE = "Medians of one sitting, each server alone on one core. “ceiling” checks nothing and serves nobody: the price of system calls."


def draw(sitting):
    """The drawings that this sitting has figures for, by file name."""
    drawn = {"cost": cost(sitting), "memory": memory(sitting), "growth": growth(sitting)}
    return {f"{name}.svg": drawing for name, drawing in drawn.items() if drawing}


def cost(sitting):
    panels = [(title, bars(sitting, name, CPU)) for name, title in DRAWN if sitting.was_tried(name, OURS)]
    subtitle = "µs of the server's core, on a logarithmic scale; shorter is better"
    return panels and plots.bar_panels("Server CPU per message", subtitle, NOTE, panels)


def memory(sitting):
    if not sitting.was_tried(IDLE_HTTP2, OURS):
        return None
    panels = [("10 connections × 1000 WebSockets", bars(sitting, IDLE_HTTP2, PER_SOCKET))]
    subtitle = "KiB resident for each, on a logarithmic scale; shorter is better"
    return plots.bar_panels("Memory of an idle WebSocket", subtitle, NOTE, panels, columns=1)


def bars(sitting, workload, measure):
    """The quickest first; who fails comes last, and says so."""
    tried = [server for server in ORDER if sitting.was_tried(workload, server)]
    found = [(sitting.median(workload, server, measure), server) for server in tried]
    found.sort(key=lambda pair: (pair[0] is None, pair[0]))
    return [plots.Bar(server, value, color(server), "" if value else "fails") for value, server in found]


def color(server):
    return plots.OURS if server == OURS else plots.PEER if server in PEERS else plots.FLOOR


def growth(sitting):
    panels = []
    for series in dict.fromkeys(point.series for point in GROWTH):
        points = [point for point in GROWTH if point.series == series]
        lines = [line for server in ORDER if (line := growth_line(sitting, server, points))]
        if lines:
            panels.append((series[:1].upper() + series[1:], lines))
    subtitle = "µs of the server's core, both scales logarithmic; whose line ends early fails further on, or takes a gigabyte"
    return panels and plots.line_panels("Server CPU per message, as the numbers grow", subtitle, NOTE, panels)


def growth_line(sitting, server, points):
    medians = [(point.amount, sitting.median(point.name, server, CPU)) for point in points]
    found = tuple((amount, value) for amount, value in medians if value)
    return plots.Line(server, found, COLORS[server]) if found else None


COLORS = dict(zip(GROWING, plots.LINES))
