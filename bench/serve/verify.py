"""A record's row made again from its weights: files, scores, answers.

The stored texts are scored anew, the weights are loaded and the test questions answered anew, and the new
answers scored as the old ones were. What cannot be made again without the training data is the row of the
nearest training answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.digest import digest
from bench.errors import Incomparable, RecordError
from bench.judge.verification import (
    Reanswered,
    Rescored,
    StopEffect,
    Verification,
    reanswered,
    rescored,
)
from bench.score.identity import scorer
from bench.score.rows import Table, score_texts
from bench.serve import stops
from bench.serve.engine import SIDES, Engine
from bench.spec import Example
from bench.store.damage import damage
from bench.store.ledger import Stored
from bench.store.scores import METRIC

Progress = Callable[[str, int, int], None]


def _quiet(what: str, done: int, total: int) -> None:
    """Take no notice."""


@dataclass(frozen=True)
class Questions:
    """The test questions of a record that are answered anew, in the record's order."""

    stored: Stored
    #: Places in the record's lists.
    places: tuple[int, ...]

    @classmethod
    def of(cls, stored: Stored, sample: int | None = None) -> Questions:
        """All questions, or `sample` of them chosen by hash, the same ones every time."""
        ids = [row["id"] for row in stored.completions]
        ordered = sorted(range(len(ids)), key=lambda place: digest(["verify", ids[place]]))
        return cls(stored, tuple(sorted(ordered[:sample])))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The record's completions of these questions."""
        return [self.stored.completions[place] for place in self.places]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Question and context of each."""
        return [(row["question"], row["context"]) for row in self.rows]

    def check(self, side: str, now: Sequence[str], agreement: float | None = None) -> Reanswered:
        """Score answers made now and hold them against the record's."""
        table = self.scores({side: list(now)})
        before = np.asarray(self.stored.scores["rows"][side][METRIC]["f"])[list(self.places)]
        groups = self.stored.scores["groups"]
        facts = [
            (row["id"], groups[place], row["question"])
            for row, place in zip(self.rows, self.places, strict=True)
        ]
        after = np.asarray(table[side][METRIC]["f"])
        return reanswered(side, facts, self.recorded(side), now, before, after, agreement)

    def recorded(self, side: str) -> list[str]:
        """What a side answered when the run was scored."""
        return [row[side] for row in self.rows]

    def scores(self, texts: dict[str, list[str]]) -> Table:
        """Texts for these questions, scored as the record's were."""
        examples = [
            Example(id=row["id"], question=row["question"], answers=tuple(row["references"]))
            for row in self.rows
        ]
        return score_texts(scorer(self.stored.record.run.contract.scorer), examples, texts)

    def stop_effect(self) -> StopEffect | None:
        """What the template's stop rule would change in the recorded answers; none without a rule."""
        template = self.stored.record.run.template
        recorded = [row["tuned"] for row in self.rows]
        shorter = stops.effect(recorded, template)
        if not stops.stops_of(template):
            return None
        table = self.scores({"as": recorded, "cut": shorter})
        means = [float(np.mean(table[name][METRIC]["f"])) for name in ("as", "cut")]
        changed = sum(a != b for a, b in zip(recorded, shorter, strict=True))
        return StopEffect(template, changed, len(recorded), *means)


def verify(
    stored: Stored,
    sample: int | None = None,
    base: Path | None = None,
    progress: Progress = _quiet,
) -> Verification:
    """Make a record's row again from its weights.

    Raises `RequestError` where weights or checkpoint are out of reach; weights that were changed are a
    fault of the verification.
    """
    questions = Questions.of(stored, sample)
    faults = list(damage(stored.record, stored.folder))
    notes: list[str] = []
    answers: list[Reanswered] = []
    try:
        engine = Engine.load(stored, base, stored.record.provenance.threads)
    except (Incomparable, RecordError) as error:
        if not _weights_are_there(stored):
            raise
        faults.append(str(error))
    else:
        notes += [*engine.place.notes, *moved_versions(stored)]
        for side in SIDES:
            texts = engine.answer(questions.asked, side, partial(progress, side))
            now = [completion.text for completion in texts]
            same = now == questions.recorded(side)
            agreeing = None if same else engine.agreement(questions.asked, questions.recorded(side), side)
            answers.append(questions.check(side, now, agreeing))
        engine.close()
    return Verification(
        subject=stored.record.id,
        record=stored.record.id,
        faults=tuple(faults),
        rescored=rescore(stored),
        reanswered=tuple(answers),
        stop=questions.stop_effect(),
        notes=tuple(notes),
    )


def rescore(stored: Stored) -> tuple[Rescored, ...]:
    """Every stored text scored again: what was tuned, base, and the copy of the question."""
    questions = Questions.of(stored)
    texts: dict[str, list[str]] = {side: questions.recorded(side) for side in SIDES}
    table = questions.scores({**texts, "copy": [row["question"] for row in questions.rows]})
    held = stored.scores["rows"]
    return tuple(rescored(row, _columns(held[row]), _columns(table[row])) for row in table if row in held)


def _columns(kinds: dict[str, dict[str, list[float]]]) -> list[Any]:
    return [np.asarray(kinds[kind][part]) for kind in sorted(kinds) for part in ("p", "r", "f")]


def moved_versions(stored: Stored) -> list[str]:
    """A sentence for the packages that are other versions than the run's."""
    from bench import provenance

    here = provenance.versions()
    moved = [
        f"{name} {version} then, {here.get(name, 'absent')} now"
        for name, version in stored.record.run.versions.items()
        if name != "bench" and here.get(name) != version
    ]
    return [f"other versions: {', '.join(moved)}"] if moved else []


def _weights_are_there(stored: Stored) -> bool:
    artifacts = stored.record.artifacts
    return bool(artifacts) and all((stored.folder / name).is_file() for name in artifacts)
