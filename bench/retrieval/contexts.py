"""Rows that were found become a context, and never at the question's expense.

Whole rows are taken, the best first, as long as the prompt has room for them; where not even the best fits,
its beginning is taken. The example's own context stays before them, as it is without retrieval. So a prompt
is cut further only where it would be cut without retrieval too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.spec import Example

#: Between two rows, and between them and the example's own context.
BREAK = "\n\n"


@dataclass(frozen=True)
class Filled:
    """An example whose context holds rows that were found."""

    example: Example
    #: Ids of these rows, the best first.
    rows: tuple[str, ...]
    #: Whether a row was cut, or left out for want of room.
    short: bool


def row_text(row: Example) -> str:
    """A training row or a passage as a context shows it."""
    if row.is_text:
        return row.answers[0]
    return f"Question: {row.question}\nAnswer: {row.answers[0]}"


def filled(example: Example, rows: Sequence[Example], room: int, length: Callable[[Example], int]) -> Filled:
    """The example with as many of `rows` (the best first) as leave its prompt at most `room` tokens long.

    `length` is the number of tokens of an example's whole prompt.
    """
    texts: list[str] = []
    for row in rows:
        if length(_with(example, [*texts, row_text(row)])) > room:
            break
        texts.append(row_text(row))
    if texts or not rows:
        ids = tuple(row.id for row in rows[: len(texts)])
        return Filled(_with(example, texts), ids, len(texts) < len(rows))
    beginning = _beginning(example, row_text(rows[0]), room, length)
    if not beginning:
        return Filled(example, (), True)
    return Filled(_with(example, [beginning]), (rows[0].id,), True)


def _with(example: Example, texts: Sequence[str]) -> Example:
    own = [example.context] if example.context else []
    return replace(example, context=BREAK.join([*own, *texts]))


def _beginning(example: Example, text: str, room: int, length: Callable[[Example], int]) -> str:
    """As many whole words of a text as fit; empty where none does."""
    words = text.split(" ")
    fitting, beyond = 0, len(words)
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        if length(_with(example, [" ".join(words[:middle])])) <= room:
            fitting = middle
        else:
            beyond = middle
    return " ".join(words[:fitting])
