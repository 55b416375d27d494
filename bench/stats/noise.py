"""Training noise: what a score varies by when nothing but the seed changes, pooled over models.

Three seeds of one model leave two degrees of freedom; three seeds of eight models leave sixteen, and a
comparison that borrows them finds far smaller drops.  The price is the assumption that the models are about
equally noisy.

Models that run the same seeds share luck: a seed is one order of the training examples, good or bad for
all of them.  So a table of models and common seeds is a two-way random-effects model without replication
(Searle, Casella and McCulloch 1992, chapter 4): the score of model m on seed s is its mean, plus the seed's
effect, plus its own noise.  With the mean squares MS_seeds and MS_own of that table of means,

    own = MS_own        shared = (MS_seeds - MS_own) / M        total = (MS_seeds + (M - 1) MS_own) / M

The total belongs into an absolute interval, and its degrees of freedom are far fewer than M (S - 1) where the
seeds' mean square is large: that one has S - 1.  A difference of two models on the same seeds needs their own
noise alone.  Six seeds of the eight twins had F(5, 35) = 3.9, an intraclass correlation of 0.27.

From every mean square the part is subtracted that the choice of examples explains (MS_rest / G), and what
is left is taken as the mean of a normal around it, with its own standard error, cut off below zero.
Without that step small noise is often put at nothing: A/A tables of eight models then raised 6.9% false
alarms.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.pivot import Floats, SeedPart, as_runs, by_group, mean_squares

#: From so many on, a row's own seeds tell its training noise; see `noise_of_row`.
ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Noise:
    """Training noise: the variance of one run's true mean score over seeds, and that estimate's own
    variance.

    `varies` is how much a repeated estimate would vary, where that is more than intervals reckon with: the
    larger of two estimates is too large on average, which makes up for its few degrees of freedom in an
    interval, but says nothing of what the next one will be.
    """

    variance: float
    spread: float
    varies: float = 0.0

    def in_mean_of(self, seeds: int) -> SeedPart:
        """Its share in the variance of the mean over `seeds` runs."""
        value = self.variance / seeds
        return SeedPart(value, value, self.spread / seeds**2, max(self.varies, self.spread) / seeds**2)


@dataclass(frozen=True)
class SeedEffects:
    """Training noise of a table of models: all of it, the models' own, and what a seed does to all of them.

    Without common seeds `own` is `total`, and `shared` is nothing.
    """

    total: Noise
    own: Noise
    shared: Noise


def seed_noise(scores: Iterable[ArrayLike], groups: ArrayLike | None = None, common: bool = False) -> Noise:
    """All of the training noise of one run; arguments and errors as in `seed_effects`."""
    return seed_effects(scores, groups, common).total


def seed_effects(
    scores: Iterable[ArrayLike], groups: ArrayLike | None = None, common: bool = False
) -> SeedEffects:
    """Training noise pooled over models: each array (seeds, n) holds the runs of one model.

    `common` says that the k-th run of every model has the same seed; models with another number of seeds are
    then left to their own.  Arrays of a single seed are passed over; ValueError if no array has two seeds and
    two examples.
    """
    tables = [by_group(as_runs(series), groups) for series in scores]
    tables = [table for table in tables if min(table.shape) >= 2]
    if not tables:
        raise ValueError("training noise needs a model with at least two seeds and two examples")
    sizes = {len(table) for table in tables}
    if common and len(tables) > 1 and len(sizes) == 1:
        return _crossed(tables)
    noise = _pooled(tables)
    return SeedEffects(noise, noise, Noise(0.0, 0.0))


def noise_of_row(scores: ArrayLike, pooled: Noise | None, groups: ArrayLike | None = None) -> Noise | None:
    """The training noise for the absolute interval of one row, (seeds, n); none where its own seeds must do.

    A single run says nothing of it: the pooled noise counts.  Two leave one degree of freedom, and intervals
    by them alone would be wide or narrow by chance: the larger of own and pooled counts, as models are not
    equally noisy.  From three seeds on the row's own count alone, with as few degrees of freedom as they
    leave.  Measured there, 1,500 rounds each of 60, 200 and 1,000 examples, three and five seeds, on scores
    of ten seeds of the twins: 93 to 97% of every row's intervals hold the truth, of a model three times as
    noisy as seven others too.  With the larger of both, 95 to 99% of the quiet rows' did, and they were
    wider; with pooled noise alone, 78 to 92% of the noisy one's.
    """
    runs = as_runs(scores)
    if pooled is None or len(runs) >= ENOUGH_SEEDS:
        return None
    if len(runs) == 1:
        return pooled
    own = seed_noise([runs], groups)
    return own if own.variance > pooled.variance else pooled


def _pooled(tables: Sequence[Floats]) -> Noise:
    """sum (S-1) (MS_seeds - MS_rest) / G over sum (S-1), models independent of each other."""
    excess = total = freedom = 0.0
    for units in tables:
        seeds, count = units.shape
        between, rest = mean_squares(units)
        excess += (seeds - 1) * (between - rest) / count
        total += (seeds - 1) * between / count
        freedom += seeds - 1
    spread = 2 * (total / freedom) ** 2 / freedom
    return Noise(above_zero(excess / freedom, spread**0.5), spread)


def _crossed(tables: Sequence[Floats]) -> SeedEffects:
    """The two-way table of models and seeds; see the head of this module for the formulas."""
    means = np.stack([table.mean(axis=1) for table in tables])
    models, seeds = means.shape
    of_seeds = models * float(means.mean(axis=0).var(ddof=1))
    residual = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean()
    own = float((residual**2).sum()) / ((models - 1) * (seeds - 1))
    rest = float(np.mean([mean_squares(table)[1] / table.shape[1] for table in tables]))
    # Few seeds that lie close by chance would promise too many degrees of freedom (see `pivot`).
    doubt_of_seeds = 2 * (of_seeds * (1 + 2 / (seeds - 1))) ** 2 / (seeds - 1)
    doubt_of_own = 2 * own**2 / ((models - 1) * (seeds - 1))
    return SeedEffects(
        total=_noise(
            (of_seeds + (models - 1) * own) / models - rest,
            (doubt_of_seeds + (models - 1) ** 2 * doubt_of_own) / models**2,
        ),
        own=_noise(own - rest, doubt_of_own),
        shared=_noise((of_seeds - own) / models, (doubt_of_seeds + doubt_of_own) / models**2),
    )


def _noise(estimate: float, spread: float) -> Noise:
    return Noise(above_zero(estimate, spread**0.5), spread)


def above_zero(estimate: float, error: float) -> float:
    """The mean of a normal around `estimate` with standard deviation `error`, cut off below zero."""
    from scipy.special import log_ndtr

    if error == 0:
        return max(estimate, 0.0)
    if estimate < -30 * error:  # the limit, where the density is too small for a number
        return error * (error / -estimate)
    density = -0.5 * (estimate / error) ** 2 - 0.5 * math.log(2 * math.pi)
    return max(estimate + error * math.exp(density - float(log_ndtr(estimate / error))), 0.0)
