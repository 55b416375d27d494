"""Pairs that are worth training on: supported by their passage, whole by themselves, and each asked once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.curate.pages.passages import Passage
from bench.data import shape, text
from bench.data.alike import likeness
from bench.spec import Example

#: Share of an answer's content words that its passage must hold.
SUPPORTED = 0.6
#: Words that an answer has at least.
SHORTEST = 3
#: Share of their n-grams (Jaccard) from which on two questions are one.
NEAR = 0.8
_ABOUT_TEXT = re.compile(
    r"\b(?:the|this|given|above|following|provided) (?:text|passage|article|document|author|section|page|"
    r"excerpt|paragraph|snippet)s?\b|\baccording to (?:it|the above)\b|\bmentioned (?:above|here|in)\b",
    re.IGNORECASE,
)
_FUNCTION = frozenset(
    """
    a an the and or but if of in on at to for from by with as is are was were be been being it its
    this that these those which who whom whose what when where why how not no can could may might
    will would shall should do does did has have had there their they them he she his her we our you
    your i so than then also such into about over more most very just only own same other some any
    each
    """.split()  # noqa: SIM905
)

EMPTY = "pair without a question or an answer"
UNSUPPORTED = "pair whose answer its passage does not support"
ABOUT_TEXT = "pair that asks about the text"
TOO_SHORT = f"pair whose answer has fewer than {SHORTEST} words"
REPEATED = "pair whose question is there already"


@dataclass(frozen=True)
class Pair:
    """A question and its answer, made of a passage."""

    passage: Passage
    question: str
    answer: str


def examples(pairs: Iterable[Pair]) -> tuple[list[Example], Counter[str]]:
    """The examples of the pairs that hold, and reason -> pairs for the others.

    All of one passage share a group.
    """
    counts: Counter[str] = Counter()
    chosen: list[tuple[Pair, str, str]] = []
    for pair in pairs:
        counts["made"] += 1
        question, answer = shape.clean(pair.question), shape.clean(pair.answer)
        if fault := _fault(question, answer, pair.passage):
            counts[fault] += 1
        else:
            chosen.append((pair, question, answer))
    repeated = _repeated([question for _, question, _ in chosen])
    counts[REPEATED] += len(repeated)
    kept = []
    for number, (pair, question, answer) in enumerate(chosen):
        if number not in repeated:
            example = shape.example_of(question, (answer,), group=text.group_of(pair.passage.text))
            assert isinstance(example, Example)
            kept.append(example)
    return kept, +counts


def _fault(question: str, answer: str, passage: Passage) -> str:
    if not shape.fold(question) or not shape.fold(answer):
        return EMPTY
    if _ABOUT_TEXT.search(question):
        return ABOUT_TEXT
    if len(answer.split()) < SHORTEST:
        return TOO_SHORT
    words = [word for word in shape.fold(answer).split() if word not in _FUNCTION]
    held = set(shape.fold(f"{passage.heading} {passage.text}").split())
    if not words or sum(word in held for word in words) < SUPPORTED * len(words):
        return UNSUPPORTED
    return ""


def _repeated(questions: Sequence[str]) -> set[int]:
    """Numbers of the questions that an earlier one asks already."""
    texts = [likeness.text_of(question) for question in questions]
    repeated: set[int] = set()
    for number, candidates in enumerate(likeness.candidates_of(texts, texts)):
        text = texts[number]
        for other in candidates:
            if other < number and other not in repeated:
                change = likeness.difference(text, texts[other])
                if change is not None and likeness.jaccard(text, texts[other]) >= NEAR:
                    repeated.add(number)
                    break
    return repeated
