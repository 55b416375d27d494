"""All models together: a pooled shift finds the drop that every model shares and none can show alone.

A shift counts as drift when it is clear, larger than `DRIFT` and seen on at least `FEWEST` models. Where
several metrics are compared, p is Holm's over them: one drift is enough to stop a gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import stats
from bench.judge.pairing import Scored
from bench.judge.retraining import Retraining
from bench.store.metrics import direction
from bench.store.scores import units

#: A pooled shift smaller than this is no drift, however clear: a fifth of what one model must move by.
DRIFT = 0.002
FEWEST = 3


@dataclass(frozen=True)
class Pooled:
    """All models together, for one metric."""

    metric: str
    shift: stats.PooledShift
    drift: bool
    #: Holm's over the metrics.
    p_adjusted: float

    @property
    def is_drop(self) -> bool:
        """Whether all models together got worse."""
        return self.drift and self.shift.interval.mean * direction(self.metric) < 0


def same_seeds(scored: Sequence[Scored]) -> bool:
    """Whether all rows ran the same several seeds, so that what a seed does is common to them."""
    seeds = {row.match.seeds for row in scored}
    return len(seeds) == 1 and len(min(seeds)) > 1


def pooled(
    scored: Sequence[Scored], alpha: float, drift: float, noise: Retraining | None
) -> tuple[Pooled, ...]:
    """All models together by metric; p is adjusted over the metrics, as one drift is enough to stop."""
    shifts = {}
    for metric in dict.fromkeys(row.metric for row in scored):
        rows = [row for row in scored if row.metric == metric]
        names = [
            [(row.match.a[0].record.run.contract.eval.digest, unit) for unit in units(row.ids, row.groups)]
            for row in rows
        ]
        shared = noise.shared(metric) if noise else None
        shifts[metric] = stats.pooled_shift(
            [row.b - row.a for row in rows], names, common=same_seeds(rows), shared=shared
        )
    adjusted = stats.holm([shift.p for shift in shifts.values()]).tolist()
    return tuple(
        Pooled(metric, shift, drifted(shift, alpha, drift, p), p)
        for (metric, shift), p in zip(shifts.items(), adjusted, strict=True)
    )


def drifted(
    shift: stats.PooledShift, alpha: float = 0.05, drift: float = DRIFT, p_adjusted: float | None = None
) -> bool:
    """Whether a pooled shift is a drift of the stack: clear, large enough, and of enough models."""
    clear = shift.drifted(alpha) if p_adjusted is None else p_adjusted <= alpha
    return clear and abs(shift.interval.mean) > drift and shift.models >= FEWEST
