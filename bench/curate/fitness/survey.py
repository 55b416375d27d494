"""A prepared data set described: how long its texts are, how much a contract cuts, and what was near what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.curate.fitness.checks import Limits
from bench.data import leaks, prepare
from bench.data.prepare import Prepared
from bench.prompt import render
from bench.spec import DatasetSpec, Example


@dataclass(frozen=True)
class Spread:
    """Lengths of one field: the 5th, 50th and 95th percentile, and the greatest."""

    low: int
    middle: int
    high: int
    most: int


@dataclass(frozen=True)
class Survey:
    """Lengths by part and field, and what the contract's limits cut."""

    #: (part, field) -> words, and tokens where a tokenizer was given.
    words: dict[tuple[str, str], Spread]
    tokens: dict[tuple[str, str], Spread]
    #: Training examples that are longer than a sequence may be, test prompts likewise, test answers that are
    #: longer than what is generated.
    cut: dict[str, int]


def parts_of(prepared: Prepared) -> dict[str, tuple[Example, ...]]:
    """Part -> its examples, in the order in which they are shown."""
    return {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}


def survey(prepared: Prepared, limits: Limits, max_length: int, template: str = "qa") -> Survey:
    """The lengths of every part, and how much of it a contract cuts."""
    words: dict[tuple[str, str], Spread] = {}
    tokens: dict[tuple[str, str], Spread] = {}
    for part, examples in parts_of(prepared).items():
        for field, texts in _fields(examples).items():
            if texts:
                words[part, field] = _spread(texts, lambda text: len(text.split()))
                if limits.tokens:
                    tokens[part, field] = _spread(texts, limits.tokens)
    if prepared.is_text:
        over = sum(limits.length(passage.answers[0]) >= max_length for passage in prepared.train)
        return Survey(words, tokens, {f"passages longer than {max_length} tokens": over})
    room = max_length - limits.max_new_tokens
    cut = {
        f"training examples longer than {max_length} tokens": sum(
            limits.length(render(e, template) + e.answers[0]) >= max_length for e in prepared.train
        ),
        f"test prompts longer than {room} tokens": sum(
            limits.length(render(e, template)) > room for e in prepared.test
        ),
        f"test answers longer than the {limits.max_new_tokens} tokens that are generated": sum(
            limits.length(e.answers[0]) > limits.max_new_tokens for e in prepared.test
        ),
    }
    return Survey(words, tokens, cut)


def near_pairs(spec: DatasetSpec, most: int) -> tuple[int, list[tuple[str, str]]]:
    """Training rows that are a held-out one in another spelling: how many, and some with its question.

    They are the rows that preparation drops for it; the other leaks are counted there.
    """
    parts = prepare.split(prepare.examples_of(spec), spec)
    held_out = parts["test"] + parts["validation"]
    groups = {example.group for example in held_out}
    candidates = [example for example in parts["train"] if example.group not in groups]
    found = leaks.HeldOut(held_out).leaks(candidates)
    pairs = [(candidates[n].question, leak.held_out.question) for n, leak in sorted(found.items())]
    return len(pairs), pairs[:most]


def _fields(examples: Sequence[Example]) -> dict[str, list[str]]:
    if any(example.is_text for example in examples):
        return {"text": [example.answers[0] for example in examples]}
    return {
        "question": [example.question for example in examples],
        "context": [example.context for example in examples if example.context],
        "answer": [example.answers[0] for example in examples],
    }


def _spread(texts: Iterable[str], length: Callable[[str], int]) -> Spread:
    lengths = sorted(map(length, texts))
    last = len(lengths) - 1
    return Spread(lengths[last // 20], lengths[last // 2], lengths[last - last // 20], lengths[last])
