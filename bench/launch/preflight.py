"""What must be true before anything is written: checkpoints in reach, safe, and small enough.

Finding out after an hour of other runs that a model is gated is the mistake this module
prevents.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import registry
from bench.cache import kept_digest
from bench.digest import digest, file_digest
from bench.errors import NotEnough, RequestError, Unreachable, UnsafeRequest
from bench.registry import TWINS
from bench.run.identity import Checkpoint
from bench.run.plan import check_positions
from bench.spec import Contract, Device, ModelSpec, Scale
from bench.train import gguf

#: Above this a model cannot be tuned on a CPU in any time that a user would wait.
LARGEST_ON_CPU = 1_500_000_000
TIMEOUT = 10.0
_CONTENT = ("*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt")
_IDENTIFYING = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")


def checkpoint(spec: ModelSpec, scale: Scale, device: Device) -> tuple[Checkpoint, Path | None]:
    """Where a model's weights come from at a scale, and their folder where they are local.

    Raises `RequestError` and its kinds for a checkpoint that cannot be used here.
    """
    if scale == "mini":
        return _twin(spec)
    if device == "cpu" and spec.parameters > LARGEST_ON_CPU:
        raise NotEnough(
            f"model '{spec.name}' has {spec.parameters / 1e9:.1f}B parameters and there is no CUDA GPU; "
            f"use its twin by --scale mini, or a smaller model"
        )
    folder = Path(spec.checkpoint)
    if folder.is_absolute() and folder.suffix == gguf.SUFFIX:
        return _gguf(folder), folder
    if folder.is_absolute():
        return Checkpoint(source=spec.name, revision=_digest_of(folder), kind="folder"), folder
    return Checkpoint(source=spec.checkpoint, revision=_on_hub(spec), kind="hub"), None


def check_length(spec: ModelSpec, folder: Path | None, contract: Contract) -> None:
    """Hold a local checkpoint's positions against the contract; the hub's are checked when it is loaded.

    Raises `RequestError`.
    """
    config = folder / "config.json" if folder and folder.is_dir() else None
    if config is not None and config.is_file():
        check_positions(spec.name, registry.read_json(config), contract)


def _twin(spec: ModelSpec) -> tuple[Checkpoint, Path]:
    if spec.twin is None:
        raise RequestError(f"model '{spec.name}' has no twin; use --scale full, or leave it out of --models")
    folder = TWINS / spec.twin
    if not (folder / "model.safetensors").is_file():
        raise RequestError(
            f"twin '{spec.twin}' is not in {TWINS}; build it by: bench twins build {spec.twin}"
        )
    revision = digest(
        {name: file_digest(folder / name) for name in _IDENTIFYING if (folder / name).is_file()}
    )
    return Checkpoint(source=spec.twin, revision=revision, kind="twin"), folder


def _gguf(file: Path) -> Checkpoint:
    facts = gguf.facts(file)
    return Checkpoint(
        source=file.name, revision=facts.digest, kind="gguf", dequantised_from=facts.quantisation
    )


def local_digest(place: Path) -> str:
    """The revision of a local checkpoint: a folder's, or a GGUF file's."""
    return _gguf(place).revision if place.suffix == gguf.SUFFIX else _digest_of(place)


def _digest_of(folder: Path) -> str:
    """Of every byte of the weights, configurations and tokenizer."""
    files = (file for pattern in _CONTENT for file in folder.glob(pattern) if file.is_file())
    return digest({file.name: kept_digest(file) for file in sorted(files)})


def _on_hub(spec: ModelSpec) -> str:
    """The commit of a hub checkpoint that is in the cache or can be fetched."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    if isinstance(try_to_load_from_cache(spec.checkpoint, "config.json", revision=spec.revision), str):
        return spec.revision
    remedy = "use its twin by --scale mini" if spec.twin else "check the network"
    where = f"model '{spec.name}': {spec.checkpoint}@{spec.revision[:12]}"
    try:
        info = HfApi().model_info(spec.checkpoint, revision=spec.revision, timeout=TIMEOUT)
    except Exception as error:  # the hub client raises a dozen unrelated types
        if "gated" in str(error).lower() or "401" in str(error) or "403" in str(error):
            raise Unreachable(
                f"{where} is gated; accept its licence on the hub and run `hf auth login`, or {remedy}"
            ) from error
        raise Unreachable(
            f"{where} is not in the cache and the hub cannot be reached ({type(error).__name__}); {remedy}"
        ) from error
    if not any(file.rfilename.endswith(".safetensors") for file in info.siblings or ()):
        raise UnsafeRequest(f"{where} has no safetensors weights; pickled weights run code: refused")
    cache = Path(HF_HUB_CACHE)
    _enough_disk(spec, next(path for path in (cache, *cache.parents) if path.exists()))
    return str(info.sha)


def _enough_disk(spec: ModelSpec, folder: Path) -> None:
    needed, free = spec.parameters * 2.2, shutil.disk_usage(folder).free
    if needed > free:
        raise NotEnough(
            f"model '{spec.name}' needs about {needed / 1e9:.0f} GB in {folder}, {free / 1e9:.0f} GB are "
            "free; make room or set HF_HOME to another disk"
        )
