"""The text of all pages becomes passages: what stands under one heading of one page, once.

Blocks that stand on many pages (footers, banners that extraction left) go; then passages of few words, and of
equal or nearly equal passages all but the first. Each is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.curate.pages.text import PageText
from bench.data import shape
from bench.data.alike import likeness

#: Pages, and share of them, from which on a block that is on each is no part of their text.
FEWEST_PAGES, MOST_SHARE = 3, 0.2
#: Words that a passage has at least.
SHORTEST = 5
#: Share of their n-grams (Jaccard) from which on two passages are one.
NEAR = 0.8

REPEATED = "block that stands on many pages"
SHORT = f"passage of fewer than {SHORTEST} words"
EXACT = "passage that is there already"
SIMILAR = "passage that is nearly there already"


@dataclass(frozen=True)
class Passage:
    """A text with the page and the heading that it stands under."""

    url: str
    heading: str
    text: str


def passages(pages: Sequence[PageText]) -> tuple[list[Passage], Counter[str]]:
    """The passages in the order of their pages, and reason -> what was dropped."""
    counts: Counter[str] = Counter()
    repeated = _repeated(pages)
    candidates = []
    for page in pages:
        kept = [block for block in page.blocks if shape.fold(block.text) not in repeated]
        counts[REPEATED] += len(page.blocks) - len(kept)
        for heading, blocks in groupby(kept, key=lambda block: block.heading):
            passage = Passage(page.url, heading, "\n".join(block.text for block in blocks))
            if len(passage.text.split()) < SHORTEST:
                counts[SHORT] += 1
            else:
                candidates.append(passage)
    chosen = _distinct(candidates, counts)
    return chosen, +counts


def _repeated(pages: Sequence[PageText]) -> set[str]:
    on = Counter(text for page in pages for text in {shape.fold(block.text) for block in page.blocks})
    most = max(FEWEST_PAGES, MOST_SHARE * len(pages))
    return {text for text, count in on.items() if count >= most}


def _distinct(candidates: Sequence[Passage], counts: Counter[str]) -> list[Passage]:
    texts = [likeness.text_of(passage.text) for passage in candidates]
    seen: set[str] = set()
    kept: set[int] = set()
    for number, similar in enumerate(likeness.candidates_of(texts, texts)):
        text = texts[number]
        if text.letters in seen:
            counts[EXACT] += 1
        elif any(other in kept and likeness.jaccard(text, texts[other]) >= NEAR for other in similar):
            counts[SIMILAR] += 1
        else:
            kept.add(number)
        seen.add(text.letters)
    return [passage for number, passage in enumerate(candidates) if number in kept]
