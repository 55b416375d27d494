"""How far the tails of a mean lie from Student's: a studentised bootstrap of the units (see `pivot`).

Units are sorted by value before they are resampled and every draw is used with its mirror image, so a result
depends on no order and comparing B with A is exactly the negative of comparing A with B.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Multiplications in one matrix product, below which BLAS starts no threads: on a busy machine they wait for
# each other and made one comparison 50 times slower.
PRODUCT_ON_ONE_THREAD = 200_000
# Of the observed variance: a draw of equal values has no standard error of its own.
SMALLEST_DRAWN_VARIANCE = 1 / 9


@lru_cache(maxsize=8)
def draws_of(count: int, draws: int, seed: int) -> tuple[NDArray[np.float32], Floats, Floats]:
    """How often each unit is drawn, (draws / 2, count); a standard normal per draw; Student's points there.

    The points belong to the pivots ranked between 1% and 5% of all draws and their mirror images.
    """
    from scipy.special import stdtrit

    generator = np.random.default_rng(seed)
    half = max(draws // 2, 50)
    counts = generator.multinomial(count, np.full(count, 1 / count), size=half).astype(np.float32)
    ranks = np.arange(half // 50, half // 10)
    return counts, generator.standard_normal(half), stdtrit(count - 1, (ranks + 0.5) / (2 * half))


def raw_factors(units: Floats, noise: float, draws: int, seed: int) -> tuple[float, float]:
    """`tail_factors` before it is divided by what these very draws give for normal scores."""
    count = units.size
    counts, normal, student = draws_of(count, draws, seed)
    ordered = np.sort(units)
    columns = np.stack([ordered, ordered[::-1], ordered**2, ordered[::-1] ** 2], axis=1)
    narrow = columns.astype(np.float32)
    rows = max(PRODUCT_ON_ONE_THREAD // narrow.size, 1)
    pieces = [counts[start : start + rows] @ narrow for start in range(0, len(counts), rows)]
    sums = np.concatenate(pieces).astype(np.float64) / count
    shift = np.concatenate([sums[:, 0], sums[:, 1]])
    square = np.concatenate([sums[:, 2], sums[:, 3]])
    variance = np.maximum((square - shift**2) * count / (count - 1), SMALLEST_DRAWN_VARIANCE)
    trained = np.sqrt(noise) * np.concatenate([normal, -normal])
    pivots = np.sort((np.sqrt(count) * shift + trained) / np.sqrt(variance + noise))
    first = len(normal) // 50
    low, high = pivots[first : first + student.size], -pivots[::-1][first : first + student.size]
    return float((low / student).mean()), float((high / student).mean())


@lru_cache(maxsize=64)
def normal_factor(count: int, draws: int, seed: int) -> float:
    """What the draws give for exactly normal units, where the answer is 1: the draws' own error."""
    from scipy.special import ndtri

    scores = ndtri((np.arange(count) + 0.5) / count)
    left, right = raw_factors(scores / scores.std(ddof=1), 0.0, draws, seed)
    return (left + right) / 2


def tail_factors(units: Floats, noise: float, draws: int, seed: int) -> tuple[float, float]:
    """How many times Student's points the bootstrapped pivot's points are, in the (left, right) tail.

    `units` (G,) are centred to mean 0 and scaled to standard deviation 1; `noise` is the training part of
    the mean's variance over the examples' part, added as a normal deviate.  Averaged over the tail from 1%
    to 5% and divided by `normal_factor`, which together halve the error of the draws.
    Both together are never put below Student's: where scores are symmetric nothing is to be gained there,
    and the draws' own error would only raise false alarms.
    """
    own = normal_factor(units.size, draws, seed)
    left, right = raw_factors(units, noise, draws, seed)
    middle, lean = (left + right) / (2 * own), (left - right) / (2 * own)
    return max(middle, 1.0) + lean, max(middle, 1.0) - lean
