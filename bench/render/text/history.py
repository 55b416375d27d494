"""A model's history as text for a terminal and as markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.judge.history import ChangePoint, History, Point, TimeSeries
from bench.render import words
from bench.render.tables import clip, columns, listed, md, pipes, wrap
from bench.render.text.comparison import ARROW, p_value

BARS = "\N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆▇█"
STEP = "\N{BLACK LOZENGE}"
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


def terminal(data: History) -> str:
    """Every line of a model's history in at most 100 columns."""
    parts = [f"{data.model}, {data.metric} over time"]
    for line in data.lines:
        values = [point.value.mean for point in line.points]
        lines = wrap(f"{line.scale} scale, {line.examples} examples. {line.words}")
        ends = f"{words.score(values[0])} {ARROW} {words.score(values[-1])}"
        bars = [sparkline(values[at : at + 60]) for at in range(0, len(values), 60)]
        lines += ["", *bars[:-1], f"{bars[-1]}  {ends}", ""]
        table = [HEAD, *(_cells(n, line, ROOM) for n in range(len(line.points)))]
        lines += [*columns(table, NUMBERS), "", *(text for said in _said(line) for text in wrap(said, "  "))]
        parts.append("\n".join(lines))
    parts += ["\n".join(["Left out", *(f"  {text}" for text in data.messages)])] if data.messages else []
    return "\n\n".join(parts)


def markdown(data: History) -> str:
    """The same for a file."""
    parts = [f"# {md(data.model)}: {md(data.metric)} over time"]
    for line in data.lines:
        parts += [f"## {line.scale} scale, {line.examples} examples", f"> {md(line.words)}"]
        parts.append(f"`{sparkline([point.value.mean for point in line.points])}`")
        table = [HEAD, *(_cells(n, line, 1000) for n in range(len(line.points)))]
        parts += ["\n".join(pipes(table, NUMBERS)), "\n".join(f"- {md(said)}" for said in _said(line))]
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
    if line.note:
        yield f"{line.note[0].upper()}{line.note[1:]}."
    elif not line.steps:
        yield f"No change point in {len(line.points)} points."
    yield from (_step(step, line) for step in line.steps)


def _step(step: ChangePoint, line: TimeSeries) -> str:
    point = line.points[step.at]
    way = "a drop" if step.shift.mean < 0 else "a rise"
    ends = f"{words.change(step.shift.low)}, {words.change(step.shift.high)}"
    by = f"{words.change(step.shift.mean)} [{ends}], p {p_value(step.p)}"
    facts = [f"{what} {a} {ARROW} {b}" for what, (a, b) in step.changed.items()]
    cause = f"changed there: {listed(facts, 8)}" if facts else "nothing that is recorded changed there"
    return f"{STEP} {point.when[:10]}: {way}, {by}; {cause}."
