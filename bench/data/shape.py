"""One row of a source becomes one `Example`, or a reason why it cannot.

Cleaning is small on purpose: line ends unified, trailing blanks and control characters
removed, surrounding space stripped. Anything more would change what the author wrote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.data import chat
from bench.digest import digest
from bench.errors import DataError
from bench.spec import Columns, DatasetSpec, Example

#: The column that Alpaca's rows keep the matter of an instruction in.
INPUT = "input"
#: The names under which public question-answer data keeps its fields, most specific first.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "question": (
        *("question", "instruction", "prompt", "q", "query", "input"),
        *("questions", "instructions", "prompts", "queries", "inputs"),
    ),
    "answer": (
        *("answer", "response", "completion", "output", "a", "answers", "target"),
        *("responses", "completions", "outputs", "targets"),
    ),
    "context": ("context", "passage", "system_prompt", INPUT, "contexts", "passages"),
    "id": ("id", "qid", "uid"),
    "group": ("group", "cluster"),
    "category": ("category", "unit", "topic"),
}
#: Blanks that are not one space already.
_BLANKS = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
#: Control characters, byte order marks, and halves of a surrogate pair, which no encoding can write.
_CONTROLS = re.compile("[\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_WORD = re.compile(r"\w+")
#: The letters of ASCII that are in no word, as spaces.
_APART = {code: " " for code in range(128) if not _WORD.match(chr(code))}
_TURN = re.compile(r"###\s*(Human|Assistant)\s*:", re.IGNORECASE)

#: A list of messages or SQuAD's answers, written out as text when a table was saved as CSV.
WRITTEN_OUT = re.compile(
    r"""\s*(\[\s*\{\s*["'](role|from|content|value)["']\s*:"""
    r"""|\{\s*["'](text|answer_start)["']\s*:\s*(\[|array\())"""
)


def clean(text: str) -> str:
    """Text without control characters, with single spaces and no blank edges."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(map(_clean_line, text.split("\n"))).strip()


def _clean_line(line: str) -> str:
    if not line.isprintable() or "  " in line:
        line = _BLANKS.sub(" ", _CONTROLS.sub("", line))
    return line.strip()


def fold(text: str) -> str:
    """What two texts are compared by: lower case, words and digits only."""
    text = text.lower()
    words = text.translate(_APART).split() if text.isascii() else _WORD.findall(text)
    return " ".join(words)


def named_columns(
    existing: Sequence[str], wanted: Columns, usual_names: Mapping[str, Sequence[str]], source: str
) -> dict[str, str | None]:
    """Field -> its column: the one that is wanted, else the first of the usual names that no field has yet.

    Raises `DataError` for a wanted column that does not exist.
    """
    by_lower = {name.lower().strip(): name for name in reversed(existing)}
    columns: dict[str, str | None] = {}
    for field, usual in usual_names.items():
        asked = getattr(wanted, field)
        if asked is not None and asked not in existing:
            raise DataError(
                f"{source}: columns.{field} = '{asked}' is not a column; "
                f"there are: {', '.join(map(repr, existing))}"
            )
        taken = {name for name in columns.values() if name}
        columns[field] = asked or next(
            (by_lower[name] for name in usual if name in by_lower and by_lower[name] not in taken), None
        )
    return columns


def columns_for(names: Iterable[str], wanted: Columns, source: str) -> Columns:
    """Which column holds what: as the spec says, else by the usual names in any case.

    Raises `DataError` naming the columns that exist when question or answer is not among them.
    """
    existing = list(names)
    columns = named_columns(existing, wanted, USUAL_NAMES, source)
    for field in ("question", "answer"):
        if columns[field] is None:
            raise DataError(
                f"{source}: no column for the {field}; there are: {', '.join(map(repr, existing))}; "
                f'name it by --columns {field}=COLUMN, or in a spec: columns.{field} = "..."'
            )
    return Columns(**columns)


def asks_by_input(columns: Columns) -> bool:
    """True where the instruction may be the same in all rows, and the input is what differs."""
    return columns.context is not None and columns.context.lower().strip() == INPUT


def to_example(
    row: Mapping[str, Any], spec: DatasetSpec, columns: Columns, place: str = "row"
) -> Example | str:
    """The example of a row, or the reason why there is none.

    Raises `DataError` that begins with `place` for a cell that is not text.
    """
    if spec.shape == "turns":
        return _from_turns(row, columns, place)
    context = text_of(row, columns.context, place)
    if columns.question and (
        columns.question == columns.answer or chat.is_messages(row.get(columns.question))
    ):
        question, answers, system = _from_chat(row, columns, place)
        context = "\n".join(filter(None, (system, context)))
    else:
        question, answers = text_of(row, columns.question, place), _answers(row, columns.answer, place)
    group = label_of(row, columns.group, place)
    if not group and asks_by_input(columns):
        group = fold(f"{question} {context}")
    return example_of(
        question=question,
        answers=answers,
        context=context,
        id=label_of(row, columns.id, place),
        group=group,
        category=label_of(row, columns.category, place),
    )


def turn_columns(names: Iterable[str], source: str) -> Columns:
    """The one text column of a data set in turns."""
    existing = list(names)
    if "text" not in existing:
        raise DataError(
            f"{source}: shape = \"turns\" needs a column 'text'; there are: {', '.join(existing)}"
        )
    return Columns(question="text", answer="text")


def _from_turns(row: Mapping[str, Any], columns: Columns, place: str) -> Example | str:
    pieces = _TURN.split(text_of(row, columns.question, place))
    turns = [(role.lower(), body) for role, body in zip(pieces[1::2], pieces[2::2], strict=True)]
    if [role for role, _ in turns[:2]] != ["human", "assistant"]:
        return "no question followed by an answer"
    return example_of(question=clean(turns[0][1]), answers=(clean(turns[1][1]),))


def example_of(
    question: str,
    answers: tuple[str, ...],
    context: str = "",
    id: str = "",
    group: str = "",
    category: str = "",
) -> Example | str:
    """The example of cleaned texts, or the reason why there is none."""
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


def _from_chat(row: Mapping[str, Any], columns: Columns, place: str) -> tuple[str, tuple[str, ...], str]:
    """Question, answers and system text of one chat column, or of a prompt and its completion."""
    question, answer = str(columns.question), str(columns.answer)
    if question == answer and _is_missing(row.get(question)):
        return "", (), ""
    messages = chat.turns(row.get(question), place, question)
    if question != answer:
        end = row.get(answer)
        messages += [("assistant", end)] if isinstance(end, str) else chat.turns(end, place, answer)
    asked, reply, system = chat.question_and_answer(messages, place, question)
    return clean(asked), (clean(reply),), clean(system)


def _is_missing(value: Any) -> bool:
    return value is None or (
        isinstance(value, float) and math.isnan(value)
    )  # as pandas writes a missing cell


def text_of(row: Mapping[str, Any], column: str | None, place: str) -> str:
    """The cleaned text of a cell, "" where there is none. Raises `DataError` for what is no text."""
    value = row.get(column) if column else None
    if _is_missing(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"{place}: '{column}' is {_kind(value)}, not text; {_remedy(value)}")
    if WRITTEN_OUT.match(value):
        raise DataError(
            f"{place}: '{column}' is a list or dictionary written out as text; "
            "save the rows as JSONL or Parquet"
        )
    return clean(value)


def label_of(row: Mapping[str, Any], column: str | None, place: str) -> str:
    """A text that names a row or a set of rows: there, a number will do."""
    value = row.get(column) if column else None
    if isinstance(value, int | float) and not _is_missing(value):
        return str(value)
    return text_of(row, column, place)


def _answers(row: Mapping[str, Any], column: str | None, place: str) -> tuple[str, ...]:
    value = row.get(column) if column else None
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # SQuAD's form
        value = list(dict.fromkeys(_texts(value["text"], column, place)))
    if isinstance(value, list | tuple):
        return tuple(clean(item) for item in _texts(value, column, place))
    return (text_of(row, column, place),)


def _texts(values: Iterable[Any], column: str | None, place: str) -> list[str]:
    texts = [value for value in values if value is not None]
    for value in texts:
        if not isinstance(value, str):
            raise DataError(f"{place}: '{column}' is a list that holds {_kind(value)}; {_remedy(value)}")
    return texts


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", dict: "a dictionary", list: "a list", bytes: "bytes"}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"the number {value}"
    return kinds.get(type(value), f"of type {type(value).__name__}")


def _remedy(value: Any) -> str:
    if isinstance(value, int | float):
        return "write it as text, in quotes"
    return "write the cell as text, or name another column by --columns"
