"""Where a record's weights and the checkpoint that they belong to lie on this machine.

Weights are used only if they are the bytes that the run saved, and only over the checkpoint that it
started from: both are held against the record's digests before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench import devices
from bench.cache import kept_digest
from bench.errors import Incomparable, RequestError
from bench.launch import preflight
from bench.run.identity import Run
from bench.store.ledger import Stored
from bench.store.record import weights_folder
from bench.train import adapter, gguf
from bench.train import local as local_files


@dataclass(frozen=True)
class Origin:
    """What must be loaded to have a run's model back."""

    #: As it is loaded here, which may be on another device than it ran on.
    run: Run
    #: The checkpoint's folder or GGUF file; none for the hub.
    checkpoint: Path | None
    #: The record's `adapter/` or `model/`.
    weights: Path
    #: What is not as it was when the run was made.
    notes: tuple[str, ...] = ()

    @property
    def shared(self) -> tuple[object, ...]:
        """Equal for runs whose base is the same model, loaded the same way."""
        recipe = self.run.recipe
        return (self.run.checkpoint.revision, self.run.backend, recipe.method, recipe.precision)


def origin(stored: Stored, base: Path | None = None) -> Origin:
    """The weights of a record, checked, and its checkpoint; `base` says where that lies.

    Raises `RequestError` where weights were deleted or changed, or the checkpoint is out of reach.
    """
    run = stored.record.run
    device = devices.here().device
    notes = [f"the run was on {run.device}, this is on {device}"] if device != run.device else []
    if run.backend == "unsloth" and not _installed("unsloth"):
        run = run.model_copy(update={"backend": "transformers"})
        notes.append("trained by Unsloth, which is not installed; loaded by bitsandbytes and PEFT")
    here = run.model_copy(update={"device": device})
    weights = saved_weights(stored)
    place = checkpoint(here, base)
    return replace(Origin(here, place, weights), notes=tuple(notes))


def saved_weights(stored: Stored) -> Path:
    """The folder of a record's weights, every file as the run saved it. Raises `Incomparable`."""
    if not stored.record.run.trained:
        raise Incomparable(
            f"{stored.record.id} was not trained, so it left no weights: it is the checkpoint as it is; "
            "run it under a budget of 1 step or more"
        )
    for name, digest in stored.record.artifacts.items():
        file = stored.folder / name
        if not file.is_file():
            raise Incomparable(
                f"{file} was deleted; a record keeps its answers without weights, "
                "but to answer anew take them from where it ran, or run it again under another --out"
            )
        if kept_digest(file) != digest:
            raise Incomparable(f"{file} is not what the run saved")
    folder = stored.folder / weights_folder(stored.record.run.recipe.adapter)
    if not folder.is_dir():
        raise Incomparable(f"{folder}: the record names no weights; run it again under another --out")
    return folder


def checkpoint(run: Run, base: Path | None = None) -> Path | None:
    """The checkpoint that a run started from, none for the hub; `base` says where it lies.

    Raises `RequestError` where it is another one, or where a local one is not said.
    """
    kind, spec = run.checkpoint.kind, run.model
    if base is not None:
        spec = spec.model_copy(update={"checkpoint": str(_existing(base).resolve())})
    elif kind in ("folder", "gguf", "adapter"):
        what = {"gguf": "GGUF file", "adapter": "adapter"}.get(kind, "folder")
        raise RequestError(
            f"model '{run.name}' was tuned from the {what} '{run.checkpoint.source}', and a record names no "
            "path; say where it is by --base PATH"
        )
    scale = "full" if base is not None else run.scale
    there, local = preflight.checkpoint(spec, scale, run.device)
    if there.revision != run.checkpoint.revision:
        raise Incomparable(
            f"the checkpoint '{there.source}' is no longer the one that '{run.name}' was tuned from"
            f" ({there.revision[:12]}, not {run.checkpoint.revision[:12]})"
        )
    return local


def _existing(base: Path) -> Path:
    if (base.suffix == gguf.SUFFIX and base.is_file()) or adapter.is_adapter(base):
        return base
    if not (base / "config.json").is_file():
        raise RequestError(f"--base {base}: holds no checkpoint; give its folder or its GGUF file")
    local_files.read_json(base / "config.json")
    return base


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
