"""Random weights in the true architecture, as a checkpoint on this disk: a run's cost without a download.

The configuration is the one that the spec holds, the type and the number of the weights are the published.
They are written once into the cache, shard by shard, so a model needs no more memory here than a shard, and
every backend then loads them as it loads any checkpoint. The tokenizer is the published one where the hub's
cache has it; else that of a twin, whose ids are few and whose texts are somewhat longer in tokens.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cache import cache_root
from bench.digest import digest
from bench.errors import RequestError
from bench.registry import TWINS
from bench.spec import ModelSpec

#: Bytes of a file of weights, about.
SHARD = 2 * 10**9
#: Spread of the numbers; what the registered families are initialised with.
DEVIATION = 0.02
#: Whose tokenizer is taken where a model has no twin.
ANY_TWIN = "llama-3.1"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
#: Says whose tokenizer a checkpoint has; empty where it is the published one.
NOTE = "tokenizer.note"


def identity(spec: ModelSpec) -> str:
    """A digest of the architecture. Raises `RequestError` for a spec that does not describe one."""
    if not spec.config:
        raise RequestError(
            f"model '{spec.name}': its spec has no [config], so --weights random has no shape to go by"
        )
    return digest([spec.architecture, spec.config, DEVIATION])


def note(folder: Path) -> str:
    """Whose tokenizer a folder of `loadable` has; empty for the published one, and for any other folder."""
    file = folder / NOTE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def loadable(spec: ModelSpec, revision: str) -> Path:
    """The folder of the weights, written where it is not there yet."""
    published = _published_tokenizer(spec)
    folder = cache_root() / "random" / f"{revision[:20]}{'-published' if published else ''}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=folder.parent))
    try:
        _write(spec, fresh, published)
        with suppress(OSError):  # another process was quicker
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _published_tokenizer(spec: ModelSpec) -> Path | None:
    """The folder of the hub's cache that holds the tokenizer's files, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(spec.checkpoint, name, revision=spec.revision) for name in TOKENIZER]
    return Path(str(files[0])).parent if all(isinstance(file, str) for file in files) else None


def _write(spec: ModelSpec, folder: Path, published: Path | None) -> None:
    import torch
    import transformers

    twin = spec.twin or ANY_TWIN
    for name in TOKENIZER:
        shutil.copy((published or TWINS / twin) / name, folder / name)
    words = "" if published else f"tokenizer of the twin '{twin}': the published one is not in the cache"
    (folder / NOTE).write_text(words, encoding="utf-8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    architecture: Any = getattr(transformers, spec.architecture)
    with torch.device("meta"):
        model = architecture(architecture.config_class(**spec.config))
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(tokenizer, key) is not None:
            setattr(model.config, key, getattr(tokenizer, key))
            setattr(model.generation_config, key, getattr(tokenizer, key))
    model.config.architectures = [spec.architecture]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    dtype = getattr(torch, str(spec.config.get("dtype", "float32")))
    _write_weights(model, folder, dtype)


def _write_weights(model: Any, folder: Path, dtype: Any) -> None:
    """Shards of `SHARD` bytes and their index."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    for number, names in enumerate(_shards(model, dtype.itemsize), start=1):
        file = f"model-{number:05}.safetensors"
        weights = {name: _numbers(name, shape, dtype) for name, shape in names}
        save_file(weights, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(weights, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _shards(model: Any, itemsize: int) -> Iterator[list[tuple[str, Any]]]:
    """Names and shapes of all that is stored, tied weights once."""
    stored = dict(model.named_parameters()) | {
        name: value for name, value in model.named_buffers() if name in model.state_dict()
    }
    batch: list[tuple[str, Any]] = []
    size = 0
    for name, value in stored.items():
        if batch and size + value.numel() * itemsize > SHARD:
            yield batch
            batch, size = [], 0
        batch.append((name, value.shape))
        size += value.numel() * itemsize
    yield batch


def _numbers(name: str, shape: Any, dtype: Any) -> Any:
    """Normal numbers; norms scale by one and nothing is shifted."""
    import torch

    if len(shape) >= 2:
        seed = int(digest(name)[:8], 16)
        generator = torch.Generator().manual_seed(seed)
        return torch.empty(shape, dtype=dtype).normal_(std=DEVIATION, generator=generator)
    return torch.ones(shape, dtype=dtype) if name.endswith("weight") else torch.zeros(shape, dtype=dtype)
