"""A run: one model, one contract, one seed, with an identity.

The id is readable and ends in a digest of all that defines the run: checkpoint, recipe, scale,
contract, seed, device, backend, the versions of the packages that this run's path uses, and the code
of this program that can change its numbers. So
the same command finds its finished runs again, and an upgraded library makes a new run beside
the old one instead of overwriting it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.digest import digest
from bench.spec import Contract, Device, ModelSpec, Recipe, Scale


class Checkpoint(BaseModel):
    """The weights that a run starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Hub repository, GGUF file's name, or absolute folder; a twin's folder is found anew on each machine.
    source: str
    #: Commit; or digest of the folder's weights, configuration and tokenizer; or of the GGUF file; or of the
    #: configuration that random weights were made for.
    revision: str
    kind: Literal["hub", "folder", "twin", "gguf", "random", "adapter"]
    #: The type that the weights were stored in before they were dequantised; none where they never were.
    dequantised_from: str | None = None
    #: Of an adapter that is merged into its base: its own digest, and the base. `revision` is over both.
    adapter: str | None = None
    base: Checkpoint | None = None


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
    #: Digest of the code that selects, encodes, trains, generates and scores (`bench.harness`); none in
    #: records of before it was kept.
    harness: str | None = None
    #: Trials by which `bench tune` chose the recipe; none for a registered recipe.
    tuned_in: int | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def trained(self) -> bool:
        """Whether anything is trained; a budget of no steps scores the checkpoint as its recipe loads it."""
        return self.contract.budget.steps > 0

    @property
    def method(self) -> str:
        """How the model is tuned: its recipe's method, or "none"."""
        return self.recipe.method if self.trained else "none"

    @property
    def template(self) -> str:
        """The prompt template in force: the contract's, unless the spec must have its own."""
        return self.model.template or self.contract.template

    @property
    def digest(self) -> str:
        """64 hexadecimal digits over all that can change this run's numbers."""
        checkpoint: object = self.checkpoint.revision
        if self.checkpoint.kind == "hub":
            checkpoint = self.checkpoint.model_dump(exclude_defaults=True)
        return digest(
            {
                "model": [self.model.name, self.model.objective, checkpoint],
                "recipe": self.recipe.model_dump(mode="json"),
                "template": self.template,
                "contract": self.contract.model_dump(mode="json"),
                **self.model_dump(mode="json", include={"scale", "seed", "device", "backend", "versions"}),
                **({"harness": self.harness} if self.harness else {}),
                **({"tuned_in": self.tuned_in} if self.tuned_in else {}),
            }
        )

    @property
    def id(self) -> str:
        """The folder name of its record."""
        return f"{self.model.name}-{self.scale}-s{self.seed}-{self.digest[:12]}"

    @property
    def accumulation(self) -> int:
        """Forward passes per optimizer step on each device."""
        return self.contract.budget.effective_batch // (self.recipe.micro_batch * self.recipe.devices)


class Backend(BaseModel):
    """Which libraries trained the model, and every fallback on the way there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    reason: str
    #: What was asked for and could not be had, each with its reason; shown on the board.
    fallbacks: tuple[str, ...] = ()
    #: The type that the forward pass computes in.
    precision: str
    quantisation: str | None = None
    #: How the tokenizer's end token disagreed with the checkpoint's config, and which was used.
    end_token: str | None = None
    #: Types of the adapter's and of the checkpoint's own weights while it was trained, the most frequent
    #: first; none in records of before they were kept.
    adapter_type: str | None = None
    stored_type: str | None = None
