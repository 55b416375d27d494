"""The rows of a leaderboard that need no training: copying the question, and the nearest training answer.

They say what a score is worth. Questions and answers share words, so copying the question already gets a
ROUGE above zero; and looking up the most similar training question is what a tuned model could at best have
learnt by heart. A tuned model that does not beat these rows has learned nothing that is worth the GPU.

Left out: the untuned base model, which needs a model to generate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import fsum, log, sqrt

import numpy as np
from numpy.typing import NDArray

from bench.score.rouge import Tokens

# Similarities closer than this are one similarity, so that rounding cannot pick the neighbour.
_TIE = 1e-12


class NearestAnswer:
    """Answers with the answer of the most similar training question.

    Similarity is the cosine between TF-IDF vectors over the tokens that ROUGE compares (stems): raw counts
    times 1 + ln((1 + N) / (1 + df)), the smoothed inverse document frequency of scikit-learn's
    `TfidfTransformer`, with N training questions of which df hold the token.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Index the training pairs (question, answer). Raises ValueError when there are none."""
        kept = list(pairs)
        if not kept:
            raise ValueError("no training pairs, hence no nearest answer: give at least one pair")
        self._answers = [answer for _, answer in kept]
        self._tokens = Tokens()
        counts = [Counter(self._tokens(question)) for question, _ in kept]
        frequency = Counter(token for count in counts for token in count)
        self._idf = {token: 1 + log((1 + len(kept)) / (1 + df)) for token, df in frequency.items()}
        self._postings = self._index(counts)

    def answer(self, question: str) -> str:
        """The answer of the nearest training question.

        Of equally near questions the earliest counts; so does a question that shares no token with any get
        the first answer.
        """
        count = Counter(token for token in self._tokens(question) if token in self._postings)
        norm = self._norm(count)
        similarity = np.zeros(len(self._answers))
        for token, n in count.items():
            rows, weights = self._postings[token]
            similarity[rows] += weights * (n * self._idf[token] / norm)
        nearest = similarity >= similarity.max() - _TIE
        return self._answers[int(nearest.argmax())]

    def _index(self, counts: list[Counter[str]]) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Token -> the training rows that hold it, and its weight in each row's vector of length one."""
        rows: dict[str, list[int]] = {token: [] for token in self._idf}
        weights: dict[str, list[float]] = {token: [] for token in self._idf}
        for row, count in enumerate(counts):
            norm = self._norm(count)
            for token, n in count.items():
                rows[token].append(row)
                weights[token].append(n * self._idf[token] / norm)
        return {token: (np.array(rows[token], np.intp), np.array(weights[token])) for token in rows}

    def _norm(self, count: Counter[str]) -> float:
        return sqrt(fsum((n * self._idf[token]) ** 2 for token, n in count.items()))
