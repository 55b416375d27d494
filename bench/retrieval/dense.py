"""An index of training rows and passages, searched by the cosine of sentence embeddings.

A row's text is its question and its answers, a passage's is all of it. The search is exact, a product of
matrices, and of equally near rows the earlier is first: so a search has one result, and its rows stand in a
record that is compared for years. That is why there is no vector store here. Chroma 1.5.9 could be
installed beside the pinned versions without moving one of them (`pip install --dry-run`, thirty packages
more, among them an event loop that web servers then take up by themselves); its search is approximate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import DataError
from bench.retrieval.embedding import Embedding
from bench.retrieval.words import Words
from bench.spec import Example, Retrieval

#: Raised when other rows would be found.
VERSION = 1
NAME = "dense"


def identity(embedding: Embedding) -> str:
    """What a contract names: the version of this search and the model."""
    return f"{NAME}/{VERSION} {embedding.identity} cosine exact"


def is_dense(asked: Retrieval) -> bool:
    """Whether a contract's rows are found by embeddings."""
    return asked.retriever.startswith(f"{NAME}/")


def check_same(asked: Retrieval, embedding: Embedding) -> None:
    """Raise `DataError` where a model is not the one that the contract names."""
    if identity(embedding) != asked.retriever:
        raise DataError(
            f"{embedding.folder}: is another embedding model than the plan's "
            f"({identity(embedding)} instead of {asked.retriever}); start it again"
        )


class DenseIndex:
    """Finds rows whose text means what a question means."""

    def __init__(self, rows: Sequence[Example], embedding: Embedding) -> None:
        """Embed the rows. ValueError where there is none."""
        if not rows:
            raise ValueError("no row to index")
        self.rows = tuple(rows)
        self.words = Words()
        self._embedding = embedding
        self._vectors = embedding.vectors([" ".join((row.question, *row.answers)).strip() for row in rows])

    def search(self, question: str, count: int) -> list[int]:
        """Places of at most `count` rows, the nearest first."""
        scores = self._vectors @ self._embedding.vectors([question])[0]
        order = np.lexsort((np.arange(len(scores)), -scores))[:count]
        return [int(place) for place in order]
