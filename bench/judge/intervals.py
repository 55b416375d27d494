"""The one interval that a score has, wherever it is shown: board, history, matrix, comparison.

A row is the runs of one model that differ in the seed alone. Its interval covers test examples (paraphrases
counted together) and training noise.

- From three seeds on a row is judged by its own seeds, whatever stands beside it.
- A row of one or two seeds shares in the noise of the records beside it: pooled over the models of one
  contract, scale and set of test examples, each by its newest runs of several seeds. What a seed does to
  every model alike is part of it. Where no model has a second seed it keeps its record's own interval.

The rule and what was measured: `bench.stats.noise.noise_of_row`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.errors import RecordError, UnknownName
from bench.stats import ENOUGH_SEEDS, Interval, Noise, mean_interval, noise_of_row, seed_noise
from bench.store.ledger import Stored
from bench.store.record import SCORES, Record
from bench.store.scores import METRIC, Floats, Series, series, units
from bench.store.sides import moment, setting, trial_of

KINDS = ("rougeL", "rouge1", "rouge2", "rougeLsum")
#: Records of which training noise is taken; more say nothing new.
MOST = 160
#: With fewer models than these, older versions of the same models tell of training noise too.
FEW_MODELS = 3
Labels = NDArray[np.str_]
#: Contract, scale, digest of the test examples.
_Table = tuple[str, str, str]


class Intervals:
    """The intervals of rows, with the training noise of the records that they stand among."""

    def __init__(self, records: Iterable[Stored]) -> None:
        self._records: dict[tuple[str, str], list[Stored]] = defaultdict(list)
        for stored in records:
            self._records[stored.record.run.scale, stored.record.data.eval_digest].append(stored)
        self._series: dict[tuple[str, str, str], Series] = {}
        self._noise: dict[tuple[_Table, str, str], Noise | None] = {}
        self._sets: dict[_Table, list[list[Stored]]] = {}

    def of(self, runs: Sequence[Stored], metric: str = METRIC, row: str = "tuned") -> Interval:
        """The interval of a row's mean over examples and seeds; `row` is one of a record's, or "gain".

        Raises `RecordError` for scores that cannot be trusted, `UnknownName` for a metric.
        """
        pooled = self._pooled(runs[0], metric, row) if len(runs) < ENOUGH_SEEDS else None
        if len(runs) == 1 and pooled is None:
            return own_interval(runs[0].record, row, metric)
        table, labels = self.table(runs, metric, row), self.clusters(runs[0], metric)
        interval = mean_interval(table, groups=labels, noise=noise_of_row(table, pooled, labels))
        return interval if row == "gain" else interval.within(0, 1)

    def table(self, runs: Sequence[Stored], metric: str = METRIC, row: str = "tuned") -> Floats:
        """(seeds, examples) F values, or their gains over base, examples in the order of their ids."""
        if row == "gain":
            return self.table(runs, metric) - self.table(runs, metric, runs[0].record.gain_over)
        rows = [self.read(stored, metric, row) for stored in runs]
        return np.stack([scores.values[metric][_by_id(scores)] for scores in rows])

    def clusters(self, stored: Stored, metric: str = METRIC) -> Labels:
        """What counts as one cluster, in the order of the examples' ids."""
        scores = self.read(stored, metric)
        return np.asarray(units(scores.ids, scores.groups))[_by_id(scores)]

    def read(self, stored: Stored, metric: str = METRIC, row: str = "tuned") -> Series:
        """A record's scores, read once."""
        metrics = KINDS if metric in KINDS else (metric,)
        key = (stored.record.files.get(SCORES, stored.record.id), row, metrics[0])
        if key not in self._series:
            self._series[key] = series(stored, metrics, row)
        return self._series[key]

    def _pooled(self, stored: Stored, metric: str, row: str) -> Noise | None:
        """Training noise of one run, over the models that this record stands among."""
        run, data = stored.record.run, stored.record.data
        table = (run.contract.digest, run.scale, data.eval_digest)
        if (table, metric, row) not in self._noise:
            if table not in self._sets:
                beside = self._records.get((run.scale, data.eval_digest), [])
                same = [other for other in beside if other.record.run.contract == run.contract]
                self._sets[table] = _of_several_seeds(same)
            self._noise[table, metric, row] = self._noise_of(self._sets[table], metric, row)
        return self._noise[table, metric, row]

    def _noise_of(self, sets: Sequence[Sequence[Stored]], metric: str, row: str) -> Noise | None:
        tables: list[Floats] = []
        kept = []
        for runs in sets:
            try:
                table = self.table(runs, metric, row)
            except (RecordError, UnknownName, ValueError):  # named where the record itself is shown
                continue
            if not any(np.array_equal(table, other) for other in tables):  # the same runs over again
                tables.append(table)
                kept.append(runs)
        try:
            return seed_noise(tables, self.clusters(kept[0][0], metric), share_seeds(kept))
        except (IndexError, ValueError):  # no several seeds, one example, or one group of them
            return None


def _of_several_seeds(records: Sequence[Stored]) -> list[list[Stored]]:
    """Runs that differ in the seed alone and are several, the newest of each model; trials of versions last.

    Where few models have any, older ones of the same models are added.
    """
    alike: dict[tuple[str, str, tuple[str, ...]], list[Stored]] = defaultdict(list)
    for stored in records:
        run = stored.record.run
        alike[run.name, setting(run), trial_of(stored)].append(stored)
    of_seeds = [
        {stored.record.run.seed: stored for stored in sorted(runs, key=moment)} for runs in alike.values()
    ]
    several = [[runs[seed] for seed in sorted(runs)] for runs in of_seeds if len(runs) > 1]
    several.sort(key=_age, reverse=True)
    newest = {runs[0].record.run.name: runs for runs in reversed(several)}
    sets, count = [], 0
    for runs in several if len(newest) < FEW_MODELS else newest.values():
        count += len(runs)
        if count <= MOST:
            sets.append(runs)
    return sets


def _age(runs: Sequence[Stored]) -> tuple[bool, object, str]:
    newest = max(runs, key=lambda stored: (moment(stored), stored.record.id))
    return not trial_of(newest), moment(newest), newest.record.id


def share_seeds(sets: Sequence[Sequence[Stored]]) -> bool:
    """Whether all rows with several seeds ran the same ones, so that a seed's luck is common to them."""
    seeds = [tuple(stored.record.run.seed for stored in runs) for runs in sets]
    several = {row for row in seeds if len(row) > 1}
    return len(several) == 1 and sum(len(row) > 1 for row in seeds) > 1


def own_interval(record: Record, row: str, metric: str) -> Interval:
    """One of a record's own estimates. Raises `UnknownName` for a metric that it does not hold."""
    held = record.gain if row == "gain" else record.scores[row]
    if metric not in held:
        raise UnknownName("metric", metric, held)
    own = Interval(**held[metric].model_dump())
    return own if row == "gain" else own.within(0, 1)


def _by_id(scores: Series) -> list[int]:
    return sorted(range(len(scores.ids)), key=scores.ids.__getitem__)
