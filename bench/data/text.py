"""Rows of text become passages, and passages that would give the evaluation away are not trained on.

A passage is its heading and its text; a model is trained on all of it. What may not be trained on is found
by words in a row, whatever their case and punctuation:

- A passage that holds a held-out answer or question. An answer of fewer than `LONG_ANSWER` words stands in
  many passages by chance, so it counts where the passage also holds every telling word of its question. A
  question counts from `LONG_QUESTION` words on.
- A passage that shares `SHARED_RUN` words in a row with a passage on which the loss is followed: chunks
  overlap, and pages repeat what stands on others.

The training side goes, so what is scored never depends on what is trained on. Left out: paraphrases. Notes
are about what the questions are about, and that is why a model is trained on them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.data import shape, spelling
from bench.digest import digest
from bench.errors import DataError
from bench.spec import Columns, Example

#: The names under which a row keeps a passage, its heading, and what else an example has.
USUAL_NAMES = {
    "answer": ("text", "passage", "content", "chunk", "body"),
    "context": ("heading", "title"),
    "id": shape.USUAL_NAMES["id"],
    "group": shape.USUAL_NAMES["group"],
    "category": shape.USUAL_NAMES["category"],
}
LONG_ANSWER = 4
LONG_QUESTION = 3
SHARED_RUN = 12
#: Words by which a run is looked up.
_KEY = 3

EMPTY = "empty text"
ANSWER = "passage with an answer of the held-out part"
QUESTION = "passage with a question of the held-out part"
SHARED = f"passage that shares {SHARED_RUN} words in a row with the validation part"

Words = tuple[str, ...]


def columns_for(names: Iterable[str], wanted: Columns, source: str) -> Columns:
    """The column of the text (as `answer`) and of its heading (as `context`).

    Raises `DataError` where no column holds the text.
    """
    existing = list(names)
    columns = shape.named_columns(existing, wanted, USUAL_NAMES, source)
    if columns["answer"] is None:
        raise DataError(
            f"{source}: no column for the text; there are: {', '.join(map(repr, existing))}; "
            'name it in the spec: columns.answer = "..."'
        )
    return Columns(**columns)


def to_passage(row: Mapping[str, Any], columns: Columns, place: str) -> Example | str:
    """The passage of a row, or the reason why there is none. Raises `DataError` as `shape.to_example`."""
    text = shape.text_of(row, columns.answer, place)
    if not text:
        return EMPTY
    return passage(
        shape.text_of(row, columns.context, place),
        text,
        id=shape.label_of(row, columns.id, place),
        group=shape.label_of(row, columns.group, place),
        category=shape.label_of(row, columns.category, place),
    )


def passage(heading: str, text: str, id: str = "", group: str = "", category: str = "") -> Example:
    """The example that a passage is: no question, and the whole as its answer."""
    trained = whole(heading, text)
    return Example(
        id=id or digest(["", "", (trained,)])[:16],
        question="",
        answers=(trained,),
        group=group or group_of(text),
        category=category,
    )


def whole(heading: str, text: str) -> str:
    """What is trained on: the heading above the text that does not begin with it."""
    return text if not heading or text.startswith(heading) else f"{heading}\n{text}"


def group_of(text: str) -> str:
    """What joins passages that say the same, and the pairs that were made of one."""
    return digest(shape.fold(text))[:16]


def apart(train: Sequence[Example], held_out: Sequence[Example]) -> tuple[list[Example], dict[str, int]]:
    """The training passages that share no run of words with a held-out one, and the counts."""
    runs = {run for example in held_out for run in _runs(_words(example.answers[0]))}
    kept = [example for example in train if runs.isdisjoint(_runs(_words(example.answers[0])))]
    return kept, +Counter({SHARED: len(train) - len(kept)})


def without_answers(
    passages: Sequence[Example], held_out: Sequence[Example]
) -> tuple[list[Example], dict[str, int]]:
    """The passages that hold no held-out answer and no held-out question word for word, and the counts."""
    asked = {words for example in held_out if len(words := _words(example.question)) >= LONG_QUESTION}
    answered: dict[Words, list[Words]] = defaultdict(list)
    for example in held_out:
        for answer in filter(None, map(_words, example.answers)):
            answered[answer].append(_telling(example.question))
    questions, answers = _Lookup(asked), _Lookup(answered)
    kept: list[Example] = []
    counts: Counter[str] = Counter()
    for each in passages:
        words = _words(each.answers[0])
        if any(_gives_away(words, run, answered[run]) for run in answers.within(words)):
            counts[ANSWER] += 1
        elif questions.within(words):
            counts[QUESTION] += 1
        else:
            kept.append(each)
    return kept, dict(counts)


class _Lookup:
    """Finds which of many runs of words stand in a text."""

    def __init__(self, runs: Iterable[Words]) -> None:
        self._runs: dict[Words, list[Words]] = defaultdict(list)
        for run in runs:
            self._runs[run[:_KEY]].append(run)

    def within(self, words: Words) -> set[Words]:
        """The runs that stand in a text of these words, one word after another."""
        return {
            run
            for start in range(len(words))
            for length in range(1, _KEY + 1)
            for run in self._runs.get(words[start : start + length], ())
            if words[start : start + len(run)] == run
        }


def _gives_away(words: Words, answer: Words, questions: Iterable[Words]) -> bool:
    """Whether an answer that stands in a text of these words is there for its question."""
    if len(answer) >= LONG_ANSWER:
        return True
    held = set(words)
    return any(question and held.issuperset(question) for question in questions)


def _telling(question: str) -> Words:
    """The words of a question that are not of most questions."""
    return tuple(word for word in _words(question) if word not in spelling.USUAL)


def _words(text: str) -> Words:
    return tuple(shape.fold(text).split())


def _runs(words: Words) -> set[Words]:
    return {words[start : start + SHARED_RUN] for start in range(len(words) - SHARED_RUN + 1)}
