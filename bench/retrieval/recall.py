"""Recall of a retriever: does it find what would help?

Where the index holds the passage that a question was made from, which shares its group, that passage is the
one to find.

No training row shares a test question's group, or it would have been removed, so among these nothing is
labelled as the row to find. Instead the references say it: a row helps most whose answer overlaps most with a
reference (`Overlap`: F1 over words, rare words weighing more), and rows of equal overlap are equally good.

Recall at k is the share of test questions of which the k rows found hold such a row. It is taken over the
questions whose best overlap is at least `HELPFUL`: below that the best row is best by chance words, and
finding it would show nothing (in course-qa the best rows above it are about the question's subject, those
below 0.2 are not). How many questions that are is part of the result; where there is none, there is no
recall. The rows are those that the search found, whether or not a prompt had room for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.spec import Example

#: Overlap from which on a training answer helps.
HELPFUL = 0.25
_TIE = 1e-12


@dataclass(frozen=True)
class Recall:
    """The share of `questions` test questions of which a best row was found; none where there are none.

    Of `by_passage` of them it was their own passage.
    """

    value: float | None
    questions: int
    by_passage: int = 0


class Searched(Protocol):
    """An index: its rows, the words of a text, and the places that it finds."""

    @property
    def rows(self) -> tuple[Example, ...]:
        """What is indexed."""

    @property
    def words(self) -> Callable[[str], list[str]]:
        """The words of a text."""

    def search(self, question: str, count: int) -> list[int]:
        """Places of at most `count` rows, the best first."""


def recall(index: Searched, examples: Sequence[Example], found: Sequence[Sequence[int]]) -> Recall:
    """Recall of the places `found` for each example."""
    overlap = Overlap(index)
    own: dict[str, set[int]] = {}
    for place, row in enumerate(index.rows):
        if row.is_text:
            own.setdefault(row.group, set()).add(place)
    hits = []
    by_passage = 0
    for example, places in zip(examples, found, strict=True):
        if example.group in own:
            by_passage += 1
            hits.append(not own[example.group].isdisjoint(places))
            continue
        values = overlap.of(example.answers)
        best = float(values.max())
        if best >= HELPFUL:
            hits.append(any(values[place] >= best - _TIE for place in places))
    return Recall(sum(hits) / len(hits) if hits else None, len(hits), by_passage)


class Overlap:
    """F1 over words of texts with the answers of all rows of an index, words weighted by their rarity.

    A word's weight is ln((1 + N) / (1 + df)) over the N answers, of which df hold it: a word of all answers
    weighs nothing. Precision and recall are shares of weight, each occurrence counted.
    """

    def __init__(self, index: Searched) -> None:
        self._words = index.words
        self._rows = len(index.rows)
        counted = [
            (place, Counter(self._words(answer)))
            for place, row in enumerate(index.rows)
            for answer in row.answers
        ]
        frequency = Counter(word for _, count in counted for word in count)
        self._total = len(counted)
        self._weight = {word: log((1 + self._total) / (1 + df)) for word, df in frequency.items()}
        self._place = np.array([place for place, _ in counted])
        self._length = np.array([self._weighed(count) for _, count in counted])
        postings: dict[str, list[tuple[int, int]]] = {}
        for number, (_, count) in enumerate(counted):
            for word, times in count.items():
                postings.setdefault(word, []).append((number, times))
        self._postings = {word: np.array(held) for word, held in postings.items()}

    def of(self, references: Sequence[str]) -> NDArray[np.float64]:
        """(rows,) the highest F1 between one of the references and one of a row's answers."""
        best = np.zeros(self._rows)
        for reference in references:
            words = Counter(self._words(reference))
            common = np.zeros(len(self._length))
            for word, times in words.items():
                if word in self._postings:
                    held = self._postings[word]
                    common[held[:, 0]] += self._weight[word] * np.minimum(held[:, 1], times)
            whole = self._length + self._weighed(words)
            f1 = np.divide(2 * common, whole, out=np.zeros_like(common), where=whole > 0)
            np.maximum.at(best, self._place, f1)
        return best

    def _weighed(self, count: Counter[str]) -> float:
        """The weight of all words; one that no answer holds weighs as much as any can."""
        most = log(1 + self._total)
        return sum(self._weight.get(word, most) * times for word, times in count.items())
