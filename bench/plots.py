"""Drawings as SVG: bars and lines on logarithmic scales, with a background of their own, for light and dark pages."""

import dataclasses
import html
import math

WIDTH = 860
MARGIN = 28
PAPER, EDGE, INK, FAINT, GRID = "#fffdfa", "#e3ddd3", "#26313c", "#6b7680", "#ebe6dd"
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
# The fish is red.
OURS, PEER, FLOOR = "#d8412f", "#7d97ad", "#c3bbae"
LINES = (OURS, "#8d857a", "#2f6f9f", "#7a5ea8", "#b07d1e", "#3d8b62")
BAR, BAR_GAP = 15, 5
# How far outside a scale a decade may be and is shown, as a share of a decade: 99,900 is nearly 100,000.
NEARLY = 1e-3
TITLE_ROOM, NOTE_ROOM = 66, 34


@dataclasses.dataclass(frozen=True)
class Bar:
    name: str
    # None: nothing to draw, `note` says why.
    value: float | None
    color: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    name: str
    points: tuple
    color: str


@dataclasses.dataclass(frozen=True)
class Scale:
    """A logarithmic one."""

    least: float
    most: float
    begin: float
    end: float

    def at(self, value):
        share = math.log(value / self.least) / math.log(self.most / self.least)
        return self.begin + share * (self.end - self.begin)

    def decades(self):
        first, last = (math.log10(bound) for bound in (self.least, self.most))
        return [10.0**power for power in range(math.ceil(first - NEARLY), math.floor(last + NEARLY) + 1)]


def bar_panels(title, subtitle, note, panels, columns=2):
    """Panels of bars, as (title, bars), on one scale for all of them."""
    values = [bar.value for _, bars in panels for bar in bars if bar.value]
    least, most = min(values) / 1.6, max(values)
    panel_width = (WIDTH - 2 * MARGIN - (columns - 1) * MARGIN) / columns
    parts, top = [], TITLE_ROOM
    for row in (panels[index : index + columns] for index in range(0, len(panels), columns)):
        for column, (name, bars) in enumerate(row):
            left = MARGIN + column * (panel_width + MARGIN)
            parts += bar_panel(name, bars, left, top, panel_width, (least, most))
        top += max(len(bars) for _, bars in row) * (BAR + BAR_GAP) + 44
    return page(title, subtitle, note, top - 12, parts)


def bar_panel(name, bars, left, top, width, bounds):
    # Names stand before the bars, figures behind them.
    scale = Scale(*bounds, left + 118, left + width - 52)
    yield text(left, top + 16, name, size=13.5, weight=600)
    for index, bar in enumerate(bars):
        y = top + 28 + index * (BAR + BAR_GAP)
        middle = y + BAR / 2 + 4
        weight = 700 if bar.color == OURS else 400
        yield text(scale.begin - 8, middle, bar.name, anchor="end", size=12, weight=weight)
        if bar.value is None:
            yield text(scale.begin + 2, middle, bar.note, size=12, fill=FAINT)
            continue
        length = max(2.0, scale.at(bar.value) - scale.begin)
        yield f'<rect x="{scale.begin:.1f}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" rx="2" fill="{bar.color}"/>'
        yield text(scale.begin + length + 6, middle, figure(bar.value), size=12, weight=weight)


def line_panels(title, subtitle, note, panels):
    """Panels of lines, as (title, lines), side by side, on one vertical scale."""
    values = [value for _, lines in panels for line in lines for _, value in line.points]
    bounds = min(values) / 1.6, max(values) * 1.6
    width = (WIDTH - 2 * MARGIN - (len(panels) - 1) * 14) / len(panels)
    height, parts = 300, []
    for index, (name, lines) in enumerate(panels):
        parts += line_panel(name, lines, MARGIN + index * (width + 14), TITLE_ROOM, width, height, bounds)
    return page(title, subtitle, note, TITLE_ROOM + height + 62, parts)


def line_panel(name, lines, left, top, width, height, bounds):
    horizontal = sorted({amount for line in lines for amount, _ in line.points})
    # Zero stands where the decade before the first amount would.
    least = horizontal[0] or horizontal[1] / 10
    # Room for the figures at the left and the names at the right.
    across = Scale(least, horizontal[-1], left + 30, left + width - 78)
    up = Scale(*bounds, top + height + 28, top + 34)
    yield text(left, top + 16, name, size=13.5, weight=600)
    for value in up.decades():
        y = up.at(value)
        yield f'<line x1="{across.begin:.1f}" x2="{across.end:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield text(across.begin - 6, y + 4, short(value), anchor="end", size=11, fill=FAINT)
    for amount in across.decades():
        shown = 0 if amount == least and not horizontal[0] else amount
        yield text(across.at(amount), up.begin + 18, short(shown), anchor="middle", size=11, fill=FAINT)
    for line in lines:
        yield from curve(line, across, up)
    yield from line_names(lines, across, up)


def curve(line, across, up):
    places = [place(point, across, up) for point in line.points]
    width = 2.6 if line.color == OURS else 1.6
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="{width}" stroke-linejoin="round"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 0.4:.1f}" fill="{line.color}"/>'


def place(point, across, up):
    amount, value = point
    return across.at(max(amount, across.least)), up.at(value)


def line_names(lines, across, up):
    """A name stands where its line ends, or as near as the others leave room."""
    ends = sorted(((place(line.points[-1], across, up), line) for line in lines), key=lambda end: end[0][1])
    last = -math.inf
    for (x, y), line in ends:
        last = max(y + 4, last + 14)
        weight = 700 if line.color == OURS else 400
        yield text(x + 8, last, line.name, size=12, weight=weight, fill=line.color)


def page(title, subtitle, note, height, parts):
    total = height + NOTE_ROOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" width="{WIDTH}" height="{total:.0f}"'
        f' role="img" aria-label="{html.escape(title)}" font-family="{FONT}">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1:.0f}" rx="8" fill="{PAPER}" stroke="{EDGE}"/>',
        text(MARGIN, 32, title, size=17, weight=700),
        text(MARGIN, 51, subtitle, size=12.5, fill=FAINT),
        *parts,
        text(MARGIN, total - 14, note, size=11, fill=FAINT),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x, y, content, *, size, anchor="start", weight=400, fill=INK):
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"'
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    if weight != 400:
        attributes += f' font-weight="{weight}"'
    return f"<text {attributes}>{html.escape(content)}</text>"


def figure(value):
    """Two digits, and no more than are there."""
    if value >= 99.5:
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def short(value):
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
