"""Paired differences of samples that other harnesses logged, with the verdicts of every comparison.

A table is one task and metric on both sides. Documents pair by id, and only where their digests agree, if
both logs have them; the others are counted. Each side is one run, so training noise is not counted: a verdict
is about these two models on questions like these. p is adjusted over all tables (Holm). Where the log says
that lower is better, the verdict is about the fall.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.errors import Incomparable, RequestError, UnknownName
from bench.judge.pairing import Finding
from bench.judge.verdicts import THRESHOLD, Judged, judge
from bench.store.samples import Key, Sample, Samples
from bench.store.scores import Floats


@dataclass(frozen=True)
class SampledRow:
    """One task and metric, B against A."""

    task: str
    metric: str
    pairs: int
    a: float
    b: float
    #: Of b - a, in the metric's units.
    difference: stats.Interval
    p: float
    p_adjusted: float
    finding: Finding
    smallest: float
    lower_is_better: bool
    #: Documents that one side alone holds, and those whose content differs under one id.
    only_a: int
    only_b: int
    other_document: int


@dataclass(frozen=True)
class SampledComparison:
    """All tables that both sides hold."""

    a: str
    b: str
    harness: str
    threshold: float
    rows: tuple[SampledRow, ...]
    messages: tuple[str, ...]

    @property
    def regressed(self) -> list[SampledRow]:
        """The tables on which B is worse."""
        return [row for row in self.rows if row.finding == Finding.REGRESSED]


@dataclass(frozen=True)
class _Pairs:
    key: Key
    a: Floats
    b: Floats
    lower: bool
    only_a: int
    only_b: int
    other_document: int

    @property
    def gain(self) -> Floats:
        """b - a, turned round where lower is better; one run, (1, n)."""
        change: Floats = (self.b - self.a)[None, :]
        return -change if self.lower else change


def compare_samples(
    a: Samples, b: Samples, metrics: Collection[str] = (), threshold: float = THRESHOLD
) -> SampledComparison:
    """B against A; `metrics` are names with or without their filter, none for all of both sides.

    Raises `RequestError`, `Incomparable`, and `UnknownName` for a metric.
    """
    if a.harness != b.harness:
        raise RequestError(
            f"{a.name} is a log of {a.harness}, {b.name} of {b.harness}: "
            "their ids do not name the same documents"
        )
    keys = _wanted([key for key in a.tables if key in b.tables], a, b, metrics)
    messages = [*a.messages, *b.messages]
    messages += [f"{key.task} {key.metric}: only in {a.name}" for key in a.tables if key not in b.tables]
    messages += [f"{key.task} {key.metric}: only in {b.name}" for key in b.tables if key not in a.tables]
    every = [_paired(key, a.tables[key], b.tables[key], key in a.lower | b.lower) for key in keys]
    pairs = [table for table in every if table.a.size]
    messages += [
        f"{table.key.task} {table.key.metric}: no document in common" for table in every if not table.a.size
    ]
    if not pairs:
        raise Incomparable(f"{a.name} and {b.name} share no document of any task and metric")
    judged = judge(
        [table.gain for table in pairs], threshold, changed=[int(np.count_nonzero(t.gain)) for t in pairs]
    )
    rows = tuple(map(_row, pairs, judged))
    return SampledComparison(a.name, b.name, a.harness, threshold, rows, tuple(dict.fromkeys(messages)))


def _wanted(shared: Sequence[Key], a: Samples, b: Samples, metrics: Collection[str]) -> list[Key]:
    held = {name for key in (*a.tables, *b.tables) for name in (key.metric, key.metric.partition(",")[0])}
    for metric in metrics:
        if metric not in held:
            raise UnknownName("metric", metric, held)
    keys = [key for key in shared if not metrics or {key.metric, key.metric.partition(",")[0]} & {*metrics}]
    if not keys:
        tasks = [", ".join(sorted({f"{key.task} {key.metric}" for key in side.tables})) for side in (a, b)]
        raise Incomparable(f"{a.name} and {b.name} share no task and metric: {tasks[0]} | {tasks[1]}")
    return keys


def _paired(key: Key, a: Mapping[str, Sample], b: Mapping[str, Sample], lower: bool) -> _Pairs:
    both = [id for id in a if id in b]
    same = [id for id in both if None in (a[id].document, b[id].document) or a[id].document == b[id].document]
    left, right = (np.array([side[id].value for id in same], dtype=np.float64) for side in (a, b))
    return _Pairs(key, left, right, lower, len(a) - len(both), len(b) - len(both), len(both) - len(same))


def _row(table: _Pairs, judged: Judged) -> SampledRow:
    gain = judged.difference
    return SampledRow(
        table.key.task,
        table.key.metric,
        table.a.size,
        float(table.a.mean()),
        float(table.b.mean()),
        stats.Interval(-gain.mean, -gain.high, -gain.low) if table.lower else gain,
        judged.p,
        judged.p_adjusted,
        judged.finding,
        judged.smallest,
        table.lower,
        table.only_a,
        table.only_b,
        table.other_document,
    )
