"""Holds a tokenizer's end token against the checkpoint's configuration.

Answers are trained to end with the tokenizer's end token and generation stops at it. Where a
tokenizer names another token than the checkpoint was trained with, answers are learnt to end
with a foreign token, and nothing fails. The configuration is taken as right where it names one
special token; otherwise the tokenizer stays as it is, and the sentence says so.
"""

from __future__ import annotations

from typing import Any


def reconcile(tokenizer: Any, model: Any) -> str | None:
    """Repair the end token of `tokenizer` where that is unambiguous.

    Returns a sentence about the disagreement, none where there is none.
    """
    configured = _configured(model)
    if not configured or tokenizer.eos_token_id in configured:
        return None
    before = f"the tokenizer's end token was {_quoted(tokenizer.eos_token)}"
    if tokenizer.eos_token is None:
        before = "the tokenizer had no end token"
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    if len(configured) == 1 and configured <= special:
        (end,) = configured
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
        return (
            f"{before}; the checkpoint's config says {_quoted(tokenizer.eos_token)} (id {end}), used instead"
        )
    names = ", ".join(
        f"{_quoted(tokenizer.convert_ids_to_tokens(id) if id < len(tokenizer) else None)} (id {id})"
        for id in sorted(configured)
    )
    return f"{before}, left as it is; the checkpoint's config says {names}, which is not one special token"


def _configured(model: Any) -> set[int]:
    """Every end token that the model's configuration or its generation configuration names."""
    ids: set[int] = set()
    for config in (model.config, getattr(model, "generation_config", None)):
        end = getattr(config, "eos_token_id", None)
        ids |= set(end) if isinstance(end, list | tuple) else set() if end is None else {end}
    return ids


def _quoted(token: str | None) -> str:
    return f"'{token}'" if token is not None else "no token"
