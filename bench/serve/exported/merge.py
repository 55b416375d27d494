"""An adapter's weights added to its base's, as one plain checkpoint.

What is added to is the base that the adapter was trained on. For QLoRA that is the 4-bit base: its weights
are dequantised first, because adding the adapter to the full-precision weights gives a model that was
never trained and never scored, and merging in 4 bit rounds the adapter away. Sums are made in float32 and
rounded once, to the type that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from bench.run.answers.generate import greedy
from bench.serve.engine import Engine
from bench.serve.origin import Origin
from bench.train import adapter as adapters
from bench.train.load import Loaded
from bench.train.numerics import precision

Type = Literal["auto", "bf16", "fp16", "fp32"]
TYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def type_of(choice: Type, engine: Engine) -> torch.dtype:
    """The type to write: the one that the run computed in, unless another is chosen."""
    return precision(engine.run) if choice == "auto" else TYPES[choice]


def merged(engine: Engine, dtype: torch.dtype) -> Any:
    """A plain transformers model on the CPU, its weights in `dtype`, that answers as the run does."""
    with engine.on("tuned") as loaded:
        if loaded.adapter:
            plain = _plain(engine.place, dtype)
            for name, weight in sums(loaded, engine.adapter):
                module = plain.get_submodule(name)
                assert module.weight.shape == weight.shape, name
                module.weight.data = weight.to(dtype).cpu()
        else:
            plain = loaded.model.to(dtype)
        plain.generation_config = generation_config(loaded, engine)
    return plain


def generation_config(loaded: Loaded, engine: Engine) -> Any:
    """The contract's decoding, as a generation config of the model's own."""
    tokenizer = loaded.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return greedy(loaded.model, tokenizer, engine.run.contract.decoding, pad)


def sums(loaded: Loaded, adapter: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Module name -> base weight plus the adapter's, in float32; 4-bit weights without an adapter too."""
    from peft.tuners.lora import LoraLayer

    tuned = loaded.model.base_model.model
    wrapped: set[str] = set()
    for name, module in tuned.named_modules():
        if isinstance(module, LoraLayer):
            wrapped.add(f"{name}.base_layer")
            weight = _dequantised(module.get_base_layer().weight)
            yield name, weight + module.get_delta_weight(adapter).float()
        elif name not in wrapped and _is_quantised(getattr(module, "weight", None)):
            yield name, _dequantised(module.weight)


def _dequantised(weight: Any) -> torch.Tensor:
    if not _is_quantised(weight):
        return weight.detach().float()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state).float()


def _is_quantised(weight: Any) -> bool:
    return getattr(weight, "quant_state", None) is not None


def _plain(place: Origin, dtype: torch.dtype) -> Any:
    """The base in `dtype`, unquantised."""
    seq2seq = place.run.model.objective == "seq2seq"
    auto = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    return auto.from_pretrained(**source(place), dtype=dtype, use_safetensors=True, trust_remote_code=False)


def source(place: Origin) -> dict[str, str | None]:
    """By which name transformers loads the base, and at which commit."""
    checkpoint, local = place.run.checkpoint, place.checkpoint
    if local is None:
        return {"pretrained_model_name_or_path": checkpoint.source, "revision": checkpoint.revision}
    return {"pretrained_model_name_or_path": str(adapters.loadable(local, checkpoint)), "revision": None}
