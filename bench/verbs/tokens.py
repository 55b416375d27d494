"""A model's tokenizer, for verbs that count tokens without loading the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import devices, registry
from bench.launch import preflight


def tokenizer_of(name: str) -> tuple[Any, str]:
    """The tokenizer of a model, and whose it is in words.

    Without a GPU a registered model is represented by its twin, as in runs. Raises `RequestError`.
    """
    spec = registry.find_model(name)
    device = devices.here().device
    mini = device != "cuda" and spec.twin is not None and not Path(spec.checkpoint).is_absolute()
    _, folder = preflight.checkpoint(spec, "mini" if mini else "full", device)
    from transformers import AutoTokenizer  # here: slow to import

    source, options = (folder, {}) if folder else (spec.checkpoint, {"revision": spec.revision})
    if folder is not None and folder.is_file():
        source, options = folder.parent, {"gguf_file": folder.name}
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    return tokenizer, f"{spec.name}'s twin" if mini else spec.name


def counter_of(name: str | None) -> tuple[Callable[[str], int] | None, str]:
    """How many tokens a text is for a model, and which model that is; nothing and "" where none is named.

    Tokens that every text begins or ends with do not count.
    """
    if name is None:
        return None, ""
    tokenizer, whose = tokenizer_of(name)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]), whose
