"""Texts found again by the rare n-grams of letters that they share with another text.

A text is looked up under a few keys: its letters are cut into short stretches, and the rarest n-gram of each
stretch is taken, the rarest of those first. So the keys are spread over the text and no single word holds
all of them. Whatever has at least a quarter of a text's keys is a candidate; what a candidate is worth is
for the caller to decide.

Everything is computed for all texts at once with arrays: an n-gram is one 64-bit number, 16 bits a letter.
Letters beyond the Basic Multilingual Plane count as one letter, which can only add candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

#: Letters of an n-gram.
GRAM = 4
#: Letters of a stretch, of which one n-gram may be a key.
STRETCH = 5
FEWEST_KEYS, MOST_KEYS = 5, 12
#: A candidate has one key of so many.
SHARE = 4
#: Texts that are looked up together, so that memory stays bounded.
CHUNK = 2_000

Integers = NDArray[np.int64]
Grams = NDArray[np.uint64]
Numbers = TypeVar("Numbers", Integers, Grams)


class Index:
    """Texts by number, given as their letters without spaces."""

    def __init__(self, letters: Sequence[str]) -> None:
        grams, owners, places = _grams(letters)
        distinct = _distinct(grams)
        numbers = np.searchsorted(distinct, grams)
        rank = _rarity(numbers, owners, len(distinct))
        starts = np.flatnonzero(places % STRETCH == 0)
        rarest = np.minimum.reduceat(rank[numbers], starts) if len(starts) else numbers
        del grams, places, numbers  # the largest arrays here
        keys, texts = _keys(rarest, owners[starts], len(distinct), len(letters))
        order = np.argsort(keys, kind="stable")
        by_rank = np.empty_like(distinct)
        by_rank[rank] = distinct
        found, self._starts, self._counts = np.unique(keys[order], return_index=True, return_counts=True)
        sorting = np.argsort(by_rank[found])
        self._grams = by_rank[found][sorting]
        self._starts, self._counts = self._starts[sorting], self._counts[sorting]
        self._texts = texts[order]
        self._keys_of = np.bincount(texts, minlength=len(letters))

    def candidates(self, letters: Sequence[str]) -> Iterator[list[int]]:
        """For each text, the numbers of the texts of whose keys at least a quarter are in it, ascending."""
        for start in range(0, len(letters), CHUNK):
            yield from self._of_chunk(letters[start : start + CHUNK])

    def _of_chunk(self, letters: Sequence[str]) -> Iterator[list[int]]:
        if not len(self._grams):
            yield from ([] for _ in letters)
            return
        grams, owners, _ = _grams(letters)
        places = np.minimum(np.searchsorted(self._grams, grams), len(self._grams) - 1)
        known = self._grams[places] == grams
        hits = _distinct(owners[known] * len(self._grams) + places[known])
        askers, keys = np.divmod(hits, len(self._grams))
        counts = self._counts[keys]
        ends = np.cumsum(counts)
        offsets = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        texts = self._texts[np.repeat(self._starts[keys], counts) + offsets]
        pairs, shared = np.unique(np.repeat(askers, counts) * len(self._keys_of) + texts, return_counts=True)
        askers, texts = np.divmod(pairs, len(self._keys_of))
        enough = SHARE * shared >= self._keys_of[texts]
        bounds = np.searchsorted(askers[enough], np.arange(1, len(letters)))
        yield from (part.tolist() for part in np.split(texts[enough], bounds))


def _grams(letters: Sequence[str]) -> tuple[Grams, Integers, Integers]:
    """Every n-gram in order: its number, the number of its text, its place in it. A short text has one."""
    filled = [text.ljust(GRAM, "\0") for text in letters]
    lengths = np.array([len(text) for text in filled], dtype=np.int64)
    points = np.frombuffer("".join(filled).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    codes = np.minimum(points, 0xFFFF).astype(np.uint16)
    counts = lengths - GRAM + 1
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    firsts = places + np.repeat(np.cumsum(lengths) - lengths, counts)
    grams = np.zeros(len(places), dtype=np.uint64)
    for letter in range(GRAM):
        grams <<= np.uint64(16)
        grams |= codes[firsts + letter]
    return grams, np.repeat(np.arange(len(filled)), counts), places


def _rarity(numbers: Integers, owners: Integers, distinct: int) -> Integers:
    """The rank of every n-gram: in how few texts it is, then its letters."""
    pairs = _distinct(owners * distinct + numbers)
    frequency = np.bincount(pairs % max(distinct, 1), minlength=distinct)
    rank = np.empty(distinct, dtype=np.int64)
    rank[np.argsort(frequency, kind="stable")] = np.arange(distinct)
    return rank


def _keys(rarest: Integers, owners: Integers, distinct: int, texts: int) -> tuple[Integers, Integers]:
    """The ranks under which texts are found, and the text of each."""
    pairs = _distinct(owners * distinct + rarest)
    of_text, ranks = np.divmod(pairs, max(distinct, 1))
    available = np.bincount(of_text, minlength=texts)
    place = np.arange(len(of_text)) - np.repeat(np.cumsum(available) - available, available)
    taken = place < np.clip(available // 2, FEWEST_KEYS, MOST_KEYS)[of_text]
    return ranks[taken], of_text[taken]


def _distinct(numbers: Numbers) -> Numbers:
    """Each number once, ascending: by sorting, which is faster here than the hashing of `numpy.unique`."""
    ordered = np.sort(numbers)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered
