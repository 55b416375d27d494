"""What makes a board's numbers doubtful, told from records alone: each warning with its numbers.

A warning stops nothing. `model` is empty where a warning is about a whole table. Reading order: data, then
what the models wrote, then what the scores can bear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from bench import stats
from bench.errors import RecordError, UnknownName
from bench.render import words
from bench.store.ledger import Stored
from bench.store.record import Record
from bench.store.scores import METRIC, Floats, aligned, series, units
from bench.store.sides import Slot, newest

#: Fraction of completions that may be empty, cut off or a repetition of the prompt.
TOLERATED = 0.05
#: Distinct completions in a hundred from which answers are no longer "all alike".
ALIKE = 0.10
REFERENCES = {
    "base": "the untuned model",
    "copy": "a copy of the question",
    "nearest": "the nearest training answer",
}


@dataclass(frozen=True)
class Warning:
    """One doubt: `code` is for programs, `text` for people, without the model's name."""

    model: str
    code: str
    text: str


@dataclass(frozen=True)
class _Row:
    """A model's seeds under one scale and contract, with row -> scores (seeds, n)."""

    model: str
    stored: tuple[Stored, ...]
    scores: dict[str, Floats]
    groups: tuple[str, ...]


def lint(stored: Iterable[Stored], metric: str = METRIC) -> list[Warning]:
    """Every warning about these records, the newest of each run; unreadable scores are passed over."""
    tables: dict[tuple[str, object], list[tuple[Slot, list[Stored]]]] = defaultdict(list)
    for slot, seeds in newest(stored).items():
        runs = [run for _, run in sorted(seeds.items()) if isinstance(run, Stored)]
        tables[slot[1], slot[2]].append((slot, runs))
    found: list[Warning] = []
    for members in tables.values():
        found += _overlap(members[0][1][0].record)
        found += _one_seed(members)
        for slot, runs in members:
            found += _written(slot[0], runs)
        rows = [row for slot, runs in members if (row := _row(slot[0], runs, metric))]
        noise = _noise(rows)
        for row in rows:
            found += _references(row, noise, metric)
        found += _too_few(rows, noise, metric)
    return list(dict.fromkeys(found))


def _overlap(record: Record) -> Iterator[Warning]:
    """Test questions that were also among the training rows, by the reasons that preparation counted."""
    contract = record.run.contract
    names = " and ".join(dict.fromkeys((contract.train.name, contract.eval.name)))
    for name, counts in (*record.data.prepared.items(), (names, record.data.selected)):
        leaks = {
            reason: rows
            for reason, rows in counts.items()
            if rows and any(part in reason for part in ("held-out part", "test part"))
        }
        if leaks:
            total = sum(leaks.values())
            parts = ", ".join(f"{rows} {reason}" for reason, rows in leaks.items())
            text = f"{name}: {total} training rows overlapped the test part and were removed ({parts})"
            yield Warning("", "overlap", text)


def _one_seed(members: Sequence[tuple[Slot, list[Stored]]]) -> Iterator[Warning]:
    single = [slot[0] for slot, runs in members if len(runs) == 1]
    if single and len(single) == len(members):
        yield Warning("", "one-seed", "one seed a row: training noise is unknown; run with --seeds 0,1,2")
    else:
        for model in single:
            yield Warning(model, "one-seed", "one seed only: its training noise is taken from other rows")


def _written(model: str, runs: Sequence[Stored]) -> Iterator[Warning]:
    parts = [one.record.written["tuned"] for one in runs if "tuned" in one.record.written]
    total = sum(part.examples for part in parts)
    if not total:
        return
    faults = (
        ("empty", "are empty", sum(part.empty for part in parts)),
        ("truncated", "reached the limit of new tokens", sum(part.truncated for part in parts)),
        ("echo", "repeat the prompt", sum(part.echoed for part in parts)),
    )
    for code, what, count in faults:
        if count > TOLERATED * total:
            yield Warning(model, code, f"{count} of {total} completions ({count / total:.0%}) {what}")
    worst = min(parts, key=lambda part: part.distinct / max(part.examples, 1))
    if worst.examples > 1 and worst.distinct <= max(1, ALIKE * worst.examples):
        text = f"only {worst.distinct} different completion{'s' * (worst.distinct != 1)}"
        yield Warning(model, "alike", f"{text} for {worst.examples} questions")


def _row(model: str, runs: Sequence[Stored], metric: str) -> _Row | None:
    scores: dict[str, Floats] = {}
    groups: tuple[str, ...] = ()
    for row in ("tuned", *REFERENCES):
        try:
            scores[row], ids, labels = aligned([series(one, (metric,), row) for one in runs], metric)
        except (RecordError, UnknownName):
            continue
        groups = tuple(map(str, units(ids, labels)))
    return _Row(model, tuple(runs), scores, groups) if "tuned" in scores and groups else None


def _noise(rows: Sequence[_Row]) -> stats.Noise | None:
    """Training noise of one run, pooled over the models of a table that share their examples."""
    several = [row for row in rows if len(row.stored) > 1 and row.groups == rows[0].groups]
    if not several or len(rows[0].groups) < 2:
        return None
    return stats.seed_noise([row.scores["tuned"] for row in several], np.asarray(rows[0].groups))


def _references(row: _Row, noise: stats.Noise | None, metric: str) -> Iterator[Warning]:
    tuned = row.scores["tuned"]
    half = stats.Noise(noise.variance / 2, noise.spread / 2) if noise else None
    for name, what in REFERENCES.items():
        if name not in row.scores or row.scores[name].shape != tuned.shape:
            continue
        # A reference row is not trained: the training noise is that of the tuned side alone.
        result = stats.compare(row.scores[name], tuned, groups=np.asarray(row.groups), noise=half)
        values = f"{metric} {words.score(tuned.mean())} against {words.score(row.scores[name].mean())}"
        shift = f"{words.change(result.interval.mean)}, 95% {words.change_interval(result.interval)}"
        if result.p > 0.05:
            yield Warning(row.model, f"equals-{name}", f"not distinguishable from {what}: {values} ({shift})")
        elif result.interval.mean < 0 and name == "base":
            yield Warning(row.model, "base-better", f"worse than {what}: {values} ({shift})")
        elif result.interval.mean < 0:
            yield Warning(row.model, f"below-{name}", f"below {what}: {values} ({shift})")


def _too_few(rows: Sequence[_Row], noise: stats.Noise | None, metric: str) -> Iterator[Warning]:
    """Neighbours on the board that are nearer to each other than these test examples can show."""
    ordered = sorted(rows, key=lambda row: -float(row.scores["tuned"].mean()))
    gaps, finds = [], []
    for better, worse in pairwise(ordered):
        if better.groups != worse.groups:
            continue
        a, b = better.scores["tuned"], worse.scores["tuned"]
        result = stats.compare(a, b, groups=np.asarray(better.groups), noise=noise)
        gaps.append(abs(result.interval.mean))
        finds.append(result.smallest_detectable())
    hidden = sum(gap < find for gap, find in zip(gaps, finds, strict=True))
    if hidden:
        yield Warning(
            "",
            "few-examples",
            f"{hidden} of {len(gaps)} neighbouring pairs differ by less than {len(ordered[0].groups)} test "
            f"examples can show: median gap {median(gaps):.3f} {metric}; a gap is found 8 times in 10 "
            f"from {median(finds):.3f}",
        )
