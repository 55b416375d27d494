"""What a twin is shown at every step of its pretraining.

Packed rows for the causal families, pairs of like lengths for the encoder-decoder; each stream
goes on without end and is the same for a seed whatever the machine does, so that an interrupted
pretraining can find its place again. Which documents there are is `corpus`'s decision.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.twins import corpus
from bench.twins.corpus import Document
from bench.twins.loss import padded, question_and_answer, shifted

#: Tokens of a micro-batch (8 rows of 256 or 4 of 512: what stays in cache) and of a step.
MICRO, STEP = 2048, 4096
#: Share of copying drills among the rows: falls linearly from the first to the second number over
#: the first so many tokens, and stays there. They keep alive what `guidance` began.
DRILLS, DRILLED = (0.1, 0.02), 1_500_000
#: Share of BART's short documents that are restored from a copy with spans masked; the rest answer.
INFILLING, MASKED, SPAN = 0.35, 0.3, 3.0


@dataclass(frozen=True)
class Batch:
    """Model inputs with their targets; `weight` is 0 where nothing is to be predicted."""

    inputs: dict[str, Tensor]
    target: Tensor
    weight: Tensor
    #: Tokens read or predicted; of packed rows all, although 4% of them are filling.
    tokens: int


def batches(config: Any, train: Sequence[Document], seed: int, plain: bool = False) -> Iterator[list[Batch]]:
    """The micro-batches of every step, the same for a seed whatever the machine does.

    `plain`: documents as they are, without drills or infilling.
    """
    chance = random.Random(seed)
    if config.is_encoder_decoder:
        return _answering_and_infilling(config, train, chance, 0.0 if plain else INFILLING)
    return _next_token(train, chance, (0.0, 0.0) if plain else DRILLS)


def _next_token(
    train: Sequence[Document], chance: random.Random, drills: tuple[float, float]
) -> Iterator[list[Batch]]:
    waiting: dict[int, list[corpus.Row]] = {corpus.SHORT: [], corpus.CONTEXT: []}
    micro: list[Batch] = []
    rows, tokens = corpus.rows(train, chance), 0
    while True:
        done = min(1.0, tokens / DRILLED)
        is_drill = chance.random() < drills[0] + (drills[1] - drills[0]) * done
        row = corpus.drill(train, chance) if is_drill else next(rows)
        width = len(row[0])
        waiting[width].append(row)
        if len(waiting[width]) * width < MICRO:
            continue
        ids = torch.tensor([row[0] for row in waiting[width]])
        weight = torch.tensor([row[1] for row in waiting[width]])
        waiting[width] = []
        # One position less would break the shapes; the last one predicts nothing.
        target = torch.cat([ids[:, 1:], ids[:, :1]], 1)
        weight = torch.cat([weight[:, 1:], torch.zeros_like(weight[:, :1])], 1)
        micro.append(Batch({"input_ids": ids}, target, weight, ids.numel()))
        tokens += ids.numel()
        if len(micro) * MICRO == STEP:
            yield micro
            micro = []


def _answering_and_infilling(
    config: Any, train: Sequence[Document], chance: random.Random, infilling: float
) -> Iterator[list[Batch]]:
    """Rows of like lengths together, in few shapes; a third are documents with spans masked."""
    mask = config.vocab_size - 1
    waiting: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = {}
    while True:
        for item in corpus.epoch(train, chance):
            if chance.random() < infilling and len(item.ids) <= corpus.SHORT:
                pair = (_masked(item.ids, mask, chance), list(item.ids))
            else:
                pair = question_and_answer(item, config.bos_token_id, config.eos_token_id)
            shape = (_rounded(len(pair[0])), _rounded(len(pair[1])))
            like = waiting.setdefault(shape, [])
            like.append(pair)
            if len(like) >= max(1, STEP // sum(shape)):
                yield [_seq2seq_batch(waiting.pop(shape), shape, config)]


def _rounded(length: int) -> int:
    """A length up to the next of few: kernels are prepared anew for every shape."""
    step = 16 if length <= 64 else 32 if length <= 128 else 64
    return -(-length // step) * step


def _seq2seq_batch(part: Sequence[tuple[list[int], list[int]]], shape: tuple[int, int], config: Any) -> Batch:
    source, source_real = padded([pair[0] for pair in part], config.pad_token_id, shape[0])
    target, real = padded([pair[1] for pair in part], config.pad_token_id, shape[1])
    inputs = {
        "input_ids": source,
        "attention_mask": source_real.long(),
        "decoder_input_ids": shifted(target, config.decoder_start_token_id),
    }
    return Batch(inputs, target, real.float(), int(source_real.sum() + real.sum()))


def _masked(ids: Sequence[int], mask: int, chance: random.Random) -> list[int]:
    """BART's text infilling: spans of about three tokens, 30% of all, each replaced by one mask."""
    kept: list[int] = []
    place = 0
    while place < len(ids):
        inside = 0 < place < len(ids) - 1
        if inside and chance.random() < MASKED / SPAN:
            kept.append(mask)
            length = max(1, round(chance.expovariate(1 / SPAN)))
            place = min(place + length, len(ids) - 1)
        else:
            kept.append(ids[place])
            place += 1
    return kept
