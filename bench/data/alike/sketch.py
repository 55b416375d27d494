"""Pairs of texts that cannot be one in other spellings, told apart by a few bits of each text.

Every distinct word, and every distinct n-gram of letters, sets one bit of a text's sketch. A bit that only
one of two sketches has stands for at least one word or n-gram that only this text has; so counting such bits
bounds from above what the two share. What is ruled out here would be ruled out by `bench.data.alike.likeness`
too, only later. Which bit a word sets may differ from process to process, which changes how much is ruled
out, and no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from bench.data.alike import index, likeness
from bench.data.alike.index import Grams, Integers
from bench.data.alike.likeness import Text

#: 64-bit numbers of a sketch.
WIDTH = 8
_BITS = (64 * WIDTH).bit_length() - 1
Flags = NDArray[np.bool_]


class Sketches:
    """Of a few texts, in order."""

    def __init__(self, texts: Sequence[Text], with_grams: bool = True) -> None:
        self.words = np.array([text.length for text in texts], dtype=np.int64)
        self.letters = np.array([len(text.folded) + 1 - text.length for text in texts], dtype=np.int64)
        hashes = np.fromiter(map(hash, chain.from_iterable(t.folded.split() for t in texts)), np.int64)
        self.word_bits = _bits(
            hashes.view(np.uint64), np.repeat(np.arange(len(texts)), self.words), len(texts)
        )
        self.gram_bits = np.zeros((0, WIDTH), np.uint64)
        if with_grams:
            self.gram_bits = np.zeros((len(texts), WIDTH), np.uint64)
            for start in range(0, len(texts), index.CHUNK):
                chunk = texts[start : start + index.CHUNK]
                grams, owners, _ = index.grams_of([text.letters for text in chunk])
                self.gram_bits[start : start + len(chunk)] = _bits(grams, owners, len(chunk))


def surely_far(left: Sketches, right: Sketches, pairs: tuple[Integers, Integers]) -> Flags:
    """Whether more words of a pair differ than typos account for, as `likeness` says of far texts."""
    a, b = pairs
    only_left, only_right = _only(left.word_bits, right.word_bits, pairs)
    shared = np.minimum(left.words[a] - only_left, right.words[b] - only_right)
    shorter, longer = (choice(left.words[a], right.words[b]) for choice in (np.minimum, np.maximum))
    far: Flags = shared < longer - likeness.MOST_CHANGED - shorter // 10
    return far


def may_be_alike(left: Sketches, right: Sketches, pairs: tuple[Integers, Integers]) -> Flags:
    """Whether the n-grams of a pair may make it one: as a whole, or the right within the left."""
    a, b = pairs
    only_left, only_right = _only(left.gram_bits, right.gram_bits, pairs)
    of_left, of_right = (
        np.maximum(lengths - index.GRAM + 1, 1) for lengths in (left.letters[a], right.letters[b])
    )
    shared = np.minimum(of_left - only_left, of_right - only_right)
    alike = shared >= likeness.ALIKE * (shared + only_left + only_right)
    return alike | (only_right <= (1 - likeness.CONTAINED) * of_right + 1e-6)


def _only(
    left: Grams, right: Grams, pairs: tuple[Integers, Integers]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bits that only the left of each pair has, and those that only the right has: how many."""
    a, b = left[pairs[0]], right[pairs[1]]
    both = np.bitwise_count(a & b).sum(axis=1, dtype=np.int64)
    return (
        np.bitwise_count(a).sum(axis=1, dtype=np.int64) - both,
        np.bitwise_count(b).sum(axis=1, dtype=np.int64) - both,
    )


def _bits(hashes: Grams, owners: Integers, texts: int) -> Grams:
    places = (hashes * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _BITS)
    bits = np.zeros((texts, WIDTH), dtype=np.uint64)
    columns = (places >> np.uint64(6)).astype(np.int64)
    np.bitwise_or.at(bits, (owners, columns), np.uint64(1) << (places & np.uint64(63)))
    return bits
