"""A model's history as text for a terminal and as markdown: the verdict, the table, the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.judge.history import ChangePoint, History, Point, SlopeOver, TimeSeries
from bench.render import words
from bench.render.tables import WIDTH, clip, columns, listed, md, pipes, wrap
from bench.render.text.comparison import ARROW, p_value
from bench.spec import called

BARS = "\N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆▇█"
STEP = "\N{BLACK LOZENGE}"
RAMP = "\N{LOWER RIGHT TRIANGLE}"
HEAD = ["", "finished", "value", "95% interval", "seeds", "what changed"]
NUMBERS = (0, 2, 4)
#: Columns of a terminal's table that are left for what changed.
ROOM = 47


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, from the lowest to the highest of them; a flat line is drawn in the middle."""
    low, high = min(values), max(values)
    if high == low:
        return BARS[3] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def verdict(data: History, line: TimeSeries) -> str:
    """What one line says, in a sentence."""
    name = f"{called(data.model, line.scale)}, {data.metric}"
    values = [point.value.mean for point in line.points]
    ends = f"{words.score(values[0])} {ARROW} {words.score(values[-1])}"
    if len(values) == 1:
        return f"{name}: one point, {words.score(values[0])}; nothing to compare it with yet."
    if line.note:
        return f"{name}: cannot be told yet, {line.note}; {ends}."
    moves = [_slope_in_short(line.slope)] if line.slope else []
    moves += [_step_in_short(step, line) for step in line.steps]
    if not moves:
        return f"{name}: steady, no step and no slope in {len(values)} points; {ends}."
    return f"{name}: {'; '.join(moves)}."


def terminal(data: History, width: int = WIDTH) -> str:
    """Every line of a model's history in at most `width` columns."""
    parts = []
    for line in data.lines:
        values = [point.value.mean for point in line.points]
        table = [HEAD, *(_cells(n, line, ROOM + width - WIDTH) for n in range(len(line.points)))]
        lines = [*wrap(verdict(data, line), "    ", width=width), ""]
        if len(values) > 1:
            lines += [*(sparkline(values[at : at + 60]) for at in range(0, len(values), 60)), ""]
        lines += [*columns(table, NUMBERS), ""]
        if said := [line for text in _said(line) for line in wrap(text, "  ", width=width)]:
            lines += [*said, ""]
        lines += wrap(f"{line.scale} scale, {line.examples} examples. {line.words}", width=width)
        parts.append("\n".join(lines))
    parts += ["\n".join(["Left out", *(f"  {text}" for text in data.messages)])] if data.messages else []
    return "\n\n".join(parts)


def markdown(data: History) -> str:
    """The same for a file."""
    parts = [f"# {md(data.model)}: {md(data.metric)} over time"]
    for line in data.lines:
        parts += [f"## {line.scale} scale, {line.examples} examples", f"**{md(verdict(data, line))}**"]
        parts.append(f"`{sparkline([point.value.mean for point in line.points])}`")
        table = [HEAD, *(_cells(n, line, 1000) for n in range(len(line.points)))]
        parts.append("\n".join(pipes(table, NUMBERS)))
        if said := list(_said(line)):
            parts.append("\n".join(f"- {md(text)}" for text in said))
        parts.append(f"> {md(line.words)}")
    parts += [f"Left out: {md(text)}" for text in data.messages]
    return "\n\n".join(parts) + "\n"


def _cells(place: int, line: TimeSeries, room: int) -> list[str]:
    point = line.points[place]
    is_step = any(step.at == place for step in line.steps)
    return [
        STEP if is_step else "",
        point.when[:16].replace("T", " "),
        words.score(point.value.mean),
        words.interval(point.value),
        str(len(point.seeds)),
        clip(_changed(point.changed) if place else _first(point), room),
    ]


def _first(point: Point) -> str:
    shown = [name for name in ("trl", "transformers") if name in point.versions]
    return "from " + ", ".join(f"{name} {point.versions[name]}" for name in shown)


def _changed(changed: Mapping[str, tuple[str, str]]) -> str:
    return (
        ", ".join(f"{what} {a} {ARROW} {b}" for what, (a, b) in changed.items()) or "nothing that is recorded"
    )


def _said(line: TimeSeries) -> Iterator[str]:
    """The slope and every step with interval, p and what changed."""
    if line.slope:
        yield slope_in_words(line.slope, line)
    yield from (_step(step, line) for step in line.steps)


def slope_in_words(slope: SlopeOver, line: TimeSeries) -> str:
    """The amount from point to point with its interval, and over which points and versions."""
    first, last = line.points[slope.begin], line.points[slope.end]
    way = "fall" if slope.each.mean < 0 else "rise"
    by = f"{fine(slope.each.mean)} a point [{fine(slope.each.low)}, {fine(slope.each.high)}]"
    span = f"{first.when[:10]} to {last.when[:10]}, {slope.end - slope.begin + 1} points"
    return (
        f"{RAMP} {span}: a steady {way}, {by}, {words.change(slope.total)} in all, p {p_value(slope.p)}; "
        f"{_cause(slope.changed, 'over it')}."
    )


def fine(value: float) -> str:
    """A change from one point to the next, which is small: to four digits."""
    return "0.0000" if abs(value) < 5e-5 else f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def _step(step: ChangePoint, line: TimeSeries) -> str:
    point = line.points[step.at]
    way = "a drop" if step.shift.mean < 0 else "a rise"
    ends = f"{words.change(step.shift.low)}, {words.change(step.shift.high)}"
    by = f"{words.change(step.shift.mean)} [{ends}], p {p_value(step.p)}"
    return f"{STEP} {point.when[:10]}: {way}, {by}; {_cause(step.changed, 'there')}."


def _cause(changed: Mapping[str, tuple[str, str]], where: str) -> str:
    facts = [f"{what} {a} {ARROW} {b}" for what, (a, b) in changed.items()]
    return f"changed {where}: {listed(facts, 8)}" if facts else f"nothing that is recorded changed {where}"


def _step_in_short(step: ChangePoint, line: TimeSeries) -> str:
    way = "a drop" if step.shift.mean < 0 else "a rise"
    facts = [f"{what} {a} {ARROW} {b}" for what, (a, b) in step.changed.items()]
    cause = f" ({listed(facts, 2)})" if facts else ""
    return f"{way} of {abs(step.shift.mean):.3f} on {line.points[step.at].when[:10]}{cause}"


def _slope_in_short(slope: SlopeOver) -> str:
    way = "falls" if slope.each.mean < 0 else "rises"
    facts = [f"{what} {a} {ARROW} {b}" for what, (a, b) in slope.changed.items()]
    cause = f" ({listed(facts, 2)})" if facts else ""
    count = slope.end - slope.begin + 1
    return f"{way} steadily, by {abs(slope.total):.3f} over {count} points{cause}"
