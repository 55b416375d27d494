"""Text cut into sentences, and passages into chunks of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bench.curate.pages.passages import Passage
from bench.data.text import whole

_END = re.compile(
    r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z\u00c0-\u00de\u0391-\u03a9\u0410-\u042f0-9])"
)
#: Words whose full stop ends no sentence; so does a single capital letter.
_SHORT = re.compile(
    r"\b(?:[A-Z]|e\.g|i\.e|cf|vs|etc|al|approx|ca|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Fig|Figs|Eq|Sec|Vol|pp|Jr|Sr)\.$"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line end ends one."""
    found: list[str] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        start = 0
        for end in _END.finditer(line):
            if not _SHORT.search(line[start : end.start()]):
                found.append(line[start : end.start()].strip())
                start = end.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def chunks(
    passages: Sequence[Passage], most: int, overlap: int, length: Callable[[str], int]
) -> Iterator[Passage]:
    """Passages of at most `most` tokens, cut between sentences; `overlap` sentences stand in two of them.

    The heading counts, as a model is trained on it too, unless it takes half of a chunk by itself. A sentence
    that is longer is cut between words, and a word that is longer stays whole.
    """
    for passage in passages:
        heading = passage.heading if 2 * length(passage.heading) < most else ""

        def tokens(part: str, heading: str = heading) -> int:
            return length(whole(heading, part))

        held: list[str] = []
        fresh = 0  # sentences of `held` that stand in no chunk yet
        for sentence in _short_enough(sentences(passage.text), most, tokens):
            if fresh and tokens(" ".join([*held, sentence])) > most:
                yield replace(passage, text=" ".join(held))
                held = held[len(held) - overlap :] if overlap else []
                while held and tokens(" ".join([*held, sentence])) > most:
                    held.pop(0)
                fresh = 0
            held.append(sentence)
            fresh += 1
        if fresh:
            yield replace(passage, text=" ".join(held))


def _short_enough(texts: Sequence[str], most: int, length: Callable[[str], int]) -> Iterator[str]:
    for text in texts:
        if length(text) <= most:
            yield text
            continue
        held: list[str] = []
        for word in text.split():
            if held and length(" ".join([*held, word])) > most:
                yield " ".join(held)
                held = []
            held.append(word)
        yield " ".join(held)
