"""What a run will take before it starts: memory of training and of answering, time, download.

The law: weights + what is trained + activations for each token + logits + a fixed rest; answering: weights +
cache and activations of a batch, halved until it fits as `generate` does it. GB are 2^30 bytes, as GPUs and
torch count them. Tokens are counted at the contract's greatest length, so memory is an upper bound for
shorter texts; time is by the mean length of an example.

Constants and their sources:

- 4-bit weights: 4 bits, an 8-bit scale for each 64 and a float32 for each 256 of these (QLoRA, double quant).
- `FIXED`, `KEPT` and `CHUNK` are fitted to what Unsloth published for Llama-3.1-8B in 4 bit: the context that
  fits into 8 to 80 GB (rank 32, batch 1) is 7.37 GB + 0.212 MB a token; its T4 notebooks of 60 steps of 2x4
  (rank 16) report 7.92 GB, and 5.84 GB for Mistral-7B. The longest micro-batch of those notebooks is not
  published; 2 x 512 tokens are assumed.
- Through transformers (FlashAttention 2 in the same table: 9.70 GB + 2.47 MB a token) PEFT casts what is not
  quantised to float32, and `LOGITS` float32 numbers are held for each word of the vocabulary and token:
  logits, their shifted copy, softmax and gradient.
- `EFFICIENCY` is fitted to the same notebooks' times (463 s and 541 s), at 250 tokens an example. A CPU
  core's rate is that of SmolLM2-135M in `reports/smollm2`.

Expected error: 15% of memory where a published figure exists (`tests/test_cost.py` holds all of them), about
25% elsewhere; a factor of 2 of time, on other GPUs than the T4 above all. Records made on the same device
correct both (`bench.verbs.plan`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.run.shape import Shape, shape_of
from bench.spec import Contract, Device, ModelSpec, Recipe

GIB = 2**30
#: Part of memory by which a prediction may be wrong where a published figure exists.
EXPECTED_ERROR = 0.15
#: Bytes of a 4-bit weight with its scales.
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)
#: Bytes that a process takes beside all that is counted: context of the device, kernels, buffers.
FIXED = 0.9 * GIB
#: Times a layer's activations that its backward pass holds.
KEPT = 1.46
#: Unsloth computes logits for so many tokens at once, in 16 bit with a copy in float32.
CHUNK, CHUNK_BYTES = 1024, 6
#: Numbers held for each word of the vocabulary and token elsewhere.
LOGITS = 4
#: Part of a GPU's peak that training reaches.
EFFICIENCY = 0.20
#: Seconds that the program takes for a layer and a token of all answers.
STEP = 1.2e-3
#: Floating-point operations that a CPU's core does in a second.
CORE = 37e9
#: Seconds of start and loading.
START = 15.0
#: Tokens of an example where nothing is known of the data.
EXAMPLE_TOKENS = 250
EIGHT_BIT_OPTIMIZERS = ("8bit",)
Backend = Literal["transformers", "unsloth"]
BACKENDS: tuple[Backend, ...] = ("transformers", "unsloth")


@dataclass(frozen=True)
class Card:
    """A GPU: what torch reports as its memory, and its published peaks."""

    name: str
    #: Bytes.
    memory: float
    #: 16-bit operations with dense matrices, and bytes of memory traffic, in a second.
    peak: float
    bandwidth: float
    bfloat16: bool = True


CARDS = {
    card.name: card
    for card in (
        Card("T4", 14.7 * GIB, 65e12, 320e9, bfloat16=False),
        Card("L4", 22.2 * GIB, 121e12, 300e9),
        Card("4090", 23.6 * GIB, 165e12, 1008e9),
        Card("24GB", 23.6 * GIB, 71e12, 936e9),  # as an RTX 3090
        Card("A100-40", 39.4 * GIB, 312e12, 1555e9),
        Card("A100-80", 79.1 * GIB, 312e12, 2039e9),
        Card("H100", 79.1 * GIB, 989e12, 3350e9),
    )
}


@dataclass(frozen=True)
class Forecast:
    """What one run will take."""

    #: Bytes at the highest point of training, and of answering in batches of `batch`.
    training: float
    answering: float
    batch: int
    #: Of one run without the download, and of training alone.
    seconds: float
    training_seconds: float
    #: Bytes to fetch.
    download: float
    #: Bytes of the device.
    memory: float

    @property
    def peak(self) -> float:
        """Bytes at the highest point of all."""
        return max(self.training, self.answering)

    @property
    def fits(self) -> bool:
        """Whether the device holds it."""
        return self.peak <= self.memory

    def scaled(self, memory: float, time: float) -> Forecast:
        """The cost times what records of runs like it say."""
        return replace(
            self,
            training=self.training * memory,
            answering=self.answering * memory,
            seconds=self.seconds * time,
            training_seconds=self.training_seconds * time,
        )


@dataclass(frozen=True)
class Setting:
    """One model under one recipe on one kind of device."""

    shape: Shape
    parameters: int
    recipe: Recipe
    backend: Backend
    device: Device

    @property
    def number(self) -> int:
        """Bytes of a computed number."""
        half = self.device == "cuda" and self.recipe.precision != "fp32"
        return 2 if half or self.recipe.precision == "bf16" else 4

    @property
    def trained(self) -> int:
        """Numbers that are trained."""
        recipe, shape = self.recipe, self.shape
        if recipe.adapter:
            return shape.adapter(recipe.rank, recipe.targets)
        if recipe.method == "freeze":  # norms and biases aside
            return shape.last_linear(recipe.last_blocks) + shape.vocabulary * shape.hidden
        return self.parameters

    @property
    def rest(self) -> int:
        """Numbers that 4 bit does not store: embeddings, head, norms."""
        return self.parameters - self.shape.linear

    def weights(self) -> float:
        """Bytes of the checkpoint's weights."""
        if not self.recipe.adapter:
            return 4 * self.parameters
        if self.recipe.method == "lora" or self.device == "mps":
            return self.number * self.parameters
        kept = self.number if self.backend == "unsloth" else 4
        return FOUR_BIT * self.shape.linear + kept * self.rest

    def training(self, tokens: int, length: int) -> float:
        """Bytes of training on so many tokens at once, in rows of `length`."""
        shape, recipe = self.shape, self.recipe
        moments = 2 if recipe.optimizer.endswith(EIGHT_BIT_OPTIMIZERS) and self.device != "mps" else 8
        added = 4 if recipe.adapter else 0
        spent = self.weights() + self.trained * (added + 4 + moments)
        layer = KEPT * self.number * self._activations(length)
        layers = shape.layers + shape.encoder_layers
        if recipe.gradient_checkpointing:
            offloaded = self.backend == "unsloth"
            layer += 0 if offloaded else layers * shape.hidden * self.number
        else:
            layer *= layers
        logits = LOGITS * 4 * tokens
        if self.backend == "unsloth":
            logits = CHUNK_BYTES * min(tokens, CHUNK)
        return spent + tokens * layer + shape.vocabulary * logits + FIXED

    def answering(self, batch: int, prompt: int, new_tokens: int) -> float:
        """Bytes of answering so many prompts of `prompt` tokens at once."""
        shape = self.shape
        spent = self.weights() + (self.number * self.trained if self.recipe.adapter else 0)
        if not self.recipe.adapter and self.number < 4:
            spent += self.number * self.parameters  # a copy in the computing type
        elif self.recipe.method == "qlora" and self.backend != "unsloth" and self.number < 4:
            spent += self.number * self.rest
        cache = (prompt + new_tokens) * shape.cache * self.number
        return spent + batch * (cache + prompt * self._activations(prompt) * self.number) + FIXED

    def operations(self, tokens: float) -> float:
        """Floating-point operations of training on so many tokens: 2 a weight for each pass."""
        passes = (2 if self.recipe.method != "full" else 3) + self.recipe.gradient_checkpointing
        return 2 * passes * self.computed * tokens

    def reading(self, passes: int) -> float:
        """Bytes of weights that so many passes over all layers move; 4 bit is unpacked on the way."""
        bytes_moved = FOUR_BIT + 2 * self.number if self.recipe.method == "qlora" else self.number
        return passes * self.computed * bytes_moved

    @property
    def computed(self) -> int:
        """Numbers that every token is multiplied with: the linear layers and the head."""
        return self.shape.linear + self.shape.vocabulary * self.shape.hidden

    def _activations(self, length: int) -> int:
        return self.shape.activations + (2 * self.shape.heads * length if self.shape.eager else 0)


def setting(
    spec: ModelSpec,
    recipe: Recipe,
    backend: Backend,
    device: Device,
    config: Mapping[str, Any] | None = None,
) -> Setting | None:
    """The setting of a model; none where neither its spec nor `config` describes its shape."""
    shape = shape_of(config or spec.config)
    return None if shape is None else Setting(shape, spec.parameters, recipe, backend, device)


def cost(
    what: Setting,
    contract: Contract,
    memory: float,
    card: Card | None = None,
    cores: int = 1,
    example_tokens: float = EXAMPLE_TOKENS,
    stored: int = 2,
) -> Forecast:
    """What one run takes on a card, or on so many cores of a CPU with `memory` bytes."""
    micro, length = what.recipe.micro_batch, contract.max_length
    new_tokens = contract.decoding.max_new_tokens
    prompt = length if what.shape.encoder_layers else length - new_tokens
    batch = contract.decoding.batch
    if contract.eval_limit:
        batch = min(batch, contract.eval_limit)
    while batch > 1 and what.answering(batch, prompt, new_tokens) > memory:
        batch //= 2
    mean = min(example_tokens, length)
    tokens = contract.budget.examples * mean
    answers = contract.eval_limit or 1000
    sides = 2 if contract.budget.steps else 1  # what is not trained answers once
    steps = sides * math.ceil(answers / batch) * new_tokens
    read = sides * answers * (mean / 2 + new_tokens)
    if card is None:
        training = what.operations(tokens) / (CORE * cores)
        answering = 2 * what.computed * read / (CORE * cores)
    else:
        passes = 2 + what.recipe.gradient_checkpointing
        training = what.operations(tokens) / (EFFICIENCY * card.peak)
        training += contract.budget.examples // micro * what.reading(passes) / card.bandwidth
        answering = steps * (what.reading(1) / card.bandwidth + STEP * what.shape.layers)
    return Forecast(
        training=what.training(micro * length, length) if contract.budget.steps else 0.0,
        answering=what.answering(batch, prompt, new_tokens),
        batch=batch,
        seconds=training + answering + START,
        training_seconds=training,
        download=what.parameters * stored,
        memory=memory,
    )
