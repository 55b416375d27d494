"""Free-running greedy generation under the contract, whatever the checkpoint ships.

A checkpoint's generation config (beams, minimum length, length penalty, n-gram blocks, forced
tokens) is replaced as a whole, because `generate` fills what a caller leaves unset from it.
What remains of it are the ids without which the architecture cannot decode: beginning, end,
padding, decoder start.

Decoder-only prompts are padded on the left, encoder inputs on the right (BART counts positions
from the left). The cut between prompt and answer is by token position, never by searching the text.
Answers that have ended leave their batch (`bench.run.answers.shrink`).

The contract's batch is an upper bound. Batches are formed by length, the longest prompts first, so what
does not fit in memory fails at once; then all prompts are answered again in batches of half the size.
Every model answers in the type that it computed in while training: the weights that training keeps in
float32 would otherwise make a cache twice as large, and the methods would not be answered alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import GenerationConfig

from bench.run.answers import shrink
from bench.spec import Decoding, Objective


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt."""

    text: str
    #: New tokens, the end token included.
    tokens: int
    #: True where the limit of new tokens came before an end token.
    truncated: bool
    #: The most prompts that were answered together: the contract's batch, or what memory allowed.
    batch: int = field(default=0, compare=False)


def complete(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    objective: Objective,
    progress: Callable[[int, int], None] = lambda done, total: None,
    dtype: torch.dtype | None = None,
    shrinks: bool = True,
) -> list[Completion]:
    """One completion per prompt (token ids), in the prompts' order.

    `dtype` is the type to compute in; none leaves the model's weights as they are. `shrinks` lets answers
    that have ended leave their batch, which kernels that hold a batch's shape cannot follow. Raises torch's
    out-of-memory error where a single prompt does not fit.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    config = greedy(model, tokenizer, decoding, pad)
    shipped = model.generation_config
    training = model.training
    model.eval()
    model.generation_config = config
    size = decoding.batch
    loop = {"custom_generate": shrink.decode} if shrinks else {}
    try:
        with computing_in(model, dtype):
            while True:
                try:
                    return _in_batches(model, tokenizer, prompts, config, objective, progress, size, loop)
                except Exception as error:
                    if size == 1 or not should_reduce_batch_size(error):
                        raise
                size = min(size, len(prompts)) // 2 or 1
                clear_device_cache(garbage_collection=True)
                print(f"answering in batches of {size}: a larger one does not fit in memory", file=sys.stderr)
    finally:
        model.generation_config = shipped
        model.train(training)


def _in_batches(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    config: GenerationConfig,
    objective: Objective,
    progress: Callable[[int, int], None],
    size: int,
    loop: Mapping[str, Any],
) -> list[Completion]:
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    completions: dict[int, Completion] = {}
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        ids, mask = padded([prompts[i] for i in batch], config.pad_token_id, left=objective == "causal")
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                **loop,
            )
        skipped = ids.shape[1] if objective == "causal" else 1
        for i, row in zip(batch, output[:, skipped:].tolist(), strict=True):
            completions[i] = _completion(row, tokenizer, size)
        progress(len(completions), len(prompts))
    return [completions[i] for i in range(len(prompts))]


@contextmanager
def computing_in(model: Any, dtype: torch.dtype | None) -> Iterator[None]:
    """Hold a model's floating-point weights in one type; 4-bit weights and buffers stay as they are."""
    originals = []
    if dtype is not None:
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.dtype != dtype and not _is_quantised(parameter):
                originals.append((parameter, parameter.data))
                parameter.data = parameter.data.to(dtype)
    try:
        yield
    finally:
        for parameter, data in originals:
            parameter.data = data


def _is_quantised(parameter: Any) -> bool:
    return getattr(parameter, "quant_state", None) is not None


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


def _completion(row: list[int], tokenizer: Any, batch: int) -> Completion:
    end = tokenizer.eos_token_id
    ended = end in row
    kept = row[: row.index(end)] if ended else row
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Completion(text.strip(), tokens=len(kept) + ended, truncated=not ended, batch=batch)
