"""One plan under several sets of package versions, as a markdown table with its notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench import stats
from bench.judge.compare import ComparedRow, Comparison
from bench.judge.pairing import Finding
from bench.render import words
from bench.spec import Contract
from bench.store.ledger import Stored
from bench.store.record import Failure
from bench.store.scores import METRIC, aligned, series, units
from bench.store.sides import Side


@dataclass(frozen=True)
class Column:
    """One combination of versions with what its runs left."""

    name: str
    side: Side
    #: Why there is no such environment.
    problem: str = ""
    #: Against the reference column; none for that column itself and where nothing can be compared.
    comparison: Comparison | None = None


def markdown(columns: Sequence[Column], models: Sequence[str], contract: Contract, seeds: str) -> str:
    """The table with its notes: a cell is the score with its interval, then the change."""
    notes: list[str] = []
    count = len(seeds.split(","))
    lines = [
        "# The same plan under other package versions",
        "",
        f"Tuned ROUGE-L with its 95% interval, {count} seed{'s' * (count > 1)}; below it the change from the "
        f"first column with its verdict. {contract.in_words()}",
        "",
        "| model | " + " | ".join(column.name.replace(",", "<br>") for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for model in models:
        cells = [_cell(model, column, notes) for column in columns]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    lines.append("| **all together** | " + " | ".join(_together(column) for column in columns) + " |")
    lines += ["", *(f"[{place}] {note}  " for place, note in enumerate(notes, 1))] if notes else []
    smallest = [_smallest(column) for column in columns if column.comparison]
    known = [value for value in smallest if value is not None]
    if known:
        lines += [
            "",
            f"Smallest drop of one model that this table would have found (power 80%): {max(known):.3f}.",
        ]
    return "\n".join(lines) + "\n"


def _cell(model: str, column: Column, notes: list[str]) -> str:
    if column.problem:
        return f"cannot be built [{_note(column.problem, notes)}]"
    own = [stored for stored in column.side.records if stored.record.run.name == model]
    failed = [failure for failure in column.side.failures if failure.run.name == model]
    parts = []
    if own:
        value = _score(own)
        parts.append(f"{words.score(value.mean)} ({words.interval(value)})")
        row = _row(column, model)
        if row is not None:
            parts.append(_change(row))
    if failed:
        which = f"seed {', '.join(str(failure.run.seed) for failure in failed)} " if own else ""
        parts.append(f"{which}fails [{_note(_why(failed[0]), notes)}]")
    return "<br>".join(parts) or "no record"


def _change(row: ComparedRow) -> str:
    if row.difference is None:
        return f"{row.finding}: {row.reason}" if row.reason else str(row.finding)
    if row.identical:
        return "the same score for every example"
    return f"{words.change(row.difference.mean)} ({words.change_interval(row.difference)}) {row.finding}"


def _together(column: Column) -> str:
    if not column.comparison or not column.comparison.pooled:
        return ""
    pooled = column.comparison.pooled[0]
    shift = pooled.shift.interval
    word = "drift" if pooled.drift else "no drift"
    return f"{words.change(shift.mean)} ({words.change_interval(shift)}) {word}"


def _row(column: Column, model: str) -> ComparedRow | None:
    rows = column.comparison.rows if column.comparison else ()
    scored = [row for row in rows if row.model == model and row.finding is not Finding.NEWLY_FAILING]
    return scored[0] if scored else None


def _smallest(column: Column) -> float | None:
    rows = column.comparison.rows if column.comparison else ()
    return max((row.smallest for row in rows if row.smallest is not None), default=None)


def _score(stored: Sequence[Stored]) -> stats.Interval:
    """Mean over seeds, with an interval over examples and seeds."""
    scores = [series(stored_run, [METRIC]) for stored_run in stored]
    values, ids, groups = aligned(scores, METRIC)
    if values.shape[1] == 0:
        mean = fmean(float(scores_of_run.values[METRIC].mean()) for scores_of_run in scores)
        return stats.Interval(mean, mean, mean)
    names = [str(unit) for unit in units(ids, groups)]
    return stats.mean_interval(values, groups=names)


def _why(failure: Failure) -> str:
    return f"{failure.stage}: {failure.reason}"


def _note(text: str, notes: list[str]) -> int:
    """The number of a note; the same reason is noted once."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1
