"""Training examples that give away a held-out one in another spelling.

Whether two texts are one is for `bench.data.alike.likeness` to say; here is what follows for examples. A
question that differs by one word is none of the held-out part where several training questions differ in the
same word (a series), where the training answer is about that word, or where the contexts are others. Long
answers count likewise, whatever was asked.

A rule that catches more also drops sound rows: Dolly asks the same question about many countries. The
thresholds here and in `likeness` were taken where `python -m benchmarks.leaks` finds at most 5% kept in every
line and fewer than 0.5% of Dolly's rows removed:

    kept by the training side                       course-qa   course export   Dolly
    12 spellings: soft hyphens, zero width, NFD,
      accents, full width, entities, tags, ...          0%           0%          0%
    two words swapped                                   0.5%         2.8%        1.0%
    an article dropped                                  0%           0%          0%
    one word added                                      2.0%         3.3%        4.5%
    one word replaced                                   2.0%         3.9%        3.0%
    a polite prefix                                     0%           0%          0%
    one letter wrong                                    0%           1.7%        0%
    the answer copied with one letter wrong             0%           0.6%        3.5%
    rows removed from the data as they are              0%           1.18%       0.38%
      of these, with a clearly different answer         0%           0.71%       0.35%

What is left are short questions, in which one word of two or three is another question as often as not.

Held-out texts are folded once and kept; training texts are looked at a few thousand at a time and let go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from bench.data import spelling
from bench.data.alike import index, likeness, sketch
from bench.data.alike.likeness import Text, WordChange
from bench.data.alike.sketch import Sketches
from bench.spec import Example

#: Training questions that differ from one held-out question in the same word are a series, and no leak.
SERIES = 3
#: Letters, beside half of the held-out question's, by which a question that it may be is longer or shorter.
SLACK = 12
#: Contexts that share less of their n-grams make two questions of one.
ALIKE_CONTEXT = 0.5
#: Answers of fewer words are equal by chance.
LONG_ANSWER = 8

QUESTION = "other spelling of a question of the held-out part"
ANSWER = "other spelling of an answer of the held-out part"


@dataclass(frozen=True)
class Leak:
    """Why a training example goes, and the held-out example that it gives away."""

    reason: str
    held_out: Example


class Folded(dict[str, Text]):
    """Text -> what is compared of it, worked out once."""

    def __missing__(self, text: str) -> Text:
        self[text] = folded = likeness.text_of(text)
        return folded


class HeldOut:
    """Held-out examples, against which training examples are compared.

    `folded` may be shared by several of them that hold the same examples.
    """

    def __init__(self, examples: Sequence[Example], folded: Folded | None = None) -> None:
        self._examples = examples
        self._folded = Folded() if folded is None else folded
        self._questions = [self._folded[example.question] for example in examples]
        answers = [(self._folded[answer], e) for e in examples for answer in e.answers]
        self._answers = [(text, example) for text, example in answers if _is_long(text)]

    def leaks(self, examples: Sequence[Example]) -> dict[int, Leak]:
        """Number of each example that is a held-out one in another spelling -> the leak."""
        leaks: dict[int, Leak] = {}
        series: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, place, change in self._same_questions(examples):
            if number in leaks:
                continue
            if change is None:
                leaks[number] = Leak(QUESTION, self._examples[place])
            else:
                series[place, change.right[0]][change.left[0]].append(number)
        rest = [number for number in range(len(examples)) if number not in leaks]
        for number, held_out in self._same_answers(examples, rest):
            leaks.setdefault(number, Leak(ANSWER, held_out))
        for (place, _), replaced in series.items():
            if len(replaced) < SERIES:
                for number in chain.from_iterable(replaced.values()):
                    leaks.setdefault(number, Leak(QUESTION, self._examples[place]))
        return leaks

    def _same_questions(self, examples: Sequence[Example]) -> Iterator[tuple[int, int, WordChange | None]]:
        """Examples and held-out examples that ask the same, with the one word replaced, if that is all."""
        found = index.Index([other.letters for other in self._questions])
        others = Sketches(self._questions)
        for start in range(0, len(examples), index.CHUNK):
            questions = [self._text(e.question) for e in examples[start : start + index.CHUNK]]
            own = Sketches(questions)
            askers, places = pairs = found.pairs([text.letters for text in questions])
            apart = np.abs(others.letters[places] - own.letters[askers])
            alike = sketch.may_be_alike(own, others, pairs)
            left = (apart <= SLACK + others.letters[places] // 2) & (
                alike | ~sketch.surely_far(own, others, pairs)
            )
            for number, place, may in zip(askers[left], places[left], alike[left], strict=True):
                question, other = questions[number], self._questions[place]
                if likeness.may_be_same_question(question, other, bool(may)):
                    yield from self._same(examples, start + int(number), question, int(place))

    def _same(
        self, examples: Sequence[Example], number: int, question: Text, place: int
    ) -> Iterator[tuple[int, int, WordChange | None]]:
        other, example, held_out = self._questions[place], examples[number], self._examples[place]
        change = likeness.difference(question, other)
        same = likeness.is_same_question(question, other, change)
        if not same or not _is_same_context(example, held_out):
            return
        if change is None or likeness.is_usual(change):
            yield number, place, None
        elif not _is_about(change, example, held_out):
            yield number, place, change if likeness.replaces_one(change) else None

    def _same_answers(
        self, examples: Sequence[Example], numbers: Sequence[int]
    ) -> Iterator[tuple[int, Example]]:
        """Of these examples, those that have a long answer of a held-out one, each with the first of them."""
        held_out = [text for text, _ in self._answers]
        found = index.Index([other.letters for other in held_out])
        others = Sketches(held_out, with_grams=False)
        for start in range(0, len(numbers), index.CHUNK):
            every = (
                (self._text(answer), number)
                for number in numbers[start : start + index.CHUNK]
                for answer in examples[number].answers
            )
            answers = [(text, number) for text, number in every if _is_long(text)]
            own = Sketches([text for text, _ in answers], with_grams=False)
            askers, places = pairs = found.pairs([text.letters for text, _ in answers])
            near = ~sketch.surely_far(own, others, pairs)
            for asker, place in zip(askers[near], places[near], strict=True):
                answer, number = answers[asker]
                if likeness.is_same_answer(answer, held_out[place]):
                    yield number, self._answers[place][1]

    def _text(self, text: str) -> Text:
        return self._folded.get(text) or likeness.text_of(text)


def _is_about(change: WordChange, example: Example, held_out: Example) -> bool:
    """Whether the training answer is about the word by which its question differs, and the other is not."""
    if not change.left or change.size > 1 or likeness.is_usual(change):
        return False
    own, other = (
        Text(" ".join(chain.from_iterable(map(spelling.words, e.answers)))) for e in (example, held_out)
    )
    return _mentions(own, change.left[0]) and not _mentions(other, change.left[0])


def _mentions(text: Text, word: str) -> bool:
    stem = word[: max(4, len(word) - 3)]
    return any(other.startswith(stem) for other in text.counts)


def _is_same_context(example: Example, held_out: Example) -> bool:
    left, right = example.context, held_out.context
    if not left or not right or left == right:
        return True
    return likeness.jaccard(likeness.text_of(left), likeness.text_of(right)) >= ALIKE_CONTEXT


def _is_long(text: Text) -> bool:
    return text.length >= LONG_ANSWER
