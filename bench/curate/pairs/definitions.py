"""Pairs without a model: of "X is ..." the question what X is; of a heading that asks, its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.curate.pages.passages import Passage
from bench.curate.pairs.sentences import sentences
from bench.curate.pairs.support import Pair

_DEFINITION = re.compile(
    r"(?P<article>(?:The|An?) )?(?P<subject>[^\W\d_][\w'()./+-]*(?: [\w'()./+-]+){0,5}?) "
    r"(?P<verb>is|are|was|were|refers to|means|denotes) (?P<rest>(?:an?|the|one|any|used|called)\b.{15,})"
)
#: Subjects that stand for something else.
_POINTING = re.compile(
    r"(?:it|this|that|these|those|there|he|she|they|we|you|i|one|which|what|who|here|such|each|both|all|some|"
    r"another|other|if|when|while|where|because|although|since|as|in|on|at|for|with|from|by|to|of|but|and|or|so|"
    r"the|an?|most|many|no|not|only|same|result|following|example|reason|problem|goal|idea|aim|purpose)\b",
    re.IGNORECASE,
)
_FOLLOWS = re.compile(r"(?:It|They|This|These|Its|Their|Such)\b")
_ASKS = re.compile(r"(?:what|how|why|when|where|who|which)\b.*|.*\?", re.IGNORECASE)
#: Sentences of a passage that answer its heading, and words that a sentence has at most.
ANSWERED_BY, LONGEST = 2, 60


def pairs(passages: list[Passage]) -> Iterator[Pair]:
    """The pairs of all passages, in their order."""
    for passage in passages:
        told = sentences(passage.text)
        heading = passage.heading.strip()
        if heading and told and _ASKS.fullmatch(heading) and len(heading.split()) > 2:
            yield Pair(passage, heading.rstrip("?.: ") + "?", " ".join(told[:ANSWERED_BY]))
        for number, sentence in enumerate(told):
            if question := _question(sentence):
                after = told[number + 1] if number + 1 < len(told) else ""
                follows = _FOLLOWS.match(after) and len(after.split()) <= LONGEST
                yield Pair(passage, question, f"{sentence} {after}" if follows else sentence)


def _question(sentence: str) -> str:
    """What a definition answers; "" for a sentence that is none."""
    match = _DEFINITION.fullmatch(sentence)
    if match is None or len(sentence.split()) > LONGEST or _POINTING.match(match["subject"]):
        return ""
    subject = match["subject"]
    first = subject.split()[0]
    if not match["article"] and first[1:].islower() and len(subject.split()) > 1 and first[0].isupper():
        subject = subject if subject.istitle() else subject[0].lower() + subject[1:]
    verb = match["verb"] if match["verb"] in ("is", "are", "was", "were") else "is"
    article = (match["article"] or "").lower()
    return f"What {verb} {article}{subject}?"
