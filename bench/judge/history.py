"""One model's values over time, with the versions that produced them and where they changed.

Values are comparable within one scale and contract, so every such pair has a series of its own. A point is
one set of everything but the seed (versions, recipe, checkpoint, machine, commit), its seeds averaged; the
order is that of time. Training noise is pooled over a line's points, so a one-seed point has its share.

Change points are proposed by `ruptures` (binary segmentation, squared error), generously, and each must then
hold: the points on its two sides are compared on the same examples, the points of a side counting as
repeated runs, and p times the number of places where a step could be is at most 0.05. So a step is judged by
what it does to the answers, not by the shape of a short line. Fewer than six points tell none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench import stats
from bench.errors import RecordError, UnknownName
from bench.judge.changes import differences
from bench.spec import Contract
from bench.store.ledger import Stored
from bench.store.metrics import resolved
from bench.store.scores import METRIC, Floats, Series, aligned, series, units
from bench.store.sides import moment

FEWEST = 6
#: Points that each side of a change must have.
SHORTEST = 2
MOST_CHANGES = 5


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
class TimeSeries:
    """The points of one scale and contract in order of time, and the steps in it."""

    scale: str
    contract: str
    words: str
    examples: int
    points: tuple[Point, ...]
    steps: tuple[ChangePoint, ...]
    #: Why no step could be looked for; empty where one could.
    note: str = ""


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
    lines = [
        _line(scale, contract, moments, metric)
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


def _line(scale: str, contract: Contract, moments: Sequence[_Moment], metric: str) -> TimeSeries:
    every = [row for moment in moments for row in moment.scores]
    scores, ids, groups = aligned(every, metric)
    ends = np.cumsum([len(moment.scores) for moment in moments])
    tables = np.split(scores, ends[:-1]) if ids else [np.empty((0, 0))] * len(moments)
    labels = np.asarray(units(ids, groups))
    several = [table for table in tables if min(table.shape) > 1]
    noise = stats.seed_noise(several, labels) if several else None
    points = []
    for place, (current, table) in enumerate(zip(moments, tables, strict=True)):
        before = moments[place - 1].stored[-1] if place else None
        points.append(_point(current, table, labels, metric, noise, before))
    steps, note = _steps(moments, tables, labels)
    return TimeSeries(scale, contract.digest, contract.in_words(), len(ids), tuple(points), steps, note)


def _point(
    moment: _Moment,
    table: Floats,
    labels: Floats,
    metric: str,
    noise: stats.Noise | None,
    before: Stored | None,
) -> Point:
    record = moment.stored[-1].record
    if not table.size:  # no example is in all records
        table, ids, groups = aligned([moment.scores[-1]], metric)
        labels = np.asarray(units(ids, groups))
    value = stats.mean_interval(table, groups=labels, noise=noise)
    return Point(
        moment.stored[0].record.provenance.finished,
        value.within(0, 1) if metric in record.scores["tuned"] else value,
        tuple(sorted(stored.record.run.seed for stored in moment.stored)),
        {**record.provenance.versions, **record.run.versions},
        record.provenance.commit,
        tuple(stored.record.id for stored in moment.stored),
        differences(before.record, record) if before else {},
    )


def _steps(
    moments: Sequence[_Moment], tables: Sequence[Floats], labels: Floats
) -> tuple[tuple[ChangePoint, ...], str]:
    if len(moments) < FEWEST:
        count = len(moments)
        return (), f"{count} point{'s' * (count != 1)}: a change point needs {FEWEST} or more"
    if not labels.size:
        return (), "no test example is in all records, so no change can be told"
    steps = []
    for at, shift, p in change_points(np.stack([table.mean(axis=0) for table in tables]), labels):
        changed = differences(moments[at - 1].stored[-1].record, moments[at].stored[-1].record)
        steps.append(ChangePoint(at, shift, p, changed))
    return tuple(steps), ""


def change_points(points: Floats, groups: Floats | None = None) -> list[tuple[int, stats.Interval, float]]:
    """(first point after, shift, p) of every step in (points, n) scores of the same n examples."""
    places = [0, *_proposed(points.mean(axis=1)), len(points)]
    accepted = []
    begin = 0
    for at, end in pairwise(places[1:]):
        before, after = points[begin:at], points[at:end]
        noise = stats.seed_noise([before, after], groups) if points.shape[1] > 1 else None
        if noise:  # one estimate serves both sides, so its error does not average out between them
            noise = stats.Noise(noise.variance, 2 * noise.spread)
        result = stats.compare(before, after, groups=groups, noise=noise)
        p = min(1.0, result.p * (len(points) - 1))
        if p <= 0.05:
            accepted.append((at, result.interval, p))
            begin = at
    return accepted


def _proposed(values: Floats) -> list[int]:
    """Places where the mean of a series may change, the noise taken from neighbouring values."""
    import ruptures

    jumps = np.abs(np.diff(values))
    deviation = 1.4826 * float(np.median(jumps)) / 2**0.5
    if not jumps.any():
        return []
    penalty = max(2 * deviation**2 * float(np.log(len(values))), 1e-9)
    search = ruptures.Binseg(model="l2", min_size=SHORTEST, jump=1).fit(values[:, None])
    places = [int(at) for at in search.predict(pen=penalty)[:-1]]
    if len(places) > MOST_CHANGES:
        places = [int(at) for at in search.predict(n_bkps=MOST_CHANGES)[:-1]]
    return places
