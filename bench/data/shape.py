"""One row of a source becomes one `Example`, or a reason why it cannot.

Cleaning is small on purpose: line ends unified, trailing blanks and control characters
removed, surrounding space stripped. Anything more would change what the author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bench.digest import digest
from bench.errors import DataError
from bench.spec import Columns, DatasetSpec, Example

#: The names under which public question-answer data keeps its fields, most specific first.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("question", "instruction", "prompt", "q", "query", "input"),
    "answer": ("answer", "response", "completion", "output", "a", "answers", "target"),
    "context": ("context", "passage", "system_prompt"),
    "id": ("id", "qid", "uid"),
    "group": ("group", "cluster"),
    "category": ("category", "unit", "topic"),
}
_BLANKS = re.compile(r"[^\S\n]+")
_CONTROLS = re.compile("[\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TURN = re.compile(r"###\s*(Human|Assistant)\s*:", re.IGNORECASE)


def clean(text: str) -> str:
    """Text without control characters, with single spaces and no blank edges."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in text.split("\n")).strip()


def fold(text: str) -> str:
    """What two texts are compared by: lower case, words and digits only."""
    return " ".join(re.findall(r"\w+", text.lower()))


def columns_for(names: Iterable[str], wanted: Columns, source: str) -> Columns:
    """Which column holds what: as the spec says, else by the usual names in any case.

    Raises `DataError` naming the columns that exist when question or answer is not among them.
    """
    existing = list(names)
    by_lower = {name.lower().strip(): name for name in reversed(existing)}
    columns: dict[str, str | None] = {}
    for field, usual in USUAL_NAMES.items():
        asked = getattr(wanted, field)
        if asked is not None and asked not in existing:
            raise DataError(
                f"{source}: columns.{field} = '{asked}' is not a column; there are: {', '.join(existing)}"
            )
        taken = {name for name in columns.values() if name}
        columns[field] = asked or next(
            (by_lower[name] for name in usual if name in by_lower and by_lower[name] not in taken), None
        )
    for field in ("question", "answer"):
        if columns[field] is None:
            raise DataError(
                f"{source}: no column for the {field}; there are: {', '.join(map(repr, existing))}; "
                f'name it in a spec: columns.{field} = "..."'
            )
    return Columns(**columns)


def to_example(row: Mapping[str, Any], spec: DatasetSpec, columns: Columns) -> Example | str:
    """The example of a row, or the reason why there is none."""
    if spec.shape == "turns":
        return _from_turns(row, columns)
    return _example(
        question=_text(row, columns.question),
        answers=_answers(row, columns.answer),
        context=_text(row, columns.context),
        id=_text(row, columns.id),
        group=_text(row, columns.group),
        category=_text(row, columns.category),
    )


def turn_columns(names: Iterable[str], source: str) -> Columns:
    """The one text column of a data set in turns."""
    existing = list(names)
    if "text" not in existing:
        raise DataError(
            f"{source}: shape = \"turns\" needs a column 'text'; there are: {', '.join(existing)}"
        )
    return Columns(question="text", answer="text")


def _from_turns(row: Mapping[str, Any], columns: Columns) -> Example | str:
    pieces = _TURN.split(_text(row, columns.question))
    turns = [(role.lower(), body) for role, body in zip(pieces[1::2], pieces[2::2], strict=True)]
    if [role for role, _ in turns[:2]] != ["human", "assistant"]:
        return "no question followed by an answer"
    return _example(question=clean(turns[0][1]), answers=(clean(turns[1][1]),))


def _example(
    question: str,
    answers: tuple[str, ...],
    context: str = "",
    id: str = "",
    group: str = "",
    category: str = "",
) -> Example | str:
    answers = tuple(answer for answer in answers if answer)
    if not question:
        return "empty question"
    if not answers:
        return "empty answer"
    return Example(
        id=id or digest([question, context, answers])[:16],
        question=question,
        answers=answers,
        context=context,
        group=group or fold(question) or question,
        category=category,
    )


def _text(row: Mapping[str, Any], column: str | None) -> str:
    value = row.get(column) if column else None
    if value is None or value != value:  # NaN, as Parquet and pandas write a missing cell
        return ""
    return clean(str(value))


def _answers(row: Mapping[str, Any], column: str | None) -> tuple[str, ...]:
    value = row.get(column) if column else None
    if isinstance(value, list | tuple):
        return tuple(clean(str(item)) for item in value if item is not None)
    return (_text(row, column),)
