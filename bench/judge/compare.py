"""What changed between two sets of records, and is it real: per model, and over all models together.

- Each row is judged by paired differences on the same examples and seeds, the table as a whole (`judging`).
- A difference counts when its p, adjusted over the table (Holm), is at most 0.05 and it is larger than a
  threshold. So at most 5% of tables without any change hold a false "improved" or "regressed".
- All models together: a pooled shift finds the drop that every model shares and none can show alone. A
  shift counts as drift when it is clear, larger than `DRIFT` and seen on at least `FEWEST` models.

Rendering is in `compare_text`; which runs belong together is in `pairing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from bench import stats
from bench.errors import Incomparable
from bench.judge import changes
from bench.judge.changes import Change, CostChange, Moved
from bench.judge.pairing import Finding, Match, Scored, align, pair, read
from bench.judge.verdicts import THRESHOLD, Judged, judge, towards
from bench.store.metrics import direction, resolved
from bench.store.scores import METRIC, mean_of, units
from bench.store.sides import Side

#: A pooled shift smaller than this is no drift, however clear: a fifth of what one model must move by.
DRIFT = 0.002
FEWEST = 3
MOVED = 10
SAME = "same record"
JUDGED = (
    *(Finding.IMPROVED, Finding.REGRESSED, Finding.CHANGED),
    *(Finding.UNCHANGED, Finding.UNCERTAIN),
)


@dataclass(frozen=True)
class ComparedRow:
    """One model and metric; the numbers are none where `finding` says why there are none."""

    model: str
    scale: str
    metric: str
    finding: Finding
    reason: str = ""
    seeds: tuple[int, ...] = ()
    examples: int = 0
    a: float | None = None
    b: float | None = None
    difference: stats.Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    #: Whether every single score is the same on both sides.
    identical: bool = False
    #: The smallest true drop that would have been called a regression with probability 0.8.
    smallest: float | None = None
    costs: tuple[CostChange, ...] = ()
    cost_reason: str = ""
    moved: tuple[Moved, ...] = ()
    runs_a: tuple[str, ...] = ()
    runs_b: tuple[str, ...] = ()

    @property
    def is_same_record(self) -> bool:
        """Whether both sides hold the very same records, so that there was nothing to judge."""
        return self.finding == Finding.UNCHANGED and self.reason == SAME


@dataclass(frozen=True)
class Pooled:
    """All models together, for one metric."""

    metric: str
    shift: stats.PooledShift
    drift: bool

    @property
    def is_drop(self) -> bool:
        """Whether all models together got worse."""
        return self.drift and self.shift.interval.mean * direction(self.metric) < 0


@dataclass(frozen=True)
class Comparison:
    """A against B: rows in the order of their models, then what is true of all of them."""

    a: str
    b: str
    metrics: tuple[str, ...]
    threshold: float
    rows: tuple[ComparedRow, ...]
    pooled: tuple[Pooled, ...]
    environment: tuple[Change, ...]
    messages: tuple[str, ...] = ()
    #: Whether training noise was known from elsewhere.
    noise_known: bool = False
    #: The row of the records that is compared.
    arm: str = "tuned"

    @property
    def on_one_seed(self) -> list[ComparedRow]:
        """The rows whose change may be training luck: one seed a side, and nothing says how noisy that is."""
        judged = [row for row in self.rows if row.difference is not None and not row.identical]
        if self.noise_known or any(len(row.seeds) > 1 for row in judged):
            return []
        return judged

    def found(self, finding: Finding) -> list[ComparedRow]:
        """The rows of which this is said."""
        return [row for row in self.rows if row.finding == finding]


def compare(
    a: Side,
    b: Side,
    metrics: Sequence[str] = (METRIC,),
    threshold: float = THRESHOLD,
    alpha: float = 0.05,
    drift: float = DRIFT,
    noise: stats.SeedEffects | None = None,
    arm: str = "tuned",
) -> Comparison:
    """B against A; `noise` is one run's training noise, for sides of one seed; `arm` is the row compared.

    Raises `Incomparable` where no run can be compared, `UnknownName` for a metric."""
    metrics = resolved(metrics, (*a.records, *b.records))
    matches = pair(a, b)
    messages = [*a.messages, *b.messages]
    rows, scored = [], []
    for match in matches:
        if match.finding is not None:
            rows.append(ComparedRow(match.model, match.scale, metrics[0], match.finding, match.reason))
        elif match.same_records:
            rows += [_same(match, metric, arm) for metric in metrics]
        else:
            match, both_sides = read(match, metrics, messages, arm)
            if match.finding is not None:
                rows.append(ComparedRow(match.model, match.scale, metrics[0], match.finding, match.reason))
            else:
                scored += [align(match, both_sides, metric) for metric in metrics]
    rows += [_no_examples(scored_row) for scored_row in scored if not scored_row.ids]
    scored = [scored_row for scored_row in scored if scored_row.ids]
    tables = [scored_row.clusters for scored_row in scored]
    counts = [scored_row.changed for scored_row in scored]
    common = _share_seeds(scored)
    total, shared = (noise.total, noise.shared) if noise else (None, None)
    rows += map(_row, scored, judge(tables, threshold, alpha, changed=counts, noise=total, common=common))
    if not any(row.finding in (*JUDGED, Finding.NEWLY_FAILING) for row in rows):
        raise Incomparable(_nothing_in_common(a, b, rows, messages))
    order = {metric: place for place, metric in enumerate(metrics)}
    rows.sort(key=lambda row: (order[row.metric], row.model, row.scale))
    return Comparison(
        a.name,
        b.name,
        tuple(metrics),
        threshold,
        tuple(rows),
        tuple(_pooled(metric, scored, alpha, drift, shared) for metric in metrics if _of(metric, scored)),
        changes.environment(match for match in matches if match.finding is None),
        tuple(dict.fromkeys(messages)),
        noise is not None,
        arm,
    )


def with_texts(comparison: Comparison, a: Side, b: Side, rows: int = 50) -> Comparison:
    """The comparison with the texts of moved examples, for the rows that moved most."""
    arm, (left, right) = comparison.arm, ({s.record.id: s for s in side.records} for side in (a, b))
    largest = sorted(
        (row for row in comparison.rows if row.difference and row.moved and row.runs_a[0] in left),
        key=lambda row: -abs(row.difference.mean if row.difference else 0.0),
    )[:rows]
    told = {
        id(row): replace(
            row, moved=changes.with_texts(row.moved, left[row.runs_a[0]], right[row.runs_b[0]], arm)
        )
        for row in largest
        if row.runs_b[0] in right
    }
    return replace(comparison, rows=tuple(told.get(id(row), row) for row in comparison.rows))


def to_data(value: Any) -> Any:
    """A result as JSON-like data; what is infinite becomes null."""
    return _plain(asdict(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _row(scored: Scored, judged: Judged) -> ComparedRow:
    match = scored.match
    costs, cost_reason = changes.cost(match)
    return ComparedRow(
        match.model,
        match.scale,
        scored.metric,
        towards(judged.finding, direction(scored.metric)),
        match.reason,
        match.seeds,
        len(scored.ids),
        float(scored.a.mean()),
        float(scored.b.mean()),
        judged.difference,
        judged.p,
        judged.p_adjusted,
        np.array_equal(scored.a, scored.b),
        judged.smallest,
        costs,
        cost_reason,
        changes.moved(scored.ids, scored.a, scored.b, MOVED),
        tuple(stored.record.id for stored in match.a),
        tuple(stored.record.id for stored in match.b),
    )


def _same(match: Match, metric: str, arm: str) -> ComparedRow:
    means = [value for stored in match.a if (value := mean_of(stored, metric, arm)) is not None]
    value = float(np.mean(means)) if means else None
    ids = tuple(stored.record.id for stored in match.a)
    examples = match.a[0].record.written["tuned"].examples
    return ComparedRow(
        match.model,
        match.scale,
        metric,
        Finding.UNCHANGED,
        SAME,
        match.seeds,
        examples,
        value,
        value,
        runs_a=ids,
        runs_b=ids,
    )


def _no_examples(scored: Scored) -> ComparedRow:
    match = scored.match
    return ComparedRow(
        match.model, match.scale, scored.metric, Finding.INCOMPARABLE, "no test example in common"
    )


def _share_seeds(scored: Sequence[Scored]) -> bool:
    """Whether all rows ran the same several seeds, so that what a seed does is common to them."""
    seeds = {row.match.seeds for row in scored}
    return len(seeds) == 1 and len(min(seeds)) > 1


def _of(metric: str, scored: Sequence[Scored]) -> list[Scored]:
    return [scored_row for scored_row in scored if scored_row.metric == metric]


def _pooled(
    metric: str, scored: Sequence[Scored], alpha: float, drift: float, shared: stats.Noise | None
) -> Pooled:
    rows = _of(metric, scored)
    names = [
        [(row.match.a[0].record.run.contract.eval.digest, unit) for unit in units(row.ids, row.groups)]
        for row in rows
    ]
    shift = stats.pooled_shift(
        [row.b - row.a for row in rows], names, common=_share_seeds(rows), shared=shared
    )
    return Pooled(metric, shift, drifted(shift, alpha, drift))


def drifted(shift: stats.PooledShift, alpha: float = 0.05, drift: float = DRIFT) -> bool:
    """Whether a pooled shift is a drift of the stack: clear, large enough, and of enough models."""
    return shift.drifted(alpha) and abs(shift.interval.mean) > drift and shift.models >= FEWEST


def _nothing_in_common(a: Side, b: Side, rows: Sequence[ComparedRow], messages: Sequence[str]) -> str:
    for side in (a, b):
        if not side.records and not side.failures:
            unread = f"; {len(side.messages)} could not be read: {side.messages[0]}" if side.messages else ""
            return f"nothing to compare: '{side.name}' holds no records{unread}"
    for row in rows:
        if row.finding == Finding.INCOMPARABLE:
            others = len({row.model for row in rows} - {row.model})
            more = f" (and {others} more model{'s' * (others > 1)})" if others else ""
            reason = f"{row.model}: {row.reason}{more}"
            return f"'{a.name}' and '{b.name}' have nothing in common that can be compared: {reason}"
    held = [
        ", ".join(sorted({row.model for row in rows if row.finding == word}))
        for word in (Finding.GONE, Finding.NEW)
    ]
    return f"'{a.name}' and '{b.name}' have no run in common: {held[0] or 'none'} | {held[1] or 'none'}"
