"""One model's values over time, with the versions that produced them and where they changed.

Values are comparable within one scale and contract, so every such pair has a series of its own. A point is
one set of everything but the seed (versions, recipe, checkpoint, machine, commit), its seeds averaged; the
order is that of time. A point's interval is the one that a board gives it (`bench.judge.intervals`).

Steps and a steady slope are told apart by what they do to the answers, on the same examples, not by the shape
of a short line (`bench.stats.shifts`). Fewer than six points tell none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.errors import RecordError, UnknownName
from bench.judge.changes import differences
from bench.judge.intervals import Intervals
from bench.spec import Contract
from bench.store.ledger import Stored
from bench.store.metrics import resolved
from bench.store.scores import METRIC, Floats, Series, aligned, series, units
from bench.store.sides import moment

FEWEST = 6


@dataclass(frozen=True)
class Point:
    """The value under one set of versions; `changed` is what differs from the point before."""

    when: str
    value: stats.Interval
    seeds: tuple[int, ...]
    versions: dict[str, str]
    commit: str | None
    runs: tuple[str, ...]
    #: Fact -> (before, now): packages, machine, recipe, tree.
    changed: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class ChangePoint:
    """A change point: the value differs from `at` on, against the points since the last change."""

    at: int
    shift: stats.Interval
    p: float
    changed: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class SlopeOver:
    """A steady slope from point `begin` to point `end`; `changed` is what differs between the two."""

    begin: int
    end: int
    #: From each point to the next.
    each: stats.Interval
    p: float
    changed: dict[str, tuple[str, str]]

    @property
    def total(self) -> float:
        """From the first of its points to the last."""
        return self.each.mean * (self.end - self.begin)


@dataclass(frozen=True)
class TimeSeries:
    """The points of one scale and contract in order of time, and the steps and the slope in it."""

    scale: str
    contract: str
    words: str
    examples: int
    points: tuple[Point, ...]
    steps: tuple[ChangePoint, ...]
    #: Why no step could be looked for; empty where one could.
    note: str = ""
    slope: SlopeOver | None = None


@dataclass(frozen=True)
class History:
    """All that is known of one model and metric; the longest line first."""

    model: str
    metric: str
    lines: tuple[TimeSeries, ...]
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Moment:
    """The runs behind one point, with their scores."""

    stored: tuple[Stored, ...]
    scores: tuple[Series, ...]


def history(
    records: Iterable[Stored], model: str, metric: str = METRIC, messages: Sequence[str] = ()
) -> History:
    """The values of one model. Raises `UnknownName` where no record is of that model or metric."""
    everything = list(records)
    chosen = [stored for stored in everything if stored.record.run.name == model]
    if not chosen:
        raise UnknownName("model with records", model, {stored.record.run.name for stored in everything})
    (metric,) = resolved([metric], chosen)
    told = list(messages)
    apart: dict[tuple[str, Contract], list[Stored]] = defaultdict(list)
    for record in chosen:
        apart[record.record.run.scale, record.record.run.contract].append(record)
    intervals = Intervals(everything)
    lines = [
        _line(scale, contract, moments, metric, intervals)
        for (scale, contract), runs in apart.items()
        if (moments := _moments(runs, metric, told))
    ]
    lines.sort(key=lambda line: (-len(line.points), line.scale, line.contract))
    return History(model, metric, tuple(lines), tuple(dict.fromkeys(told)))


def _moments(runs: Iterable[Stored], metric: str, messages: list[str]) -> list[_Moment]:
    together: dict[str, list[tuple[Stored, Series]]] = defaultdict(list)
    for stored in sorted(runs, key=lambda run: (moment(run), run.record.id)):
        try:
            scores = series(stored, (metric,))
        except RecordError as error:
            messages.append(str(error))
        else:
            together[_circumstances(stored)].append((stored, scores))
    return [_Moment(*zip(*pairs, strict=True)) for pairs in together.values()]


def _circumstances(stored: Stored) -> str:
    """All that defines a run but its seed, and the tree that it ran from."""
    run, where = stored.record.run, stored.record.provenance
    body = run.model_dump(mode="json", exclude={"seed", "contract", "model"})
    body["checkpoint"].pop("source", None)
    return json.dumps([body, run.template, where.commit, where.hardware, where.gpu], sort_keys=True)


def _line(
    scale: str, contract: Contract, moments: Sequence[_Moment], metric: str, intervals: Intervals
) -> TimeSeries:
    every = [row for moment in moments for row in moment.scores]
    scores, ids, groups = aligned(every, metric)
    ends = np.cumsum([len(moment.scores) for moment in moments])
    tables = np.split(scores, ends[:-1]) if ids else [np.empty((0, 0))] * len(moments)
    labels = np.asarray(units(ids, groups))
    # Of runs that were scored on other examples only those that all share are shown.
    alike = all(row.ids == ids for row in every)
    points = []
    for place, (current, table) in enumerate(zip(moments, tables, strict=True)):
        before = moments[place - 1].stored[-1] if place else None
        own = metric in current.stored[-1].record.scores["tuned"]
        if not ids and not own:  # no example is in all records
            last, names, groups = aligned([current.scores[-1]], metric)
            value = stats.mean_interval(last, groups=np.asarray(units(names, groups)))
        elif own and (alike or not ids):
            value = intervals.of(current.stored if ids else current.stored[-1:], metric)
        else:
            value = stats.mean_interval(table, groups=labels)
        value = value.within(0, 1) if own else value
        points.append(_point(current, value, before))
    note = _too_short(moments, labels)
    found = stats.Shifts()
    if not note:
        found = stats.find_shifts(np.stack([table.mean(axis=0) for table in tables]), labels)
    return TimeSeries(
        scale,
        contract.digest,
        contract.in_words(),
        len(ids),
        tuple(points),
        tuple(
            ChangePoint(step.at, step.shift, step.p, _between(moments, step.at - 1, step.at))
            for step in found.steps
        ),
        note,
        _slope(found.slope, moments) if found.slope else None,
    )


def _point(moment: _Moment, value: stats.Interval, before: Stored | None) -> Point:
    record = moment.stored[-1].record
    return Point(
        moment.stored[0].record.provenance.finished,
        value,
        tuple(sorted(stored.record.run.seed for stored in moment.stored)),
        {**record.provenance.versions, **record.run.versions},
        record.provenance.commit,
        tuple(stored.record.id for stored in moment.stored),
        differences(before.record, record) if before else {},
    )


def _too_short(moments: Sequence[_Moment], labels: Floats) -> str:
    """Why no step can be looked for; empty where one can."""
    if len(moments) < FEWEST:
        count = len(moments)
        return f"{count} point{'s' * (count != 1)}: a change point needs {FEWEST} or more"
    return "" if labels.size else "no test example is in all records, so no change can be told"


def _slope(slope: stats.Slope, moments: Sequence[_Moment]) -> SlopeOver:
    changed = _between(moments, slope.begin, slope.end)
    return SlopeOver(slope.begin, slope.end, slope.per_point, slope.p, changed)


def _between(moments: Sequence[_Moment], first: int, last: int) -> dict[str, tuple[str, str]]:
    """What differs between two points."""
    return differences(moments[first].stored[-1].record, moments[last].stored[-1].record)
