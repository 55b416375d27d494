"""Models x seeds under one contract become runs. Pure: the machine is described by arguments.

Which backend a model gets is decided here, from the installed versions, because it is part of
the run's identity: a record made through Unsloth is never taken for one made without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from bench.errors import BudgetError, RequestError
from bench.retrieval.dense import is_dense
from bench.run.identity import Checkpoint, Run
from bench.spec import Contract, Device, ModelSpec, Recipe, Scale

#: Packages whose version can change a run's numbers, by what the run uses.
ALWAYS = ("bench", "torch", "transformers", "tokenizers", "accelerate", "numpy", "nltk")
CAUSAL = ("trl",)
ADAPTER = ("peft",)
FOUR_BIT = ("bitsandbytes",)
GGUF = ("gguf",)
UNSLOTH = ("unsloth", "unsloth_zoo")
RETRIEVAL = ("bm25s",)
#: Kinds of checkpoints whose path is this machine's.
ON_DISK = ("folder", "gguf", "adapter")


def plan(
    models: Iterable[tuple[ModelSpec, Checkpoint]],
    seeds: Sequence[int],
    contract: Contract,
    scale: Scale,
    device: Device,
    versions: Mapping[str, str],
    backend: Literal["auto", "transformers", "unsloth"] = "auto",
    harness: str | None = None,
) -> list[Run]:
    """The runs, models in the given order, seeds innermost; `harness` is the digest of the code.

    A budget of no steps has one run a model, of one process: no seed moves a model that is not trained.
    Raises `BudgetError`, `RequestError`.
    """
    runs = []
    trains = contract.budget.steps > 0
    for spec, checkpoint in models:
        recipe = spec.recipe_at(scale)
        if not trains and recipe.devices > 1:
            recipe = recipe.model_copy(update={"devices": 1})
        check_micro_batch(spec, recipe, contract)
        check_devices(spec, recipe, device)
        chosen = choose_backend(spec, recipe, versions, backend, device)
        needed = (*packages(spec, recipe, chosen), *(GGUF if checkpoint.kind == "gguf" else ()))
        needed += RETRIEVAL if contract.retrieval and not is_dense(contract.retrieval) else ()
        if checkpoint.kind in ON_DISK:  # a record names no path of the machine that made it
            spec = spec.model_copy(update={"checkpoint": checkpoint.source})
        runs += [
            Run(
                model=spec,
                recipe=recipe,
                checkpoint=checkpoint,
                scale=scale,
                contract=contract,
                seed=seed,
                device=device,
                backend=chosen,
                versions={name: versions[name] for name in needed if name in versions},
                harness=harness,
            )
            for seed in (seeds if trains else (0,))
        ]
    return runs


def check_micro_batch(spec: ModelSpec, recipe: Recipe, contract: Contract) -> None:
    """Raise `BudgetError` where micro-batches cannot add up to the effective batch."""
    if not contract.budget.steps:
        return
    effective, together = contract.budget.effective_batch, recipe.micro_batch * recipe.devices
    if recipe.devices > 1 and not effective % recipe.micro_batch and effective % together:
        raise BudgetError(
            f"models/{spec.name}.toml: 'recipe.micro_batch' {recipe.micro_batch} x 'recipe.devices' "
            f"{recipe.devices} does not divide the effective batch {effective}"
        )
    if effective % recipe.micro_batch:
        divisors = [n for n in range(1, effective + 1) if effective % n == 0]
        raise BudgetError(
            f"models/{spec.name}.toml: 'recipe.micro_batch' = {recipe.micro_batch} does not divide the "
            f"effective batch {effective}; use one of {', '.join(map(str, divisors))}"
        )


def check_devices(spec: ModelSpec, recipe: Recipe, device: Device) -> None:
    """Raise `RequestError` where a run cannot be shared by several processes."""
    if recipe.devices > 1 and device != "cpu":
        raise RequestError(
            f"models/{spec.name}.toml: 'recipe.devices' = {recipe.devices} was tried on CPUs alone; "
            f"use 1 on {device}, and several GPUs for several runs"
        )


def check_positions(name: str, config: Mapping[str, Any], contract: Contract) -> None:
    """Raise `RequestError` where a model's config has fewer positions than the contract's length.

    A model with learned positions would die with an index error, one with rotary positions would train on
    lengths that it was never made for.
    """
    held = positions(config)
    if held is not None and contract.max_length > held:
        raise RequestError(
            f"model '{name}' has {held} positions, --max-length is {contract.max_length}; "
            f"use --max-length {held}, which then holds for all models, or leave it out"
        )


def positions(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model's config has positions for; none where it does not say."""
    keys = ("max_position_embeddings", "n_positions", "max_sequence_length")
    return next((value for key in keys if isinstance(value := config.get(key), int)), None)


def choose_backend(
    spec: ModelSpec,
    recipe: Recipe,
    versions: Mapping[str, str],
    backend: Literal["auto", "transformers", "unsloth"] = "auto",
    device: Device = "cpu",
) -> Literal["transformers", "unsloth"]:
    """Unsloth for 4-bit causal models where it is installed, else transformers; mps has no 4 bit."""
    possible = (
        spec.objective == "causal" and recipe.method == "qlora" and device != "mps" and recipe.devices == 1
    )
    if backend == "unsloth" and possible and "unsloth" not in versions:
        raise RequestError("--backend unsloth: not installed; pip install 'bench-sft[unsloth]'")
    return "unsloth" if possible and backend != "transformers" and "unsloth" in versions else "transformers"


def packages(spec: ModelSpec, recipe: Recipe, backend: str) -> tuple[str, ...]:
    """The packages whose versions are part of this run's identity."""
    return (
        *ALWAYS,
        *(CAUSAL if spec.objective == "causal" else ()),
        *(ADAPTER if recipe.adapter else ()),
        *(FOUR_BIT if recipe.method == "qlora" or recipe.optimizer.endswith("8bit") else ()),
        *(UNSLOTH if backend == "unsloth" else ()),
    )
