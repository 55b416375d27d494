"""The board's chart for a README: ROUGE-L of every model, untuned and tuned, as SVG or PNG.

matplotlib draws both. The SVG keeps its text as text and carries a style sheet that exchanges the few
colours where the reader's theme is dark, as on GitHub; the PNG is for places that take no SVG.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.judge.board import MAIN, Board, Group
from bench.render import facts, words
from bench.render.clean import printable
from bench.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A chart of more rows is no chart for a README.
MOST = 40
INK, MUTED, SOFT, ACCENT, PAPER = "#1f2328", "#59636e", "#d8dee4", "#0b5394", "#fefefe"
DARK = {INK: "#f0f6fc", MUTED: "#9198a1", SOFT: "#3d444d", ACCENT: "#79b8ff", PAPER: "#0d1117"}
SHORT = {"copy": "question copied", "nearest": "nearest answer"}
#: Fixed, so that the same board gives the same bytes.
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
}


@dataclass(frozen=True)
class ChartRow:
    """One model of the chart."""

    name: str
    tuned: Interval
    base: float


@dataclass(frozen=True)
class Chart:
    """What is drawn, in either format."""

    title: str
    rows: tuple[ChartRow, ...]
    #: Name and score of the rows that need no training.
    references: tuple[tuple[str, float], ...]
    low: float
    high: float


def chart(group: Group) -> Chart:
    """The chart of one group: its best rows."""
    rows = tuple(
        ChartRow(facts.sized_name(row), row.tuned[MAIN], row.gained_over[MAIN].mean)
        for row in group.rows[:MOST]
    )
    references = tuple((SHORT[row.name], row.scores[MAIN].mean) for row in group.references)
    ends = [end for row in rows for end in (max(row.tuned.low, 0), min(row.tuned.high, 1), row.base)]
    ends += [value for _, value in references]
    margin = 0.06 * (max(ends) - min(ends)) or 0.01
    title = f"ROUGE-L on {facts.title(group)}"
    return Chart(title, rows, references, max(0.0, min(ends) - margin), min(1.0, max(ends) + margin))


def svg(board: Board) -> str:
    """The chart of the board's first group as an SVG document for light and dark pages."""
    content = chart(_first(board))
    buffer = io.StringIO()
    with _figure(content) as figure:
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    label = "; ".join(f"{row.name} {words.score(row.tuned.mean)}" for row in content.rows)
    head = f"<title>{_escaped(f'{content.title}. {label}')}</title><style>{_dark_style()}</style>"
    document = buffer.getvalue()
    return re.sub(r"(<svg [^>]*>)", lambda tag: tag[1].replace(">", ' role="img">') + head, document, count=1)


def write_png(board: Board, file: Path) -> None:
    """The same chart as PNG, on white."""
    with _figure(chart(_first(board))) as figure:
        figure.savefig(file, dpi=200, metadata={"Software": None})


@contextmanager
def _figure(content: Chart) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8.4, 1.3 + 0.33 * len(content.rows)), layout="constrained")
        axes = figure.add_subplot()
        _draw_rows(axes, content)
        _draw_frame(axes, content)
        _label_values(axes, content)
        yield figure


def _draw_rows(axes: Axes, content: Chart) -> None:
    for _, value in content.references:
        axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    places = range(len(content.rows))
    for place, row in zip(places, content.rows, strict=True):
        low, high = max(row.tuned.low, content.low), min(row.tuned.high, content.high)
        axes.plot([row.base, row.tuned.mean], [place, place], color=ACCENT, linewidth=0.8, alpha=0.5)
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=2.4, solid_capstyle="round")
    bases = [row.base for row in content.rows]
    means = [row.tuned.mean for row in content.rows]
    axes.scatter(bases, places, s=28, facecolor=PAPER, edgecolor=MUTED, zorder=3, label="untuned")
    axes.scatter(means, places, s=36, color=ACCENT, zorder=4, label="tuned, with 95% interval")


def _draw_frame(axes: Axes, content: Chart) -> None:
    count = len(content.rows)
    axes.set_yticks(range(count), [_plain(row.name) for row in content.rows], fontweight="bold")
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(content.low, content.high)
    axes.grid(axis="x", color=SOFT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(_plain(content.title), loc="left", fontweight="bold", color=INK, pad=22)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=8)


def _label_values(axes: Axes, content: Chart) -> None:
    ordered = sorted(content.references, key=lambda reference: reference[1])
    for place, (name, value) in enumerate(ordered):
        axes.annotate(
            f" {name} {words.score(value)} ",
            (value, 0),
            (0, -24),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=7.5,
            color=MUTED,
            ha="right" if place == 0 and len(ordered) > 1 else "left",
        )
    for place, row in enumerate(content.rows):
        at = (1.01, place)
        axes.annotate(words.score(row.tuned.mean), at, xycoords=("axes fraction", "data"), va="center")


def _plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return printable(text).replace("$", r"\$")


def _escaped(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _dark_style() -> str:
    """Rules that exchange each colour of a matplotlib SVG, which stands in `style` attributes."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def _first(board: Board) -> Group:
    """The newest group that has rows; ValueError on a board of failures alone."""
    for group in board.groups:
        if group.rows:
            return group
    raise ValueError("a board without a finished run has no chart")
