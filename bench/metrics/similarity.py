"""Semantic similarity: the cosine between the embeddings of answer and reference.

The model is a folder in the form of sentence-transformers (`bench.retrieval.embedding`), and its digest is
part of the metric's name. Of several references the nearest counts; an answer without a token is as far as
can be, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.retrieval.embedding import Embedding, embedding_of
from bench.store.scores import Floats

#: Raised when any value changes.
VERSION = 1


@dataclass
class Similarity:
    """The metric by one embedding model."""

    embedding: Embedding
    _known: dict[str, Floats] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """The metric's name."""
        return f"similarity/{VERSION} {self.embedding.identity} cosine"

    def score(self, references: Sequence[str], answer: str) -> float:
        """The cosine with the nearest reference, from -1 to 1."""
        if not answer.strip():
            return 0.0
        own = self._embedded(answer)
        return max(float(own @ self._embedded(reference)) for reference in references)

    def _embedded(self, text: str) -> Floats:
        if text not in self._known:
            self._known[text] = self.embedding.vectors([text])[0]
        return self._known[text]


def similarity_of(folder: Path) -> Similarity:
    """The metric by the model of a folder. Raises as `embedding_of`."""
    return Similarity(embedding_of(folder))
