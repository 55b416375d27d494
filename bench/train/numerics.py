"""In which types a run computes and stores its numbers, by what the device can do.

bfloat16 needs a GPU of compute capability 8.0. An older one (V100, T4) emulates it slowly, and torch
counts the emulation as support, so the capability is asked for and not `is_bf16_supported`. Such a GPU
computes in float16 with loss scaling, which needs the trained weights in float32.

A recipe that asks for what a device cannot do falls back, and the reason goes into the record. Which
types a model really has is read from its weights, since TRL casts adapters by itself.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import torch

from bench.run.identity import Run
from bench.spec import Device

#: The first compute capability whose GPUs have bfloat16 in hardware.
BFLOAT16_FROM = (8, 0)
#: 8-bit optimizer -> its plain form; bitsandbytes has no kernels for Apple's GPUs.
PLAIN_OPTIMIZERS = {
    "adamw_8bit": "adamw_torch",
    "adamw_bnb_8bit": "adamw_torch",
    "paged_adamw_8bit": "adamw_torch",
    "rmsprop_bnb_8bit": "rmsprop",
}
Choice = Literal["auto", "bf16", "fp16", "fp32"]


class Types(NamedTuple):
    """The types of a model's weights as they are, by name."""

    #: Of the weights that are trained beside the checkpoint's; none without an adapter.
    adapter_type: str | None
    #: Of the checkpoint's own weights, the most frequent first; a 4-bit weight by its code.
    stored_type: str


def computing_type(
    choice: Choice, device: Device, capability: tuple[int, int] | None
) -> tuple[torch.dtype, str | None]:
    """The type to compute in, and why it is not the type that the recipe chose.

    `capability` is the GPU's compute capability; none where there is no CUDA GPU.
    """
    if choice == "fp32" or (choice == "auto" and device != "cuda"):
        return torch.float32, None
    if device == "mps":
        return torch.float32, f"float32 instead of {choice}: mixed precision is not used on mps"
    if device == "cpu":
        if choice == "fp16":
            return torch.float32, "float32 instead of fp16: a CPU has no loss scaling"
        return torch.bfloat16, None
    if choice == "fp16":
        return torch.float16, None
    if capability is not None and capability >= BFLOAT16_FROM:
        return torch.bfloat16, None
    if choice == "auto" or capability is None:
        return torch.float16, None
    has = ".".join(map(str, capability))
    return torch.float16, f"float16 instead of bf16: bfloat16 needs compute capability 8.0, the GPU has {has}"


def precision(run: Run) -> torch.dtype:
    """The type that a run computes in."""
    return chosen_type(run)[0]


def chosen_type(run: Run) -> tuple[torch.dtype, str | None]:
    """The type that a run computes in here, and the reason of a fallback."""
    capability = torch.cuda.get_device_capability() if run.device == "cuda" else None
    return computing_type(run.recipe.precision, run.device, capability)


def optimizer(run: Run) -> tuple[str, str | None]:
    """The optimizer that a run uses here, and why it is not the recipe's."""
    name = run.recipe.optimizer
    if run.device == "mps" and name in PLAIN_OPTIMIZERS:
        plain = PLAIN_OPTIMIZERS[name]
        return plain, f"{plain} instead of {name}: no 8-bit optimizers on mps"
    return name, None


def keep_trained_weights_in_float32(model: Any) -> None:
    """Undo a cast of the trained weights, whose gradients loss scaling could not unscale."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def types(model: Any, adapter: bool) -> Types:
    """The types that a model's weights have, read from the weights."""
    trained, stored = Counter[str](), Counter[str]()
    for parameter in model.parameters():
        beside = adapter and parameter.requires_grad
        name, count = _type_of(parameter)
        (trained if beside else stored)[name] += count
    return Types(_names(trained) or None, _names(stored))


def _type_of(parameter: Any) -> tuple[str, int]:
    """The type of a weight and how many numbers it stands for; 4-bit weights are packed."""
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        return str(state.quant_type), int(state.shape.numel())
    return str(parameter.dtype).removeprefix("torch."), int(parameter.numel())


def _names(counts: Counter[str]) -> str:
    return ", ".join(name for name, _ in counts.most_common())
