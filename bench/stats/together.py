"""What a whole table says: p-values corrected for each other, a drift of every model, and the verdict's
words."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.noise import Noise, seed_effects
from bench.stats.pivot import Floats, Interval, SeedPart, as_runs, student_quantile


class Verdict(StrEnum):
    """The verdict on one difference."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    UNCHANGED = "unchanged"
    UNCERTAIN = "too uncertain to tell"


@dataclass(frozen=True)
class SignTest:
    """How many differences are below, above and at zero, with the two-sided binomial p of ties left out."""

    down: int
    up: int
    ties: int
    p: float


@dataclass(frozen=True)
class PooledShift:
    """The mean shift of all models together; `p` gives the verdict, `sign` stands beside it.

    `sign.p` counts models as if they were independent and is too small when they share test examples;
    `sign_p` is the same count judged by flipping examples jointly.
    """

    interval: Interval
    p: float
    models: int
    sign: SignTest
    sign_p: float

    def drifted(self, alpha: float = 0.05) -> bool:
        """Whether the stack as a whole has moved."""
        return self.p <= alpha


def holm(p: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p-values, in the order given; shape (m,), m may be 0.

    Rejecting where the adjusted p is at most alpha keeps the chance of any false alarm in the table at
    alpha, whatever the dependence between rows.  ValueError for a p outside 0 to 1.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must be one row of numbers between 0 and 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def sign_test(differences: ArrayLike) -> SignTest:
    """The two-sided binomial sign test of (n,) independent differences; zeros are ties and leave the
    count."""
    from scipy.special import bdtr

    values = as_runs(differences)[0]
    down, up = int((values < 0).sum()), int((values > 0).sum())
    p = min(1.0, 2 * float(bdtr(min(down, up), down + up, 0.5))) if down + up else 1.0
    return SignTest(down, up, int(values.size) - down - up, p)


def _table(
    differences: Sequence[ArrayLike], units: Sequence[Sequence[Hashable]] | None
) -> tuple[Floats, Floats]:
    """Sums of scores and their counts, both (models, units), from each model's own list."""
    rows = [as_runs(difference).mean(axis=0) for difference in differences]
    if not rows:
        raise ValueError("a pooled shift needs at least one model")
    if units is None:
        if len({row.size for row in rows}) > 1:
            raise ValueError("models have different numbers of examples; name the examples with `units`")
        units = [range(rows[0].size)] * len(rows)
    if [len(names) for names in units] != [row.size for row in rows]:
        raise ValueError("units must name every example of every model")
    place: dict[Hashable, int] = {}
    columns = [[place.setdefault(name, len(place)) for name in names] for names in units]
    sums, counts = np.zeros((len(rows), len(place))), np.zeros((len(rows), len(place)))
    for model, (row, index) in enumerate(zip(rows, columns, strict=True)):
        np.add.at(sums[model], index, row)
        np.add.at(counts[model], index, 1.0)
    return sums, counts


def pooled_shift(
    differences: Sequence[ArrayLike],
    units: Sequence[Sequence[Hashable]] | None = None,
    level: float = 0.95,
    flips: int = 2000,
    seed: int = 0,
    common: bool = False,
    shared: Noise | None = None,
) -> PooledShift:
    """The mean over models of each model's mean difference, with interval, p and sign test.

    `differences[m]` has shape (n_m,), or (seeds, n_m) and is averaged over seeds; `units[m]` names the
    example, or the paraphrase group, behind each value.  Without `units` all models share the same
    examples in order. Test examples that several models share move them together, so models are no
    independent clusters; and each model also carries its own training noise, so examples alone are too
    few doubts.  Both are random effects: Var = V_models + V_units - V_both (Cameron, Gelbach and Miller
    2011, two-way clusters), at least as large as either alone, with Satterthwaite's degrees of freedom.  A
    mean over many models is near normal, so Student's t needs no bootstrap here.  Models without a common
    example come out as the units, as they should.
    One model alone is judged by its examples.  `common` says that all models ran the same several seeds: what
    a seed does to all of them is a third random effect, which no number of models averages out (see `noise`).
    `shared` is that effect as known from elsewhere, for models of one seed; it counts for both sides.
    ValueError for lists that do not match.
    """
    from scipy.special import stdtr

    sums, counts = _table(differences, units)
    models, width = sums.shape
    sizes = counts.sum(axis=1)
    means = sums.sum(axis=1) / sizes
    mean = float(means.mean())
    weighted = sums / (models * sizes[:, None])
    residual = weighted - counts * mean / (models * sizes[:, None])

    def clustered(totals: Floats) -> float:
        return float((totals**2).sum()) * totals.size / (totals.size - 1) if totals.size > 1 else 0.0

    by_model, by_unit = clustered(residual.sum(axis=1)), clustered(residual.sum(axis=0))
    both = clustered(residual[counts > 0]) if models > 1 and width > 1 else 0.0
    variance = max(by_model + by_unit - both, by_model, by_unit)
    doubt = sum(part**2 / (size - 1) for part, size in ((by_model, models), (by_unit, width)) if size > 1)
    luck = _shared_luck(differences) if common and models > 1 else SeedPart()
    if shared and not luck.value:
        luck = shared.in_mean_of(1) + shared.in_mean_of(1)
    variance, doubt = variance + luck.value, doubt + luck.spread / 2
    freedom = variance**2 / doubt if doubt else 0.0
    if freedom:
        reach = student_quantile(freedom, 0.5 + level / 2) * variance**0.5
        p = min(1.0, 2 * float(stdtr(freedom, -abs(mean) / variance**0.5)))
    else:
        reach = 0.0 if variance == 0 and models * width > 1 else float("inf")
        p = float(2.0 ** (1 - min(width, 1000))) if mean else 1.0
    sign = sign_test(means)
    return PooledShift(
        Interval(mean, mean - reach, mean + reach), p, models, sign, _sign_p(weighted, sign, flips, seed)
    )


def _shared_luck(differences: Sequence[ArrayLike]) -> SeedPart:
    """What the seeds that all models share leave in the mean over models and seeds."""
    runs = [as_runs(difference) for difference in differences]
    if any(min(table.shape) < 2 for table in runs) or len({len(table) for table in runs}) > 1:
        return SeedPart()
    return seed_effects(runs, common=True).shared.in_mean_of(len(runs[0]))


def _sign_p(weighted: Floats, sign: SignTest, flips: int, seed: int) -> float:
    """How often the larger sign count is as large when every unit's sign is flipped for all models at
    once."""
    generator = np.random.default_rng(seed)
    signs: NDArray[np.float64] = generator.choice([-1.0, 1.0], size=(flips, weighted.shape[1]))
    flipped = signs @ weighted.T
    larger = np.maximum((flipped < 0).sum(axis=1), (flipped > 0).sum(axis=1))
    return float((1 + (larger >= max(sign.down, sign.up)).sum()) / (flips + 1))


def verdict(
    interval: Interval,
    p_adjusted: float,
    threshold: float = 0.01,
    smallest: float = float("inf"),
    alpha: float = 0.05,
) -> Verdict:
    """One of four words for a difference `interval.mean` (b - a, higher is better).

    improved, regressed: the p adjusted over the table is at most `alpha` and the difference is larger than
    `threshold`; because the p is Holm's, at most 5% of tables without any change hold such a word.
    unchanged: otherwise, if the whole interval lies within +-threshold (equivalence), or if the comparison
    could have found a drop of the threshold's size (`smallest`, the smallest detectable drop with no
    threshold imposed, is at most the threshold) and saw none so large.
    too uncertain to tell: everything else.
    ValueError for a threshold below zero.
    """
    if threshold < 0:
        raise ValueError(f"threshold must not be below zero, and is {threshold}")
    size = abs(interval.mean)
    if p_adjusted <= alpha and size > threshold:
        return Verdict.IMPROVED if interval.mean > 0 else Verdict.REGRESSED
    if -threshold <= interval.low and interval.high <= threshold:
        return Verdict.UNCHANGED
    if smallest <= threshold and size <= threshold:
        return Verdict.UNCHANGED
    return Verdict.UNCERTAIN
