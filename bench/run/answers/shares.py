"""Answers of a run that several processes share: the first asks, and each of them answers its part.

The prompts are dealt like cards, the longest first, so all processes have about as much to do. In float32 an
answer does not depend on who is computed beside it, so these are the answers of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from bench.run.answers.generate import Completion
from bench.train import distributed

#: Answers prompts (token ids), as the tuned or as the untuned model.
Answer = Callable[[Sequence[list[int]], bool], list[Completion]]


def ask(prompts: Sequence[list[int]], tuned: bool, answer: Answer) -> list[Completion]:
    """One completion per prompt, in order, from all processes of the run; called by the first of them."""
    if distributed.count() == 1:
        return answer(prompts, tuned)
    distributed.said({"prompts": prompts, "tuned": tuned})
    return _answered(prompts, tuned, answer)


def dismiss() -> None:
    """Tell the others that nothing more is asked for now."""
    if distributed.count() > 1:
        distributed.said(None)


def help_out(answer: Answer) -> None:
    """What the other processes do while the first asks: answer their parts until they are dismissed."""
    while (question := distributed.said()) is not None:
        _answered(question["prompts"], question["tuned"], answer)


def _answered(prompts: Sequence[list[int]], tuned: bool, answer: Answer) -> list[Completion]:
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    hands = [order[rank :: distributed.count()] for rank in range(distributed.count())]
    own = answer([prompts[i] for i in hands[distributed.own_rank()]], tuned)
    parts = distributed.collected([asdict(completion) for completion in own])
    answers = {
        i: Completion(**fields)
        for hand, part in zip(hands, parts, strict=True)
        for i, fields in zip(hand, part, strict=True)
    }
    return [answers[i] for i in range(len(prompts))]
