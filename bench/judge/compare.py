"""What changed between two sets of records, and is it real: per model, and over all models together.

- Each row is judged by paired differences on the same examples and seeds, the table as a whole (`judging`).
- A difference counts when its p, adjusted over the table (Holm), is at most 0.05 and it is larger than a
  threshold. So at most 5% of tables without any change hold a false "improved" or "regressed".
- All models together are in `stack`.

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
from bench.judge.intervals import MOST, Intervals
from bench.judge.pairing import Finding, Match, Scored, align, nothing_in_common, pair, read
from bench.judge.retraining import Retraining
from bench.judge.stack import DRIFT, Pooled, pooled, same_seeds
from bench.judge.verdicts import THRESHOLD, Judged, judge, towards
from bench.store.ledger import Stored
from bench.store.metrics import direction, resolved
from bench.store.scores import METRIC, mean_of
from bench.store.sides import Side

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
    #: Of the two values, as a board gives them; none in a table of very many rows.
    interval_a: stats.Interval | None = None
    interval_b: stats.Interval | None = None
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
    noise: Retraining | None = None,
    intervals: Intervals | None = None,
    arm: str = "tuned",
) -> Comparison:
    """B against A, by the row `arm` of both.

    `noise` is what retraining alone is known to do, for sides of one seed. `intervals` are those of a board
    of the whole ledger; without them the two values have intervals among the sides' own records.

    Raises `Incomparable` where no run can be compared, `UnknownName` for a metric.
    """
    metrics = resolved(metrics, (*a.records, *b.records))
    matches = pair(a, b)
    messages = [*a.messages, *b.messages]
    rows, scored = _read(matches, metrics, messages, arm)
    tables = [scored_row.clusters for scored_row in scored]
    counts = [scored_row.changed for scored_row in scored]
    common = same_seeds(scored)
    known = [noise.of(row.match.model, row.match.scale, row.metric) if noise else None for row in scored]
    judged = judge(
        tables,
        threshold,
        alpha,
        changed=counts,
        noise=known,
        common=common,
        metrics=[row.metric for row in scored],
    )
    rows += map(_row, scored, judged)
    if not any(row.finding in (*JUDGED, Finding.NEWLY_FAILING) for row in rows):
        said = [(row.model, row.finding, row.reason) for row in rows]
        raise Incomparable(nothing_in_common(a, b, said, messages))
    order = {metric: place for place, metric in enumerate(metrics)}
    rows.sort(key=lambda row: (order[row.metric], row.model, row.scale))
    if sum(row.a is not None for row in rows) <= MOST:
        rows = _with_intervals(rows, a, b, intervals or Intervals((*a.records, *b.records)), arm)
    return Comparison(
        a.name,
        b.name,
        tuple(metrics),
        threshold,
        tuple(rows),
        pooled(scored, alpha, drift, noise),
        changes.environment(match for match in matches if match.finding is None),
        tuple(dict.fromkeys(messages)),
        noise is not None,
        arm,
    )


def _read(
    matches: Sequence[Match], metrics: Sequence[str], messages: list[str], arm: str
) -> tuple[list[ComparedRow], list[Scored]]:
    """The rows that need no judgement, and the scores of those that do; what cannot be read is told."""
    rows: list[ComparedRow] = []
    scored: list[Scored] = []
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
    return rows, scored


def _with_intervals(
    rows: Sequence[ComparedRow], a: Side, b: Side, intervals: Intervals, arm: str
) -> list[ComparedRow]:
    """The rows with the interval of each of their two values; added metrics have theirs on the board."""
    left, right = ({stored.record.id: stored for stored in side.records} for side in (a, b))

    def of(held: Mapping[str, Stored], ids: Sequence[str], row: ComparedRow) -> stats.Interval | None:
        runs = [held[id] for id in ids]
        examples = {stored.record.data.eval_digest for stored in runs}
        known = all(row.metric in stored.record.scores[arm] for stored in runs)
        return intervals.of(runs, row.metric, arm) if known and len(examples) == 1 else None

    return [
        row
        if row.a is None
        else replace(row, interval_a=of(left, row.runs_a, row), interval_b=of(right, row.runs_b, row))
        for row in rows
    ]


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
        difference=judged.difference,
        p=judged.p,
        p_adjusted=judged.p_adjusted,
        identical=np.array_equal(scored.a, scored.b),
        smallest=judged.smallest,
        costs=costs,
        cost_reason=cost_reason,
        moved=changes.moved(scored.ids, scored.a, scored.b, MOVED),
        runs_a=tuple(stored.record.id for stored in match.a),
        runs_b=tuple(stored.record.id for stored in match.b),
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
