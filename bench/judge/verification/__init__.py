"""Whether answers that were made anew are those of a record: pure arrays and texts.

Word for word the same is the plain case. Where texts differ, as they do after a conversion to a shorter
type, the paired difference of the scores decides, by the rules of every comparison (`verdicts`), and nearly
every token of the recorded answers must be the model's first choice: other weights can score alike and are
still not what was scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import stats
from bench.judge.pairing import Finding
from bench.judge.verdicts import THRESHOLD, judge
from bench.stats.pivot import by_group
from bench.store.scores import METRIC, Floats, units

#: Share of the recorded answers' tokens that must be the model's first choice where the scores are unchanged.
#: Merged into bfloat16 two twins kept 0.975 and 0.994; with 0.8 of its alpha the second kept 0.936, with half
#: of it 0.833.
LEAST_AGREEMENT = 0.95
#: The share that is enough where too few questions leave the scores uncertain.
CLOSE_AGREEMENT = 0.98


@dataclass(frozen=True)
class Differing:
    """An answer that is not the record's."""

    id: str
    question: str
    recorded: str
    now: str


@dataclass(frozen=True)
class Reanswered:
    """One row, tuned or base, answered anew."""

    side: str
    answers: int
    equal: int
    #: Mean score of these answers as recorded, and of those made now.
    recorded: float
    now: float
    #: Now minus recorded, paired; none where every answer is equal.
    difference: stats.Interval | None
    finding: Finding
    #: Share of the recorded answers' tokens that are the model's first choice; none where not measured.
    agreement: float | None = None
    metric: str = METRIC
    differing: tuple[Differing, ...] = ()

    @property
    def reproduces(self) -> bool:
        """Whether this is what was scored."""
        if self.equal == self.answers:
            return True
        least = {Finding.UNCHANGED: LEAST_AGREEMENT, Finding.UNCERTAIN: CLOSE_AGREEMENT}
        return self.finding in least and (self.agreement or 0.0) >= least[self.finding]


@dataclass(frozen=True)
class Rescored:
    """A row's stored texts scored again."""

    row: str
    scores: int
    #: Scores that are not those of the record.
    differing: int


@dataclass(frozen=True)
class StopEffect:
    """What ending answers at the template's stop texts would change; never applied to a score."""

    template: str
    cut: int
    answers: int
    recorded: float
    with_rule: float


@dataclass(frozen=True)
class Verification:
    """A record or an artifact, held against the record's answers."""

    subject: str
    record: str
    #: What is wrong before anything was answered: files that are missing or changed, settings that differ.
    faults: tuple[str, ...]
    rescored: tuple[Rescored, ...]
    reanswered: tuple[Reanswered, ...]
    stop: StopEffect | None = None
    notes: tuple[str, ...] = ()

    @property
    def reproduces(self) -> bool:
        """Whether files, scores and answers are all the record's."""
        return (
            bool(self.reanswered)
            and not self.faults
            and not any(row.differing for row in self.rescored)
            and all(row.reproduces for row in self.reanswered)
        )


def reanswered(
    side: str,
    rows: Sequence[tuple[str, str, str]],
    recorded: Sequence[str],
    now: Sequence[str],
    before: Floats,
    after: Floats,
    agreement: float | None = None,
    threshold: float = THRESHOLD,
) -> Reanswered:
    """Hold answers made now against the recorded ones.

    `rows` gives id, group and question of each; `before` and `after` (n,) their scores.
    """
    ids, groups = [row[0] for row in rows], [row[1] for row in rows]
    equal = sum(a == b for a, b in zip(recorded, now, strict=True))
    difference, finding = None, Finding.UNCHANGED
    if equal < len(rows):
        moved = len(set(np.asarray(units(ids, groups), dtype=object)[before != after].tolist()))
        clusters = None if len(set(groups)) < 2 else np.asarray(units(ids, groups))
        (judged,) = judge([by_group((after - before)[None, :], clusters)], threshold, changed=[moved])
        difference, finding = judged.difference, judged.finding
    differing = tuple(
        Differing(id, question, a, b)
        for (id, _, question), a, b in zip(rows, recorded, now, strict=True)
        if a != b
    )
    means = float(before.mean()), float(after.mean())
    return Reanswered(side, len(rows), equal, *means, difference, finding, agreement, differing=differing)


def rescored(row: str, stored: Sequence[Floats], anew: Sequence[Floats]) -> Rescored:
    """Hold a row's stored columns against the same columns computed again; both (n,) each."""
    differing = sum(
        int(np.count_nonzero(~np.isclose(a, b, atol=1e-6))) for a, b in zip(stored, anew, strict=True)
    )
    return Rescored(row, sum(column.size for column in stored), differing)
