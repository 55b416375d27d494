"""The page of a comparison: the verdicts first, then the evidence. Shares style and script with the board's.

What is real is decided in `bench.judge.compare`; here it is only shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from bench.judge.changes import CostChange
from bench.judge.compare import JUDGED, ComparedRow, Comparison
from bench.judge.history import History, TimeSeries
from bench.judge.pairing import Finding
from bench.render import words
from bench.render.page import draw
from bench.render.page.answers import cut
from bench.render.text.comparison import MARKS, p_value, pooled
from bench.render.text.history import slope_in_words
from bench.render.text.verdict import verdict
from bench.spec import called
from bench.stats import Interval

#: Rows of a plot, and rows and histories that show examples and lines.
MOST = 60
TOLD = 50
KINDS = {
    Finding.IMPROVED: "good",
    Finding.REGRESSED: "bad",
    Finding.NEWLY_FAILING: "bad",
    Finding.UNCHANGED: "same",
}


def view(comparison: Comparison, histories: Sequence[History]) -> dict[str, Any]:
    """All that the template needs."""
    judged = [row for row in comparison.rows if row.finding in JUDGED]
    counts = Counter(row.finding for row in comparison.rows)
    told = sorted((row for row in judged if row.moved), key=_size, reverse=True)[:TOLD]
    return {
        "verdict": verdict(comparison),
        "a": comparison.a,
        "b": comparison.b,
        "threshold": f"{comparison.threshold:g}",
        "counts": [(MARKS[word], counts[word], word.value, _kind(word)) for word in Finding if counts[word]],
        "pooled": [
            {"text": pooled(shift_of_all), "drift": shift_of_all.drift}
            for shift_of_all in comparison.pooled
            if shift_of_all.shift.models > 1
        ],
        "several_metrics": len(comparison.metrics) > 1,
        "rows": [_row(row) for row in judged],
        "apart": [_row(row) for row in comparison.rows if row.finding not in JUDGED],
        "forests": [
            (metric, plot)
            for metric in comparison.metrics
            if (plot := forest([row for row in judged if row.metric == metric], comparison.threshold))
        ],
        "histories": [
            {
                "model": history.model,
                "metric": history.metric,
                "words": line.words,
                "plot": timeline(history.model, line),
            }
            | {"steps": _steps(line), "note": line.note}
            for history in histories[:TOLD]
            for line in history.lines[:1]
            if len(line.points) > 1
        ],
        "environment": comparison.environment,
        "messages": comparison.messages,
        "moved": [{"key": f"m{place}", "row": _row(row)} for place, row in enumerate(told)],
        "data": {
            f"m{place}": [
                {
                    "q": cut(example.question or example.id),
                    "u": example.category,
                    "r": cut(example.reference),
                    "a": cut(example.text_a),
                    "b": cut(example.text_b),
                    "from": round(1000 * example.a),
                    "to": round(1000 * example.b),
                    "told": bool(example.question or example.text_a or example.text_b),
                }
                for example in row.moved
            ]
            for place, row in enumerate(told)
        },
    }


def forest(rows: Sequence[ComparedRow], threshold: float) -> Markup | None:
    """Every difference with its interval, the largest drop first; the band is too small to count."""
    drawn = [(row, row.difference) for row in rows if row.difference is not None]
    drawn = sorted(drawn, key=lambda value: value[1].mean)[:MOST]
    if not drawn:
        return None
    wide, left, right, step = 600.0, 158.0, 460.0, 26.0
    bottom = 22 + step * len(drawn)
    ends = [end for _, value in drawn for end in (value.low, value.high) if abs(end) < 1]
    reach = max([abs(end) for end in ends] + [threshold * 1.5, 1e-3]) * 1.08
    x = draw.Axis(-reach, reach, left, right)
    band = f'x="{draw.num(x(-threshold))}" width="{draw.num(x(threshold) - x(-threshold))}"'
    parts = [f'<rect class="band" {band} y="14" height="{draw.num(bottom - 14)}"/>']
    for tick in x.ticks(5):
        parts.append(draw.line(x(tick), 14, x(tick), bottom, "axis" if abs(tick) < 1e-12 else "grid"))
        parts.append(draw.text(x(tick), bottom + 17, words.change(tick), "small muted", "middle"))
    parts.append(draw.text((left + right) / 2, bottom + 36, "B minus A", "small", "middle"))
    for place, (row, value) in enumerate(drawn):
        y = 22 + step * (place + 0.4)
        kind = _kind(row.finding)
        low, high = x(max(value.low, -reach)), x(min(value.high, reach))
        name = called(row.model, row.scale)
        tip = f"{name}: {words.change(value.mean)} ({words.change_interval(value)}), {row.finding.value}"
        parts.append(
            f'<g class="point"><title>{escape(tip)}</title>'
            + draw.text(left - 14, y + 4, name, "label", "end")
            + draw.line(low, y, high, y, f"effect {kind}")
            + _mark(kind, x(value.mean), y)
            + draw.text(right + 16, y + 4, f"{MARKS[row.finding]} {row.finding.value}", f"small word {kind}")
            + "</g>"
        )
    return Markup(draw.svg(wide, bottom + 46, f"Differences of {len(drawn)} models with intervals", parts))


def timeline(model: str, line: TimeSeries) -> Markup:
    """One model's values over time: intervals, and an upright line where a change point lies."""
    wide, high, left = 500.0, 250.0, 52.0
    points = line.points
    x = draw.Axis(0, max(len(points) - 1, 1), left + 16, wide - 16)
    y = draw.spanning([end for point in points for end in _ends(point.value)], high - 44, 22)
    parts = [
        draw.line(left, y(tick), wide, y(tick), "grid")
        + draw.text(left - 6, y(tick) + 4, f"{tick:.2f}", "small muted", "end")
        for tick in y.ticks(4)
    ]
    for step in line.steps:
        at = x(step.at - 0.5)
        parts.append(draw.line(at, 14, at, high - 44, "steps"))
        parts.append(draw.text(at, 10, words.change(step.shift.mean), "small", "middle"))
    if line.slope:
        begin, end = line.slope.begin, line.slope.end
        middle = sum(point.value.mean for point in points[begin : end + 1]) / (end - begin + 1)
        first, last = middle - line.slope.total / 2, middle + line.slope.total / 2
        parts.append(draw.line(x(begin), y(first), x(end), y(last), "steps"))
    parts.append(draw.path([(x(n), y(point.value.mean)) for n, point in enumerate(points)], "curve s0"))
    for place, point in enumerate(points):
        low, top = _ends(point.value)
        changed = ", ".join(f"{what} {old} to {new}" for what, (old, new) in point.changed.items())
        tip = f"{point.when[:10]}: {words.score(point.value.mean)} ({words.interval(point.value)}) {changed}"
        whisker = draw.line(x(place), y(low), x(place), y(top), "whisker s0")
        parts.append(f"<g><title>{escape(tip)}</title>{whisker}")
        parts.append(draw.marker(0, x(place), y(point.value.mean), 4) + "</g>")
    for place in sorted({0, len(points) - 1}):
        anchor = "start" if place == 0 else "end"
        edge = left if place == 0 else wide
        parts.append(draw.text(edge, high - 26, points[place].when[:10], "small muted", anchor))
    return Markup(draw.svg(wide, high, f"{model} over {len(points)} sets of versions", parts))


def _row(row: ComparedRow) -> dict[str, Any]:
    value = row.difference
    finds = "" if row.smallest is None else "none" if row.smallest > 1 else words.score(row.smallest)
    return {
        "model": called(row.model, row.scale),
        "scale": row.scale,
        "metric": row.metric,
        "mark": MARKS[row.finding],
        "finding": row.finding.value,
        "kind": _kind(row.finding),
        "reason": row.reason,
        "a": "" if row.a is None else words.score(row.a),
        "b": "" if row.b is None else words.score(row.b),
        "difference": "" if value is None else words.change(value.mean),
        "interval": "identical" if row.identical else "" if value is None else words.change_interval(value),
        "p": p_value(row.p_adjusted),
        "finds": finds,
        "examples": row.examples or "",
        "seeds": len(row.seeds) or "",
        "costs": [_cost(cost) for cost in row.costs],
        "cost_reason": row.cost_reason,
        "order": [
            row.model,
            row.finding.value,
            row.a or 0.0,
            row.b or 0.0,
            0.0 if value is None else value.mean,
            1.0 if row.p_adjusted is None else row.p_adjusted,
            2.0 if row.smallest is None else min(row.smallest, 2.0),
            row.examples,
            len(row.seeds),
        ],
    }


def _cost(cost: CostChange) -> str:
    """Such as "training time 12 s to 14 s (+17%)"."""

    def show(value: float) -> str:
        if cost.unit == "bytes":
            return words.size(value)
        return words.duration(value) if cost.unit == "s" else f"{value:,.0f} {cost.unit}".rstrip()

    ratio = "" if cost.ratio is None else f" ({100 * (cost.ratio - 1):+.0f}%)".replace("-", "\N{MINUS SIGN}")
    return f"{cost.name}: {show(cost.a)} to {show(cost.b)}{ratio}"


def _steps(line: TimeSeries) -> list[str]:
    """The slope and each change point in words."""
    sentences = [slope_in_words(line.slope, line)] if line.slope else []
    for step in line.steps:
        changed = ", ".join(f"{what} {old} to {new}" for what, (old, new) in step.changed.items())
        shift = f"{words.change(step.shift.mean)} ({words.change_interval(step.shift)})"
        sentences.append(
            f"{line.points[step.at].when[:10]}: {shift}; changed: {changed or 'nothing recorded'}"
        )
    return sentences


def _mark(kind: str, x: float, y: float) -> str:
    """Up, down, square: the shape says what the colour says."""
    shape = {"good": 2, "bad": 4, "same": 1}.get(kind, 0)
    return draw.marker(shape, x, y, 5).replace(f"mark s{shape % draw.COLOURS}", f"verdict {kind}")


def _size(row: ComparedRow) -> float:
    return abs(row.difference.mean) if row.difference else 0.0


def _kind(finding: Finding) -> str:
    return KINDS.get(finding, "open")


def _ends(value: Interval) -> tuple[float, float]:
    return max(value.low, 0.0), min(value.high, 1.0)
