"""Seeds and examples become estimates: the numbers of a row, and the ranks that they allow.

- Training noise is pooled over the models of a group (three seeds of one model alone say little),
  so a one-seed row shares in it where another row has several seeds. A row's own noise counts where it is
  larger, and what a seed does to every model alike is told apart from it (see `bench.stats.noise`).
- Where there are too many records to read example by example, an interval comes from the records'
  own estimates and ranks from intervals that do not overlap: wider, never narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from bench.errors import RecordError
from bench.stats import Interval, Noise, larger, mean_interval, seed_noise
from bench.stats.pivot import student_quantile
from bench.store.ledger import Stored
from bench.store.record import BASE, BASE_CHAT, Record
from bench.store.scores import Series, series, units

KINDS = ("rougeL", "rouge1", "rouge2", "rougeLsum")
Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
#: Run id -> "tuned" and the rows of the untuned model -> scores per example.
Scores = dict[str, dict[str, Series]]


def read(newest: dict[str, list[Stored]], messages: list[str]) -> Scores:
    """Per-example scores of every run; a run whose scores cannot be trusted goes from `newest`."""
    scores: Scores = {}
    for model, runs in list(newest.items()):
        for stored in list(runs):
            try:
                scores[stored.record.id] = {row: series(stored, KINDS, row) for row in _rows(stored)}
            except RecordError as error:
                messages.append(str(error))
                runs.remove(stored)
        if not runs:
            del newest[model]
    return scores


def pooled(sets: Sequence[Sequence[Stored]], scores: Scores) -> list[dict[str, dict[str, Interval]]]:
    """Per row: tuned, base, chat, gain -> metric -> interval over examples and seeds."""
    several = any(len(runs) > 1 for runs in sets)
    if not several:  # the records hold exactly this already
        return [from_estimates(runs) for runs in sets]
    labels = clusters(sets[0], scores)
    estimates: list[dict[str, dict[str, Interval]]] = [_bases(runs[0].record) for runs in sets]
    for kind in KINDS:
        tuned = [table(runs, scores, "tuned", kind) for runs in sets]
        gains = [
            table_of_row - table(runs, scores, runs[0].record.gain_over, kind)
            for table_of_row, runs in zip(tuned, sets, strict=True)
        ]
        for name, values in (("tuned", tuned), ("gain", gains)):
            noises = _noises(values, labels, share_seeds(sets))
            for place, (table_of_row, noise) in enumerate(zip(values, noises, strict=True)):
                estimate = mean_interval(table_of_row, groups=labels, noise=noise)
                estimates[place][name][kind] = estimate if name == "gain" else estimate.within(0, 1)
    return estimates


def _rows(stored: Stored) -> list[str]:
    """The rows whose scores per example a board reads."""
    return [row for row in ("tuned", BASE, BASE_CHAT) if row in stored.record.scores]


def _bases(record: Record) -> dict[str, dict[str, Interval]]:
    """The estimates of one record's untuned model; every seed's record says the same, as none trained it."""
    rows = {"base": BASE, "chat": BASE_CHAT}
    held = {
        name: {kind: interval(record, row, kind) for kind in KINDS} if row in record.scores else {}
        for name, row in rows.items()
    }
    return {"tuned": {}, "gain": {}, **held}


def share_seeds(sets: Sequence[Sequence[Stored]]) -> bool:
    """Whether all rows with several seeds ran the same ones, so that a seed's luck is common to them."""
    seeds = [tuple(stored.record.run.seed for stored in runs) for runs in sets]
    several = {row for row in seeds if len(row) > 1}
    return len(several) == 1 and sum(len(row) > 1 for row in seeds) > 1


def _noises(values: Sequence[Floats], labels: Labels, common: bool) -> list[Noise | None]:
    """Each row's training noise, or none where its own seeds (if any) must do."""
    several = [table_of_row for table_of_row in values if len(table_of_row) > 1]
    try:
        pooled = seed_noise(several, labels, common)
    except ValueError:  # one example or one group of them
        return [None] * len(values)
    return [
        larger(seed_noise([table_of_row], labels), pooled) if len(table_of_row) > 1 else pooled
        for table_of_row in values
    ]


def table(runs: Sequence[Stored], scores: Scores, row: str, kind: str) -> Floats:
    """(seeds, examples) F values, examples in the order of their ids."""
    rows = [scores[stored.record.id][row] for stored in runs]
    return np.stack([series_of_run.values[kind][_by_id(series_of_run)] for series_of_run in rows])


def clusters(runs: Sequence[Stored], scores: Scores) -> Labels:
    """What counts as one cluster, in the order of the examples' ids."""
    tuned = scores[runs[0].record.id]["tuned"]
    return np.asarray(units(tuned.ids, tuned.groups))[_by_id(tuned)]


def _by_id(scores: Series) -> list[int]:
    return sorted(range(len(scores.ids)), key=scores.ids.__getitem__)


def from_estimates(runs: Sequence[Stored]) -> dict[str, dict[str, Interval]]:
    """Intervals from the records' own: half widths of examples and of seeds, added as variances.

    Averaging seeds would narrow the part of the examples too. That is left out, so the interval is too wide.
    """
    records = [stored.record for stored in runs]
    tuned = {kind: _wide([interval(record, "tuned", kind) for record in records]) for kind in KINDS}
    return {
        **_bases(records[0]),
        "tuned": {kind: estimate.within(0, 1) for kind, estimate in tuned.items()},
        "gain": {
            kind: _wide([Interval(**record.gain[kind].model_dump()) for record in records]) for kind in KINDS
        },
    }


def _wide(parts: Sequence[Interval]) -> Interval:
    if len(parts) == 1:
        return parts[0]
    mean = fmean(part.mean for part in parts)
    reach = student_quantile(len(parts) - 1, 0.975)
    seeds = variance(part.mean for part in parts) / len(parts) * reach**2
    below = fmean((part.mean - part.low) ** 2 for part in parts)
    above = fmean((part.high - part.mean) ** 2 for part in parts)
    return Interval(mean, mean - sqrt(below + seeds), mean + sqrt(above + seeds))


def ranks_apart(intervals: Sequence[Interval]) -> list[tuple[int, int]]:
    """Rank ranges by intervals that do not overlap, for too many rows to compare example by example."""
    lows, highs = (
        np.sort([estimate.low for estimate in intervals]),
        np.sort([estimate.high for estimate in intervals]),
    )
    count = len(intervals)
    return [
        (
            1 + count - int(np.searchsorted(lows, estimate.high, side="right")),
            count - int(np.searchsorted(highs, estimate.low, side="left")),
        )
        for estimate in intervals
    ]


def interval(record: Record, row: str, kind: str) -> Interval:
    """One of a record's own estimates."""
    return Interval(**record.scores[row][kind].model_dump()).within(0, 1)


@dataclass(frozen=True)
class RowCost:
    """What one run of a row took, averaged over its seeds; peaks are the highest."""

    trainable_parameters: int
    parameters: int
    tokens_per_second: float
    peak_memory: int
    peak_gpu_memory: int | None
    #: Of all stages together.
    seconds: float

    @property
    def memory(self) -> int:
        """Peak memory where the model lived: the GPU's if there was one."""
        return self.peak_gpu_memory if self.peak_gpu_memory is not None else self.peak_memory


def cost_of(runs: Sequence[Stored]) -> RowCost:
    """The cost of one row, from the records of its seeds."""
    spent = [stored.record.spent for stored in runs]
    gpu = [memory for spending in spent if (memory := spending.training_gpu_memory) is not None]
    return RowCost(
        trainable_parameters=spent[0].trainable_parameters,
        parameters=spent[0].parameters,
        tokens_per_second=fmean(spending.tokens_per_second for spending in spent),
        peak_memory=max(spending.peak_memory for spending in spent),
        peak_gpu_memory=max(gpu) if gpu else None,
        seconds=fmean(sum(spending.seconds.values()) for spending in spent),
    )
