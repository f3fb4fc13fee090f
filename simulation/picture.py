# SPDX-License-Identifier: Apache-2.0
"""A picture of wait against cost as SVG, for light and dark backgrounds: a panel per workload, a point per policy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.axis{fill:#59636e}"
    "line,polyline{stroke:#8b949e;fill:none;stroke-width:.6}.grid{stroke-opacity:.4}"
    "circle{fill:#57606a}.ours{fill:#c2410c;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{fill:#9198a1}circle{fill:#b1bac4}.ours{fill:#fb923c}}"
)
LEFT, TOP, WIDTH, HEIGHT, LABELS = 52, 34, 330, 270, 190
PANEL: Final = (LEFT + WIDTH + LABELS, TOP + HEIGHT + 46)
LINE: Final = 15
"""Between two labels."""
LEAST: Final = 0.1
"""A logarithm has no zero: smaller values are drawn here."""


@dataclass(frozen=True, slots=True)
class Point:
    """A policy in a panel."""

    name: str
    cost: float
    wait_s: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """The policies on a workload."""

    title: str
    points: Sequence[Point]


def draw(panels: Sequence[Panel], cost: str = "worker-hours", wait: str = "mean wait, s") -> str:
    """Return the SVG; both axes are logarithmic, and lower left is better."""
    columns = min(2, len(panels)) or 1
    width, height = columns * PANEL[0], math.ceil(len(panels) / columns) * PANEL[1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(wait)} against {escape(cost)}</title><style>{STYLE}</style>",
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        parts.append(f'<g transform="translate({column * PANEL[0]} {row * PANEL[1]})">')
        parts += _panel(panel, cost, wait)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    """The pixel of `low`."""
    length: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, length: float) -> "_Axis":
        shown = [max(LEAST, value) for value in values]
        return cls(min(shown) / 1.3, max(shown) * 1.3, start, length)

    def at(self, value: float) -> float:
        share = math.log(max(LEAST, value) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * self.length, 1)

    def ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        return [tick for power in powers for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if self._has(tick)]

    def _has(self, tick: float) -> bool:
        return self.low <= tick <= self.high


def _panel(panel: Panel, cost: str, wait: str) -> Iterator[str]:
    right, bottom = LEFT + WIDTH, TOP + HEIGHT
    x = _Axis.over([point.cost for point in panel.points], LEFT, WIDTH)
    y = _Axis.over([point.wait_s for point in panel.points], bottom, -HEIGHT)
    yield f'<text class="title" x="{LEFT}" y="18">{escape(panel.title)}</text>'
    yield f'<text class="axis" x="{LEFT + 4}" y="{TOP - 2}">{escape(wait)}</text>'
    yield f'<text class="axis" x="{right}" y="{bottom + 34}" text-anchor="end">{escape(cost)}</text>'
    yield f'<polyline points="{LEFT},{TOP} {LEFT},{bottom} {right},{bottom}"/>'
    for tick in x.ticks():
        yield f'<line class="grid" x1="{x.at(tick)}" x2="{x.at(tick)}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="axis" x="{x.at(tick)}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
    for tick in y.ticks():
        bound = "≤ " if tick == LEAST else ""
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y.at(tick)}" y2="{y.at(tick)}"/>'
        yield f'<text class="axis" x="{LEFT - 6}" y="{y.at(tick) + 4}" text-anchor="end">{bound}{tick:g}</text>'
    ordered = sorted(panel.points, key=lambda point: -point.wait_s)
    for point, label in zip(ordered, _label_lines([y.at(point.wait_s) for point in ordered], bottom), strict=True):
        kind = ' class="ours"' if point.ours else ""
        across, down = x.at(point.cost), y.at(point.wait_s)
        yield f'<line x1="{across}" y1="{down}" x2="{right + 12}" y2="{label}"/>'
        yield f'<circle{kind} cx="{across}" cy="{down}" r="{5 if point.ours else 4}"/>'
        yield f'<text{kind} x="{right + 16}" y="{label + 4}">{escape(point.name)}</text>'


def _label_lines(wanted: Sequence[float], bottom: float) -> list[float]:
    """Return a height for each label, top down: near its point, below the one before, and above the bottom."""
    found: list[float] = []
    line = min(LINE, (bottom - TOP) / len(wanted)) if wanted else LINE
    for number, height in enumerate(wanted):
        latest = bottom - (len(wanted) - 1 - number) * line
        found.append(max(min(height, latest), found[-1] + line if found else 0.0))
    return found
