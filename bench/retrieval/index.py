"""An index of training rows and passages, searched by BM25: the one module that imports bm25s.

Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", with the inverse
document frequency of Lucene. A row's text is its question and its answers, a
passage's is all of it. A row without a word of the query is
never found; of equally good rows the earlier is first, so a search has one result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from bench.errors import RequestError
from bench.retrieval.words import Words
from bench.spec import Example

#: Raised when other rows would be found.
VERSION = 1
K1, B = 1.5, 0.75
IDENTITY = f"bm25/{VERSION} k1={K1} b={B} idf=lucene tokens=word,porter"
PACKAGE = "bm25s"


def check_installed() -> None:
    """Raise `RequestError` where the search's library is missing."""
    try:
        metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise RequestError(
            f"--arms: searching the training rows needs {PACKAGE}; pip install 'bench-sft[retrieval]'"
        ) from None


@cache
def engine() -> Any:
    """The library's class, imported late: only runs that retrieve need it."""
    from bm25s import BM25

    return BM25


class RowIndex:
    """Finds training rows for a question."""

    def __init__(self, rows: Sequence[Example]) -> None:
        """RowIndex the rows. ValueError where there is none."""
        if not rows:
            raise ValueError("no row to index")
        self.rows = tuple(rows)
        self.words = Words()
        words = [self.words(" ".join((row.question, *row.answers))) for row in rows]
        self._known = {word for row in words for word in row}
        self._engine = engine()(k1=K1, b=B, method="lucene", backend="numpy")
        if self._known:
            self._engine.index(words, show_progress=False)

    def search(self, question: str, count: int) -> list[int]:
        """Places of at most `count` rows, the best first."""
        query = [word for word in self.words(question) if word in self._known]
        if not query:
            return []
        scores = np.asarray(self._engine.get_scores(query))
        order = np.lexsort((np.arange(len(scores)), -scores))[:count]
        return [int(place) for place in order if scores[place] > 0]
