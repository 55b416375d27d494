"""Metrics that `bench score` added, as tables: of one run, and of a board.

A metric's name is its whole identity. In the table of a board it is short, and the identities stand beneath.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.judge.beside.added import AddedEstimate
from bench.judge.board import BoardRow, Group
from bench.render import facts, words
from bench.render.tables import clip, columns, md, pipes
from bench.stats import Interval
from bench.store.metrics import short

TITLE = "Further metrics"
LABELS = {"tuned": "tuned", "base": "untuned", "copy": "question copied"}
#: Characters of the longest cells of a terminal's table.
LONGEST_NAME, CELL = 24, 24


def table(found: Sequence[AddedEstimate]) -> list[str]:
    """The metrics of one run, a line for each metric and row, and the answers that have no value."""
    rows = [["Metric", "Answers", "Mean", "95% interval", ""]]
    for estimate in found:
        for row, value in estimate.rows.items():
            first = short(estimate.metric) if row == next(iter(estimate.rows)) else ""
            parts = estimate.parts.get(row, {})
            beside = ", ".join(f"{part} {words.score(mean)}" for part, mean in parts.items())
            rows.append([first, LABELS.get(row, row), words.score(value.mean), words.interval(value), beside])
        if estimate.gain is not None:
            gain = estimate.gain
            rows.append(["", "over untuned", words.change(gain.mean), words.change_interval(gain), ""])
    return [*columns(rows, right=[2]), *(line for estimate in found for line in unscored(estimate))]


def identities(metrics: Iterable[str]) -> list[str]:
    """What each short name stands for."""
    return [f"{short(metric)} is {metric}" for metric in dict.fromkeys(metrics)]


def unscored(estimate: AddedEstimate) -> list[str]:
    """One line for each reason why answers have no value."""
    return [
        f"{short(estimate.metric)}: {count} answers of {LABELS.get(row, row)} have no value: {why}"
        for row, reasons in estimate.unscored.items()
        for why, count in reasons.items()
    ]


def terminal(group: Group, width: int) -> list[str]:
    """The added metrics of a group's rows in `width` columns; no line where there are none."""
    names = _names(group)
    lines: list[str] = []
    together = max(1, (width - LONGEST_NAME) // CELL)
    for start in range(0, len(names), together):
        part = names[start : start + together]
        head = ["Model", *(f"{short(name)}  [95%]" for name in part)]
        rows = [
            [clip(facts.name(row), LONGEST_NAME), *(_cell(_of(row.added, name)) for name in part)]
            for row in _holders(group)
        ]
        lines += ["", *columns([head, *rows])]
    return lines


def markdown(group: Group) -> list[str]:
    """The same for a document."""
    if not (rows := side_by_side(group)):
        return []
    return ["", f"### {TITLE}", "", *pipes(rows), "", *(f"- {md(line)}" for line in beneath(group))]


def side_by_side(group: Group) -> list[list[str]]:
    """A table of every metric and its paired difference to the untuned model, its head first; or empty."""
    names = _names(group)
    if not names:
        return []
    head = ["Model", *(title for name in names for title in (f"{short(name)} (95%)", "over base (95%)"))]
    rows = [head]
    for row in _holders(group):
        cells = [facts.sized_name(row)]
        for name in names:
            estimate = _of(row.added, name)
            cells += [_score(estimate.rows.get("tuned") if estimate else None), _gain(estimate)]
        rows.append(cells)
    return rows


def beneath(group: Group) -> list[str]:
    """What a board's short names stand for, and the answers that have no value."""
    lines = identities(_names(group))
    for row in group.rows:
        for estimate in row.added:
            lines += [f"{facts.name(row)}, {line}" for line in unscored(estimate)]
    return lines


def _holders(group: Group) -> list[BoardRow]:
    return [row for row in group.rows if row.added]


def _names(group: Group) -> list[str]:
    return list(dict.fromkeys(estimate.metric for row in group.rows for estimate in row.added))


def _of(found: Sequence[AddedEstimate], name: str) -> AddedEstimate | None:
    return next((estimate for estimate in found if estimate.metric == name), None)


def _cell(estimate: AddedEstimate | None) -> str:
    value = estimate.rows.get("tuned") if estimate else None
    return f"{words.score(value.mean)} [{words.score(value.low)}, {words.score(value.high)}]" if value else ""


def _score(value: Interval | None) -> str:
    return f"{words.score(value.mean)} ({words.interval(value)})" if value else ""


def _gain(estimate: AddedEstimate | None) -> str:
    gain = estimate.gain if estimate else None
    return f"{words.change(gain.mean)} ({words.change_interval(gain)})" if gain else ""
