"""Texts found again by the rare n-grams of letters that they share with another text.

A text is looked up under a few keys: its letters are cut into short stretches, and the rarest n-gram of each
stretch is taken, the rarest of those first. So the keys are spread over the text and no single word holds
all of them. Whatever has at least a quarter of a text's keys is a candidate; what a candidate is worth is
for the caller to decide.

Everything is computed with arrays, `CHUNK` texts at a time, so memory hardly grows with their number: an
n-gram is one 64-bit number, 16 bits a letter. Letters beyond the Basic Multilingual Plane count as one
letter, which can only add candidates.
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
#: Texts that are looked at together.
CHUNK = 2_000
#: Bits of a hash, and so of the slots of a table.
SLOTS = 20

Integers = NDArray[np.int64]
Grams = NDArray[np.uint64]
Numbers = TypeVar("Numbers", Integers, Grams)


class Index:
    """Texts by number, given as their letters without spaces."""

    def __init__(self, letters: Sequence[str]) -> None:
        parts = [_Numbered(letters[start : start + CHUNK]) for start in range(0, len(letters), CHUNK)]
        none: Grams = np.zeros(0, np.uint64)
        every: Grams = distinct(np.concatenate([none, *(part.grams for part in parts)]))
        frequency = np.zeros(len(every), dtype=np.int64)
        for part in parts:
            frequency[np.searchsorted(every, part.grams)] += part.frequency
        rank = np.empty(len(every), dtype=np.int64)  # in how few texts an n-gram is, then its letters
        order = np.argsort(frequency, kind="stable")
        rank[order] = np.arange(len(every))
        keys, texts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, part in enumerate(parts):
            ranks, owners = part.keys(rank[np.searchsorted(every, part.grams)])
            keys.append(order[ranks])
            texts.append(owners + number * CHUNK)
        numbers, self._texts = np.concatenate(keys), np.concatenate(texts)
        by_gram = np.argsort(numbers, kind="stable")
        numbers, self._texts = numbers[by_gram], self._texts[by_gram]
        self._starts = _changes(numbers)
        self._counts = np.diff(self._starts, append=len(numbers))
        self._grams: Grams = every[numbers[self._starts]]
        self._places = _Places(self._grams)
        self._keys_of = np.bincount(self._texts, minlength=len(letters))

    def candidates(self, letters: Sequence[str]) -> Iterator[list[int]]:
        """For each text, the numbers of the texts of whose keys at least a quarter are in it, ascending."""
        for start in range(0, len(letters), CHUNK):
            chunk = letters[start : start + CHUNK]
            askers, texts = self.pairs(chunk)
            bounds = np.searchsorted(askers, np.arange(1, len(chunk)))
            yield from (part.tolist() for part in np.split(texts, bounds))

    def pairs(self, letters: Sequence[str]) -> tuple[Integers, Integers]:
        """The same for a few texts, as pairs of a text's number and a candidate's, ascending."""
        none = np.zeros(0, np.int64)
        if not len(self._grams) or not letters:
            return none, none
        grams, owners, _ = grams_of(letters)
        places = self._places.of(grams)
        known = self._grams[places] == grams
        hits = distinct(owners[known] * len(self._grams) + places[known])
        askers, keys = np.divmod(hits, len(self._grams))
        counts = self._counts[keys]
        ends = np.cumsum(counts)
        offsets = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        texts = self._texts[np.repeat(self._starts[keys], counts) + offsets]
        pairs = _ascending(np.repeat(askers, counts) * len(self._keys_of) + texts)
        firsts = _changes(pairs)
        shared = np.diff(firsts, append=len(pairs))
        askers, texts = np.divmod(pairs[firsts], len(self._keys_of))
        enough = SHARE * shared >= self._keys_of[texts]
        return askers[enough], texts[enough]


class _Numbered:
    """A few of the texts: the distinct n-grams, in how many texts each is, and the place of every n-gram."""

    def __init__(self, letters: Sequence[str]) -> None:
        grams, owners, starts = grams_of(letters)
        self.grams = distinct(grams)
        self._numbers = _Places(self.grams).of(grams)
        in_texts = distinct(owners * len(self.grams) + self._numbers)
        self.frequency = np.bincount(in_texts % len(self.grams), minlength=len(self.grams))
        self._lengths = np.diff(starts, append=len(grams))

    def keys(self, rank: Integers) -> tuple[Integers, Integers]:
        """The ranks under which the texts are found, and the text of each, by the rank of every n-gram."""
        stretches = -(-self._lengths // STRETCH)
        owners = np.repeat(np.arange(len(stretches)), stretches)
        starts = np.cumsum(self._lengths) - self._lengths
        within = np.arange(len(owners)) - np.repeat(np.cumsum(stretches) - stretches, stretches)
        rarest = np.minimum.reduceat(rank[self._numbers], starts[owners] + STRETCH * within)
        of_text, ranks = np.divmod(distinct(owners * (rank.max() + 1) + rarest), rank.max() + 1)
        available = np.bincount(of_text, minlength=len(stretches))
        place = np.arange(len(of_text)) - np.repeat(np.cumsum(available) - available, available)
        taken = place < np.clip(available // 2, FEWEST_KEYS, MOST_KEYS)[of_text]
        return ranks[taken], of_text[taken]


class _Places:
    """The places of numbers in an ascending array, by a table of their hashes: faster than by halving."""

    def __init__(self, ordered: Grams) -> None:
        self._ordered = ordered
        self._slots = np.zeros(1 << SLOTS, dtype=np.int32)
        slots, places = _slots_of(ordered), np.arange(len(ordered), dtype=np.int32)
        self._slots[slots] = places
        self._crowded = np.zeros(1 << SLOTS, dtype=bool)
        self._crowded[slots[self._slots[slots] != places]] = True

    def of(self, numbers: Grams) -> NDArray[np.int32]:
        """The place of each number; of one that is not there, any place."""
        slots = _slots_of(numbers)
        places = self._slots[slots]
        missed = np.flatnonzero(self._ordered[places] != numbers)
        missed = missed[self._crowded[slots[missed]]]
        last = len(self._ordered) - 1
        places[missed] = np.minimum(np.searchsorted(self._ordered, numbers[missed]), last)
        return places


def _slots_of(numbers: Grams) -> Grams:
    return (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - SLOTS)


def grams_of(letters: Sequence[str]) -> tuple[Grams, Integers, Integers]:
    """Every n-gram in order, the number of its text, and where each text's begin. A short text has one."""
    filled = [text.ljust(GRAM, "\0") for text in letters]
    lengths = np.array([len(text) for text in filled], dtype=np.int64)
    points = np.frombuffer("".join(filled).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    codes = np.minimum(points, 0xFFFF).astype(np.uint64)
    windows = len(codes) - GRAM + 1
    grams = np.zeros(max(windows, 0), dtype=np.uint64)
    for letter in range(GRAM):
        grams <<= np.uint64(16)
        grams |= codes[letter : letter + windows]
    within = np.ones(len(grams), dtype=bool)  # all but the windows that reach into the next text
    ends = np.cumsum(lengths)[:-1]
    for letter in range(1, GRAM):
        within[ends - letter] = False
    counts = lengths - GRAM + 1
    return grams[within], np.repeat(np.arange(len(filled)), counts), np.cumsum(counts) - counts


def distinct(numbers: Numbers) -> Numbers:
    """Each number once, ascending: by sorting, which is faster here than the hashing of `numpy.unique`."""
    ordered = _ascending(numbers)
    return ordered[_changes(ordered)]


def _ascending(numbers: Numbers) -> Numbers:
    if (
        numbers.dtype == np.int64 and len(numbers) and numbers.max() < 1 << 32
    ):  # half the bytes, half the time
        return np.sort(numbers.astype(np.uint32)).astype(np.int64)
    return np.sort(numbers)


def _changes(ordered: Integers | Grams) -> Integers:
    """Where in ascending numbers a new one begins."""
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(new)
