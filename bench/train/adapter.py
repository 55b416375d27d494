"""A saved LoRA adapter as a model: what its folder says, and its weights merged into its base.

The folder is PEFT's: `adapter_config.json` and `adapter_model.safetensors`. It is merged once into the cache,
and every backend then loads the result as it loads any checkpoint: a run starts from
where the adapter's training ended. What could not be merged is refused by the files' own words before
anything starts. Pickled weights and code are never loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import files
from bench.cache import cache_root, kept_digest, made_once
from bench.digest import digest
from bench.errors import RequestError, UnsafeRequest
from bench.run.identity import Checkpoint
from bench.train import gguf, local

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
#: What stands before the name of a module in an adapter's weights.
PREFIX = "base_model.model."
#: Parameters of a base below which the sum is kept in float32, so that rounding takes nothing of the adapter.
SMALL = 2_000_000_000
TASKS = ("CAUSAL_LM", "SEQ_2_SEQ_LM", None)


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder holds."""

    #: The base as it was called where the adapter was made: a path, or a name of the hub.
    base: str
    #: The base's commit, where the adapter names one.
    revision: str | None
    rank: int
    alpha: int
    dropout: float
    #: Names of modules, without the path to them.
    targets: tuple[str, ...]
    #: Of settings and weights.
    digest: str


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no checkpoint of its own."""
    return files.is_file(folder / CONFIG) and not files.is_file(folder / "config.json")


def holding(folder: Path) -> Adapter:
    """What a folder holds. Raises `RequestError` and its kinds for an adapter that cannot be used."""
    config = local.read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA" or config.get("task_type") not in TASKS:
        kind = f"{config.get('peft_type')} for {config.get('task_type')}"
        raise RequestError(
            f"{folder / CONFIG}: is an adapter of type {kind[:80]}; only LoRA of text models is read"
        )
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise RequestError(f"{folder / CONFIG}: 'base_model_name_or_path' names no base; add it")
    if not files.is_file(folder / WEIGHTS):
        if files.is_file(folder / PICKLED):
            raise UnsafeRequest(
                f"{folder}: holds {PICKLED} only; pickled weights can run code; save it as safetensors"
            )
        raise RequestError(f"{folder}: has no {WEIGHTS}; fetch the adapter again")
    revision = config.get("revision")
    return Adapter(
        base=base,
        revision=revision if isinstance(revision, str) and revision else None,
        rank=_count(folder, config, "r"),
        alpha=_count(folder, config, "lora_alpha"),
        dropout=_dropout(folder, config),
        targets=tuple(sorted({name.rpartition(".")[2] for name in _pairs(folder, config)})),
        digest=digest({name: kept_digest(folder / name) for name in (CONFIG, WEIGHTS)}),
    )


def base_folder(folder: Path, base: str) -> Path | None:
    """The base's folder on this disk: absolute, beside the adapter or below the current folder; else none."""
    for place in (folder.resolve() / base, Path.cwd() / base):
        if files.is_file(place / "config.json"):
            return place.resolve()
    return None


def check_fit(folder: Path, base: Path) -> None:
    """Raise `RequestError` where an adapter belongs to another model than the base in a folder."""
    held = {name: shape for file in base.glob("*.safetensors") for name, shape in local.shapes(file).items()}
    config = local.read_json(folder / CONFIG)
    for module, (inputs, outputs) in _pairs(folder, config).items():
        tail = module.partition(".")[2]  # some checkpoints leave out the first part of the path
        shape = next((held[name] for m in (module, tail) if (name := f"{m}.weight") in held), None)
        if shape is None and module.endswith("lm_head"):  # a tied head is not stored
            continue
        if shape is None or sorted(shape) != sorted((inputs, outputs)):
            raise RequestError(
                f"{folder}: does not fit its base {base}: no {module} of {outputs}x{inputs}; wrong base?"
            )


def identity(name: str, adapter: Adapter, base: Checkpoint) -> Checkpoint:
    """The checkpoint of an adapter over its base: both digests, and one over the two."""
    named = [base.source, base.revision] if base.kind == "hub" else [base.revision]
    return Checkpoint(
        source=f"{name} over {base.source}",
        revision=digest([adapter.digest, *named]),
        kind="adapter",
        adapter=adapter.digest,
        base=base,
    )


def loadable(place: Path, checkpoint: Checkpoint) -> Path:
    """The folder that transformers loads for a local checkpoint: merged, expanded, or the folder itself.

    Raises `RequestError` where an adapter or its base has changed since the run was planned.
    """
    if checkpoint.kind != "adapter" or not is_adapter(place):
        return gguf.loadable(place, checkpoint.revision)
    adapter, base = holding(place), checkpoint.base
    if base is None or adapter.digest != checkpoint.adapter:
        raise RequestError(f"{place}: has changed since the run was planned; start it again")
    versions = [metadata.version(name) for name in ("peft", "transformers")]
    folder = cache_root() / "adapters" / digest([checkpoint.revision, *versions])[:20]
    return made_once(folder, lambda fresh: _merge(place, adapter, base, fresh))


def _merge(place: Path, adapter: Adapter, base: Checkpoint, target: Path) -> None:
    """Write the base with the adapter added to its weights, and the tokenizer of either."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    source: str | Path | None = base.source if base.kind == "hub" else base_folder(place, adapter.base)
    if source is None:
        raise RequestError(f"{place}: its base {adapter.base} is no longer there")
    revision = base.revision if base.kind == "hub" else None
    task = local.read_json(place / CONFIG).get("task_type")
    auto = AutoModelForSeq2SeqLM if task == "SEQ_2_SEQ_LM" else AutoModelForCausalLM
    model = auto.from_pretrained(
        source, revision=revision, dtype="auto", use_safetensors=True, trust_remote_code=False
    )
    if model.num_parameters() < SMALL:
        model = model.float()
    merged = PeftModel.from_pretrained(model, place, use_safetensors=True).merge_and_unload()
    merged.save_pretrained(target, safe_serialization=True)
    own = any(files.is_file(place / name) for name in local.VOCABULARIES)
    tokenizer = AutoTokenizer.from_pretrained(
        place if own else source, revision=None if own else revision, trust_remote_code=False
    )
    tokenizer.save_pretrained(target)


def _pairs(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Module -> its inputs and outputs, by the shapes of its two matrices. Raises `RequestError`."""
    shapes = local.shapes(folder / WEIGHTS)
    patterned = bool(config.get("rank_pattern"))
    pairs = {}
    for name, down in shapes.items():
        if not name.endswith(".lora_A.weight"):
            continue
        up = shapes.get(name.replace(".lora_A.", ".lora_B."))
        if len(down) != 2 or up is None or len(up) != 2 or up[1] != down[0]:
            raise RequestError(
                f"{folder / WEIGHTS}: {name} has no fitting counterpart; fetch the adapter again"
            )
        if down[0] != config.get("r") and not patterned:
            raise RequestError(
                f"{folder}: its weights are of rank {down[0]}, {CONFIG} says {config.get('r')}"
            )
        pairs[name.removeprefix(PREFIX).removesuffix(".lora_A.weight")] = (down[1], up[0])
    if not pairs:
        raise RequestError(f"{folder / WEIGHTS}: holds no LoRA matrices; fetch the adapter again")
    return pairs


def _dropout(folder: Path, config: Mapping[str, Any]) -> float:
    value = config.get("lora_dropout") or 0.0
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise RequestError(
            f"{folder / CONFIG}: 'lora_dropout' should be from 0 to below 1, is {str(value)[:40]}"
        )
    return float(value)


def _count(folder: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value != int(value) or value < 1:
        raise RequestError(
            f"{folder / CONFIG}: '{key}' should be a whole number above 0, is {str(value)[:40]}"
        )
    return int(value)
