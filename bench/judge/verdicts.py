"""The verdicts of one table of paired differences: pure arrays, no records.

Training noise is what the differences vary by over seeds. Three seeds say little about it, so it is pooled
over the table, and a one-seed row borrows it. Models are not equally noisy, so a row's own estimate counts
where it is larger: with pooling alone, tables of eight models of which two were ten times as noisy as the
others held a false verdict in 16% of simulations instead of 7%; with equal noise the rule costs power (94%
to 83% for a drop of 0.04 on 60 examples and three seeds) and false verdicts fall to 3%. Without any second
seed training noise is not counted, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.judge.pairing import Finding
from bench.store.scores import Floats

THRESHOLD = 0.01
#: Seeds beyond the first, over the table, from which pooled training noise is better than a row's own.
POOLABLE = 4


@dataclass(frozen=True)
class Judged:
    """What the statistics say of one row of a table."""

    difference: stats.Interval
    p: float
    p_adjusted: float
    smallest: float
    finding: Finding


def judge(
    differences: Sequence[Floats],
    threshold: float = THRESHOLD,
    alpha: float = 0.05,
    power: float = 0.8,
    changed: Sequence[int | None] | None = None,
    noise: Sequence[stats.Noise | None] | None = None,
    common: bool = False,
    metrics: Sequence[str] | None = None,
) -> list[Judged]:
    """The rows of one table, each an array (seeds, clusters) of b - a.

    `changed` says of each row how many clusters differ at all, which clusters that were recentred no longer
    show. `metrics` names the metric of each row: p is adjusted over all of them, training noise is pooled
    over the rows of one. `noise` is one run's training noise of each row as known from elsewhere, for tables
    of one seed. `common` says that all rows ran the same seeds, whose luck they then share.
    """
    metrics = metrics or [""] * len(differences)
    noises: list[stats.Noise | None] = [None] * len(differences)
    for metric in dict.fromkeys(metrics):
        places = [place for place, other in enumerate(metrics) if other == metric]
        known = [noise[place] if noise else None for place in places]
        of_metric = _noises([differences[place] for place in places], known, common)
        for place, its in zip(places, of_metric, strict=True):
            noises[place] = its
    results = [
        stats.compare(np.zeros_like(change), change, noise=its, changed=count)
        for change, its, count in zip(differences, noises, changed or [None] * len(noises), strict=True)
    ]
    adjusted = stats.holm([result.p for result in results])
    share = alpha / max(len(results), 1)
    judged = []
    for result, p in zip(results, adjusted.tolist(), strict=True):
        bare = result.smallest_detectable(power, share)
        finding = Finding(str(stats.verdict(result.interval, p, threshold, bare, alpha)))
        smallest = result.smallest_detectable(power, share, threshold)
        judged.append(Judged(result.interval, result.p, p, smallest, finding))
    return judged


def towards(finding: Finding, direction: int) -> Finding:
    """A finding about a metric of which more is better (1), worse (-1) or neither (0)."""
    if direction > 0 or finding not in (Finding.IMPROVED, Finding.REGRESSED):
        return finding
    if direction == 0:
        return Finding.CHANGED
    return Finding.REGRESSED if finding == Finding.IMPROVED else Finding.IMPROVED


def _noises(
    differences: Sequence[Floats], known: Sequence[stats.Noise | None], common: bool
) -> list[stats.Noise | None]:
    """Training noise of each row's difference, or none where the row's own seeds (if any) must do."""
    several = [difference for difference in differences if min(difference.shape) > 1]
    if not several:
        return [its if change.any() else None for change, its in zip(differences, known, strict=True)]
    from scipy.special import chdtrc

    pooled = stats.seed_noise(several, common=common)
    freedom = sum(len(table) - 1 for table in several)

    def noise(change: Floats) -> stats.Noise | None:
        if not change.any():  # word for word the same answers: nothing moved, whatever others did
            return None
        if len(change) > 1 and (freedom < POOLABLE or change.shape[1] < 2):
            return None
        own = stats.seed_noise([change]) if min(change.shape) > 1 else stats.Noise(0.0, 0.0)
        if own.variance == 0:
            return _limited(pooled, change)
        # A repetition takes the row's own noise again with this probability, which then varies by its seeds.
        again = float(chdtrc(len(change) - 1, (len(change) - 1) * pooled.variance / own.variance))
        varies = max(pooled.spread, again**0.5 * own.spread)
        return _limited(stats.Noise(max(own.variance, pooled.variance), pooled.spread, varies), change)

    return [noise(change) for change in differences]


def _limited(noise: stats.Noise, change: Floats) -> stats.Noise:
    """The noise of one of two sides, with no fewer degrees of freedom than the row's own seeds give.

    A row that is far quieter than the table would otherwise be left with less than one degree of freedom.
    """
    seeds, clusters = change.shape
    examples = float(change.mean(axis=0).var(ddof=1)) / clusters if clusters > 1 else 0.0
    total = seeds * examples + noise.variance
    most = 2 * total**2 / max(seeds - 1, 1)
    # `stats.compare` adds the noise of two sides; this one is already that of the difference.
    return stats.Noise(noise.variance / 2, min(noise.spread, most) / 2, min(noise.varies, most) / 2)
