"""Reads what a checkpoint's folder on this disk says about itself, without loading it.

Whatever would end a run hours later is refused here: pickled weights, code of the checkpoint, weights that
are cut short, configurations that are no JSON objects, and a folder without a tokenizer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import RequestError, SpecError, Unreadable, UnsafeRequest
from bench.spec import Objective
from bench.train.gguf import SUFFIX

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
#: Of a configuration, what decides the architecture's size, positions and type.
_DECIDING = (
    *("vocab_size", "hidden_size", "n_embd", "d_model", "intermediate_size", "n_inner", "head_dim"),
    *("num_hidden_layers", "n_layer", "num_layers", "num_attention_heads", "n_head", "num_heads"),
    *("num_key_value_heads", "decoder_layers", "encoder_layers", "decoder_attention_heads"),
    *("decoder_ffn_dim", "n_positions", "max_position_embeddings", "max_sequence_length", "rms_norm_eps"),
    *("attention_types", "dtype", "torch_dtype"),
)
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Holding:
    """What a folder holds."""

    family: str
    #: Class name in `transformers`.
    architecture: str
    objective: Objective
    parameters: int
    #: Of its configuration, what decides its size.
    config: dict[str, Any]


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
    parameters = sum(map(_parameters, weights))
    _check_parts(folder)
    return Holding(
        family=str(config.get("model_type", "unknown")),
        architecture=architectures(folder, config)[0],
        objective="seq2seq" if config.get("is_encoder_decoder") else "causal",
        parameters=parameters,
        config=deciding(config),
    )


def own(beside: Path, text: str) -> Path:
    """A checkpoint's folder or GGUF file that the user owns, by its absolute path.

    `text` is a path as seen from the folder `beside`. Raises `RequestError`, which says what it is instead.
    """
    try:
        place = files.resolved(beside / Path(text).expanduser())
        owner = place.stat().st_uid
    except (Unreadable, OSError, RuntimeError, ValueError):
        raise RequestError("is not there") from None
    if not files.is_file(place / "config.json") and not (place.suffix == SUFFIX and files.is_file(place)):
        raise RequestError("holds no checkpoint")
    if hasattr(os, "geteuid") and owner != os.geteuid():
        raise RequestError("is another user's; copy it, or give it by --models PATH")
    return place


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a checkpoint's configuration, what decides its size, positions and type."""
    plain = (int, float, str, list)
    return {key: value for key in _DECIDING if isinstance(value := config.get(key), plain)}


def has_chat_template(folder: Path) -> bool:
    """Whether a checkpoint's tokenizer carries a chat template."""
    if files.is_file(folder / "chat_template.jinja"):
        return True
    described = folder / "tokenizer_config.json"
    return files.is_file(described) and bool(read_json(described).get("chat_template"))


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


def check_targets(model: str, folder: Path, targets: Sequence[str]) -> None:
    """Raise `RequestError` for a module to be adapted that the weights in a folder do not have."""
    tensors = [name for file in sorted(folder.glob("*.safetensors")) for name in shapes(file)]
    modules = {name.rpartition(".")[0] for name in tensors} | {"lm_head"}  # a tied head is not stored
    names = {module.rpartition(".")[2] for module in modules}
    if not targets:
        raise RequestError(f"model '{model}': 'targets' names no module; leave it out for all-linear")
    for target in targets:
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            near = get_close_matches(target, sorted(names), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(sorted(names))}"
            raise RequestError(f"model '{model}': 'targets' names '{target}', no module of it; {hint}")


def _parameters(weights: Path) -> int:
    return sum(map(math.prod, shapes(weights).values()))


def shapes(weights: Path) -> dict[str, list[int]]:
    """Tensor -> shape by a safetensors header. Raises `SpecError` where the file is not whole."""
    try:
        with files.opened(weights) as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, LARGEST_HEADER)))
            size = handle.seek(0, os.SEEK_END)
        header.pop("__metadata__", None)
        shapes = {name: [int(extent) for extent in entry["shape"]] for name, entry in header.items()}
        end = max(int(entry["data_offsets"][1]) for entry in header.values())
        if 8 + length + end != size or not 0 < sum(map(math.prod, shapes.values())) <= 8 * size:
            raise ValueError("its tensors are not those of its header")
        return shapes
    except Unreadable as error:
        raise SpecError(str(weights), [error.reason]) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise SpecError(str(weights), ["is no whole safetensors file; fetch it again"]) from None
