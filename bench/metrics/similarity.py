"""Semantic similarity: the cosine between the embeddings of answer and reference.

The model is a folder in the form of sentence-transformers, loaded by transformers: tokens' vectors are
averaged over the attention mask, as its pooling must say. Its digest is part of the metric's name. Of several
references the nearest counts; an answer without a token is as far as can be, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.cache import kept_digest
from bench.digest import digest
from bench.errors import RequestError, UnsafeRequest
from bench.files import json_value
from bench.store.scores import Floats

#: Raised when any value changes.
VERSION = 1
POOLING = "1_Pooling/config.json"
#: Tokens of a text where the folder does not say.
LONGEST = 512
_IDENTIFYING = (".safetensors", ".json", ".txt", ".model")


@dataclass
class Similarity:
    """An embedding model of a folder. `similarity_of` checks the folder first."""

    folder: Path
    _known: dict[str, Floats] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """The metric's name, with a digest over weights, tokenizer and configuration."""
        files = sorted(file for file in self.folder.rglob("*") if file.suffix in _IDENTIFYING)
        parts = {str(file.relative_to(self.folder)): kept_digest(file) for file in files if file.is_file()}
        return f"similarity/{VERSION} model={self.folder.name}@{digest(parts)[:8]} pooling=mean cosine"

    def score(self, references: Sequence[str], answer: str) -> float:
        """The cosine with the nearest reference, from -1 to 1."""
        if not answer.strip():
            return 0.0
        own = self._embedded(answer)
        return max(float(own @ self._embedded(reference)) for reference in references)

    def _embedded(self, text: str) -> Floats:
        if text not in self._known:
            self._known[text] = self._embed(text)
        return self._known[text]

    @cached_property
    def _model(self) -> tuple[Any, Any, int]:
        from transformers import AutoModel, AutoTokenizer  # here: slow to import

        options = {"trust_remote_code": False, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(self.folder, **options)
        model = AutoModel.from_pretrained(self.folder, use_safetensors=True, **options).eval()
        file = self.folder / "sentence_bert_config.json"
        length = json_value(file).get("max_seq_length", LONGEST) if file.is_file() else LONGEST
        return tokenizer, model, int(length)

    def _embed(self, text: str) -> Floats:
        """A vector of length one."""
        import torch

        tokenizer, model, length = self._model
        tokens = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            vectors = model(**tokens).last_hidden_state[0].double().numpy()
        mean: Floats = vectors.mean(axis=0)
        norm = float(np.linalg.norm(mean))
        return mean / norm if norm else mean


def similarity_of(folder: Path) -> Similarity:
    """The model of a folder. Raises `RequestError` where it is none, or does not pool by the mean."""
    if not (folder / "config.json").is_file():
        raise RequestError(f"--embedding {folder}: is no folder of a model (it has no config.json)")
    if not any(folder.glob("*.safetensors")):
        raise UnsafeRequest(f"--embedding {folder}: holds no safetensors, and nothing else is loaded")
    pooling = folder / POOLING
    if pooling.is_file() and not json_value(pooling).get("pooling_mode_mean_tokens"):
        raise RequestError(f"--embedding {pooling}: pools otherwise than by the mean of its tokens")
    return Similarity(folder)
