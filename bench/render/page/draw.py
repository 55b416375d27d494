"""The few drawing primitives that the plots share: scales, ticks, markers, labels that keep apart.

Plots are SVG written by hand: a plotting library for the browser is 4 MB and the page may be 2,
and server-side libraries fix colours and fonts, where these take both from the page's style
sheet, so one drawing serves light, dark and print. Every colour goes with a shape and a label.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import escape

SHAPES = 7
COLOURS = 8
#: Average width of a letter of the label font, as a fraction of its size.
LETTER = 0.62


@dataclass(frozen=True)
class Axis:
    """Values onto pixels, linear or logarithmic; `start` may lie right of `end`, as for y."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (self.end - self.start) * (self._at(value) - self._at(self.low)) / (
            (self._at(self.high) - self._at(self.low)) or 1.0
        )

    def _at(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self, count: int = 5) -> list[float]:
        """Round values on the axis, about `count` of them."""
        candidates = log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high, count)
        return [
            value
            for value in candidates
            if self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)
        ]


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [
        step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten; the powers alone where these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if len(powers) > 4 else (1, 2, 5)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    inside = [value for value in ticks if low <= value <= high]
    return inside if len(inside) > 1 else linear_ticks(low, high, 4)


def spanning(
    values: Iterable[float], start: float, end: float, log: bool = False, zero: bool = False
) -> Axis:
    """An axis that holds all values with a little room at the ends."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0]
    low, high = min(finite), max(finite)
    if zero:
        low = min(low, 0.0)
    if log:
        room = max((high / low) ** 0.08, 1.15)
        return Axis(low / room, high * room, start, end, True)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return Axis(low if zero and low == 0 else low - room, high + room, start, end)


def num(value: float) -> str:
    """A coordinate in as few characters as a tenth of a pixel needs."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: object, kind: str = "", anchor: str = "start") -> str:
    """A label."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{num(x)}" y="{num(y)}"{name}{place}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{num(x1)}" y1="{num(y1)}" x2="{num(x2)}" y2="{num(y2)}"/>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    steps = "L".join(f"{num(x)} {num(y)}" for x, y in points)
    return f'<path class="{kind}" d="M{steps}"/>'


def marker(series: int, x: float, y: float, size: float = 5, hollow: bool = False) -> str:
    """The series' own shape in its own colour."""
    kind = f"mark s{series % COLOURS}{' hollow' if hollow else ''}"
    shape = series % SHAPES
    if shape == 0:
        return f'<circle class="{kind}" cx="{num(x)}" cy="{num(y)}" r="{num(size)}"/>'
    corners: list[tuple[float, float]] = {
        1: [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        2: [(0, -1.3), (1.2, 0.9), (-1.2, 0.9)],
        3: [(0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)],
        4: [(0, 1.3), (1.2, -0.9), (-1.2, -0.9)],
        5: [(-1.3, -0.6), (1.3, -0.6), (1.3, 0.6), (-1.3, 0.6)],
    }.get(shape) or _cross()
    points = " ".join(f"{num(x + dx * size * 0.95)},{num(y + dy * size * 0.95)}" for dx, dy in corners)
    return f'<polygon class="{kind}" points="{points}"/>'


def _cross() -> list[tuple[float, float]]:
    arm, long = 0.42, 1.3
    quarter = [(-arm, -long), (arm, -long), (arm, -arm)]
    corners = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return corners


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near as may be to those wanted, in the same order, `gap` apart and within bounds."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed = [0.0] * len(wanted)
    floor = low
    for place in order:
        placed[place] = max(wanted[place], floor)
        floor = placed[place] + gap
    ceiling = high
    for place in reversed(order):
        placed[place] = min(placed[place], ceiling)
        ceiling = placed[place] - gap
    return placed


@dataclass
class Labels:
    """Places labels beside points so that they cover neither points nor each other where possible."""

    width: float
    size: float = 11
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def block(self, x: float, y: float, radius: float = 5) -> None:
        """Keep labels off a point."""
        self.taken.append((x - radius, y - radius, x + radius, y + radius))

    def place(self, x: float, y: float, content: str) -> str:
        """The label of the point at x, y: right, left, above or below it, or further off."""
        length, height = len(content) * self.size * LETTER, self.size
        best: tuple[float, float, float] | None = None
        for drop in (0, -11, 11, -20, 20, -30, 30):
            for left in (x + 9, x - 9 - length):
                top = y + drop - height * 0.6
                box = (left, top, left + length, top + height)
                bad = sum(_overlap(box, other) for other in self.taken)
                bad += 1000.0 * (left < 0 or left + length > self.width) + abs(drop) / 10
                if best is None or bad < best[0]:
                    best = (bad, left, top)
        assert best is not None
        _, left, top = best
        self.taken.append((left, top, left + length, top + height))
        return text(left, top + height * 0.85, content, "label")


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def svg(width: float, height: float, title: str, parts: Iterable[str], kind: str = "plot") -> str:
    """A drawing with a name for those who cannot see it."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {num(width)} {num(height)}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
