"""What a device holds by the cost law: this machine's, or a GPU that is named instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import devices, provenance
from bench.launch.preflight import LARGEST_ON_CPU
from bench.run import cost
from bench.run.plan import choose_backend, positions
from bench.run.shape import stored_bytes
from bench.spec import Contract, DataRef, Device, ModelSpec, Recipe
from bench.verbs.options import PRESETS


@dataclass(frozen=True)
class Fit:
    """Whether a model can be tuned somewhere, and what it takes."""

    #: None where its spec does not describe its shape.
    fits: bool | None
    words: str
    #: Bytes under its recipe.
    needed: int | None = None


def forecast(
    what: cost.Setting, contract: Contract, card: cost.Card | None, config: Mapping[str, Any]
) -> cost.Forecast:
    """The cost on a card, else on the device of this machine that `what` is for."""
    stored = stored_bytes(config)
    if card is None and what.device == "cuda":
        gpu = min(devices.here().gpus, key=lambda gpu: gpu.memory)
        alike = next((each for name, each in cost.CARDS.items() if name.partition("-")[0] in gpu.name), None)
        return cost.cost(what, contract, gpu.memory, alike or cost.CARDS["24GB"], stored=stored)
    if card is not None:
        return cost.cost(what, contract, card.memory, card, stored=stored)
    return cost.cost(what, contract, memory(), cores=provenance.cores(), stored=stored)


def fit(spec: ModelSpec, card: cost.Card | None, versions: Mapping[str, str]) -> Fit:
    """Whether the published checkpoint can be tuned, under the budget `short` and `bench run`'s lengths.

    Where it does not fit under its recipe but does with its weights in 4 bit, that is said.
    """
    device: Device = "cuda" if card else devices.here().device
    mine = _forecast(spec, spec.recipe, device, card, versions)
    if mine is None:
        return Fit(None, "not known")
    needed = round(mine.peak)
    if device == "cpu" and spec.parameters > LARGEST_ON_CPU:
        return Fit(False, "needs a GPU", needed)
    if mine.fits:
        return Fit(True, "fits", needed)
    four_bit = spec.recipe.model_copy(update={"method": "qlora"})
    possible = spec.objective == "causal" and device != "mps" and spec.recipe.method != "qlora"
    packed = _forecast(spec, four_bit, device, card, versions) if possible else None
    words = "needs 4 bit" if packed and packed.fits else f"needs {_size(mine.peak)}"
    return Fit(False, words, needed)


def memory() -> int:
    """Bytes of this machine."""
    import psutil  # here: on Unix it needs modules that Windows lacks

    return int(psutil.virtual_memory().total)


def named(card: cost.Card | None) -> str:
    """The device in words."""
    if card:
        return f"{card.name}, {card.memory / cost.GIB:.1f} GB"
    here = devices.here()
    if here.gpus:
        return here.gpus[0].name
    return f"{provenance.cores()} CPU cores, {memory() / cost.GIB:.1f} GB"


def _forecast(
    spec: ModelSpec,
    recipe: Recipe,
    device: Device,
    card: cost.Card | None,
    versions: Mapping[str, str],
) -> cost.Forecast | None:
    backend = choose_backend(spec, recipe, versions, device=device)
    what = cost.setting(spec, recipe, backend, device)
    if what is None:
        return None
    any_data = DataRef(name="any", digest="")
    contract = Contract(train=any_data, eval=any_data, budget=PRESETS["short"], scorer="any")
    if held := positions(spec.config):
        contract = contract.model_copy(update={"max_length": min(contract.max_length, held)})
    return forecast(what, contract, card, spec.config)


def _size(peak: float) -> str:
    return f"{math.ceil(peak / cost.GIB)} GB"
