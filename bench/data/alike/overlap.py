"""Texts that share most of their word pairs (Jaccard) with one of many others, exactly.

Of each of the others the rarest pairs are looked up, as many as it cannot lack and still share enough (a
prefix filter); what is found is counted out. A word pair is one number; a text of a single word has that word
for a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from bench.data.alike import index
from bench.data.alike.index import Integers

#: Bits of a word's number: more words than fit in memory. The highest number stands for no word.
_WORD = 26
_NO_WORD = (1 << _WORD) - 1
_PAIR = 2 * _WORD


class _Numbers(dict[str, int]):
    """Word -> its number, new ones in order."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class WordPairs:
    """Others, as texts of words with one space between them."""

    def __init__(self, others: Sequence[str], share: float) -> None:
        self._share = share
        self._words = _Numbers()
        parts = [
            _pairs(others[start : start + index.CHUNK], self._words)
            for start in range(0, len(others), index.CHUNK)
        ]
        none = np.zeros(0, dtype=np.int64)
        #: The distinct pairs of every text, one text after the other.
        self._pairs = np.concatenate([none, *(pairs for _, pairs in parts)])
        self._sizes = np.concatenate([none, *(sizes for sizes, _ in parts)])
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._keys, self._texts = self._rarest()

    def _rarest(self) -> tuple[Integers, Integers]:
        """The pairs under which texts are found, ascending, and the text of each."""
        every, numbers, frequency = np.unique(self._pairs, return_inverse=True, return_counts=True)
        owners = np.repeat(np.arange(len(self._sizes)), self._sizes)
        order = np.lexsort((frequency[numbers], owners))
        enough = self._sizes - (self._share * self._sizes).astype(np.int64) + 1
        taken = np.arange(len(order)) - np.repeat(self._firsts, self._sizes) < enough[owners]
        keys, texts = numbers[order][taken], owners[taken]
        by_key = np.argsort(keys, kind="stable")
        return every[keys[by_key]], texts[by_key]

    def near(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each text shares at least `share` of its and another's pairs with that other."""
        near = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), index.CHUNK):
            chunk = texts[start : start + index.CHUNK]
            near[start : start + len(chunk)] = self._near(chunk)
        return near

    def _near(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        sizes, pairs = _pairs(texts, _Numbers(self._words))
        owners = np.repeat(np.arange(len(texts)), sizes)
        first, last = (np.searchsorted(self._keys, pairs, side) for side in ("left", "right"))
        counts = last - first
        ends = np.cumsum(counts)
        offsets = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        found = self._texts[np.repeat(first, counts) + offsets]
        candidates = index.distinct(np.repeat(owners, counts) * max(len(self._sizes), 1) + found)
        askers, others = np.divmod(candidates, max(len(self._sizes), 1))
        shared = self._shared(owners << _PAIR | pairs, askers, others)
        enough = shared >= self._share * (sizes[askers] + self._sizes[others] - shared)
        return np.bincount(askers[enough], minlength=len(texts)) > 0

    def _shared(self, pairs_of: Integers, askers: Integers, others: Integers) -> Integers:
        """How many pairs these have in common; `pairs_of` are those of all texts, ascending."""
        sizes = self._sizes[others]
        ends = np.cumsum(sizes)
        offsets = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        wanted = (
            np.repeat(askers, sizes) << _PAIR | self._pairs[np.repeat(self._firsts[others], sizes) + offsets]
        )
        places = np.minimum(np.searchsorted(pairs_of, wanted), max(len(pairs_of) - 1, 0))
        hits = np.repeat(np.arange(len(others)), sizes)[pairs_of[places] == wanted]
        return np.bincount(hits, minlength=len(others))


def _pairs(texts: Sequence[str], numbers: _Numbers) -> tuple[Integers, Integers]:
    """How many distinct pairs each text has, and these, ascending within each text."""
    words = [text.split(" ") if text else [] for text in texts]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    own = np.fromiter(map(numbers.__getitem__, chain.from_iterable(words)), np.int64)
    last = np.cumsum(lengths)[lengths > 0] - 1
    following = np.append(own[1:], _NO_WORD)
    following[last] = _NO_WORD
    first_of_pair = np.ones(len(own), dtype=bool)
    first_of_pair[last] = lengths[lengths > 0] == 1
    owners = np.repeat(np.arange(len(texts)), lengths)
    packed = index.distinct((owners << _PAIR | own << _WORD | following[: len(own)])[first_of_pair])
    return np.bincount(packed >> _PAIR, minlength=len(texts)), packed & ((1 << _PAIR) - 1)
