"""Reads what a checkpoint's folder on this disk says about itself, without loading it.

Whatever would end a run hours later is refused here: pickled weights, code of the checkpoint, weights that
are cut short, configurations that are no JSON objects, and a folder without a tokenizer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import RequestError, SpecError, Unreadable, UnsafeRequest
from bench.spec import Objective

#: Bytes of a safetensors header, as the format limits it.
LARGEST_HEADER = 100_000_000
#: Files of which one holds a vocabulary.
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
#: Tokenizers whose vocabulary is the bytes.
WITHOUT_VOCABULARY = ("ByT5Tokenizer", "PerceiverTokenizer")
_DESCRIPTIONS = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Holding:
    """What a folder holds."""

    family: str
    #: Class name in `transformers`.
    architecture: str
    objective: Objective
    parameters: int


def holding(folder: Path) -> Holding:
    """What a checkpoint's folder holds. Raises `RequestError` and its kinds for what cannot be used."""
    config = read_json(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UnsafeRequest(
            f"{folder}: no *.safetensors file; pickled weights can run code when loaded, "
            "convert them with `transformers` (save_pretrained) first"
        )
    if "auto_map" in config:
        raise UnsafeRequest(f"{folder}/config.json: 'auto_map' asks to run code of the checkpoint; refused")
    _check_parts(folder)
    return Holding(
        family=str(config.get("model_type", "unknown")),
        architecture=architectures(folder, config)[0],
        objective="seq2seq" if config.get("is_encoder_decoder") else "causal",
        parameters=max(1, sum(map(_parameters, weights))),
    )


def architectures(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """The class names that a checkpoint's configuration gives. Raises `RequestError` where it gives none."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise RequestError(
            f"{folder}/config.json: 'architectures' names no class of transformers; fetch it again"
        )
    return names


def read_json(file: Path) -> dict[str, Any]:
    """A checkpoint's JSON object. Raises `RequestError` where it is none."""
    try:
        content = files.json_value(file)
    except Unreadable as error:
        raise RequestError(f"{error}; fetch the checkpoint again") from None
    if not isinstance(content, dict):
        raise RequestError(f"{file}: is no JSON object; fetch the checkpoint again")
    return content


def _check_parts(folder: Path) -> None:
    """Raise `RequestError` for a description that is broken, and where tokenizer or weights are missing."""
    held = {name: read_json(folder / name) for name in _DESCRIPTIONS if os.path.lexists(folder / name)}
    tokenizer = held.get("tokenizer_config.json", {}).get("tokenizer_class")
    if not any(files.is_file(folder / name) for name in VOCABULARIES) and tokenizer not in WITHOUT_VOCABULARY:
        raise RequestError(
            f"{folder}: holds no tokenizer (none of {', '.join(VOCABULARIES)}); copy it beside the weights"
        )
    if not os.path.lexists(folder / _INDEX):
        return
    shards = read_json(folder / _INDEX).get("weight_map")
    names = set(map(str, shards.values())) if isinstance(shards, dict) else set()
    missing = sorted(name for name in names if not files.is_file(folder / name))
    if missing or not names:
        raise RequestError(f"{folder / _INDEX}: names weights that are not there: {', '.join(missing[:3])}")


def _parameters(weights: Path) -> int:
    """Numbers in a safetensors file, from the shapes in its header."""
    try:
        with files.opened(weights) as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, LARGEST_HEADER)))
            size = handle.seek(0, os.SEEK_END)
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        parameters = sum(math.prod(map(int, entry["shape"])) for entry in entries)
        end = max(int(entry["data_offsets"][1]) for entry in entries)
        if 8 + length + end != size or not 0 < parameters <= 8 * size:
            raise ValueError("its tensors are not those of its header")
        return parameters
    except Unreadable as error:
        raise SpecError(str(weights), [error.reason]) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise SpecError(str(weights), ["is no whole safetensors file; fetch it again"]) from None
