"""Leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from bench.data import spelling
from bench.spec import Example

#: Words, without articles, from which on one may be another, be added or be left out ...
ONE_CHANGE = 4
#: ... and two, and then one more for every `WORDS_PER_CHANGE`.
TWO_CHANGES = 15
WORDS_PER_CHANGE = 10
#: From so many words that differ on, and a tenth of all, no typos are looked for.
MOST_CHANGED = 4
#: Words besides the usual ones of questions that remain where one was replaced.
SHARED_WORDS = 1
#: Training questions that differ from one held-out question in the same word are a series, and no leak.
SERIES = 3
#: Letters in a row whose counts are compared, and the share of them (Jaccard) from which on texts are one.
GRAM = 4
ALIKE = 0.75
#: Share of a held-out text's n-grams (containment) from which on it stands within a training text ...
CONTAINED = 0.95
#: ... that has so many words at least, and is no longer than this many times.
CONTAINED_WORDS = 8
CONTAINED_LENGTH = 1.6
#: Letters, beside half of the held-out question's, by which a question that it may be is longer or shorter.
SLACK = 12
#: Contexts that share less of their n-grams make two questions of one.
ALIKE_CONTEXT = 0.5
#: Answers of fewer words are equal by chance.
LONG_ANSWER = 8
#: A text is looked up by the rarest n-gram of each stretch of so many letters, the rarest of those first.
STRETCH = 5
FEWEST_KEYS, MOST_KEYS = 5, 12

QUESTION = "other spelling of a question of the held-out part"
ANSWER = "other spelling of an answer of the held-out part"


@dataclass(frozen=True)
class Text:
    """What is compared of a text; everything is worked out when it is asked for."""

    words: tuple[str, ...]

    @cached_property
    def letters(self) -> str:
        """All words without the spaces between them, so that a space more or less is no difference."""
        return "".join(self.words)

    @cached_property
    def counts(self) -> Counter[str]:
        """Word -> how often it occurs."""
        return Counter(self.words)

    @cached_property
    def grams(self) -> frozenset[str]:
        """The distinct n-grams of the letters."""
        return frozenset(_grams(self.letters))


@dataclass(frozen=True)
class WordChange:
    """The words by which two texts differ, order and single typos aside."""

    left: tuple[str, ...]
    right: tuple[str, ...]

    @property
    def size(self) -> int:
        """Words to replace, add or leave out."""
        return max(len(self.left), len(self.right))


class Index:
    """Texts, found again by the rare n-grams that they share with another text."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = texts
        frequency = Counter(chain.from_iterable(text.grams for text in texts))
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._keys = [_keys(text, frequency) for text in texts]
        for number, keys in enumerate(self._keys):
            for gram in keys:
                self._numbers[gram].append(number)

    def candidates(self, text: Text) -> list[int]:
        """Numbers of the texts of whose keys at least a quarter are in this text."""
        shared = text.grams & self._numbers.keys()
        hits = Counter(chain.from_iterable(map(self._numbers.__getitem__, shared)))
        return [number for number, count in hits.items() if 4 * count >= len(self._keys[number])]


@dataclass(frozen=True)
class Leak:
    """Why a training example goes, and the held-out example that it gives away."""

    reason: str
    held_out: Example


class HeldOut:
    """Held-out examples, against which training examples are compared."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self._questions = Index([_text(example.question) for example in examples])
        answers = [(text, e) for e in examples for text in map(_text, e.answers) if _is_long(text)]
        self._answers = Index([text for text, _ in answers])
        self._answered_by = [example for _, example in answers]

    def leaks(self, examples: Sequence[Example]) -> dict[int, Leak]:
        """Number of each example that is a held-out one in another spelling -> the leak."""
        leaks: dict[int, Leak] = {}
        series: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, example in enumerate(examples):
            for place, change in self._asked(example):
                if change is None:
                    leaks[number] = Leak(QUESTION, self._examples[place])
                    break
                series[place, change.right[0]][change.left[0]].append(number)
            else:
                if held_out := self._answered(example):
                    leaks[number] = Leak(ANSWER, held_out)
        for (place, _), replaced in series.items():
            if len(replaced) < SERIES:
                for number in chain.from_iterable(replaced.values()):
                    leaks.setdefault(number, Leak(QUESTION, self._examples[place]))
        return leaks

    def _asked(self, example: Example) -> Iterator[tuple[int, WordChange | None]]:
        """The held-out questions that this is, each with the one word that was replaced, if that is all."""
        question = _text(example.question)
        for number in self._questions.candidates(question):
            other, held_out = self._questions.texts[number], self._examples[number]
            if abs(len(other.letters) - len(question.letters)) > SLACK + len(other.letters) // 2:
                continue
            change = difference(question, other)
            if not is_same_question(question, other, change) or not _is_same_context(example, held_out):
                continue
            if change is None or _is_usual(change):
                yield number, None
            elif not _is_about(change, example, held_out):
                yield number, change if _replaces_one(change) else None

    def _answered(self, example: Example) -> Example | None:
        for answer in filter(_is_long, map(_text, example.answers)):
            for number in self._answers.candidates(answer):
                if is_same_answer(answer, self._answers.texts[number]):
                    return self._answered_by[number]
        return None


def is_same_question(left: Text, right: Text, change: WordChange | None) -> bool:
    """Whether two questions are one in other spellings; `change` is None where decisive words differ."""
    if left.letters == right.letters:
        return True
    if change is None:
        return False
    return _few_changes(left, right, change) or _is_contained(left, right) or jaccard(left, right) >= ALIKE


def is_same_answer(left: Text, right: Text) -> bool:
    """Whether two long answers are one in other spellings: typos alone, or one word in `TWO_CHANGES`."""
    if left.letters == right.letters:
        return True
    change = difference(left, right)
    shorter = min(len(left.words), len(right.words))
    return change is not None and change.size <= shorter // TWO_CHANGES


def difference(left: Text, right: Text) -> WordChange | None:
    """The words that are not in both texts; None where a number, a negation or a single letter differs."""
    only_left = list((left.counts - right.counts).elements())
    only_right = list((right.counts - left.counts).elements())
    if max(len(only_left), len(only_right)) > MOST_CHANGED + min(len(left.words), len(right.words)) // 10:
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


def _few_changes(left: Text, right: Text, change: WordChange) -> bool:
    shorter = min(len(left.words), len(right.words))
    if change.size == 0:
        return True
    if _is_usual(change):
        return change.size == 1 and shorter > 2
    if shorter < ONE_CHANGE:
        return False
    if shorter >= TWO_CHANGES:
        return change.size <= max(2, shorter // WORDS_PER_CHANGE)
    if not _replaces_one(change):
        return change.size == 1
    telling = sum(word not in spelling.USUAL for word in (left.counts & right.counts))
    return telling >= SHARED_WORDS


def _is_about(change: WordChange, example: Example, held_out: Example) -> bool:
    """Whether the training answer is about the word by which its question differs, and the other is not."""
    if not change.left or change.size > 1 or _is_usual(change):
        return False
    own, other = (
        Text(tuple(chain.from_iterable(map(spelling.words, e.answers)))) for e in (example, held_out)
    )
    return _mentions(own, change.left[0]) and not _mentions(other, change.left[0])


def _mentions(text: Text, word: str) -> bool:
    stem = word[: max(4, len(word) - 3)]
    return any(other.startswith(stem) for other in text.counts)


def _is_same_context(example: Example, held_out: Example) -> bool:
    left, right = example.context, held_out.context
    return not left or not right or left == right or jaccard(_text(left), _text(right)) >= ALIKE_CONTEXT


def _is_contained(whole: Text, part: Text) -> bool:
    if len(part.words) < CONTAINED_WORDS or len(whole.letters) > CONTAINED_LENGTH * len(part.letters):
        return False
    return len(part.grams & whole.grams) >= CONTAINED * len(part.grams)


def _replaces_one(change: WordChange) -> bool:
    return len(change.left) == len(change.right) == 1


def _is_usual(change: WordChange) -> bool:
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


def _counts(word: str) -> bool:
    """Whether a word is none that typing slips into an article or a filler."""
    return word not in spelling.FILLERS and not any(
        spelling.is_typo(word, article) for article in ("a", "an", "the")
    )


def _text(text: str) -> Text:
    return Text(spelling.words(text))


def _is_long(text: Text) -> bool:
    return len(text.words) >= LONG_ANSWER


def _grams(letters: str) -> list[str]:
    return [letters[start : start + GRAM] for start in range(len(letters) - GRAM + 1)] or [letters]


def _keys(text: Text, frequency: Counter[str]) -> list[str]:
    """The n-grams under which a text is found: spread over it, so that no single word holds all of them."""
    pieces = _grams(text.letters)

    def rarity(gram: str) -> tuple[int, str]:
        return frequency[gram], gram

    stretches = (pieces[start : start + STRETCH] for start in range(0, len(pieces), STRETCH))
    rarest = sorted({min(stretch, key=rarity) for stretch in stretches}, key=rarity)
    return rarest[: min(max(FEWEST_KEYS, len(rarest) // 2), MOST_KEYS)]
