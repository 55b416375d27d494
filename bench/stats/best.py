"""What the best of several trials is worth: the price of tuning, told beside its result."""

from collections.abc import Sequence
from math import comb


def expected_best(scores: Sequence[float]) -> list[float]:
    """The score expected of the best of n trials, for n from 1 to the number of trials; higher is better.

    Dodge, Gururangan, Card, Schwartz and Smith (2019, "Show Your Work") draw n of the N trials with
    replacement, which is biased downwards; this draws them without, which is unbiased for every n up to N
    (Tang, Lee, Xin, Liu and Lin 2020): the mean of the largest over all subsets of n,
    sum_i C(i-1, n-1) v_(i) / C(N, n), where v_(i) is the i-th smallest.  ValueError without a trial.
    """
    ordered = sorted(scores)
    count = len(ordered)
    if not count:
        raise ValueError("the best of no trial has no score")
    return [
        sum(comb(place, n - 1) * value for place, value in enumerate(ordered)) / comb(count, n)
        for n in range(1, count + 1)
    ]
