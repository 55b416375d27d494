"""ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum of one answer, equal to `rouge_score` 0.1.2 and faster.

The definition is Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries", in the reading of
Google Research's `rouge_score` package: its tokens, its Porter stems, its choice among equally long common
subsequences and its clipping of the union's hits. The values must equal that package's to 1e-12 for any
text, because published numbers were made with it.

Where the time goes in `rouge_score`, and what is done here instead:

- It stems every word of every text twice. A stem depends on the word alone, so a scorer stems a word once.
- It tokenises for ROUGE-Lsum anew. A newline ends a token and lower-casing never carries one across it, so
  the sentences' tokens joined are the text's tokens.
- Its longest common subsequence is a table of m x n cells. Here a column of the table is one Python integer
  whose bits are the differences between neighbouring cells: Allison and Dix (1986), "A bit-string
  longest-common-subsequence algorithm", in the form of Hyyrö (2004), "Bit-parallel LCS-length computation
  revisited". A column costs four integer operations whatever the length of the reference.

Left out: other n, other tokenisers, and sentence splitting other than at newlines (punkt needs a download,
and its version would change the values).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

# Changes whenever any value that `Rouge.score` can return changes.
_VERSION = 1
# Prepared references kept per scorer, enough for several models' answers to one test set.
_REFERENCES_KEPT = 4096

_words: Callable[[str], list[str]] = re.compile(r"[a-z0-9]+").findall


@dataclass(frozen=True, slots=True)
class Prf:
    """Precision, recall and their harmonic mean F1, each a fraction from 0 to 1."""

    precision: float
    recall: float
    f: float


class Tokens:
    """Text to tokens, the way `rouge_score` does it: lower case, runs of [a-z0-9], stems of longer words.

    Words of more than three characters are stemmed with NLTK's Porter stemmer (Porter 1980, with NLTK's
    extensions). Stems are remembered for the life of the object: one entry per distinct word seen.
    """

    def __init__(self, stemmer: bool = True) -> None:
        self._stems: _Stems | None = _Stems() if stemmer else None

    def __call__(self, text: str) -> list[str]:
        """Tokens of `text` in order; empty for a text without an ASCII letter or digit."""
        words = _words(text.lower())
        if self._stems is None:
            return words
        return list(map(self._stems.__getitem__, words))


class Rouge:
    """Scores answers against references; one scorer serves a whole evaluation and remembers its stems."""

    KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

    def __init__(self, stemmer: bool = True) -> None:
        """With `stemmer`, words are compared by Porter stem, as `use_stemmer=True` in `rouge_score`."""
        self._stemmer = stemmer
        self._tokens = Tokens(stemmer)
        self._reference = lru_cache(maxsize=_REFERENCES_KEPT)(self._read)

    @property
    def identity(self) -> str:
        """What the values depend on, as part of the metric's name in records."""
        return f"rouge/{_VERSION} stemmer={'porter' if self._stemmer else 'none'} split=newline"

    def score(self, reference: str | Sequence[str], candidate: str) -> dict[str, Prf]:
        """Score one candidate answer; the result has the keys `KINDS`.

        Of several references the one with the highest F is taken for each kind by itself, the earliest
        of equals. A text without tokens, on either side, scores zero.

        Raises ValueError when the sequence of references is empty.
        """
        texts = [reference] if isinstance(reference, str) else list(reference)
        if not texts:
            raise ValueError("cannot score against no reference: give at least one")
        read = self._read(candidate)
        scores = [_score(self._reference(text), read) for text in texts]
        if len(scores) == 1:
            return scores[0]
        return {kind: max((score[kind] for score in scores), key=lambda prf: prf.f) for kind in self.KINDS}

    def _read(self, text: str) -> _Text:
        return _Text([self._tokens(line) for line in text.split("\n")])


class _Stems(dict[str, str]):
    """Word -> stem, computed when first asked for."""

    @cached_property
    def _stem(self) -> Callable[[str], str]:
        from nltk.stem.porter import (
            PorterStemmer,
        )  # late: its import takes seconds, and an identity does not need it

        stem: Callable[[str], str] = PorterStemmer().stem
        return stem

    def __missing__(self, word: str) -> str:
        stem = self[word] = self._stem(word) if len(word) > 3 else word
        return stem


class _Text:
    """A tokenised text and what scoring derives from it, each derived once."""

    def __init__(self, lines: list[list[str]]) -> None:
        self.sentences = [line for line in lines if line]
        self.tokens = [token for line in self.sentences for token in line]

    @cached_property
    def unigrams(self) -> dict[str, int]:
        return Counter(self.tokens)

    @cached_property
    def bigrams(self) -> dict[str, int]:
        # Joined, since a token holds no space: strings hash faster than tuples and burden no collector.
        return Counter(map(" ".join, zip(self.tokens, self.tokens[1:], strict=False)))

    @cached_property
    def positions(self) -> dict[str, int]:
        return _positions(self.tokens)

    @cached_property
    def positions_by_sentence(self) -> list[dict[str, int]]:
        return [_positions(sentence) for sentence in self.sentences]


def _score(reference: _Text, candidate: _Text) -> dict[str, Prf]:
    m, n = len(reference.tokens), len(candidate.tokens)
    common = _lcs_length(reference.positions, m, candidate.tokens)
    if len(reference.sentences) == len(candidate.sentences) == 1:
        union = common  # a common subsequence never needs clipping
    else:
        union = _union_hits(reference, candidate)
    return {
        "rouge1": _prf(_overlap(reference.unigrams, candidate.unigrams), m, n),
        "rouge2": _prf(_overlap(reference.bigrams, candidate.bigrams), m - 1, n - 1),
        "rougeL": _prf(common, m, n),
        "rougeLsum": _prf(union, m, n),
    }


def _prf(hits: int, of_reference: int, of_candidate: int) -> Prf:
    if not hits:  # also where a text is too short to hold any
        return Prf(0.0, 0.0, 0.0)
    precision, recall = hits / of_candidate, hits / of_reference
    return Prf(precision, recall, 2 * precision * recall / (precision + recall))


def _overlap(reference: dict[str, int], candidate: dict[str, int]) -> int:
    """Size of the multisets' intersection."""
    shared = reference.keys() & candidate.keys()
    return sum(map(min, map(reference.__getitem__, shared), map(candidate.__getitem__, shared)))


def _positions(tokens: Iterable[str]) -> dict[str, int]:
    """Token -> bit set of the positions where it stands."""
    positions: dict[str, int] = {}
    bit = 1
    for token in tokens:
        positions[token] = positions.get(token, 0) | bit
        bit <<= 1
    return positions


def _lcs_length(positions: dict[str, int], length: int, candidate: list[str]) -> int:
    """Length of the longest common subsequence of a reference of `length` tokens and a candidate.

    Bit i of `flat` says that the table's column does not grow from row i to i + 1. A match moves one such
    bit up past the next row that grows. What leaves the top row is not cut off: it piles up above, one bit
    for each step by which the last row grows, so the excess length of the integer is the answer.
    """
    flat = (1 << length) - 1
    for where in filter(None, map(positions.get, candidate)):
        matched = flat & where
        flat = (flat + matched) | (flat - matched)
    return flat.bit_length() - length


def _lcs_members(positions: dict[str, int], length: int, candidate: list[str]) -> int:
    """Bit set of the reference positions in that longest common subsequence which `rouge_score` reads out.

    It walks back from the last cell: at a match diagonally, else to the previous candidate token if that
    cell is greater than the one for the previous reference token, else to that one. The cell's value is the
    greater of the two, so the first move is made exactly where the column grows in this row. Hence from a
    cell the walk passes, in one column, all rows that neither match nor grow.
    """
    full = flat = (1 << length) - 1
    columns: list[tuple[int, int]] = []
    beside = False  # whether the last column kept has no match: one of a run of such says it all
    for where in map(positions.get, candidate):
        if where is not None:
            matched = flat & where
            flat = ((flat + matched) | (flat - matched)) & full
            columns.append((where, flat ^ full | where))
            beside = False
        elif not beside:
            columns.append((0, flat ^ full))
            beside = True
    members, below = 0, full
    for where, stops in reversed(columns):
        row = (stops & below).bit_length()
        if not row:
            break
        top = 1 << row - 1
        if where & top:
            members |= top
            below = top - 1
        else:
            below = top + top - 1
    return members


def _union_hits(reference: _Text, candidate: _Text) -> int:
    """Hits of ROUGE-Lsum (Lin 2004, section 3.2), clipped as in ROUGE-1.5.5.

    Of each reference sentence those tokens count that are in its longest common subsequence with any of the
    candidate's sentences; but of no token more than the candidate has.
    """
    hits = 0
    hitss: dict[str, int] = {}
    available = candidate.unigrams
    scarce = [token for token, n in reference.unigrams.items() if n > available.get(token, 0) > 0]
    for sentence, positions in zip(reference.sentences, reference.positions_by_sentence, strict=True):
        union = 0
        for other in candidate.sentences:
            if not positions.keys().isdisjoint(other):
                union |= _lcs_members(positions, len(sentence), other)
        hits += union.bit_count()
        for token in scarce:
            if token in positions:
                hitss[token] = hitss.get(token, 0) + (union & positions[token]).bit_count()
    return hits - sum(max(0, n - available[token]) for token, n in hitss.items())
