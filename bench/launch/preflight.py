"""What must be true before anything is written: checkpoints in reach, safe, and small enough.

Finding out after an hour of other runs that a model is gated is the mistake this module
prevents.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cache import kept_digest
from bench.devices import Devices
from bench.digest import digest, file_digest
from bench.errors import Gated, NotEnough, RequestError, Unreachable, UnsafeRequest
from bench.files import is_file
from bench.launch import hub
from bench.launch.hub import HUB_NAME
from bench.registry import TWINS, models
from bench.run import cost
from bench.run.identity import Checkpoint
from bench.run.plan import check_positions
from bench.run.suited import left_out_for
from bench.spec import Contract, Device, ModelSpec, Scale
from bench.store.record import LeftOut
from bench.train import adapter, gguf, local, random_weights

#: Above this a model cannot be tuned on a CPU in any time that a user would wait.
LARGEST_ON_CPU = 1_500_000_000
_CONTENT = ("*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt")
_IDENTIFYING = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")


@dataclass(frozen=True)
class Place:
    """Where a model's weights come from."""

    checkpoint: Checkpoint
    #: On this machine; none for the hub.
    folder: Path | None
    #: Bytes that have to be fetched first.
    download: int = 0
    #: What the user should know about how they were found.
    note: str = ""


def checkpoint(spec: ModelSpec, scale: Scale, device: Device) -> tuple[Checkpoint, Path | None]:
    """Where a model's weights come from at a scale, and their folder where they are local.

    Raises `RequestError` and its kinds for a checkpoint that cannot be used here.
    """
    place = locate(spec, scale, device)
    return place.checkpoint, place.folder


def locate(
    spec: ModelSpec, scale: Scale, device: Device, contract: Contract | None = None, reserved: int = 0
) -> Place:
    """The same with what has to be fetched; `reserved` bytes of the disk are for other models.

    Raises `RequestError` and its kinds, also for a contract that is longer than the model's positions, and
    for a recipe whose modules a local checkpoint does not have; the hub's are checked when it is loaded.
    """
    config: Mapping[str, Any]
    if scale == "mini":
        place = Place(*_twin(spec))
        config = local.read_json(_configuration(place))
    elif Path(spec.checkpoint).is_absolute():
        check_size(spec, device)
        place = Place(*_local(spec))
        own = place.checkpoint.kind == "folder"
        config = local.read_json(_configuration(place)) if own else spec.config
    else:
        place, config = _on_hub(spec, device, reserved)
    if contract is not None:
        check_positions(spec.name, config, contract)
    recipe = spec.recipe_at(scale)
    named = recipe.targets if recipe.adapter and not isinstance(recipe.targets, str) else None
    if named is not None and place.folder is not None and place.checkpoint.kind in ("folder", "twin"):
        local.check_targets(spec.name, place.folder, named)
    return place


def unasked(spec: ModelSpec, scale: Scale) -> Place:
    """The place of a model on another machine, by its spec alone."""
    if scale == "mini":
        return Place(*_twin(spec))
    if Path(spec.checkpoint).is_absolute():
        return Place(*_local(spec))
    return Place(Checkpoint(source=spec.checkpoint, revision=spec.revision, kind="hub"), None)


def random(
    models: Sequence[tuple[ModelSpec, Scale]], machine: Devices, contract: Contract
) -> list[tuple[ModelSpec, Scale, Place]]:
    """The places of models whose weights are made here. Raises `RequestError` and its kinds."""
    places: list[tuple[ModelSpec, Scale, Place]] = []
    for spec, scale in models:
        if scale == "mini":
            raise RequestError("--weights random measures published architectures; add --scale full")
        check_positions(spec.name, spec.config, contract)
        revision = random_weights.identity(spec)
        check_size(spec, machine.device)
        check_memory(spec, scale, machine, contract)
        places.append(
            (spec, scale, Place(Checkpoint(source=spec.name, revision=revision, kind="random"), None))
        )
    return places


def check_memory(spec: ModelSpec, scale: Scale, machine: Devices, contract: Contract) -> None:
    """Raise `NotEnough` where a model needs clearly more than the smallest GPU has, by every backend."""
    recipe = spec.recipe_at(scale)
    ways = [cost.setting(spec, recipe, backend, "cuda") for backend in cost.BACKENDS]
    if scale == "mini" or not machine.gpus or not all(ways):
        return
    gpu = min(machine.gpus, key=lambda gpu: gpu.memory)
    needed = min(cost.cost(way, contract, gpu.memory).peak for way in ways if way)
    if needed * (1 - cost.EXPECTED_ERROR) > gpu.memory:
        raise NotEnough(
            f"model '{spec.name}' needs about {needed / cost.GIB:.0f} GB and the {gpu.name} has "
            f"{gpu.memory / cost.GIB:.0f} GB; use a smaller --max-length or a smaller model"
        )


def check_size(spec: ModelSpec, device: Device, parameters: int | None = None) -> None:
    """Raise `NotEnough` for a model that no CPU trains in any time that a user would wait."""
    parameters = parameters or spec.parameters
    if device == "cpu" and parameters > LARGEST_ON_CPU:
        twin = "use its twin by --scale mini, or a smaller model" if spec.twin else "use a smaller model"
        raise NotEnough(
            f"model '{spec.name}' has {parameters / 1e9:.1f}B parameters and there is no CUDA GPU; {twin}"
        )


def _configuration(place: Place) -> Path:
    return Path(str(place.folder)) / "config.json"


def _local(spec: ModelSpec) -> tuple[Checkpoint, Path]:
    folder = Path(spec.checkpoint)
    if folder.suffix == gguf.SUFFIX:
        return _gguf(folder), folder
    if adapter.is_adapter(folder):
        return _adapter(spec.name, folder), folder
    return Checkpoint(source=spec.name, revision=_digest_of(folder), kind="folder"), folder


def usable(
    models: Sequence[tuple[ModelSpec, Scale]], machine: Devices, contract: Contract, by_name: bool
) -> tuple[list[tuple[ModelSpec, Scale, Place]], list[LeftOut]]:
    """The models that can run here with their places, and those that cannot, with the reason.

    A model that was asked for by name raises its reason instead; so do all of them where none is left.
    """
    places: list[tuple[ModelSpec, Scale, Place]] = []
    left_out: list[LeftOut] = []
    for spec, scale in models:
        reserved = sum(place.download for _, _, place in places)
        try:
            check_memory(spec, scale, machine, contract)
            places.append((spec, scale, locate(spec, scale, machine.device, contract, reserved)))
        except (Unreachable, NotEnough, UnsafeRequest) as error:
            if by_name:
                raise
            left_out.append(left_out_for(spec, scale, contract, error))
    if not places:
        raise NotEnough(
            "\n".join(
                [
                    "none of the models can run here; --scale mini runs their twins",
                    *(each.reason for each in left_out),
                ]
            )
        )
    return places, left_out


def _twin(spec: ModelSpec) -> tuple[Checkpoint, Path]:
    if spec.twin is None:
        raise RequestError(f"model '{spec.name}' has no twin; use --scale full, or leave it out of --models")
    folder = TWINS / spec.twin
    if not is_file(folder / "model.safetensors"):
        raise RequestError(
            f"twin '{spec.twin}' is not in {TWINS}; build it by: bench twins build {spec.twin}"
        )
    revision = digest({name: file_digest(folder / name) for name in _IDENTIFYING if is_file(folder / name)})
    return Checkpoint(source=spec.twin, revision=revision, kind="twin"), folder


def _gguf(file: Path) -> Checkpoint:
    facts = gguf.facts(file)
    return Checkpoint(
        source=file.name, revision=facts.digest, kind="gguf", dequantised_from=facts.quantisation
    )


def _adapter(name: str, folder: Path) -> Checkpoint:
    """An adapter over its base, which is on this disk or on the hub. Raises as `hub.ask`."""
    held = adapter.holding(folder)
    place = adapter.base_folder(folder, held.base)
    if place is not None:
        base = Checkpoint(source=place.name, revision=_digest_of(place), kind="folder")
    else:
        spec = base_of(held)
        base = Checkpoint(source=spec.checkpoint, revision=hub.ask(spec).commit, kind="hub")
    return adapter.identity(name, held, base)


def base_of(held: adapter.Adapter) -> ModelSpec:
    """The base of an adapter that is not on this disk: a registered model, or any of the hub.

    Raises `RequestError` where its name is neither.
    """
    known = next((spec for spec in models().values() if held.base in (spec.name, spec.checkpoint)), None)
    if known is not None:
        return known.model_copy(update={"revision": held.revision or known.revision})
    if not HUB_NAME.fullmatch(held.base):
        raise RequestError(
            f"the adapter's base {held.base[:120]!r} is no checkpoint on this disk, no registered model "
            "and no name of the hub; correct 'base_model_name_or_path' in its adapter_config.json"
        )
    return hub.published_model(f"{held.base}@{held.revision}" if held.revision else held.base)


def local_digest(place: Path) -> str:
    """The revision of a local checkpoint: a folder's, or a GGUF file's."""
    if adapter.is_adapter(place):
        return _adapter(place.name, place).revision
    return _gguf(place).revision if place.suffix == gguf.SUFFIX else _digest_of(place)


def _digest_of(folder: Path) -> str:
    """Of every byte of the weights, configurations and tokenizer."""
    files = (file for pattern in _CONTENT for file in folder.glob(pattern) if is_file(file))
    return digest({file.name: kept_digest(file) for file in sorted(files)})


def _on_hub(spec: ModelSpec, device: Device, reserved: int) -> tuple[Place, Mapping[str, Any]]:
    """A hub checkpoint by its commit, or the mirror that the spec names for those who may not have it."""
    source, note = spec.checkpoint, ""
    try:
        found = hub.ask(spec)
    except Unreachable as error:
        check_size(spec, device)  # what could not run here in any case is not worth a login
        if spec.mirror is None or not isinstance(error, Gated):
            raise
        source, found = spec.mirror, hub.ask(spec, spec.mirror, spec.mirror_revision)
        note = f"model '{spec.name}': {spec.checkpoint} is gated, its mirror {source} is taken instead"
    check_size(spec, device, found.parameters)
    _enough_disk(spec, found.missing, reserved)
    place = Place(
        Checkpoint(source=source, revision=found.commit, kind="hub"), None, found.missing, found.note or note
    )
    return place, found.config


def _enough_disk(spec: ModelSpec, missing: int, reserved: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(folder).free - reserved
    if missing > free:
        others = f" beside the {reserved / 1e9:.1f} GB of the models before it" if reserved else ""
        raise NotEnough(
            f"model '{spec.name}' needs {missing / 1e9:.1f} GB in {folder}, {max(free, 0) / 1e9:.1f} GB are "
            f"free{others}; make room or set HF_HOME to another disk"
        )
