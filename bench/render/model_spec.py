"""A model's spec as a TOML file to change: every key of the recipe with its value and what else it may be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.spec import ModelSpec

#: Key of a recipe -> what else it may be.
CHOICES = {
    "method": "full, freeze (the last blocks), lora, or qlora (lora over 4-bit weights)",
    "learning_rate": "the peak; `bench tune` tries some on the validation questions",
    "schedule": "linear, cosine, constant, constant_with_warmup",
    "warmup": "part of the optimizer steps",
    "weight_decay": "",
    "optimizer": "as transformers names them; adamw_8bit needs a quarter of the memory",
    "max_grad_norm": "0 does not clip",
    "micro_batch": "examples a forward pass; must divide the budget's effective batch",
    "rank": "of an adapter",
    "alpha": "an adapter counts alpha / rank times",
    "dropout": "of an adapter",
    "targets": 'or names of modules, as in ["q_proj", "v_proj"]',
    "precision": "auto, bf16, fp16, fp32",
    "gradient_checkpointing": "true saves memory and costs time",
}
HEAD = """\
# A model for `bench run --models {name}`. The facts were read from the checkpoint; `bench check` holds them
# against it. Only [recipe] is a choice: what it does not say (budget, lengths, template, seeds) is the
# contract's, equal for all models.
"""
COPIED = """\
# A copy of the registered model '{name}', to change. Only [recipe] is a choice; the rest are facts.
"""


def copied(name: str, text: str) -> str:
    """A registered model's file under another name."""
    return COPIED.format(name=name) + text


def toml(spec: ModelSpec, positions: int | None = None, chat_template: bool = False) -> str:
    """The file of a spec, with comments; `positions` and whether it has a chat template are remarked."""
    lines = [HEAD.format(name=spec.name), *_facts(spec, positions, chat_template), "", "[recipe]"]
    recipe = {key: value for key, value in dict(spec.recipe).items() if key in CHOICES}
    pairs = [(f"{key} = {_value(value)}", CHOICES[key]) for key, value in recipe.items()]
    lines += _commented(pairs)
    if spec.config:
        lines += ["", "[config]  # what decides its size, as published: `bench plan` reckons with it"]
        lines += [f"{key} = {_value(value)}" for key, value in spec.config.items()]
    return "\n".join(lines) + "\n"


def _facts(spec: ModelSpec, positions: int | None, chat_template: bool) -> Iterator[str]:
    local = spec.checkpoint.startswith((".", "/"))
    if not local:
        where = "of the hub"
    else:
        where = "a folder or GGUF file of yours; a relative path starts at this file's folder"
    pairs = [(f"checkpoint = {_value(spec.checkpoint)}", where)]
    if not local:
        pairs.append((f"revision = {_value(spec.revision)}", "its commit: the same weights for ever"))
    unknown = "say which; it stands on the board" if spec.licence in ("unknown", "see the hub") else ""
    pairs.append((f"licence = {_value(spec.licence)}", unknown))
    pairs += [
        (f"{key} = {_value(getattr(spec, key))}", "") for key in ("family", "architecture", "objective")
    ]
    pairs.append((f"parameters = {spec.parameters:_}", ""))
    if spec.gated:
        pairs.append(("gated = true", "the hub asks to accept its licence first"))
    if chat_template:
        pairs.append(('# template = "chat"', "it has a chat template; such a row is badged"))
    pairs.append((f"source = {_value(spec.source)}", "why the recipe is as it is, for the next reader"))
    yield from _commented(pairs)
    if positions:
        yield f"# It has {positions} positions: --max-length may not be greater."


def _commented(pairs: list[tuple[str, str]]) -> Iterator[str]:
    wide = max(len(text) for text, why in pairs if why and len(text) <= 50)
    for text, why in pairs:
        yield f"{text:<{wide}}  # {why}" if why else text


def _value(value: Any) -> str:
    """As TOML writes it; a string's escapes are JSON's."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(str(key))} = {_value(held)}' for key, held in value.items())}}}"
    return f"{value:_}" if isinstance(value, int) else repr(float(value))
