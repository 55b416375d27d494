"""Scores by task, metric and document, and how they are gathered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Key(NamedTuple):
    """One table of scores."""

    task: str
    metric: str


@dataclass(frozen=True)
class Sample:
    """A document's score, the mean over repetitions where there were several."""

    value: float
    #: Digest of the document; none where the log has none.
    document: str | None


@dataclass(frozen=True)
class Samples:
    """What one side of a comparison logged."""

    name: str
    harness: str
    tables: Mapping[Key, Mapping[str, Sample]]
    #: Tables of which the log says that a lower score is better.
    lower: frozenset[Key] = frozenset()
    messages: tuple[str, ...] = ()


@dataclass
class Gathered:
    """Tables while a log is read."""

    held: dict[Key, dict[str, list[Sample]]] = field(default_factory=dict)
    unscored: Counter[Key] = field(default_factory=Counter)
    #: Samples that no scorer saw.
    without: int = 0

    def add(self, key: Key, id: str, document: str | None, value: object) -> None:
        """Take a score; what is no finite number is counted, and not taken for 0."""
        number = float(value) if isinstance(value, int | float) else math.nan
        if not math.isfinite(number):
            self.unscored[key] += 1
            return
        self.held.setdefault(key, {}).setdefault(id, []).append(Sample(number, document))

    def tables(self) -> dict[Key, dict[str, Sample]]:
        """One score for each document."""
        return {
            key: {id: Sample(_mean(samples), samples[0].document) for id, samples in table.items()}
            for key, table in self.held.items()
        }

    def messages(self, name: str) -> list[str]:
        """What was not scored, in words."""
        parts = [f"{name}: {self.without} samples without any score, left out"] if self.without else []
        return parts + [
            f"{name}: {count} samples of {key.task} without a score for {key.metric}, left out"
            for key, count in self.unscored.items()
        ]


def _mean(samples: list[Sample]) -> float:
    return math.fsum(sample.value for sample in samples) / len(samples)
