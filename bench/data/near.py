"""Training examples that are near duplicates of held-out ones are found and counted.

A near duplicate is a pair whose question and context share 80% of their word pairs (Jaccard), or whose long
answers are equal; or a question or long answer in another spelling, as `bench.data.leaks` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.data import leaks, shape
from bench.data.alike import overlap
from bench.spec import Example

NEAR = 0.8
#: Answers of fewer words than this are equal by chance ("Paris", "Yes").
LONG_ANSWER = 8


def without_leaks(
    candidates: Sequence[Example], held_out: Sequence[Example], folded: leaks.Folded | None = None
) -> tuple[list[Example], dict[str, int]]:
    """The candidates that are no exact or near duplicate of a held-out example, and the counts.

    `folded` keeps held-out texts as they are compared, for a second call with the same ones.
    """
    groups = {example.group for example in held_out}
    answers = {a for e in held_out for a in map(shape.fold, e.answers) if a.count(" ") >= LONG_ANSWER - 1}
    reasons = [_exact(example, groups, answers) for example in candidates]
    rest = [number for number, reason in enumerate(reasons) if not reason]
    others = overlap.WordPairs([_asked(example) for example in held_out], NEAR)
    for number, near in zip(rest, others.near([_asked(candidates[n]) for n in rest]), strict=True):
        reasons[number] = "near duplicate of the held-out part" if near else ""
    dropped = Counter(filter(None, reasons))
    kept = [example for example, reason in zip(candidates, reasons, strict=True) if not reason]
    respelled = leaks.HeldOut(held_out, folded).leaks(kept)
    dropped.update(leak.reason for leak in respelled.values())
    return [example for number, example in enumerate(kept) if number not in respelled], dict(dropped)


def _exact(example: Example, groups: set[str], answers: set[str]) -> str:
    """Why an example goes whose question or long answer is a held-out one, word for word; else ""."""
    if example.group in groups:
        return "group also in the held-out part"
    if any(shape.fold(answer) in answers for answer in example.answers):
        return "answer also in the held-out part"
    return ""


def _asked(example: Example) -> str:
    return shape.fold(f"{example.question} {example.context}")
