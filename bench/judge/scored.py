"""Paired runs with their scores on the examples that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.errors import RecordError, UnknownName
from bench.judge.pairing import Finding, Match
from bench.stats.pivot import by_group
from bench.store.scores import Floats, Series, aligned, series, units


@dataclass(frozen=True)
class Scored:
    """A match with its scores of one metric on common examples, (seeds, n) each."""

    match: Match
    metric: str
    a: Floats
    b: Floats
    ids: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def clusters(self) -> Floats:
        """Differences, (seeds, groups), whose means over groups are the differences of means."""
        groups = None if len(set(self.groups)) < 2 else np.asarray(units(self.ids, self.groups))
        return by_group(self.b - self.a, groups)


def read(
    match: Match, metrics: Sequence[str], messages: list[str]
) -> tuple[Match, list[tuple[Series, Series]]]:
    """The match without the seeds whose scores cannot be trusted, and the scores of the others."""
    kept, pairs = [], []
    for seed, a, b in zip(match.seeds, match.a, match.b, strict=True):
        try:
            pairs.append((series(a, metrics), series(b, metrics)))
        except (RecordError, UnknownName) as error:
            messages.append(str(error))
        else:
            kept.append((seed, a, b))
    if not kept:
        reason = "its scores cannot be read"
        return replace(match, finding=Finding.INCOMPARABLE, reason=reason), []
    seeds, first, second = zip(*kept, strict=True)
    return replace(match, seeds=seeds, a=first, b=second), pairs


def align(match: Match, both_sides: list[tuple[Series, Series]], metric: str) -> Scored:
    """One metric's scores as two tables (seeds, n); n is 0 where no example is shared."""
    values, ids, groups = aligned([row for both in zip(*both_sides, strict=True) for row in both], metric)
    return Scored(match, metric, values[: len(both_sides)], values[len(both_sides) :], ids, groups)
