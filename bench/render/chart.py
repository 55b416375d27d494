"""The board's chart for a README: ROUGE-L of every model, untuned and tuned, as SVG and PNG.

The SVG is written by hand: it carries its own style sheet with a dark variant, which GitHub shows
to readers of the dark theme, and is a few kilobytes of stable text that diffs well in git.
matplotlib draws the PNG, for places that take no SVG, because it brings its own fonts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.judge.board import MAIN, Board, Group
from bench.render import facts, words
from bench.render.page import draw
from bench.stats import Interval

#: A chart of more rows is no chart for a README.
MOST = 40
INK, MUTED, SOFT, ACCENT = "#1f2328", "#59636e", "#d8dee4", "#0b5394"
DARK = {INK: "#f0f6fc", MUTED: "#9198a1", SOFT: "#3d444d", ACCENT: "#79b8ff"}
STYLE = f"""\
text{{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:{INK}}}
.title{{font-size:14px;font-weight:600}}.small{{font-size:11px}}.muted,.small{{fill:{MUTED}}}
.name{{font-weight:600}}.value{{font-weight:600}}.grid{{stroke:{SOFT}}}.axis{{stroke:{MUTED}}}
.reference{{stroke:{MUTED};stroke-dasharray:3 3}}.gain{{stroke:{ACCENT};opacity:.5}}
.interval{{stroke:{ACCENT};stroke-width:3;stroke-linecap:round}}.tuned{{fill:{ACCENT}}}
.base{{fill:none;stroke:{MUTED};stroke-width:1.6}}
@media (prefers-color-scheme:dark){{text{{fill:{DARK[INK]}}}.muted,.small{{fill:{DARK[MUTED]}}}
.grid{{stroke:{DARK[SOFT]}}}.axis,.reference,.base{{stroke:{DARK[MUTED]}}}
.gain,.interval{{stroke:{DARK[ACCENT]}}}.tuned{{fill:{DARK[ACCENT]}}}}}
"""


@dataclass(frozen=True)
class ChartLine:
    """One model of the chart."""

    name: str
    tuned: Interval
    base: float


@dataclass(frozen=True)
class Chart:
    """What is drawn, in either format."""

    title: str
    lines: tuple[ChartLine, ...]
    #: Name and score of the rows that need no training.
    references: tuple[tuple[str, float], ...]
    low: float
    high: float


def chart(group: Group) -> Chart:
    """The chart of one group: its best rows."""
    lines = tuple(ChartLine(row.model, row.tuned[MAIN], row.base[MAIN].mean) for row in group.rows[:MOST])
    short = {"copy": "question copied", "nearest": "nearest answer"}
    references = tuple((short[one.name], one.scores[MAIN].mean) for one in group.references)
    ends = [end for one in lines for end in (max(one.tuned.low, 0), min(one.tuned.high, 1), one.base)]
    ends += [value for _, value in references]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    title = f"ROUGE-L on {facts.title(group)}"
    return Chart(title, lines, references, max(0.0, min(ends) - room), min(1.0, max(ends) + room))


def svg(board: Board) -> str:
    """The chart of the board's first group as an SVG document."""
    found = chart(_first(board))
    wide, left, right, top, step = 760.0, 170.0, 690.0, 62.0, 30.0
    bottom = top + step * len(found.lines) + 6
    x = draw.Axis(found.low, found.high, left, right)
    parts = [draw.text(16, 24, found.title, "title"), *_key(left)]
    for tick in x.ticks(6):
        parts.append(draw.line(x(tick), top - 8, x(tick), bottom, "grid"))
        parts.append(draw.text(x(tick), bottom + 17, f"{tick:.2f}", "small", "middle"))
    parts += _reference_lines(found, x, top, bottom)
    for place, one in enumerate(found.lines):
        y = top + step * (place + 0.5)
        low, high = max(one.tuned.low, found.low), min(one.tuned.high, found.high)
        parts += [
            draw.text(left - 14, y + 4, one.name, "name", "end"),
            draw.line(x(one.base), y, x(one.tuned.mean), y, "gain"),
            draw.line(x(low), y, x(high), y, "interval"),
            f'<circle class="base" cx="{draw.num(x(one.base))}" cy="{draw.num(y)}" r="4.5"/>',
            f'<circle class="tuned" cx="{draw.num(x(one.tuned.mean))}" cy="{draw.num(y)}" r="5.5"/>',
            draw.text(right + 18, y + 4, words.score(one.tuned.mean), "value"),
        ]
    tall = bottom + 46
    names = "; ".join(f"{one.name} {words.score(one.tuned.mean)}" for one in found.lines)
    body = draw.svg(wide, tall, f"{found.title}. {names}", [f"<style>{STYLE}</style>", *parts])
    size = f'xmlns="http://www.w3.org/2000/svg" width="{draw.num(wide)}" height="{draw.num(tall)}" '
    return body.replace("<svg ", f"<svg {size}", 1) + "\n"


def _key(left: float) -> list[str]:
    """What the marks stand for."""
    return [
        f'<circle class="base" cx="{left + 4}" cy="42" r="4.5"/>',
        draw.text(left + 14, 46, "untuned", "small"),
        draw.line(left + 70, 42, left + 98, 42, "interval"),
        f'<circle class="tuned" cx="{left + 84}" cy="42" r="5.5"/>',
        draw.text(left + 106, 46, "tuned, with 95% interval", "small"),
    ]


def _reference_lines(found: Chart, x: draw.Axis, top: float, bottom: float) -> list[str]:
    """Dashed lines for the rows without training; the labels below, kept apart."""
    parts = [draw.line(x(value), top - 8, x(value), bottom, "reference") for _, value in found.references]
    ordered = sorted(found.references, key=lambda one: one[1])
    for place, (name, value) in enumerate(ordered):
        left_one = len(ordered) > 1 and place == 0
        anchor, shift = ("end", -3) if left_one else ("start", 3)
        label = f"{name} {words.score(value)}"
        parts.append(draw.text(x(value) + shift, bottom + 35, label, "small", anchor))
    return parts


def write_png(board: Board, file: Path) -> None:
    """The same chart as PNG, on white."""
    import matplotlib
    from matplotlib.figure import Figure

    found = chart(_first(board))
    places = range(len(found.lines))
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}):
        figure = Figure(figsize=(8.4, 1.3 + 0.33 * len(found.lines)), dpi=200, layout="constrained")
        axes = figure.add_subplot()
        for _, value in found.references:
            axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        for place, one in zip(places, found.lines, strict=True):
            low, high = max(one.tuned.low, found.low), min(one.tuned.high, found.high)
            axes.plot([one.base, one.tuned.mean], [place, place], color=ACCENT, linewidth=0.8, alpha=0.5)
            axes.plot([low, high], [place, place], color=ACCENT, linewidth=2.4, solid_capstyle="round")
        bases, means = [one.base for one in found.lines], [one.tuned.mean for one in found.lines]
        axes.scatter(bases, places, s=28, facecolor="white", edgecolor=MUTED, zorder=3, label="untuned")
        axes.scatter(means, places, s=36, color=ACCENT, zorder=4, label="tuned, with 95% interval")
        _finish(axes, found)
        figure.savefig(file, metadata={"Software": None})


def _finish(axes: object, found: Chart) -> None:
    """Labels and lines of a matplotlib axis."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    axes.set_yticks(range(len(found.lines)), [one.name for one in found.lines], fontweight="bold")
    axes.set_ylim(len(found.lines) - 0.4, -0.6)
    axes.set_xlim(found.low, found.high)
    axes.grid(axis="x", color=SOFT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(found.title, loc="left", fontweight="bold", color=INK, pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=8)
    for place, (name, value) in enumerate(sorted(found.references, key=lambda one: one[1])):
        side = "right" if place == 0 and len(found.references) > 1 else "left"
        axes.annotate(
            f" {name} {words.score(value)} ",
            (value, 0),
            (0, -24),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=7.5,
            color=MUTED,
            ha=side,
        )
    for place, one in enumerate(found.lines):
        axes.annotate(
            words.score(one.tuned.mean), (1.01, place), xycoords=("axes fraction", "data"), va="center"
        )


def _first(board: Board) -> Group:
    """The newest group that has rows; ValueError on a board of failures alone."""
    for group in board.groups:
        if group.rows:
            return group
    raise ValueError("a board without a finished run has no chart")
