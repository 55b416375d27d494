"""Seeds become the numbers of a row: its intervals without the scores of every example, and its cost.

Where there are too many records to read example by example, an interval comes from the records' own estimates
and ranks from intervals that do not overlap: wider, never narrower. `bench.judge.intervals` has the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

import numpy as np

from bench.judge.intervals import KINDS, own_interval
from bench.stats import Interval
from bench.stats.pivot import student_quantile
from bench.store.ledger import Stored
from bench.store.record import BASE, BASE_CHAT, Record


def bases(record: Record) -> dict[str, dict[str, Interval]]:
    """The estimates of one record's untuned model; every seed's record says the same, as none trained it."""
    rows = {"base": BASE, "chat": BASE_CHAT}
    return {
        name: {kind: own_interval(record, row, kind) for kind in KINDS} if row in record.scores else {}
        for name, row in rows.items()
    }


def from_estimates(runs: Sequence[Stored]) -> dict[str, dict[str, Interval]]:
    """Intervals from the records' own: half widths of examples and of seeds, added as variances.

    Averaging seeds would narrow the part of the examples too. That is left out, so the interval is too wide.
    """
    records = [stored.record for stored in runs]
    tuned = {kind: _wide([own_interval(record, "tuned", kind) for record in records]) for kind in KINDS}
    return {
        **bases(records[0]),
        "tuned": {kind: estimate.within(0, 1) for kind, estimate in tuned.items()},
        "gain": {kind: _wide([own_interval(record, "gain", kind) for record in records]) for kind in KINDS},
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
