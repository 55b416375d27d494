"""Rank ranges of a board: models that the data cannot separate share one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.noise import Noise, seed_effects
from bench.stats.pivot import Floats, as_runs, by_group, own_seed_part


def rank_ranges(
    scores: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    common: bool = False,
) -> list[tuple[int, int]]:
    """(low, high) for each model, 1 the best: together they hold all true ranks in `level` of boards.

    `scores[m]` has shape (n,) or (seeds, n), higher is better, all on the same examples in the same order.
    All pairs are compared at once: a pair differs when its paired t exceeds the `level` quantile of the
    largest |t| over all pairs under no difference, drawn from the models' joint covariance (single-step
    max-T; Mogstad, Romano, Shaikh and Wilhelm 2024).  low = 1 + models clearly better, high = M - models
    clearly worse. Training noise of a model is the larger of its own estimate and the one pooled over the
    board, so one-seed models share in it; where no model has two seeds it is not counted.  `common` says that
    all models ran the same seeds in the same order: then what a seed does to all of them moves no
    difference, and only their own noise counts (see `noise`).  100 models x 300 examples take well under a
    second.  ValueError when models have different examples.
    """
    runs = [as_runs(series) for series in scores]
    if len({scores_of_run.shape[1] for scores_of_run in runs}) > 1:
        raise ValueError("all models of a board must have the same examples")
    models = len(runs)
    if models < 2:
        return [(1, 1)] * models
    middle = float(np.mean([scores_of_run.mean() for scores_of_run in runs]))
    units = [by_group(scores_of_run - middle, groups) for scores_of_run in runs]
    table = np.stack([unit.mean(axis=0) for unit in units])
    count = table.shape[1]
    if count < 2:
        return [(1, models)] * models
    covariance = np.atleast_2d(np.cov(table)) / count
    noise = _noise(units, common and len({len(unit) for unit in units}) == 1)
    pair_error, freedom = _pair_errors(covariance, noise)
    limit = _largest_by_chance(
        covariance + np.diag(noise[0]), pair_error, min(freedom, count - 1.0), level, draws, seed
    )
    means = table.mean(axis=1)
    gap = means[:, None] - means[None, :]
    gap[np.abs(gap) < 1e-12] = 0.0
    clearly = gap > limit * pair_error
    worse, better = clearly.sum(axis=1), clearly.sum(axis=0)
    return [(1 + int(better[m]), models - int(worse[m])) for m in range(models)]


def _noise(units: list[Floats], common: bool) -> tuple[Floats, float]:
    """Each model's training variance of its mean (M,), and the variance of the pooled estimate behind
    it."""
    several = [unit for unit in units if min(unit.shape) > 1]
    pooled = seed_effects(several, common=common).own if several else Noise(0.0, 0.0)
    if common and several:
        units = _without_shared_luck(units)
    values = [max(own_seed_part(unit).value, pooled.variance / len(unit)) for unit in units]
    return np.array(values), float(np.mean([pooled.in_mean_of(len(unit)).spread for unit in units]))


def _without_shared_luck(units: list[Floats]) -> list[Floats]:
    """Each model's runs less what the same seed did to all models, at the size that its own noise has."""
    means = np.stack([unit.mean(axis=1) for unit in units])
    residual = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean()
    residual *= (len(units) / (len(units) - 1)) ** 0.5
    return [
        unit - unit.mean(axis=1, keepdims=True) + unit.mean() + own[:, None]
        for unit, own in zip(units, residual, strict=True)
    ]


def _pair_errors(covariance: Floats, noise: tuple[Floats, float]) -> tuple[Floats, float]:
    """Standard error of every pair's difference (M, M), and Satterthwaite's freedom of a typical pair."""
    training, spread = noise
    own = np.diag(covariance)
    examples = np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0.0)
    variance = examples + training[:, None] + training[None, :]
    off = ~np.eye(len(own), dtype=bool)
    typical = float(np.median(variance[off]))
    freedom = 2 * typical**2 / (4 * spread) if spread else float("inf")
    errors: Floats = np.sqrt(variance)
    return errors, max(freedom, 1.0)


def _largest_by_chance(
    covariance: Floats, pair_error: Floats, freedom: float, level: float, draws: int, seed: int
) -> float:
    """The `level` quantile of the largest studentised difference over all pairs when no two models
    differ."""
    generator = np.random.default_rng(seed)
    size = len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    means: NDArray[np.float64] = generator.standard_normal((draws, size)) @ root.T
    inverse = np.divide(1.0, pair_error, out=np.zeros_like(pair_error), where=pair_error > 0)
    largest = np.zeros(draws)
    for model in range(size - 1):
        steps = np.abs(means[:, model + 1 :] - means[:, model : model + 1]) * inverse[model, model + 1 :]
        np.maximum(largest, steps.max(axis=1), out=largest)
    largest /= np.sqrt(generator.chisquare(freedom, size=draws) / freedom)
    return float(np.quantile(largest, level))
