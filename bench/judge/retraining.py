"""What retraining alone does to a score, as records of several seeds tell it: for gates of one seed.

Pooled over the models, and a model's own noise where that is larger, because models are not equally noisy.
Of the eight twins over ten seeds `gpt-neo-125m` varies by .0095 and `gpt2` by .0027: with pooled noise alone
6.3 to 6.7% of unchanged gates over four metrics were red, nearly all of them by that one model; with this
rule at most 2.2% (30, 200 and 1,000 examples).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.errors import Incomparable
from bench.judge.intervals import share_seeds
from bench.stats import Noise, SeedEffects, seed_effects, seed_noise
from bench.stats.pivot import by_group
from bench.store.ledger import Stored
from bench.store.metrics import resolved
from bench.store.scores import aligned, series, units
from bench.store.sides import Side, newest


@dataclass(frozen=True)
class Retraining:
    """Training noise of one run by metric, and the variance of single models by (model, scale, metric)."""

    effects: Mapping[str, SeedEffects]
    own: Mapping[tuple[str, str, str], float]

    def of(self, model: str, scale: str, metric: str) -> Noise | None:
        """A run's noise: pooled, or the model's own where that is larger; none of a metric not known."""
        if metric not in self.effects:
            return None
        total = self.effects[metric].total
        return replace(total, variance=max(total.variance, self.own.get((model, scale, metric), 0.0)))

    def shared(self, metric: str) -> Noise | None:
        """What a seed does to all models alike; none of a metric not known."""
        return self.effects[metric].shared if metric in self.effects else None


def retraining(side: Side, metrics: Sequence[str]) -> Retraining:
    """What the models of a side that have several seeds tell of `metrics`.

    Raises `Incomparable` where none has.
    """
    several = [
        [run for _, run in sorted(seeds.items()) if isinstance(run, Stored)]
        for seeds in newest(side.records).values()
    ]
    several = [runs for runs in several if len(runs) > 1]
    if not several:
        raise Incomparable(f"'{side.name}' holds no model with several seeds to take training noise from")
    effects = {}
    own: dict[tuple[str, str, str], float] = defaultdict(float)
    for metric in resolved(metrics, side.records):
        tables = []
        for runs in several:
            values, ids, groups = aligned([series(run, [metric]) for run in runs], metric)
            table = by_group(values, np.asarray(units(ids, groups)) if len(set(groups)) > 1 else None)
            tables.append(table)
            if table.shape[1] > 1:
                key = (runs[0].record.run.name, runs[0].record.run.scale, metric)
                own[key] = max(own[key], seed_noise([table]).variance)
        effects[metric] = seed_effects(tables, common=share_seeds(several))
    return Retraining(effects, dict(own))
