"""Free-running greedy generation under the contract, whatever the checkpoint ships.

A checkpoint's generation config (beams, minimum length, length penalty, n-gram blocks, forced
tokens) is replaced as a whole, because `generate` fills what a caller leaves unset from it.
What remains of it are the ids without which the architecture cannot decode: beginning, end,
padding, decoder start.

Decoder-only prompts are padded on the left, encoder inputs on the right (BART counts positions
from the left). Batches are formed by length, and the cut between prompt and answer is by token
position, never by searching the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from bench.spec import Decoding, Objective


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt."""

    text: str
    #: New tokens, the end token included.
    tokens: int
    #: True where the limit of new tokens came before an end token.
    truncated: bool


def complete(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    objective: Objective,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Completion]:
    """One completion per prompt (token ids), in the prompts' order."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    config = greedy(model, tokenizer, decoding, pad)
    shipped = model.generation_config
    training = model.training
    model.eval()
    model.generation_config = config
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    completions: dict[int, Completion] = {}
    try:
        for start in range(0, len(order), decoding.batch):
            batch = order[start : start + decoding.batch]
            ids, mask = padded([prompts[i] for i in batch], pad, left=objective == "causal")
            with torch.inference_mode():
                output = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    generation_config=config,
                )
            skipped = ids.shape[1] if objective == "causal" else 1
            for i, row in zip(batch, output[:, skipped:].tolist(), strict=True):
                completions[i] = _completion(row, tokenizer)
            progress(len(completions), len(prompts))
    finally:
        model.generation_config = shipped
        model.train(training)
    return [completions[i] for i in range(len(prompts))]


def greedy(model: Any, tokenizer: Any, decoding: Decoding, pad: int) -> GenerationConfig:
    """The contract's decoder settings with the ids that this model needs."""
    ids = {}
    if model.config.is_encoder_decoder:
        ids["decoder_start_token_id"] = (
            model.generation_config.decoder_start_token_id
            if model.generation_config.decoder_start_token_id is not None
            else model.config.decoder_start_token_id
        )
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=decoding.max_new_tokens,
        min_new_tokens=None,
        use_cache=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=pad,
        **ids,
    )


def padded(rows: Sequence[list[int]], pad: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask of shape (rows, longest row)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row)
        mask[number, place] = 1
    return ids, mask


def _completion(row: list[int], tokenizer: Any) -> Completion:
    end = tokenizer.eos_token_id
    ended = end in row
    kept = row[: row.index(end)] if ended else row
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Completion(text=text.strip(), tokens=len(kept) + ended, truncated=not ended)
