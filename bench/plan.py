"""Models x seeds under one contract become runs. Pure: the machine is described by arguments.

A run's id is readable and ends in a digest of all that defines it: checkpoint, recipe, scale,
contract, seed, device, backend and the versions of the packages that this run's path uses. So
the same command finds its finished runs again, and an upgraded library makes a new run beside
the old one instead of overwriting it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.digest import digest
from bench.errors import BudgetError, RequestError
from bench.spec import Contract, ModelSpec, Recipe, Scale

Device = Literal["cpu", "cuda"]

#: Packages whose version can change a run's numbers, by what the run uses.
ALWAYS = ("bench", "torch", "transformers", "tokenizers", "accelerate")
CAUSAL = ("trl",)
ADAPTER = ("peft",)
FOUR_BIT = ("bitsandbytes",)
UNSLOTH = ("unsloth", "unsloth_zoo")


class Checkpoint(BaseModel):
    """The weights that a run starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Hub repository or absolute folder; a twin's folder is found anew on each machine.
    source: str
    #: Commit, or digest of the folder's weights, configuration and tokenizer.
    revision: str
    kind: Literal["hub", "folder", "twin"]


class Run(BaseModel):
    """One model, one contract, one seed, on one kind of machine with given package versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSpec
    recipe: Recipe
    checkpoint: Checkpoint
    scale: Scale
    contract: Contract
    seed: int
    device: Device
    backend: Literal["transformers", "unsloth"]
    versions: dict[str, str]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def template(self) -> str:
        """The prompt template in force: the contract's, unless the spec must have its own."""
        return self.model.template or self.contract.template

    @property
    def digest(self) -> str:
        source = self.checkpoint.revision if self.checkpoint.kind != "hub" else self.checkpoint.model_dump()
        return digest(
            {
                "model": [self.model.name, self.model.objective, source],
                "recipe": self.recipe.model_dump(mode="json"),
                "template": self.template,
                "contract": self.contract.model_dump(mode="json"),
                **self.model_dump(mode="json", include={"scale", "seed", "device", "backend", "versions"}),
            }
        )

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.scale}-s{self.seed}-{self.digest[:12]}"

    @property
    def accumulation(self) -> int:
        """Forward passes per optimizer step."""
        return self.contract.budget.effective_batch // self.recipe.micro_batch


def plan(
    models: Iterable[tuple[ModelSpec, Checkpoint]],
    seeds: Sequence[int],
    contract: Contract,
    scale: Scale,
    device: Device,
    versions: Mapping[str, str],
    backend: Literal["auto", "transformers", "unsloth"] = "auto",
) -> list[Run]:
    """The runs, models in the given order, seeds innermost. Raises `BudgetError`, `RequestError`."""
    runs = []
    for spec, checkpoint in models:
        recipe = spec.recipe_at(scale)
        check_micro_batch(spec, recipe, contract)
        chosen = choose_backend(spec, recipe, versions, backend)
        needed = packages(spec, recipe, chosen)
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
            )
            for seed in seeds
        ]
    return runs


def check_micro_batch(spec: ModelSpec, recipe: Recipe, contract: Contract) -> None:
    """Raise `BudgetError` where micro-batches cannot add up to the effective batch."""
    effective = contract.budget.effective_batch
    if effective % recipe.micro_batch:
        divisors = [n for n in range(1, effective + 1) if effective % n == 0]
        raise BudgetError(
            f"models/{spec.name}.toml: 'recipe.micro_batch' = {recipe.micro_batch} does not divide the "
            f"effective batch {effective}; use one of {', '.join(map(str, divisors))}"
        )


def choose_backend(
    spec: ModelSpec,
    recipe: Recipe,
    versions: Mapping[str, str],
    asked: Literal["auto", "transformers", "unsloth"] = "auto",
) -> Literal["transformers", "unsloth"]:
    """Unsloth for 4-bit causal models where it is installed, else transformers."""
    possible = spec.objective == "causal" and recipe.method == "qlora"
    if asked == "unsloth" and possible and "unsloth" not in versions:
        raise RequestError("--backend unsloth: not installed; pip install 'bench-sft[unsloth]'")
    return "unsloth" if possible and asked != "transformers" and "unsloth" in versions else "transformers"


def packages(spec: ModelSpec, recipe: Recipe, backend: str) -> tuple[str, ...]:
    """The packages whose versions are part of this run's identity."""
    return (
        *ALWAYS,
        *(CAUSAL if spec.objective == "causal" else ()),
        *(ADAPTER if recipe.method != "full" else ()),
        *(FOUR_BIT if recipe.method == "qlora" or recipe.optimizer.endswith("8bit") else ()),
        *(UNSLOTH if backend == "unsloth" else ()),
    )
