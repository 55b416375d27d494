"""A comparison as text for a terminal and as markdown; what a gate says of it is in `gate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.judge.changes import Change, CostChange
from bench.judge.compare import JUDGED, ComparedRow, Comparison
from bench.judge.pairing import Finding
from bench.judge.stack import Pooled
from bench.render import words
from bench.render.tables import WIDTH, clip, columns, listed, md, pipes, wrap
from bench.render.text.verdict import verdict
from bench.spec import called
from bench.stats import Interval

#: Longer tables show only the rows that something is said of.
LONGEST = 60
LONGEST_NAME = 21
ARROW = "\N{RIGHTWARDS ARROW}"
DOT = " \N{MIDDLE DOT} "
MARKS = {
    Finding.IMPROVED: "\N{BLACK UP-POINTING TRIANGLE}",
    Finding.REGRESSED: "\N{BLACK DOWN-POINTING TRIANGLE}",
    Finding.CHANGED: "\N{NOT EQUAL TO}",
    Finding.UNCHANGED: "=",
    Finding.UNCERTAIN: "?",
    Finding.INCOMPARABLE: "\N{NOT EQUAL TO}",
    Finding.NEWLY_FAILING: "\N{MULTIPLICATION SIGN}",
    Finding.NEW: "+",
    Finding.GONE: "\N{MINUS SIGN}",
}
HEAD = ["model", "A", "B", "B \N{MINUS SIGN} A", "95% interval", "p", "finds", "verdict"]
NUMBERS = (1, 2, 3, 5, 6)
#: What a narrow terminal can best do without; from WIDE columns on the two values have their intervals.
SPARE = (6, 5)
WIDE = 130
COSTS = (1, 2, 3)


def terminal(comparison: Comparison, answer: Sequence[str] = (), width: int = WIDTH) -> str:
    """The whole comparison in at most `width` columns, after `answer` (the verdict, unless it is given)."""
    answer = answer or [verdict(comparison)]
    parts = ["\n".join(line for text in answer for line in wrap(text, "    ", width=width))]
    for metric in comparison.metrics:
        rows = _judged(comparison, metric)
        lines = wrap(_title(comparison, metric, rows), width=width)
        lines.append("=" * max(map(len, lines)))
        for shift_of_all in _pooled(comparison, metric):
            lines += wrap(pooled(shift_of_all), "  ", width=width)
        shown, hidden = _shown(rows)
        if shown:
            lines += ["", *_table(shown, width)]
        parts.append("\n".join([*lines, *hidden]))
    finds = any(HEAD[6] in line for part in parts for line in part.splitlines())
    notes = [*_reading(comparison, finds), *_notes(comparison)]
    parts.append("\n".join(line for text in notes for line in wrap(text, width=width)))
    for title, bullets in _sections(comparison):
        texts = [line for text in bullets for line in wrap(text, "    ", "  ", width)]
        parts.append("\n".join([title, *texts]))
    if table := _costs(comparison):
        lines = columns(table, COSTS, "  ")
        if max(map(len, lines)) > width:
            lines = columns([row[:-1] for row in table], COSTS[:-1], "  ")
        parts.append("\n".join(["Cost, on like hardware only", *lines]))
    return "\n\n".join(parts)


def _table(rows: Sequence[ComparedRow], width: int) -> list[str]:
    """The rows in so many columns as the terminal has room for."""
    cells = [_cells(row, with_intervals=width >= WIDE) for row in rows]
    kept = list(range(len(HEAD)))
    lines: list[str] = []
    for spare in (None, *SPARE):
        kept = [place for place in kept if place != spare]
        table = [[row[place] for place in kept] for row in (HEAD, *cells)]
        lines = columns(table, [n for n, place in enumerate(kept) if place in NUMBERS])
        if max(map(len, lines)) <= width:
            break
    return lines


def markdown(comparison: Comparison, heading: str = "") -> str:
    """The same for GitHub: a pull request, a job page or a file."""
    parts = [heading or f"# Comparison\n\n**{md(verdict(comparison))}**"]
    for metric in comparison.metrics:
        rows = _judged(comparison, metric)
        parts.append(md(_title(comparison, metric, rows)))
        for shift_of_all in _pooled(comparison, metric):
            strong = "**" if shift_of_all.drift else ""
            parts.append(f"{strong}{md(pooled(shift_of_all))}{strong}")
        shown, hidden = _shown(rows)
        if shown:
            parts.append("\n".join(pipes([HEAD, *map(_cells, shown)], NUMBERS)))
        parts += hidden
    parts += [md(text) for text in (*_reading(comparison), *_notes(comparison))]
    for title, bullets in _sections(comparison):
        parts.append("\n".join([f"**{title}**", "", *(f"- {md(text)}" for text in bullets)]))
    if table := _costs(comparison):
        parts.append("\n".join(["**Cost, on like hardware only**", "", *pipes(table, COSTS)]))
    return "\n\n".join(parts) + "\n"


def pooled(shift_of_all: Pooled) -> str:
    """All models together, in one sentence."""
    sign, shift = shift_of_all.shift.sign, shift_of_all.shift.interval
    down = sign.down > sign.up if sign.down != sign.up else shift.mean < 0
    count = sign.down if down else sign.up
    models = f"{count} of {shift_of_all.shift.models} models {'dropped' if down else 'rose'}"
    way = "DOWN" if shift.mean < 0 else "UP"
    verdict = f"DRIFT {way}" if shift_of_all.drift else "no clear drift"
    return (
        f"All together: {verdict}. {models}; pooled shift {words.change(shift.mean)} [{_ends(shift)}], "
        f"p {p_value(shift_of_all.p_adjusted)} (sign count: p {p_value(shift_of_all.shift.sign_p)})."
    )


def sentence(row: ComparedRow) -> str:
    """One row in words."""
    why = f" ({row.reason})" if row.reason else ""
    if row.difference is None or row.a is None or row.b is None:
        return f"{row.finding.value}{why}"
    values = f"{row.metric} {words.score(row.a)} {ARROW} {words.score(row.b)}"
    shift = f"{words.change(row.difference.mean)} [{_ends(row.difference)}]"
    return f"{row.finding.value}{why}: {values}, difference {shift}, p {p_value(row.p_adjusted)}"


def p_value(p: float | None) -> str:
    """A p to as many digits as matter."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _judged(comparison: Comparison, metric: str) -> list[ComparedRow]:
    return [row for row in comparison.rows if row.finding in JUDGED and row.metric == metric]


def _pooled(comparison: Comparison, metric: str) -> list[Pooled]:
    return [
        shift_of_all
        for shift_of_all in comparison.pooled
        if shift_of_all.metric == metric and shift_of_all.shift.models > 1
    ]


def _shown(rows: Sequence[ComparedRow]) -> tuple[list[ComparedRow], list[str]]:
    if len(rows) <= LONGEST:
        return list(rows), []
    said = [row for row in rows if row.finding in (Finding.IMPROVED, Finding.REGRESSED, Finding.CHANGED)]
    said = sorted(said, key=lambda row: row.difference.mean if row.difference else 0.0)[:LONGEST]
    return said, [f"{len(rows) - len(said):,} further rows are not shown; --json has them all."]


def _title(comparison: Comparison, metric: str, rows: Sequence[ComparedRow]) -> str:
    tested = [row for row in rows if row.difference]
    parts = [f"A = {comparison.a}, B = {comparison.b}", metric]
    parts += [f"arm '{comparison.arm}'"] if comparison.arm != "tuned" else []
    if tested:
        parts.append(_range([row.examples for row in tested], "example"))
        parts.append(_range([len(row.seeds) for row in tested], "seed"))
    total = sum(row.difference is not None for row in comparison.rows)
    return DOT.join(parts) + (f"{DOT}p by Holm over {total} rows" if total > 1 else "")


def _range(values: Sequence[int], what: str) -> str:
    low, high = min(values), max(values)
    return f"{low if low == high else f'{low} to {high}'} {what}{'s' * (high != 1)}"


def _cells(row: ComparedRow, with_intervals: bool = False) -> list[str]:
    name = clip(called(row.model, row.scale), LONGEST_NAME)
    ends = [
        ""
        if value is None
        else words.score(value) + (f" [{words.interval(its)}]" if its and with_intervals else "")
        for value, its in ((row.a, row.interval_a), (row.b, row.interval_b))
    ]
    verdict = f"{MARKS[row.finding]} {row.finding.value}"
    if row.difference is None or row.smallest is None:
        return [name, *ends, "", row.reason, "", "", verdict]
    finds = "none" if row.smallest > 1 else words.score(row.smallest)
    interval = "identical" if row.identical else _ends(row.difference)
    return [name, *ends, words.change(row.difference.mean), interval, p_value(row.p_adjusted), finds, verdict]


def _ends(value: Interval) -> str:
    return f"{words.change(value.low)}, {words.change(value.high)}"


def _reading(comparison: Comparison, finds: bool = True) -> Iterator[str]:
    counts = Counter(row.finding for row in comparison.rows)
    yield ", ".join(f"{counts[word]:,} {word.value}" for word in Finding if counts[word]) + "."
    counted = f"A difference counts when p is at most 0.05 and it is larger than {comparison.threshold:g}"
    seed = " on this seed" if comparison.on_one_seed else ""
    called_one = f"'finds' is the smallest true drop that would be called a regression{seed} 8 times in 10"
    yield f"{counted}; {called_one}." if finds else f"{counted}."


def _notes(comparison: Comparison) -> Iterator[str]:
    tested = [row for row in comparison.rows if row.difference]
    single = [called(row.model, row.scale) for row in tested if len(row.seeds) == 1 and not row.identical]
    if single:
        borrowed = any(len(row.seeds) > 1 for row in tested)
        noise = "is borrowed from the rows with several" if borrowed else "is not counted"
        yield f"One seed ({listed(single)}): training noise {noise}."
    for row in tested:
        if row.reason:
            yield f"{called(row.model, row.scale)}: {row.reason}."
    elsewhere: dict[str, list[str]] = {}
    for row in tested:
        if row.cost_reason:
            elsewhere.setdefault(row.cost_reason, []).append(called(row.model, row.scale))
    for reason, models in elsewhere.items():
        yield f"Cost not compared, {reason}: {listed(models)}."


def _sections(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    apart = [row for row in comparison.rows if row.finding not in JUDGED]
    if apart:
        lines = (
            f"{MARKS[row.finding]} {called(row.model, row.scale)}: {sentence(row)}" for row in apart[:LONGEST]
        )
        yield "Not compared", [*lines, *([f"and {len(apart) - LONGEST:,} more"] if apart[LONGEST:] else [])]
    if comparison.environment:
        total = len({row.model for row in comparison.rows if row.difference})
        lines = (_change(change, total) for change in comparison.environment[:LONGEST])
        more = len(comparison.environment) - LONGEST
        yield "What else differs", [*lines, *([f"and {more:,} more"] if more > 0 else [])]
    if comparison.messages:
        yield "Left out", list(comparison.messages)


def _costs(comparison: Comparison) -> list[list[str]]:
    rows = [row for row in comparison.rows if row.costs and row.metric == comparison.metrics[0]]
    if not rows or len(rows) > LONGEST:
        return []
    head = ["model", "tokens/s", rows[0].costs[1].name, "training"]
    return [
        head,
        *([clip(called(row.model, row.scale), LONGEST_NAME), *map(_one_cost, row.costs)] for row in rows),
    ]


def _one_cost(cost: CostChange) -> str:
    ratio = "" if cost.ratio is None else f" {100 * (cost.ratio - 1):+.0f}%".replace("-", "\N{MINUS SIGN}")
    return f"{_amount(cost.a, cost.unit)} {ARROW} {_amount(cost.b, cost.unit)}{ratio}"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return words.size(value)
    return words.duration(value) if unit == "s" else f"{value:,.0f}"


def _change(change: Change, models: int) -> str:
    whom = "" if len(change.models) == models else f" ({listed(change.models)})"
    return f"{change.what}: {change.a} {ARROW} {change.b}{whom}"
