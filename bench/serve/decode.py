"""Answers of a batch, token by token: streamed, stopped, sampled and given up row by row.

A run's answers are made by `bench.run.answers.generate`, which hands them out when all are finished. Here
every row may end for itself: at its end token, its own limit, a stop text, or because nobody waits for it
any more. Decoding stays the run's: the same generation settings, the same padding, greedy.

A row that asks for a temperature is sampled by the Gumbel-max trick (Gumbel 1954; Maddison, Tarlow and
Minka 2014): the largest of logits plus Gumbel noise is distributed as a softmax sample. The noise comes
from the row's own seed, so its answer does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from bench.run.answers.generate import greedy, padded
from bench.serve.pieces import GrowingText
from bench.spec import Decoding, Objective
from bench.train.load import Loaded

Finish = Literal["stop", "length", "cancelled"]


def _nobody(what: object) -> None:
    """Take no notice."""


@dataclass(frozen=True)
class Ask:
    """One prompt and how its answer is to be made."""

    #: Token ids.
    prompt: list[int]
    max_new_tokens: int
    stops: tuple[str, ...] = ()
    #: 0 is greedy.
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    #: Called with each piece of text as it becomes certain.
    hear: Callable[[str], None] = field(default=_nobody, compare=False)
    #: Called once, as soon as this answer is finished, however long the rest of the batch takes.
    done: Callable[[Reply], None] = field(default=_nobody, compare=False)
    #: Whether nobody waits any longer; asked before every token.
    cancelled: Callable[[], bool] = field(default=lambda: False, compare=False)


@dataclass(frozen=True)
class Reply:
    """What was written after a prompt."""

    text: str
    #: New tokens, the end token included.
    tokens: int
    finish: Finish


def decode(loaded: Loaded, asks: Sequence[Ask], objective: Objective) -> list[Reply]:
    """One answer per ask, all made in one batch."""
    model, tokenizer = loaded.model, loaded.tokenizer
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    most = max(ask.max_new_tokens for ask in asks)
    config = greedy(model, tokenizer, Decoding(max_new_tokens=most), pad)
    ids, mask = padded([ask.prompt for ask in asks], pad, left=objective == "causal")
    rows = [_Row(ask, tokenizer) for ask in asks]
    sampled = any(ask.temperature > 0 for ask in asks)
    shipped, model.generation_config = model.generation_config, config
    try:
        with torch.inference_mode():
            model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([_Watch(rows)]),
                logits_processor=LogitsProcessorList([_Sampled(asks)] if sampled else []),
            )
    finally:
        model.generation_config = shipped
    return [row.answer() for row in rows]


class _Row:
    """One answer in the making."""

    def __init__(self, ask: Ask, tokenizer: Any) -> None:
        self.ask = ask
        self._end = tokenizer.eos_token_id
        self._pieces = GrowingText(tokenizer, ask.stops)
        self._text: list[str] = []
        self._tokens = 0
        self._answer: Reply | None = None

    def take(self, id: int) -> bool:
        """Take up the newest token; whether the answer is finished."""
        if self._answer is None:
            self._tokens += 1
            if id == self._end:
                self._close("stop")
            elif self.ask.cancelled():
                self._close("cancelled")
            else:
                self._say(self._pieces.add(id))
                if self._pieces.stopped:
                    self._close("stop")
                elif self._tokens >= self.ask.max_new_tokens:
                    self._close("length")
        return self._answer is not None

    def answer(self) -> Reply:
        """The answer; one that no rule ended has reached the limit."""
        return self._answer or self._close("length")

    def _close(self, finish: Finish) -> Reply:
        self._say(self._pieces.end())
        self._answer = Reply("".join(self._text), self._tokens, finish)
        self.ask.done(self._answer)
        return self._answer

    def _say(self, piece: str) -> None:
        if piece:
            self._text.append(piece)
            self.ask.hear(piece)


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Shows every row its newest token and ends the rows that are finished."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        newest = input_ids[:, -1].tolist()
        done = [row.take(id) for row, id in zip(self.rows, newest, strict=True)]
        return torch.tensor(done, device=input_ids.device)


class _Sampled(LogitsProcessor):  # type: ignore[misc]
    """Adds a row's own Gumbel noise to its logits, so that the greedy choice is a sample."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self.asks = asks
        self.noise = [torch.Generator().manual_seed(ask.seed) for ask in asks]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        for row, (ask, noise) in enumerate(zip(self.asks, self.noise, strict=True)):
            if ask.temperature > 0:
                logits = _nucleus(scores[row].float() / ask.temperature, ask.top_p)
                uniform = torch.rand(logits.shape, generator=noise, dtype=torch.float64)
                gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
                scores[row] = (logits + gumbel.to(logits.device)).to(scores.dtype)
        return scores


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits whose least likely tokens, beyond a probability of `top_p` in all, are minus infinity."""
    if top_p >= 1:
        return logits
    ordered, places = logits.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    return logits.index_fill(-1, places[before >= top_p], float("-inf"))
