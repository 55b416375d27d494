"""The first tokens of a pretraining: two heads are shown where to look, so that a twin can copy.

To take up a word of the question, a model needs a pair of heads: one marks every position with the
token before it, a later one looks for the mark that equals the present token and reads off what
followed. Big models find this pair by themselves, with far more tokens than a twin is given: without
help, GPT-2's and Llama-3.1's twins were still at chance on copying drills (3% right) after 3.6 million
tokens, a third of a million of them drills. With the two heads' attention supervised, every twin has
more than half of the copied tokens right after 0.6 million. Nothing else is supervised: what the heads read
and write is learnt from the next token, and supervision ends when language begins.

An encoder-decoder's pair stands in the encoder's first layer and in the decoder's cross-attention.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from bench.twins.corpus import Document, jumble, spans

#: Optimizer steps, rows a step and tokens a row: 0.6 million tokens.
STEPS, ROWS, LENGTH = 280, 16, 128
WARMUP = 20


@dataclass(frozen=True)
class Drill:
    """Rows of spans out of jumbles, each (rows, length).

    `source` is what is looked at, `given` what is read, `target` what comes next; for a causal model
    `source` and `given` are the same. `weight` is 0 where the next token cannot be known.
    """

    source: Tensor
    given: Tensor
    target: Tensor
    weight: Tensor


def guide(
    model: PreTrainedModel,
    train: Sequence[Document],
    seed: int,
    update: Callable[[Tensor, float], None],
    say: Callable[[str], None],
) -> int:
    """Trains `model` on drills with two supervised heads; returns the tokens seen.

    `update` is given a loss and the share of the peak learning rate, and makes a step.
    """
    chance = random.Random(f"guidance:{seed}")
    seq2seq = bool(model.config.is_encoder_decoder)
    tokens = 0
    for step in range(STEPS):
        drill = _answered(train, chance, model.config) if seq2seq else _continued(train, chance)
        with torch.autocast("cpu", torch.bfloat16):
            attentions = _attentions(model, drill, seq2seq)
        share = drill.weight / drill.weight.sum()
        losses = cross_entropy(attentions.logits.float().transpose(1, 2), drill.target, reduction="none")
        loss = (losses * share).sum() + _looking(attentions.marking, attentions.reading, drill, share)
        update(loss, min(1.0, (step + 1) / WARMUP))
        tokens += drill.given.numel() + (drill.source.numel() if seq2seq else 0)
        if step % 25 == 24:
            right = (attentions.logits.argmax(-1) == drill.target).float()
            say(f"guided step {step + 1}: {float((right * share).sum()):.0%} of the copies are right")
    return tokens


def _looking(marking: Tensor, reading: Tensor, drill: Drill, share: Tensor) -> Tensor:
    """Minus the logarithm of the attention that falls where it should; (rows, positions, source)."""
    before = marking.diagonal(offset=-1, dim1=1, dim2=2)
    # A place to read: it holds what comes next, and the token before it is the present one.
    wanted = torch.zeros(reading.shape, dtype=torch.bool)
    wanted[:, :, 1:] = (drill.given[:, :, None] == drill.source[:, None, :-1]) & (
        drill.target[:, :, None] == drill.source[:, None, 1:]
    )
    mass = (reading * wanted).sum(-1)
    return -(before + 1e-6).log().mean() - ((mass + 1e-4).log() * share).sum()


@dataclass(frozen=True)
class _Found:
    logits: Tensor
    marking: Tensor
    reading: Tensor


def _attentions(model: PreTrainedModel, drill: Drill, seq2seq: bool) -> _Found:
    """Logits, and what the first head of each of the two layers attends to."""
    if seq2seq:
        out: Any = model(
            input_ids=drill.source, decoder_input_ids=drill.given, use_cache=False, output_attentions=True
        )
        first, second = out.encoder_attentions[0], out.cross_attentions[1]
    else:
        out = model(input_ids=drill.given, use_cache=False, output_attentions=True)
        # GPT-Neo's second layer sees only its neighbours; its third sees all.
        local = getattr(model.config, "attention_layers", ["global", "global"])[1] == "local"
        first, second = out.attentions[0], out.attentions[2 if local else 1]
    return _Found(out.logits, first[:, 0].float(), second[:, 0].float())


def _continued(train: Sequence[Document], chance: random.Random) -> Drill:
    """A jumble, and behind it spans out of it; a target that the jumble first shows weighs nothing."""
    rows, weights = [], []
    for _ in range(ROWS):
        base = jumble(train, chance, 16, 40)
        more, known = spans(base, LENGTH + 1 - len(base), chance)
        rows.append(base + more)
        weights.append([0.0] * len(base) + known)
    ids, weight = torch.tensor(rows), torch.tensor(weights)
    return Drill(ids[:, :-1], ids[:, :-1], ids[:, 1:], weight[:, 1:])


def _answered(train: Sequence[Document], chance: random.Random, config: Any) -> Drill:
    """The jumble in the encoder, spans out of it in the decoder."""
    sources, rows, weights = [], [], []
    for _ in range(ROWS):
        base = jumble(train, chance, LENGTH // 2 - 2, LENGTH // 2 - 2)
        more, known = spans(base, LENGTH // 2, chance)
        sources.append([config.bos_token_id, *base, config.eos_token_id])
        rows.append([config.decoder_start_token_id, *more])
        weights.append(known)
    ids, weight = torch.tensor(rows), torch.tensor(weights)
    return Drill(torch.tensor(sources), ids[:, :-1], ids[:, 1:], weight)
