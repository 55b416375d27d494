"""Rows that look like instruction data, made by a seed, with near duplicates planted among them.

The words are the usual ones of questions and made ones, as frequent as words are in text (Zipf). Questions
follow common openings, so that many begin alike; answers have Dolly's lengths. Every planted copy repeats the
question of another row in one of the ways of `benchmarks.leaks`, under an answer of its own, or repeats a
long answer under another question: only the changed text can betray it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bench.data import spelling
from benchmarks import leaks

#: Made words beside the usual ones, and how fast their frequency falls.
VOCABULARY, FLAT = 30_000, 12
#: One copy is planted among so many rows.
ROWS_PER_COPY = 50
#: Middle and spread of an answer's length in words, as in Dolly; the longest.
ANSWER_WORDS, ANSWER_SPREAD, LONGEST = 38, 0.9, 500
CONTEXTS = 0.25
_OPENINGS = (
    *("What is", "What are", "Why is", "Why do", "How do I", "How does", "How can", "Who was", "When did"),
    *("Where is", "Which is", "Give me a list of", "Name some", "Write about", "Describe", "Explain"),
    *(
        "What is the difference between",
        "Classify each of the following as",
        "Tell me about",
        "Is it true that",
    ),
    *("Summarise", "Extract from the text", "Identify which", "What were the reasons for"),
)
_ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "qu",
    "r",
    "s",
    "st",
    "t",
    "v",
)
_RIMES = (
    "a",
    "al",
    "an",
    "ar",
    "e",
    "el",
    "en",
    "er",
    "i",
    "il",
    "in",
    "ing",
    "o",
    "on",
    "or",
    "u",
    "um",
    "y",
)


@dataclass(frozen=True)
class Planted:
    """The rows of an original and of its copy, by their ids, and the way in which the copy was changed."""

    original: str
    copy: str
    kind: str


def rows(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """`count` rows of `id`, `question`, `answer` and `context`, the copies in them included."""
    for row, _ in _made(count, seed):
        yield row


def planted(count: int, seed: int = 0) -> list[Planted]:
    """The copies among these rows."""
    return [copy for _, copy in _made(count, seed) if copy]


def _made(count: int, seed: int) -> Iterator[tuple[dict[str, str], Planted | None]]:
    chance = random.Random(seed)
    texts = _texts(seed)
    kinds = [*leaks.CHANGES, leaks.COPIED_ANSWER]
    plain: list[dict[str, str]] = []
    for number in range(count):
        row = {"id": f"r{number}", **next(texts)}
        copy = None
        if number % ROWS_PER_COPY == ROWS_PER_COPY - 1:
            kind = kinds[number // ROWS_PER_COPY % len(kinds)]
            original = chance.choice(plain)
            if changed := _changed(original, kind, chance, row):
                row, copy = {**row, **changed}, Planted(original["id"], row["id"], kind)
            plain.clear()
        else:
            plain.append(row)
        yield row, copy


def _changed(
    original: dict[str, str], kind: str, chance: random.Random, other: dict[str, str]
) -> dict[str, str] | None:
    """The fields of a copy, whose other fields are those of another row; None where it cannot be made."""
    words = [word.strip(".").lower() for word in other["answer"].split() if len(word) > 4]
    if kind == leaks.COPIED_ANSWER:
        if len(original["answer"].split()) < 2 * ANSWER_WORDS // 3:
            return None
        return {"answer": leaks.with_a_typo(original["answer"], chance, words)}
    if not words or kind == "accents removed":  # there are no accents here
        return None
    question = leaks.CHANGES[kind](original["question"], chance, words)
    return {"question": question, "context": original["context"]} if question else None


def _texts(seed: int) -> Iterator[dict[str, str]]:
    """Questions, answers and contexts without end."""
    chance = np.random.default_rng(seed)
    words = np.array(_vocabulary(seed), dtype=object)
    weights = 1 / (np.arange(len(words)) + FLAT)
    shares = np.cumsum(weights / weights.sum())

    def drawn(length: int) -> str:
        return " ".join(words[np.minimum(np.searchsorted(shares, chance.random(length)), len(words) - 1)])

    while True:
        opening = _OPENINGS[int(chance.integers(len(_OPENINGS)))]
        length = int(min(chance.lognormal(np.log(ANSWER_WORDS), ANSWER_SPREAD), LONGEST)) + 1
        context = drawn(int(chance.integers(30, 200))) if chance.random() < CONTEXTS else ""
        yield {
            "question": f"{opening} {drawn(int(chance.integers(3, 12)))}?",
            "answer": f"{drawn(length).capitalize()}.",
            "context": context.capitalize(),
        }


def _vocabulary(seed: int) -> list[str]:
    """Words by falling frequency: the usual ones of questions among the first, made ones after them."""
    chance = random.Random(seed)
    usual = sorted(spelling.USUAL | spelling.ARTICLES)
    chance.shuffle(usual)

    def made() -> Iterator[str]:
        while True:
            syllables = chance.choices((1, 2, 3, 4), (1, 6, 5, 2))[0]
            yield "".join(chance.choice(_ONSETS) + chance.choice(_RIMES) for _ in range(syllables))

    return list(dict.fromkeys((*usual, *islice(made(), VOCABULARY))))
