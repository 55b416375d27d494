"""Whether two texts are one in other spellings: by their words, typos aside, or by their n-grams of letters.

`difference` pairs the words that only one of the texts has; what a difference is worth depends on how many
words there are. `may_be_same_question` is the quick look before it, and is never wrong when it says no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bench.data import spelling
from bench.data.alike import index

#: Words, without articles, from which on one may be another, be added or be left out ...
ONE_CHANGE = 4
#: ... and two, and then one more for every `WORDS_PER_CHANGE`.
TWO_CHANGES = 15
WORDS_PER_CHANGE = 10
#: From so many words that differ on, and a tenth of all, no typos are looked for.
MOST_CHANGED = 4
#: Words besides the usual ones of questions that remain where one was replaced.
SHARED_WORDS = 1
#: Share of the n-grams of letters that two texts have (Jaccard) from which on they are one.
ALIKE = 0.75
#: Share of a held-out text's n-grams (containment) from which on it stands within a training text ...
CONTAINED = 0.95
#: ... that has so many words at least, and is no longer than this many times.
CONTAINED_WORDS = 8
CONTAINED_LENGTH = 1.6
#: Texts whose words and n-grams are kept at hand.
KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Text:
    """What is compared of a text: its words with a space between them; the rest is made of these."""

    folded: str

    @property
    def words(self) -> tuple[str, ...]:
        """Its words in order."""
        return tuple(self.folded.split())

    @property
    def length(self) -> int:
        """How many words it has."""
        return self.folded.count(" ") + 1 if self.folded else 0

    @property
    def letters(self) -> str:
        """All words without the spaces between them, so that a space more or less is no difference."""
        return self.folded.replace(" ", "")

    @property
    def counts(self) -> Counter[str]:
        """Word -> how often it occurs."""
        return _counter(self.folded)

    @property
    def grams(self) -> frozenset[str]:
        """The distinct n-grams of the letters."""
        return _distinct_grams(self.letters)


@dataclass(frozen=True)
class WordChange:
    """The words by which two texts differ, order and single typos aside."""

    left: tuple[str, ...]
    right: tuple[str, ...]

    @property
    def size(self) -> int:
        """Words to replace, add or leave out."""
        return max(len(self.left), len(self.right))


def text_of(text: str) -> Text:
    """What is compared of a text as its author wrote it."""
    return Text(" ".join(spelling.words(text)))


def candidates_of(texts: Sequence[Text], others: Sequence[Text]) -> Iterator[list[int]]:
    """For each text, the numbers of the `others` that it may be in another spelling."""
    found = index.Index([other.letters for other in others])
    return found.candidates([text.letters for text in texts])


def is_same_question(left: Text, right: Text, change: WordChange | None) -> bool:
    """Whether two questions are one in other spellings; `change` is None where decisive words differ."""
    if left.letters == right.letters:
        return True
    if change is None:
        return False
    return _few_changes(left, right, change) or _is_alike(left, right)


def may_be_same_question(left: Text, right: Text, may_be_alike: bool = True) -> bool:
    """False where two questions are not one in other spellings, as far as that is seen at little cost.

    `may_be_alike` is False where their n-grams are known not to make them one.
    """
    if left.letters == right.letters or (may_be_alike and _is_alike(left, right)):
        return True
    if _is_far(left, right):
        return False
    shorter = min(left.length, right.length)
    most = max(2, shorter // WORDS_PER_CHANGE) if shorter >= TWO_CHANGES else 1
    return not _differs_by_more(left, right, most) and not _differs_by_more(right, left, most)


def is_same_answer(left: Text, right: Text) -> bool:
    """Whether two long answers are one in other spellings: typos alone, or one word in `TWO_CHANGES`."""
    if left.letters == right.letters:
        return True
    if _is_far(left, right):
        return False
    change = difference(left, right)
    shorter = min(left.length, right.length)
    return change is not None and change.size <= shorter // TWO_CHANGES


def difference(left: Text, right: Text) -> WordChange | None:
    """The words that are not in both texts; None where a number, a negation or a single letter differs."""
    only_left = list((left.counts - right.counts).elements())
    only_right = list((right.counts - left.counts).elements())
    if _is_far(left, right):
        if any(map(spelling.decisive, only_left + only_right)):
            return None
        return WordChange(tuple(only_left), tuple(only_right))
    for word in list(only_left):
        same = next((other for other in only_right if spelling.is_typo(word, other)), None)
        if same is not None:
            only_left.remove(word)
            only_right.remove(same)
    _join(only_left, only_right)
    _join(only_right, only_left)
    if any(map(spelling.decisive, only_left + only_right)):
        return None
    return WordChange(tuple(filter(_counts, only_left)), tuple(filter(_counts, only_right)))


def jaccard(left: Text, right: Text) -> float:
    """The n-grams that two texts share, of all that they have."""
    shared = len(left.grams & right.grams)
    return shared / (len(left.grams) + len(right.grams) - shared)


def _differs_by_more(text: Text, other: Text, most: int) -> bool:
    """Whether more than `most` words of a text are not in the other, nor anything that passes for them."""
    lasting = 0
    for word in text.counts.keys() - other.counts.keys():
        if _counts(word) and not _passes(word, other.counts):
            lasting += 1
            if lasting > most:
                return True
    return False


def _passes(word: str, others: Iterable[str]) -> bool:
    """Whether `difference` may pair a word with one of these: by a typo, or as its beginning or end.

    Either leaves the first or the last letter as it is, but for words of one or two letters.
    """
    first, last, short = word[0], word[-1], len(word) < 3
    for other in others:
        if short or other[0] == first or other[-1] == last or len(other) < 3:
            longer, shorter = (word, other) if len(word) > len(other) else (other, word)
            if longer.startswith(shorter) or longer.endswith(shorter) or spelling.is_typo(word, other):
                return True
    return False


def _is_far(left: Text, right: Text) -> bool:
    """Whether more words differ than typos account for."""
    if left.length > right.length:
        left, right = right, left
    common = left.counts.keys() & right.counts.keys()
    most = right.length - MOST_CHANGED - left.length // 10
    if len(common) + left.length - len(left.counts) < most:  # even if every repeated word is shared
        return True
    return sum(min(left.counts[word], right.counts[word]) for word in common) < most


def _is_alike(left: Text, right: Text) -> bool:
    """Whether the n-grams of two texts make them one, whatever their words."""
    if left.letters == right.letters:
        return True
    return _is_contained(left, right) or jaccard(left, right) >= ALIKE


def _few_changes(left: Text, right: Text, change: WordChange) -> bool:
    shorter = min(left.length, right.length)
    if change.size == 0:
        return True
    if is_usual(change):
        return change.size == 1 and shorter > 2
    if shorter < ONE_CHANGE:
        return False
    if shorter >= TWO_CHANGES:
        return change.size <= max(2, shorter // WORDS_PER_CHANGE)
    if not replaces_one(change):
        return change.size == 1
    telling = sum(word not in spelling.USUAL for word in (left.counts & right.counts))
    return telling >= SHARED_WORDS


def _is_contained(whole: Text, part: Text) -> bool:
    if part.length < CONTAINED_WORDS or len(whole.letters) > CONTAINED_LENGTH * len(part.letters):
        return False
    return len(part.grams & whole.grams) >= CONTAINED * len(part.grams)


def replaces_one(change: WordChange) -> bool:
    """Whether one word stands for one other."""
    return len(change.left) == len(change.right) == 1


def is_usual(change: WordChange) -> bool:
    """Whether only words differ that most questions have ("what" for "which")."""
    return all(word in spelling.USUAL for word in change.left + change.right)


def _join(whole: list[str], parts: list[str]) -> None:
    """Removes a word from `whole` and the two that make it from `parts`."""
    for word in list(whole):
        start = next((part for part in parts if word.startswith(part) and word[len(part) :] in parts), None)
        if start is not None and 2 * len(start) != len(word):
            whole.remove(word)
            parts.remove(start)
            parts.remove(word[len(start) :])


@lru_cache(maxsize=1 << 16)
def _counts(word: str) -> bool:
    """Whether a word is none that typing slips into an article or a filler."""
    return word not in spelling.FILLERS and not any(
        spelling.is_typo(word, article) for article in ("a", "an", "the")
    )


@lru_cache(maxsize=KEPT)
def _counter(folded: str) -> Counter[str]:
    return Counter(folded.split())


@lru_cache(maxsize=KEPT)
def _distinct_grams(letters: str) -> frozenset[str]:
    starts = range(len(letters) - index.GRAM + 1)
    return frozenset([letters[start : start + index.GRAM] for start in starts] or [letters])
