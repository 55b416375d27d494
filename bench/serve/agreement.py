"""How often a model's next token is the one that a recorded answer goes on with.

Free-running answers part for good at the first close call, so a conversion that rounds a little can change
most texts and no score. With the recorded answer as its prefix, every token is judged for itself: rounding
moves few of them, other weights move many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.run.answers.generate import padded
from bench.spec import Objective

#: Sequences in one forward pass; logits of a large vocabulary are large.
BATCH = 8


def agreement(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], answers: Sequence[str], objective: Objective
) -> float:
    """The share of the answers' tokens that are the model's first choice at their place; 1 without tokens."""
    agreeing = total = 0
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    pairs = [
        (prompt, _tokens(tokenizer, answer, objective))
        for prompt, answer in zip(prompts, answers, strict=True)
        if answer
    ]
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        with torch.inference_mode():
            choices = _choices(model, batch, pad, objective)
        for (_, answer), chosen in zip(batch, choices, strict=True):
            agreeing += sum(a == b for a, b in zip(answer, chosen, strict=True))
            total += len(answer)
    return agreeing / total if total else 1.0


def _tokens(tokenizer: Any, answer: str, objective: Objective) -> list[int]:
    if objective == "seq2seq":
        ids = list(tokenizer(text_target=answer)["input_ids"])
        return ids[:-1] if ids[-1:] == [tokenizer.eos_token_id] else ids
    # After a line break, as behind a prompt: SentencePiece's first token of a text begins with a space.
    begun, whole = (tokenizer(f"\n{text}", add_special_tokens=False)["input_ids"] for text in ("", answer))
    if whole[: len(begun)] == begun:
        return list(whole[len(begun) :])
    return list(tokenizer(answer, add_special_tokens=False)["input_ids"])


def _choices(
    model: Any, batch: Sequence[tuple[list[int], list[int]]], pad: int, objective: Objective
) -> list[list[int]]:
    """For each pair of prompt and answer the model's first choice at every place of the answer."""
    if objective == "seq2seq":
        ids, mask = padded([prompt for prompt, _ in batch], pad, left=False)
        labels, _ = padded([answer for _, answer in batch], pad, left=False)
        output = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            labels=labels.to(model.device),
        )
        starts = [0] * len(batch)
    else:
        ids, mask = padded([prompt + answer for prompt, answer in batch], pad, left=False)
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        starts = [len(prompt) - 1 for prompt, _ in batch]
    rows = output.logits.argmax(-1).tolist()
    return [
        row[start : start + len(answer)] for row, start, (_, answer) in zip(rows, starts, batch, strict=True)
    ]
