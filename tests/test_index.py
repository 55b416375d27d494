"""What is ruled out early, to be fast, is what a plain comparison of every pair would rule out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest

from bench import registry
from bench.data import prepare
from bench.data.alike import index, likeness, overlap, sketch
from benchmarks import leaks as table

Sets = Sequence[frozenset[str]]


def grams(letters: str) -> list[str]:
    filled = letters.ljust(index.GRAM, "\0")
    return [filled[at : at + index.GRAM] for at in range(len(filled) - index.GRAM + 1)]


def keys(letters: Sequence[str]) -> Sets:
    """The keys of every text, as the documentation of the index has them."""
    frequency = Counter(gram for text in letters for gram in set(grams(text)))
    chosen = []
    for text in letters:
        every = grams(text)
        stretches = [every[at : at + index.STRETCH] for at in range(0, len(every), index.STRETCH)]
        rarest = {min(part, key=lambda gram: (frequency[gram], gram)) for part in stretches}
        count = min(max(len(rarest) // 2, index.FEWEST_KEYS), index.MOST_KEYS)
        chosen.append(frozenset(sorted(rarest, key=lambda gram: (frequency[gram], gram))[:count]))
    return chosen


def texts(seed: int, count: int) -> list[str]:
    """Words of few letters, so that many n-grams are shared; a few with other letters, or none."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcd", k=chance.randint(1, 5))) for _ in range(40)] + [
        "é日本",
        "🙂x",
        "",
    ]
    return [" ".join(chance.choices(words, k=chance.randint(0, 14))).strip() for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_candidates_are_those_that_have_a_quarter_of_a_texts_keys(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also where the texts are looked at in several parts, and where most slots of the table are crowded."""
    monkeypatch.setattr(index, "CHUNK", 37)
    monkeypatch.setattr(index, "SLOTS", (20, 8, 4, 1)[seed])
    held, asked = ([text.replace(" ", "") for text in texts(seed + n, 150)] for n in (0, 100))
    expected = [
        [n for n, own in enumerate(keys(held)) if index.SHARE * len(own & set(grams(text))) >= len(own)]
        for text in asked
    ]
    assert list(index.Index(held).candidates(asked)) == expected
    assert sum(map(len, expected)) > 200


def test_no_texts_have_no_candidates() -> None:
    assert list(index.Index([]).candidates(["abc", ""])) == [[], []]
    assert list(index.Index(["abc"]).candidates([])) == []


def word_pairs(text: str) -> frozenset[str]:
    words = text.split()
    return frozenset(f"{a} {b}" for a, b in pairwise(words)) or frozenset(words)


@pytest.mark.parametrize("seed", range(4))
def test_a_text_is_near_one_with_which_it_shares_enough_word_pairs(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(index, "CHUNK", 41)
    chance = random.Random(seed)
    others = [" ".join(text.split()) for text in texts(seed, 200)]
    asked = [" ".join(text.split()) for text in texts(seed + 50, 60)]
    for text in others[:140]:  # a word or two changed
        words = text.split() or ["new"]
        words[chance.randrange(len(words))] = chance.choice(["new", *words])
        asked.append(" ".join(words))
    sets = [word_pairs(text) for text in others]
    expected = [
        any(own & pairs and len(own & pairs) >= 0.8 * len(own | pairs) for pairs in sets)
        for own in map(word_pairs, asked)
    ]
    assert overlap.WordPairs(others, 0.8).near(asked).tolist() == expected
    assert 20 < sum(expected) < len(asked)


def test_near_texts_are_looked_for_among_none() -> None:
    assert overlap.WordPairs([], 0.8).near(["a b", ""]).tolist() == [False, False]
    assert overlap.WordPairs(["", "a"], 0.8).near(["", "a", "b"]).tolist() == [False, True, False]


def test_nothing_is_ruled_out_that_is_the_same_question_or_answer() -> None:
    """Every change of the table of leaks, and random pairs, against what comparing them in full says."""
    spec = registry.find_dataset("course-qa")
    held = prepare.examples_of(spec)[:40]
    words = [word for example in held for word in example.question.split()]
    chance = random.Random(0)
    changed = [
        new
        for example, change in product(held, table.CHANGES.values())
        if (new := change(example.question, chance, words))
    ]
    changed += [
        table.with_a_typo(table.with_a_typo(e.answers[0], chance, words), chance, words) for e in held
    ]
    left = [likeness.text_of(text) for text in changed]
    right = [likeness.text_of(text) for e in held for text in (e.question, e.answers[0])]
    own, others = sketch.Sketches(left), sketch.Sketches(right)
    every = np.divmod(np.arange(len(left) * len(right)), len(right))
    alike = sketch.may_be_alike(own, others, every)
    far = sketch.surely_far(own, others, every)
    assert far.mean() > 0.5
    assert alike.mean() < 0.1
    same = 0
    for number, place, may, away in zip(*every, alike, far, strict=True):
        one, other = left[number], right[place]
        change = likeness.difference(one, other)
        if likeness.is_same_answer(one, other):
            assert not away or one.letters == other.letters
        if likeness.is_same_question(one, other, change):
            same += 1
            assert may or not away
            assert likeness.may_be_same_question(one, other, bool(may))
    assert same > 400
