"""Leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from bench.data import index, spelling
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
#: Share of the n-grams of letters that two texts have (Jaccard) from which on they are one.
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


@dataclass(frozen=True)
class Leak:
    """Why a training example goes, and the held-out example that it gives away."""

    reason: str
    held_out: Example


class HeldOut:
    """Held-out examples, against which training examples are compared."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self._questions = [_text(example.question) for example in examples]
        answers = [(text, e) for e in examples for text in map(_text, e.answers) if _is_long(text)]
        self._answers = [text for text, _ in answers]
        self._answered_by = [example for _, example in answers]

    def leaks(self, examples: Sequence[Example]) -> dict[int, Leak]:
        """Number of each example that is a held-out one in another spelling -> the leak."""
        leaks: dict[int, Leak] = {}
        series: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        questions = [_text(example.question) for example in examples]
        for number, candidates in enumerate(candidates_of(questions, self._questions)):
            for place, change in self._asked(examples[number], questions[number], candidates):
                if change is None:
                    leaks[number] = Leak(QUESTION, self._examples[place])
                    break
                series[place, change.right[0]][change.left[0]].append(number)
        rest = [number for number in range(len(examples)) if number not in leaks]
        answers = [(text, n) for n in rest for text in map(_text, examples[n].answers) if _is_long(text)]
        candidates_of_answers = candidates_of([text for text, _ in answers], self._answers)
        for (answer, number), candidates in zip(answers, candidates_of_answers, strict=True):
            held_out = self._answered(answer, candidates)
            if held_out is not None:
                leaks.setdefault(number, Leak(ANSWER, held_out))
        for (place, _), replaced in series.items():
            if len(replaced) < SERIES:
                for number in chain.from_iterable(replaced.values()):
                    leaks.setdefault(number, Leak(QUESTION, self._examples[place]))
        return leaks

    def _asked(
        self, example: Example, question: Text, candidates: Sequence[int]
    ) -> Iterator[tuple[int, WordChange | None]]:
        """The held-out questions that this is, each with the one word that was replaced, if that is all."""
        for number in candidates:
            other, held_out = self._questions[number], self._examples[number]
            if abs(len(other.letters) - len(question.letters)) > SLACK + len(other.letters) // 2:
                continue
            if _is_far(question, other) and not _is_alike(question, other):
                continue
            change = difference(question, other)
            if not is_same_question(question, other, change) or not _is_same_context(example, held_out):
                continue
            if change is None or _is_usual(change):
                yield number, None
            elif not _is_about(change, example, held_out):
                yield number, change if _replaces_one(change) else None

    def _answered(self, answer: Text, candidates: Sequence[int]) -> Example | None:
        for number in candidates:
            if is_same_answer(answer, self._answers[number]):
                return self._answered_by[number]
        return None


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


def is_same_answer(left: Text, right: Text) -> bool:
    """Whether two long answers are one in other spellings: typos alone, or one word in `TWO_CHANGES`."""
    if left.letters == right.letters:
        return True
    if _is_far(left, right):
        return False
    change = difference(left, right)
    shorter = min(len(left.words), len(right.words))
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


def _is_far(left: Text, right: Text) -> bool:
    """Whether more words differ than typos account for."""
    if len(left.words) > len(right.words):
        left, right = right, left
    common = left.counts.keys() & right.counts.keys()
    most = len(right.words) - MOST_CHANGED - len(left.words) // 10
    if len(common) + len(left.words) - len(left.counts) < most:  # even if every repeated word is shared
        return True
    return sum(min(left.counts[word], right.counts[word]) for word in common) < most


def _is_alike(left: Text, right: Text) -> bool:
    """Whether the n-grams of two texts make them one, whatever their words."""
    if left.letters == right.letters:
        return True
    return _is_contained(left, right) or jaccard(left, right) >= ALIKE


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
    starts = range(len(letters) - index.GRAM + 1)
    return [letters[start : start + index.GRAM] for start in starts] or [letters]
