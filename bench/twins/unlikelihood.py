"""The last part of a pretraining: unlikelihood training against repetition.

A model this small that decodes greedily soon repeats itself until it is cut off ("is used to be used
to be used to be"). Its score then depends mostly on where it is cut. Sequence-level unlikelihood training
(Welleck et al., Neural Text Generation with Unlikelihood Training, ICLR 2020) reduces this: after every
step on documents the model decodes a batch of prompts greedily, and each token that completes a trigram
which the answer already holds is made less likely. It costs a few hundredths of a nat of validation loss,
which every card states. In one trial on Llama-3.1's twin, three times the weight at a higher rate for half
as many steps again raised ROUGE-L before tuning (0.114 to 0.123 on validation questions of course-qa) and
not after it (0.155, 0.156).

It starts from the weights as they were saved, so that it can be repeated from a folder alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from bench.twins import pretrain
from bench.twins.batches import batches
from bench.twins.corpus import Document
from bench.twins.loss import question_and_answer

#: Tokens of documents and of sampled answers with their prompts, together.
TOKENS = 900_000
#: Prompts a step, all of one length, and the longest answer to one.
ROWS, ANSWER = 64, 48
#: Weight of the unlikelihood of a token beside the likelihood of one, and what counts as repeated.
WEIGHT, NGRAM = 1.0, 3
#: Share of the pretraining's peak rates at which it begins, and its steps of warm-up.
RATE, WARMUP = 0.3, 10


@dataclass(frozen=True)
class UnlikelihoodResult:
    """Cost and effect; `repeated` is the share of an answer's tokens that complete a trigram again."""

    tokens: int
    steps: int
    repeated_before: float
    repeated_after: float


@dataclass(frozen=True)
class SampledAnswers:
    """A batch of the model's own answers; `inputs` are the model inputs that predict them, in order."""

    inputs: dict[str, Tensor]
    #: (rows, tokens)
    answers: Tensor
    live: Tensor
    repeated: Tensor


def train_against_repetition(
    model: PreTrainedModel, train: Sequence[Document], end: int, seed: int, say: Callable[[str], None]
) -> UnlikelihoodResult:
    """Train `model` in place for `TOKENS` tokens; `end` is the token that ends an answer."""
    chance = random.Random(f"unlikelihood:{seed}")
    optimizers = pretrain.optimizers(model)
    stream = batches(model.config, train, seed + 1, plain=True)
    prompts = _prompts(model, train)
    tokens = 0
    shares: list[float] = []
    while tokens < TOKENS:
        micro = next(stream)
        loss = pretrain.accumulate(model, micro)
        sampled = sample_answers(model, _drawn(prompts, chance), end)
        accumulate(model, sampled)
        fall = 1 - (1 - pretrain.LAST) * tokens / TOKENS
        pretrain.update(model, optimizers, RATE * fall * min(1.0, (len(shares) + 1) / WARMUP))
        read = sum(value.numel() for value in sampled.inputs.values())
        tokens += read + sum(batch.tokens for batch in micro)
        shares.append(float(sampled.repeated.sum() / sampled.live.sum()))
        if len(shares) % 10 == 0:
            say(f"unlikelihood at {tokens:,} loss {loss:.3f} repeated {fmean(shares[-10:]):.0%}")
    return UnlikelihoodResult(tokens, len(shares), fmean(shares[:5]), fmean(shares[-20:]))


def _prompts(model: PreTrainedModel, train: Sequence[Document]) -> list[list[list[int]]]:
    """Prompts by length, where there are enough of one; a length stands as often as it has prompts."""
    config = model.config
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    for item in train:
        ids = list(item.ids[: item.cut])
        if config.is_encoder_decoder:
            ids = question_and_answer(item, config.bos_token_id, config.eos_token_id)[0]
        by_length[len(ids)].append(ids)
    return [like for like in by_length.values() if len(like) >= ROWS for _ in like]


def _drawn(prompts: Sequence[list[list[int]]], chance: random.Random) -> Tensor:
    return torch.tensor(chance.sample(chance.choice(prompts), ROWS))


def sample_answers(model: PreTrainedModel, prompts: Tensor, end: int) -> SampledAnswers:
    """Greedy answers to (rows, length) prompts, whatever generation config the twin ships."""
    config: Any = model.config
    shipped = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=ANSWER, do_sample=False, eos_token_id=end, pad_token_id=end,
        bos_token_id=config.bos_token_id,
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
    )  # fmt: skip
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole: Any = model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts))
    model.train()
    model.generation_config = shipped
    if config.is_encoder_decoder:
        inputs, answers = {"input_ids": prompts, "decoder_input_ids": whole[:, :-1]}, whole[:, 1:]
    else:
        inputs, answers = {"input_ids": whole[:, :-1]}, whole[:, prompts.shape[1] :]
    live = (answers == end).cumsum(1) - (answers == end).long() == 0
    return SampledAnswers(inputs, answers, live, repeats(answers) & live)


def repeats(answers: Tensor) -> Tensor:
    """Where in (rows, tokens) a token completes an n-gram that its row held before."""
    repeated = torch.zeros_like(answers, dtype=torch.bool)
    for row, ids in enumerate(answers.tolist()):
        seen: set[tuple[int, ...]] = set()
        for place in range(NGRAM, len(ids) + 1):
            gram = tuple(ids[place - NGRAM : place])
            repeated[row, place - 1] = gram in seen
            seen.add(gram)
    return repeated


def accumulate(model: PreTrainedModel, sampled: SampledAnswers) -> None:
    """Add the gradient of -log(1 - p) over the repeated tokens, a mean over all sampled tokens."""
    if not sampled.repeated.any():
        return
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.base_model(**sampled.inputs, use_cache=False).last_hidden_state
        hidden = hidden[:, -sampled.answers.shape[1] :]
        logits = model.get_output_embeddings()(hidden[sampled.repeated]).float()
    chosen = sampled.answers[sampled.repeated][:, None]
    likely = logits.softmax(-1).gather(1, chosen).clamp(max=1 - 1e-4)
    (-torch.log1p(-likely).sum() * WEIGHT / sampled.live.sum()).backward()
