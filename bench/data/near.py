"""Training examples that are near duplicates of held-out ones are found and counted.

A near duplicate is a pair whose question and context share 80% of their word pairs (Jaccard), or whose long
answers are equal; or a question or long answer in another spelling, as `bench.data.leaks` decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from bench.data import leaks, shape
from bench.spec import Example

NEAR = 0.8
#: Answers of fewer words than this are equal by chance ("Paris", "Yes").
LONG_ANSWER = 8


def without_leaks(
    candidates: Sequence[Example], held_out: Sequence[Example]
) -> tuple[list[Example], dict[str, int]]:
    """The candidates that are no exact or near duplicate of a held-out example, and the counts."""
    groups = {example.group for example in held_out}
    answers = {a for e in held_out for a in map(shape.fold, e.answers) if a.count(" ") >= LONG_ANSWER - 1}
    pairs = [_word_pairs(example) for example in held_out]
    frequency = Counter(pair for pairs_of in pairs for pair in pairs_of)
    # A pair of sets with Jaccard >= NEAR must share one of the rarest members (prefix filter).
    index: dict[str, list[int]] = defaultdict(list)
    for number, pairs_of in enumerate(pairs):
        for pair in _rarest(pairs_of, frequency):
            index[pair].append(number)
    kept: list[Example] = []
    dropped: Counter[str] = Counter()
    for example in candidates:
        if example.group in groups:
            dropped["group also in the held-out part"] += 1
        elif any(shape.fold(answer) in answers for answer in example.answers):
            dropped["answer also in the held-out part"] += 1
        elif _is_near(_word_pairs(example), pairs, index):
            dropped["near duplicate of the held-out part"] += 1
        else:
            kept.append(example)
    respelled = leaks.HeldOut(held_out).leaks(kept)
    dropped.update(leak.reason for leak in respelled.values())
    return [example for number, example in enumerate(kept) if number not in respelled], dict(dropped)


def _word_pairs(example: Example) -> frozenset[str]:
    words = shape.fold(f"{example.question} {example.context}").split()
    return frozenset(f"{a} {b}" for a, b in pairwise(words)) or frozenset(words)


def _rarest(word_pairs: frozenset[str], frequency: Counter[str]) -> list[str]:
    enough = len(word_pairs) - int(NEAR * len(word_pairs)) + 1
    return sorted(word_pairs, key=lambda pair: (frequency[pair], pair))[:enough]


def _is_near(word_pairs: frozenset[str], pairs: list[frozenset[str]], index: dict[str, list[int]]) -> bool:
    candidates = {number for pair in word_pairs for number in index.get(pair, ())}
    return any(len(word_pairs & pairs[n]) >= NEAR * len(word_pairs | pairs[n]) for n in candidates)
